"""A class of traffic: when its requests come, how long they are, and what they are promised."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.arrivals import Arrivals, Poisson, Rho
from sim.scenario.dist import Constant, Dist
from sim.scenario.guardrail import Guardrail
from sim.scenario.limits import Caps, Limits
from sim.scenario.patience import Patience
from sim.scenario.popularity import Popularity
from sim.scenario.retry import Retry
from sim.scenario.sessions import Sessions
from sim.scenario.station import Visits
from sim.scenario.trace import Trace
from sim.scenario.types import (
    CONFIG,
    Clock,
    CountOrZero,
    Flag,
    Int,
    Key,
    Name,
    NonNegative,
    Positive,
    Seconds,
    Share,
    SomeSeconds,
    Tags,
    Text,
    Tier,
)

Factor = Annotated[NonNegative, Field(le=1_000_000)]  # on a rate
HoursOfDay = Annotated[tuple[Factor, ...], Field(min_length=24, max_length=24)]
DaysOfWeek = Annotated[tuple[Factor, ...], Field(min_length=7, max_length=7)]
Outstanding = Annotated[Positive, Field(le=1e9)]
DeferS = Annotated[SomeSeconds, Field(le=86_400)]
Priority = Annotated[Int, Field(ge=-(2**31), le=2**31 - 1)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Spike:
    """The rate climbs to `height` times itself in `ramp_s`, stays for `length_s`, falls in `ramp_down_s`."""

    at_s: Seconds
    height: Factor
    length_s: Seconds
    ramp_s: Seconds = 0.0
    ramp_down_s: Seconds | None = None  # None: as long as ramp_s


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Curves:
    """How the rate follows the clock: multipliers of `rate_per_s` by hour of day and by day of week.

    `linear` draws straight lines between mid-hours (mid-days), `step` holds each value for its hour (day).
    """

    day: HoursOfDay | None = None
    week: DaysOfWeek | None = None
    shape: Literal["linear", "step"] = "linear"
    start_hour: Annotated[NonNegative, Field(lt=24)] = 0.0  # the hour of day at t = 0
    start_day: Annotated[Int, Field(ge=0, le=6)] = 0  # the day of week at t = 0, an index into `week`
    active: Flag = True


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Objectives:
    """What one request is promised; None promises nothing. `itl_s` limits its longest gap between tokens."""

    ttft_s: SomeSeconds | None = None
    itl_s: SomeSeconds | None = None
    tpot_s: SomeSeconds | None = None
    e2e_s: SomeSeconds | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class TrafficClass:
    """Requests that share a model, a priority, objectives, and how their clients behave.

    Lengths are drawn from `prompt_tokens` and `output_tokens`, rounded to whole tokens (a prompt has at least
    one; an output of 0 is an embedding), with Spearman correlation `prompt_output_spearman` between them.
    A `trace` replaces both lengths, and if it has arrival times, `arrivals` and `curves` too.

    With a `share`, the class has no arrivals of its own: all classes with one split what `traffic` says, each
    arrival going to a class by chance; their shares sum to one. An attempt is refused while its model's ready
    replicas have more than `shed_above` requests each, when it would queue for more than `max_queue_s`, or when its
    first token is expected later than `max_ttft_s`.

    Every prompt begins with the same `system_prompt_tokens`, on top of its own; with `sessions`, arrivals are
    beginnings of sessions.

    Its requests visit CPU stations `before` and `after` the GPU, in order; the `guardrail` judges their answers. What
    is not answered `deadline_s` after it arrived is given up, whatever was tried. Requests that arrive outside
    `cheap_hours` (from, to; by the clock of `curves.start_hour`) start when these begin, or after `defer_max_s`.

    Only pools of at least `min_tier` that have every tag of `needs`, no farther from the users' `location` than
    `max_rtt_s`, serve the class; `route_to` names its pools in order of preference.
    """

    name: Name = "default"
    tenant: Key | None = None
    model: Name | None = None
    priority: Priority = 0
    share: Share | None = None
    arrivals: Arrivals = field(default_factory=lambda: Poisson(rate_per_s=1.0))
    curves: Curves = field(default_factory=Curves)
    spikes: Annotated[tuple[Spike, ...], Field(max_length=1000)] = ()
    prompt_tokens: Dist = field(default_factory=lambda: Constant(value=1000))
    output_tokens: Dist = field(default_factory=lambda: Constant(value=200))
    prompt_output_spearman: Rho = 0.0
    system_prompt_tokens: CountOrZero = 0
    sessions: Sessions | None = None
    trace: Trace | None = None
    caps: Caps = field(default_factory=Caps)
    objectives: Objectives = field(default_factory=Objectives)
    patience: Patience = field(default_factory=Patience)
    retry: Retry = field(default_factory=Retry)
    limits: Limits = field(default_factory=Limits)
    shed_above: Outstanding | None = None
    max_queue_s: Seconds | None = None
    max_ttft_s: Seconds | None = None
    before: Visits = ()
    after: Visits = ()
    guardrail: Guardrail = field(default_factory=Guardrail)
    popularity: Popularity | None = None
    deadline_s: SomeSeconds | None = None
    cheap_hours: tuple[Clock, ...] | None = None
    defer_max_s: DeferS | None = None
    route_to: Tags = ()
    min_tier: Tier = 0
    needs: Tags = ()
    location: Key | None = None
    max_rtt_s: Seconds | None = None
    source: Text = ""
    note: Text = ""
