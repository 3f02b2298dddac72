"""The one table of requests that a run is made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.scenario.scenario import Scenario
from sim.scenario.trace import Trace
from sim.scenario.traffic import TrafficClass
from sim.units import PS_PER_S, s_to_ps
from sim.workload.arrivals import arrival_times_s
from sim.workload.lengths import make_lengths
from sim.workload.readers import read_trace
from sim.workload.recorded import replay


class Requests(NamedTuple):
    """Sorted by (arrival_ps, class_id, order within the class); the row number is the request's id."""

    arrival_ps: NDArray[np.int64]  # (request,) in [0, duration)
    prompt_tokens: NDArray[np.int32]  # (request,) ≥ 1
    output_tokens: NDArray[np.int32]  # (request,) ≥ 0; 0 is an embedding
    class_id: NDArray[np.int32]  # (request,) index into scenario.classes


def make_requests(scenario: Scenario, seed: int) -> Requests:
    """All requests of a run: the same for the same (scenario, seed), and one class never changes another's.

    Raise InputError when a trace cannot be used or when there would be too many requests.
    """
    parts = [
        class_requests(traffic, class_id, scenario.duration_s, seed)
        for class_id, traffic in enumerate(scenario.classes)
    ]
    return parts[0] if len(parts) == 1 else merge(parts)


def class_requests(traffic: TrafficClass, class_id: int, duration_s: float, seed: int) -> Requests:
    """The requests of one class alone."""
    if traffic.trace is not None:
        return _recorded_requests(traffic, traffic.trace, class_id, duration_s, seed)
    arrival_ps = to_ps(arrival_times_s(traffic, duration_s, seed), duration_s)
    prompt, output = make_lengths(traffic, len(arrival_ps), seed)
    return Requests(arrival_ps, prompt, output, np.full(len(arrival_ps), class_id, dtype=np.int32))


def _recorded_requests(
    traffic: TrafficClass, trace: Trace, class_id: int, duration_s: float, seed: int
) -> Requests:
    """The requests of a trace; where it holds lengths only, they go round in file order."""
    rows = read_trace(trace)
    if rows.arrival_ns is None:
        _check_lengths_only(trace)
        arrival_ps = to_ps(arrival_times_s(traffic, duration_s, seed), duration_s)
        index = np.arange(len(arrival_ps)) % len(rows.row)
    else:
        _check_timed(traffic, trace)
        arrival_ps, index = replay(trace, rows, duration_s, seed, traffic.name)
    classes = np.full(len(arrival_ps), class_id, dtype=np.int32)
    return Requests(arrival_ps, rows.prompt_tokens[index], rows.output_tokens[index], classes)


def _check_timed(traffic: TrafficClass, trace: Trace) -> None:
    if traffic.spikes:
        allowed = f"no spikes: {trace.file} has its own arrival times"
        raise InputError(problem(f"{traffic.name}.spikes", len(traffic.spikes), allowed))


def _check_lengths_only(trace: Trace) -> None:
    """Raise InputError for every option that needs arrival times."""
    plain = Trace(file=trace.file)
    names = ("start_s", "end_s", "speed_up", "scale", "repeat", "sort")
    changed = [name for name in names if getattr(trace, name) != getattr(plain, name)]
    if changed:
        allowed = f"nothing: {trace.file} has no arrival times, arrivals come from `arrivals`"
        raise InputError([problem(f"trace.{name}", getattr(trace, name), allowed) for name in changed])


def merge(parts: list[Requests]) -> Requests:
    """Several classes' requests as one table; at equal times the earlier part comes first."""
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return Requests(*(column[order] for column in joined))


def to_ps(times_s: NDArray[np.float64], end_s: float) -> NDArray[np.int64]:
    """Rising seconds as rising whole picoseconds in [0, end_s)."""
    times_ps = np.rint(times_s * PS_PER_S).astype(np.int64)
    times_ps = np.maximum.accumulate(times_ps)  # rounding must not turn two neighbours round
    return times_ps[: np.searchsorted(times_ps, s_to_ps(end_s), side="left")]
