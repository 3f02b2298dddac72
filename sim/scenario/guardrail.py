"""What happens to answers between the GPU and their client."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Flag, Name, Probability


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Guardrail:
    """A verdict on each answer when it is complete and has passed the stations behind the GPU.

    A share `blocked` of them is turned away: asked again of the model `fallback`, whose answer is not judged, or
    without one rejected as `blocked`. With `withheld` the client sees nothing before the verdict.
    """

    blocked: Probability = 0.0
    fallback: Name | None = None
    withheld: Flag = False
