"""Limits with a verdict: `ttft.p99 < 0.5 s`, `slo_attainment >= 0.999`, `chat.ttft.p99 < 1 s`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from sim.errors import InputError, nearest
from sim.measures.levels import STATISTICS, key_of
from sim.measures.listed import LATENCIES, REQUESTS, WHOLE
from sim.measures.measure import ENERGY, PER_SECOND, SHARE, Measure
from sim.measures.measure import SECONDS as TIME
from sim.units import HORIZON_MAX_S

METRICS = {measure.name: measure for measure in (*LATENCIES, *WHOLE)}
CLASS_METRICS = {measure.name for measure in REQUESTS}  # the others are not known per class

SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
PERCENT = 0.01
MEASURE_MAX = 1e15  # of counts, tokens, dollars: no run comes near
SHAPE = re.compile(
    r"^\s*([A-Za-z0-9_.\-]+?)\s*(<=|>=|<|>)\s*([0-9.eE+\-]+)\s*((?:[A-Za-zµ%][A-Za-z0-9µ%/]*)?)\s*$"
)
HOW = "`metric.statistic < number unit`, as `ttft.p99 < 0.5 s`"


class Limit(NamedTuple):
    """One limit; `value` is in s for times, a fraction, USD, or a count."""

    text: str
    scope: str | None  # a traffic class; None: all requests
    metric: str
    statistic: str | None  # of a latency; None for everything else
    op: str
    value: float

    @property
    def path(self) -> tuple[str, ...]:
        """Where a summary has the observed value: `("classes", "chat", "ttft", "p99_s")`."""
        scope = () if self.scope is None else ("classes", self.scope)
        last = () if self.statistic is None else (key_of(self.statistic),)
        return (*scope, self.metric, *last)

    def is_met(self, observed: float) -> bool:
        """True when `observed`, in the unit of `value`, keeps the limit."""
        return OPERATORS[self.op](observed, self.value)


def parse_slo(text: str, classes: Collection[str] = ()) -> Limit:
    """The limit that `text` says; raises InputError that names what is wrong with it."""
    match = SHAPE.match(text)
    if match is None:
        raise InputError(f"slo: {text!r} is not a limit; write {HOW}")
    scope, metric, statistic = measure_of(text, match[1], classes)
    limit = Limit(
        text.strip(), scope, metric, statistic, match[2], value_of(text, metric, match[3], match[4])
    )
    if why := why_useless(limit):
        raise InputError(f"slo: {text!r}: {why}")
    return limit


def why_useless(limit: Limit) -> str:
    """Why a limit says nothing, as it always holds or never can; an empty string where it may do either."""
    low, high = 0.0, most_of(limit.metric)
    at_low, at_high = limit.is_met(low), limit.is_met(high)
    what = f"{limit.metric} lies between 0 and {range_end(limit.metric)}"
    if limit.value < 0:
        return f"{what}; allowed: a limit that is not negative"
    if limit.value > high:
        hint = (
            f"; {limit.value:g} % is {limit.value / 100:g}"
            if high == 1 and limit.value <= 100 and "%" not in limit.text
            else ""
        )
        return f"{what}: {'it would always hold' if at_high else 'it can never hold'}{hint}"
    if at_low and at_high:
        return f"{what}: it would always hold"
    is_point = limit.value in (low, high)
    if is_point and not at_low and not at_high:
        return f"{what}: it can never hold"
    return ""


def most_of(metric: str) -> float:
    """The end of what a metric can be, in its own unit."""
    if METRICS[metric].unit == SHARE:
        return 1.0
    return HORIZON_MAX_S if METRICS[metric].is_latency else MEASURE_MAX


def range_end(metric: str) -> str:
    """The end of what a metric can be, in words."""
    if METRICS[metric].unit == SHARE:
        return "1 (100 %)"
    return "45 days, the longest run" if METRICS[metric].is_latency else f"{MEASURE_MAX:g}"


def contradictions(limits: Collection[Limit]) -> Iterator[str]:
    """A line for each pair of limits on one measure that cannot both hold."""
    for above in limits:
        for below in limits:
            same = above[1:4] == below[1:4]
            if not same or above.op not in (">", ">=") or below.op not in ("<", "<="):
                continue
            is_open = above.op == ">" or below.op == "<"
            if above.value > below.value or (is_open and above.value == below.value):
                yield f"slo: {above.text!r} and {below.text!r} cannot both hold"


def measure_of(text: str, measure: str, classes: Collection[str]) -> tuple[str | None, str, str | None]:
    """`chat.ttft.p99` as (class, metric, statistic)."""
    scope = next((c for c in sorted(classes, key=len, reverse=True) if measure.startswith(f"{c}.")), None)
    rest = measure if scope is None else measure[len(scope) + 1 :]
    metric, _, statistic = rest.partition(".")
    if metric not in METRICS:
        raise InputError(unknown_metric(text, metric, statistic, classes))
    if scope is not None and metric not in CLASS_METRICS:
        raise InputError(
            f"slo: {text!r}: {metric} is known for the whole fleet, not for class {scope!r} alone"
        )
    return scope, metric, statistic_of(text, metric, statistic)


def unknown_metric(text: str, metric: str, statistic: str, classes: Collection[str]) -> str:
    """The line for a first name that is neither a metric nor a class."""
    looks_like_class = statistic.partition(".")[0] in METRICS
    names = sorted(classes) if looks_like_class else [*METRICS, *classes]
    kind = "class" if looks_like_class else "metric"
    close = nearest(metric, names)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"slo: {text!r}: {metric!r} is no {kind}; allowed: {', '.join(names)}{hint}"


def statistic_of(text: str, metric: str, statistic: str) -> str | None:
    """The statistic a latency needs, and nothing else has."""
    if not METRICS[metric].is_latency:
        if statistic:
            raise InputError(f"slo: {text!r}: {metric} is one number and has no {statistic!r}")
        return None
    statistic = statistic.replace("p99_9", "p99.9")
    if statistic not in STATISTICS:
        close = nearest(statistic, STATISTICS)
        hint = f"; did you mean {close!r}?" if close else ""
        raise InputError(f"slo: {text!r}: {metric} needs one of {', '.join(STATISTICS)}{hint}")
    return statistic


def value_of(text: str, metric: str, number: str, unit: str) -> float:
    """The limit's number in the metric's own unit (s, fraction, USD, count)."""
    try:
        value = float(number)
    except ValueError:
        raise InputError(f"slo: {text!r}: {number!r} is not a number; write {HOW}") from None
    if not abs(value) < float("inf"):
        raise InputError(f"slo: {text!r}: the limit must be a finite number")
    factor = factor_of(text, metric, unit)
    # dividing by 100 is right where multiplying by 0.01 is not: 99.9 % is 0.999
    return value / 100 if factor == PERCENT else value * factor


def factor_of(text: str, metric: str, unit: str) -> float:
    """What one `unit` is in the metric's own unit."""
    measure = METRICS[metric]
    if measure.unit == TIME:
        if unit not in SECONDS:
            raise InputError(f"slo: {text!r}: {metric} is a time and needs a unit: {', '.join(SECONDS)}")
        return SECONDS[unit]
    if measure.unit == SHARE and unit == "%":
        return PERCENT
    if unit and unit != named_unit(measure) and not (is_money(measure) and unit.upper() == "USD"):
        raise InputError(f"slo: {text!r}: {metric} is {own_unit(measure)}, not in {unit!r}")
    return 1.0


def own_unit(measure: Measure) -> str:
    """In words, what a limit on a measure that is no time is given in."""
    if measure.unit == SHARE:
        return "a fraction, or in %"
    if is_money(measure):
        return "in USD"
    if unit := named_unit(measure):
        return f"in {unit}"
    return "per second" if measure.unit == PER_SECOND else "a count"


def named_unit(measure: Measure) -> str | None:
    """The unit of a measure of energy, which a limit may name; None of others."""
    return measure.unit if measure.unit in ENERGY else None


def is_money(measure: Measure) -> bool:
    """Whether a measure is an amount of money, or a price."""
    return measure.unit.startswith("usd")
