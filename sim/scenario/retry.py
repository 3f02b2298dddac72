"""What a client does when an attempt ends without an answer, or takes its time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Int, Name, NonNegative, Number, Seconds, SomeSeconds, Text
from sim.units import HORIZON_MAX_S

ATTEMPTS_MAX = 100
Attempts = Annotated[Int, Field(ge=1, le=ATTEMPTS_MAX)]
Factor = Annotated[Number, Field(ge=1, le=100)]
End = Literal["timed_out", "rejected", "failed"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ConstantBackoff:
    """`base_s` between the end of one attempt and the next."""

    kind: Literal["constant"] = "constant"
    base_s: Seconds


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ExponentialBackoff:
    """`base_s` before the second attempt, `factor` times as long before each further one, at most `cap_s`."""

    kind: Literal["exponential"] = "exponential"
    base_s: Seconds
    factor: Factor = 2.0
    cap_s: Seconds | None = None


Backoff = Annotated[ConstantBackoff | ExponentialBackoff, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RetryBudget:
    """Retries that a class's clients share: a purse that starts at `burst` and holds no more.

    Every first attempt puts `ratio` in; a retry takes one out and is not made without it.
    """

    ratio: Annotated[NonNegative, Field(le=100)]
    burst: Annotated[NonNegative, Field(le=1e9)] = 10.0


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Retry:
    """At most `attempts` tries, the first included; the next one follows an end that is among `on`.

    Without a `backoff` it follows at once. `jitter`: `full` waits anything from nothing to the backoff, `equal`
    anything from half of it. After `hedge_after_s` without a first token a second attempt runs beside the first,
    and the one that answers first is kept.
    """

    name: Name = "none"
    attempts: Attempts = 1
    on: tuple[End, ...] = ("timed_out", "rejected", "failed")
    backoff: Backoff | None = None
    jitter: Literal["none", "full", "equal"] = "none"
    budget: RetryBudget | None = None
    hedge_after_s: SomeSeconds | None = None
    source: Text = ""
    note: Text = ""

    @property
    def waits_s(self) -> tuple[float, ...]:
        """The wait before attempt 2, 3, …, before jitter."""
        backoff, n = self.backoff, self.attempts - 1
        if not isinstance(backoff, ExponentialBackoff):
            return (0.0 if backoff is None else backoff.base_s,) * n
        cap_s = HORIZON_MAX_S if backoff.cap_s is None else backoff.cap_s
        return tuple(min(backoff.base_s * backoff.factor**i, cap_s) for i in range(n))
