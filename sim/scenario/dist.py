"""A random number as a person describes it: a dataclass for each family; a bare number is a constant."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, NonNegative, Number, Positive, Share

# The shapes that draws can be made from: e^50 is 5e21, and a sigma of 10 spreads over nine powers of ten each way.
LogMean = Annotated[Number, Field(ge=-50, le=50)]
LogSigma = Annotated[NonNegative, Field(le=10)]
SomeLogSigma = Annotated[Positive, Field(ge=1e-6, le=10)]
Shape = Annotated[Positive, Field(ge=0.01, le=1e6)]
Chance = Annotated[Share, Field(ge=1e-9)]
Percent = Annotated[NonNegative, Field(le=100)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Clamped:
    """What every family has: draws below `min` become `min`, draws above `max` become `max`."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Constant(Clamped):
    """Always `value`."""

    kind: Literal["constant"] = "constant"
    value: Number


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Exponential(Clamped):
    """Memoryless with the given `mean`."""

    kind: Literal["exponential"] = "exponential"
    mean: Positive


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Uniform(Clamped):
    """Anything between `low` and `high` alike."""

    kind: Literal["uniform"] = "uniform"
    low: Number
    high: Number

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Lognormal(Clamped):
    """ln X ~ N(mu, sigma); or said by its `median` and its `p99`."""

    kind: Literal["lognormal"] = "lognormal"
    mu: LogMean | None = None
    sigma: LogSigma | None = None
    median: Positive | None = None
    p99: Positive | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        by_log = (self.mu is not None, self.sigma is not None)
        by_quantile = (self.median is not None, self.p99 is not None)
        if (by_log, by_quantile) not in (((True, True), (False, False)), ((False, False), (True, True))):
            raise ValueError("a lognormal takes mu and sigma, or median and p99")
        if self.median is not None and self.p99 is not None and self.p99 < self.median:
            raise ValueError(f"p99 {self.p99:g} is below median {self.median:g}")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class LognormalMixture(Clamped):
    """One of several lognormals, taken with the weights `w` (they are scaled to sum to one)."""

    kind: Literal["lognormal_mixture"] = "lognormal_mixture"
    w: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    mu: tuple[LogMean, ...]
    sigma: tuple[SomeLogSigma, ...]

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if not len(self.w) == len(self.mu) == len(self.sigma):
            raise ValueError(
                f"w, mu and sigma must be equally long, not {len(self.w)}, {len(self.mu)}, {len(self.sigma)}"
            )
        if sum(self.w) <= 0:
            raise ValueError("the weights w sum to zero")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gamma(Clamped):
    """Gamma with `shape` and `scale`; its mean is shape·scale."""

    kind: Literal["gamma"] = "gamma"
    shape: Shape
    scale: Positive


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Weibull(Clamped):
    """Weibull with `shape` and `scale`."""

    kind: Literal["weibull"] = "weibull"
    shape: Shape
    scale: Positive


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Geometric(Clamped):
    """Trials up to and with the first success: 1, 2, 3, …; its mean is 1/p."""

    kind: Literal["geometric"] = "geometric"
    p: Chance


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Quantiles(Clamped):
    """An inverse CDF: value `v` at `q` percent, straight lines between, flat beyond the first and last."""

    kind: Literal["quantiles"] = "quantiles"
    q: Annotated[tuple[Percent, ...], Field(min_length=1)]
    v: tuple[Number, ...]

    @model_validator(mode="after")
    def _check_curve(self) -> Self:
        if len(self.q) != len(self.v):
            raise ValueError(f"q and v must be equally long, not {len(self.q)} and {len(self.v)}")
        if any(b <= a for a, b in zip(self.q, self.q[1:], strict=False)):
            raise ValueError("q must rise from entry to entry")
        if any(b < a for a, b in zip(self.v, self.v[1:], strict=False)):
            raise ValueError("v must not fall from entry to entry")
        return self


def _constant_from_number(given: Any) -> Any:
    """A bare number means a constant."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"kind": "constant", "value": given}
    return given


Family = (
    Constant | Exponential | Uniform | Lognormal | LognormalMixture | Gamma | Weibull | Geometric | Quantiles
)
Dist = Annotated[Family, Field(discriminator="kind"), BeforeValidator(_constant_from_number)]
