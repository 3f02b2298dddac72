"""When requests arrive: the processes a person can choose from, each with its long-run mean rate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.dist import Dist
from sim.scenario.types import (
    CONFIG,
    Count,
    NonNegative,
    Number,
    PeriodS,
    Positive,
    Probability,
    RatePerS,
    Seconds,
)

Cv = Annotated[Positive, Field(le=100)]
WeibullCv = Annotated[Positive, Field(ge=0.02, le=100)]
States = Annotated[tuple[RatePerS, ...], Field(min_length=2, max_length=16)]
Sojourns = Annotated[tuple[PeriodS, ...], Field(min_length=2, max_length=16)]
Row = tuple[NonNegative, ...]
LogSigma = Annotated[NonNegative, Field(le=5)]  # 5: one in three is off by a factor of 148
Requests = Annotated[Count, Field(le=200_000_000)]
CLIENTS_MAX = 1_000_000  # of one closed loop
LIST_MAX = 50_000_000  # requests
JITTER_MAX_S = 3600.0
Rho = Annotated[Number, Field(gt=-1, lt=1)]


def _check_states(
    rates: tuple[float, ...], sojourn_s: tuple[float, ...], jumps: tuple[Row, ...] | None
) -> None:
    """Raise ValueError when the parts of a Markov chain do not fit each other."""
    n_state = len(rates)
    if len(sojourn_s) != n_state:
        raise ValueError(f"{n_state} rates need {n_state} sojourn_s, not {len(sojourn_s)}")
    if not any(rates):
        raise ValueError("every state has rate 0")
    if jumps is None:
        return
    if len(jumps) != n_state or any(len(row) != n_state for row in jumps):
        raise ValueError(f"jumps must have {n_state} rows of {n_state} entries")
    for i, row in enumerate(jumps):
        if row[i] > 0 or sum(row) <= 0:
            raise ValueError(f"row {i} of jumps must have 0 at entry {i} and something elsewhere")


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Markov:
    """A factor on the rate that jumps between states; its long-run mean is one.

    `rates` are relative; `sojourn_s` are mean stays (exponential). `jumps[i][j]` is the weight of going from
    state i to j; left out, the states follow each other in a ring.
    """

    kind: Literal["markov"] = "markov"
    rates: States
    sojourn_s: Sojourns
    jumps: tuple[Row, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_states(self.rates, self.sojourn_s, self.jumps)
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Drift:
    """A lognormal factor on the rate, mean one, redrawn every `window_s`; neighbours correlate."""

    kind: Literal["drift"] = "drift"
    log_sigma: LogSigma
    correlation: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    window_s: PeriodS = 600.0


Modulation = Annotated[Markov | Drift, Field(discriminator="kind")]
Modulations = Annotated[tuple[Modulation, ...], Field(max_length=8)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Poisson:
    """Independent arrivals."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: RatePerS
    modulations: Modulations = ()


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class GammaRenewal:
    """Gamma gaps, given by their `cv` or by their `shape` = 1/cv²; cv above one is bursty."""

    kind: Literal["gamma"] = "gamma"
    rate_per_s: RatePerS
    cv: Cv | None = None
    shape: Annotated[Positive, Field(ge=1e-4, le=1e6)] | None = None
    modulations: Modulations = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.cv is None) == (self.shape is None):
            raise ValueError("gamma arrivals take cv or shape, exactly one")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class WeibullRenewal:
    """Weibull gaps, given by their `cv` or by their `shape`; shape below one is bursty."""

    kind: Literal["weibull"] = "weibull"
    rate_per_s: RatePerS
    cv: WeibullCv | None = None
    shape: Annotated[Positive, Field(ge=0.1, le=60)] | None = None
    modulations: Modulations = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.cv is None) == (self.shape is None):
            raise ValueError("weibull arrivals take cv or shape, exactly one")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Mmpp:
    """Poisson whose rate jumps between states.

    With `rate_per_s` the `rates` are relative and scaled to that mean; without it they are per second.
    """

    kind: Literal["mmpp"] = "mmpp"
    rate_per_s: RatePerS | None = None
    rates: States
    sojourn_s: Sojourns
    jumps: tuple[Row, ...] | None = None
    modulations: Modulations = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_states(self.rates, self.sojourn_s, self.jumps)
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OnOff:
    """Poisson, silent for `off_s` and active for `on_s` on average; `rate_per_s` is the long-run mean."""

    kind: Literal["on_off"] = "on_off"
    rate_per_s: RatePerS
    on_s: PeriodS
    off_s: PeriodS
    modulations: Modulations = ()


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Clients:
    """Many clients, each a renewal process with its own burstiness, redrawn every `window_s`.

    Client i of n has a share of `rate_per_s` in proportion to the (i + ½)/n quantile of `client_rate`. `cv`
    is drawn for every client and window, correlated by `cv_rate_spearman` with the client's rank by rate;
    with probability `weibull_share` its gaps are Weibull instead of gamma. As in ServeGen (arXiv 2505.09999).
    """

    kind: Literal["clients"] = "clients"
    rate_per_s: RatePerS
    n_clients: Annotated[Count, Field(le=100_000)]
    client_rate: Dist
    cv: Dist
    cv_rate_spearman: Rho = 0.0
    weibull_share: Probability = 0.0
    window_s: PeriodS = 600.0
    modulations: Modulations = ()


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Batch:
    """`requests` at once at `at_s`, and again every `every_s` if that is given: offline work."""

    kind: Literal["batch"] = "batch"
    requests: Requests
    at_s: Seconds = 0.0
    every_s: PeriodS | None = None


Simple = Poisson | GammaRenewal | WeibullRenewal | Mmpp | OnOff | Clients | Batch
Component = Annotated[Simple, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Superposition:
    """Several independent processes together; with `rate_per_s` they are scaled to sum to it."""

    kind: Literal["superposition"] = "superposition"
    rate_per_s: RatePerS | None = None
    components: Annotated[tuple[Component, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rate_per_s is None:
            return self
        if any(isinstance(c, Batch) for c in self.components):
            raise ValueError("a superposition with a batch has no mean rate; leave rate_per_s out")
        if sum(c.rate_per_s or 0.0 for c in self.components if not isinstance(c, Batch)) <= 0:
            raise ValueError("the components' rate_per_s sum to zero")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Concurrency:
    """A load generator: `max` clients, each of which sends its next request when one has been answered or has failed.

    Closed loop, as `vllm bench serve --max-concurrency`, AIPerf and guidellm's concurrent profile do it. Requests are
    independent and stand in one list; whoever of the clients is free sends the next. The first `max` are sent at t = 0, or
    spread evenly over `ramp_s`. `requests` is how long the list is; without it the clients go on until `duration_s`.
    Between an answer and the next request pass `jitter_s` on average (exponential): the client's own work and the network.
    """

    kind: Literal["concurrency"] = "concurrency"
    max: Annotated[Count, Field(le=CLIENTS_MAX)]
    requests: Annotated[Count, Field(le=LIST_MAX)] | None = None
    ramp_s: Seconds = 0.0
    jitter_s: Annotated[Seconds, Field(le=JITTER_MAX_S)] = 0.002


Arrivals = Annotated[Simple | Superposition | Concurrency, Field(discriminator="kind")]
