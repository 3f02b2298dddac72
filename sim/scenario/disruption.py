"""Disruption budgets: how many replicas of a pool may be missing on purpose, as a PodDisruptionBudget of Kubernetes."""

from __future__ import annotations

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.amounts import CountOrPercent
from sim.scenario.types import CONFIG


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class DisruptionBudget:
    """Either so many replicas have to stay ready (`min_available`), or so many may be missing (`max_unavailable`): a count,
    or a percentage of the replicas that the pool wants, rounded up.
    """

    min_available: CountOrPercent | None = None
    max_unavailable: CountOrPercent | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> DisruptionBudget:
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("is not valid; allowed: one of min_available and max_unavailable, as 2 or 25%")
        return self
