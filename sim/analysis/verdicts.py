"""Limits with a verdict: each `slo:` line of a scenario against what a run came to."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sim.measures.flat import column_unit
from sim.scenario.slo import Limit, parse_slo


class Verdict(NamedTuple):
    """One limit and whether it held: it did not when `observed` is None, nothing being there to measure."""

    text: str
    measure: str  # its name in the summary: "ttft_p99_s"
    scope: str | None  # a traffic class; None: all requests
    op: str
    limit: float
    observed: float | None
    unit: str
    ok: bool


def verdicts(scenario: Any, summary: Mapping[str, Any]) -> list[Verdict]:
    """The verdict on each of a scenario's limits, in their order."""
    return evaluate(limits_of(scenario), summary)


def limits_of(scenario: Any) -> tuple[Limit, ...]:
    """A scenario's limits, in their order."""
    return _limits(tuple(scenario.slo), tuple(c.name for c in scenario.classes))


@functools.lru_cache
def _limits(texts: tuple[str, ...], names: tuple[str, ...]) -> tuple[Limit, ...]:
    return tuple(parse_slo(text, names) for text in texts)  # the same for all runs of a sweep


def evaluate(limits: Iterable[Limit], summary: Mapping[str, Any]) -> list[Verdict]:
    """The verdict on each limit, in their order; KeyError on a class or measure that the summary lacks."""
    return [_verdict(limit, summary) for limit in limits]


def all_held(found: Iterable[Verdict]) -> bool:
    """Whether every limit held; true without limits."""
    return all(verdict.ok for verdict in found)


def with_verdicts(summary: Mapping[str, Any], found: list[Verdict]) -> dict[str, Any]:
    """The summary with its verdicts and `slo_ok`, which is null where the scenario sets no limit."""
    ok = all_held(found) if found else None
    return {**summary, "slo_ok": ok, "verdicts": [verdict._asdict() for verdict in found]}


def _verdict(limit: Limit, summary: Mapping[str, Any]) -> Verdict:
    value: Any = summary
    for key in limit.path:
        value = value[key]
    name = "_".join(limit.path if limit.scope is None else limit.path[2:])
    unit = column_unit(name)
    return Verdict(
        text=limit.text,
        measure=name,
        scope=limit.scope,
        op=limit.op,
        limit=limit.value,
        observed=value,
        unit="" if unit == "1" else unit,
        ok=value is not None and limit.is_met(float(value)),
    )
