"""CPU work around the GPU: stations of the gateway, and a class's visits to them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Int, Key, NonNegative, Text

Workers = Annotated[Int, Field(ge=1, le=10_000)]
BaseMs = Annotated[NonNegative, Field(le=3_600_000)]
TokenUs = Annotated[NonNegative, Field(le=100_000)]  # of the longest request, all tokens stay below 20 days


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Station:
    """CPU workers with one line, first come first served, for the whole fleet.

    A visit keeps a worker busy for `base_ms`, and `per_prompt_token_us` for each token of the prompt; after the GPU
    also `per_output_token_us` for each token of the answer.
    """

    workers: Workers
    base_ms: BaseMs = 0.0
    per_prompt_token_us: TokenUs = 0.0
    per_output_token_us: TokenUs = 0.0
    source: Text = ""
    note: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Visit:
    """A visit to a station by its name; a time that it says itself replaces the station's."""

    station: Key
    base_ms: BaseMs | None = None
    per_prompt_token_us: TokenUs | None = None
    per_output_token_us: TokenUs | None = None


def _visit_from_name(given: Any) -> Any:
    """A bare name is a visit that takes as long as the station says."""
    return {"station": given} if isinstance(given, str) else given


Visits = Annotated[
    tuple[Annotated[Visit, BeforeValidator(_visit_from_name)], ...],
    Field(max_length=100),
]


def times_of(station: Station, visit: Visit, is_after: bool) -> tuple[float, float, float]:
    """(base ms, µs a prompt token, µs a token of the answer) of a visit; no answer is there before the GPU."""
    own = (visit.base_ms, visit.per_prompt_token_us, visit.per_output_token_us if is_after else 0.0)
    usual = (station.base_ms, station.per_prompt_token_us, station.per_output_token_us)
    base, prompt, output = (there if said is None else said for said, there in zip(own, usual, strict=True))
    return base, prompt, output
