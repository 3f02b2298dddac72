"""All of a scenario's traffic, more or less of it: every class's rate, clients, batch or share of a recording."""

from __future__ import annotations

import dataclasses
from typing import Any

from sim.errors import InputError
from sim.scenario.arrivals import Batch, Concurrency, Mmpp, Superposition
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass


def with_load(story: Scenario, factor: float) -> Scenario:
    """The scenario with all traffic multiplied. Clients of a closed loop and requests of a batch are rounded to whole ones.

    Raises InputError where a class's traffic cannot be so much.
    """
    if factor == 1.0:
        return story
    try:
        return dataclasses.replace(story, classes=tuple(_more(one, factor) for one in story.classes))
    except ValueError as error:  # of a key's own bounds
        why = " ".join(str(error).split("\n", 3)[2:3]).split(" [", 1)[0].strip()
        raise InputError(f"traffic: {factor:g} times as much cannot be: {why}") from None


def is_in_steps(story: Scenario) -> bool:
    """Whether some traffic comes in whole clients or batches, so that a small change of the load may change nothing."""
    return any(one.trace is None and isinstance(one.arrivals, Batch | Concurrency) for one in story.classes)


def _more(traffic: TrafficClass, factor: float) -> TrafficClass:
    if traffic.trace is not None and not isinstance(traffic.arrivals, Concurrency):
        from sim.workload.readers import read_trace

        if read_trace(traffic.trace, False, False).arrival_ns is not None:
            trace = dataclasses.replace(traffic.trace, scale=traffic.trace.scale * factor)
            return dataclasses.replace(traffic, trace=trace)
    return dataclasses.replace(traffic, arrivals=_arrivals(traffic.arrivals, factor, traffic.name))


def _arrivals(arrivals: Any, factor: float, name: str) -> Any:
    if isinstance(arrivals, Concurrency):
        return dataclasses.replace(arrivals, max=max(1, round(arrivals.max * factor)))
    if isinstance(arrivals, Batch):
        return dataclasses.replace(arrivals, requests=max(1, round(arrivals.requests * factor)))
    if isinstance(arrivals, Superposition):
        if arrivals.rate_per_s is not None:
            return dataclasses.replace(arrivals, rate_per_s=arrivals.rate_per_s * factor)
        return dataclasses.replace(
            arrivals, components=tuple(_arrivals(part, factor, name) for part in arrivals.components)
        )
    if isinstance(arrivals, Mmpp) and arrivals.rate_per_s is None:
        return dataclasses.replace(arrivals, rates=tuple(rate * factor for rate in arrivals.rates))
    if getattr(arrivals, "rate_per_s", None) is None:
        raise InputError(f"{name}.arrivals: {arrivals.kind} has no rate that could be multiplied")
    return dataclasses.replace(arrivals, rate_per_s=arrivals.rate_per_s * factor)
