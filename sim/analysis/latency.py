"""The latency measures of one scope (the fleet, or one traffic class)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.analysis.percentiles import Population, lost_in_proportion, statistics
from sim.engine.result import RESULT_METRICS

MANY_OR_NONE = ("itl", "tpot", "itl_max")  # measures that a request can have several of, or none


def latencies(result: Any, scope: int, edges_ps: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Measure → its statistics; scope 0 is the fleet, 1 + c is class c."""
    return {name: statistics(population(result, name, scope), edges_ps) for name in RESULT_METRICS}


def population(result: Any, measure: str, scope: int) -> Population:
    """The durations of one measure, and how many the requests that were not served lack."""
    counts = np.asarray(result.hist[scope, RESULT_METRICS.index(measure)])
    n_values = int(counts.sum())
    tries = "attempts" if measure == "attempt_ttft" else "offered"
    n_offered, n_completed = count(result, tries, scope), count(result, "completed", scope)
    if (
        measure in MANY_OR_NONE and n_completed == 0
    ):  # gaps of answers that nobody got, as those a guardrail blocked
        return Population(np.zeros_like(counts), 0, n_offered)
    if measure in MANY_OR_NONE:
        n_lost = lost_in_proportion(n_values, n_completed, n_offered - n_completed)
    else:
        n_lost = max(0, n_offered - n_values)
    return Population(counts, int(result.sums[measure][scope]), n_lost)


def count(result: Any, name: str, scope: int) -> int:
    """One counter of one scope."""
    return int(result.counts[name][scope])
