"""What is done to a recorded trace before it is replayed: window, speed-up, scale, repeat."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, problem
from sim.scenario.trace import Trace
from sim.units import s_to_ps
from sim.workload.arrivals import REQUESTS_MAX
from sim.workload.formats import TraceRows
from sim.workload.streams import generator

Ints = NDArray[np.int64]
NS_PER_S = 10**9


def replay(trace: Trace, rows: TraceRows, duration_s: float, seed: int, name: str) -> tuple[Ints, Ints]:
    """(arrival_ps, index into `rows`) of the requests a trace with arrival times makes in [0, duration_s)."""
    arrival_ps, place = replay_copies(trace, rows, duration_s, seed, name)
    return arrival_ps, place % len(rows.row)


def replay_copies(
    trace: Trace, rows: TraceRows, duration_s: float, seed: int, name: str
) -> tuple[Ints, Ints]:
    """As `replay`; places count on through the copies that `scale` and `repeat` make: copy · rows + index."""
    at_ns, index, span_ns = window(trace, rows)
    if len(at_ns) and at_ns.min() >= duration_s * trace.speed_up * NS_PER_S:
        first_s = float(at_ns.min()) / NS_PER_S
        allowed = (
            "a trace with rows in the run; traffic.trace.origin=first_row counts from the first,"
            " traffic.trace.start_s cuts before it"
        )
        raise InputError(
            problem("trace.file", f"{trace.file}: its first row is at {first_s:.10g} s", allowed)
        )
    at_ns, index = rescale(trace, _kept_by(rows), at_ns, index, span_ns, generator(seed, "trace", name))
    if trace.repeat:
        n_place = math.ceil(max(trace.scale, 1.0)) * len(rows.row)
        at_ns, index = _repeat(trace, at_ns, index, span_ns, duration_s, n_place)
    near_end = at_ns < (duration_s + 1.0) * trace.speed_up * NS_PER_S  # no overflow below
    at_ps = speed_up(at_ns[near_end], trace.speed_up)
    is_inside = at_ps < s_to_ps(duration_s)
    return at_ps[is_inside], index[near_end][is_inside]


def _kept_by(rows: TraceRows) -> Ints:
    """What `scale` keeps or leaves out as one: each row, or all of a session by its first."""
    if rows.session is None:
        return rows.row
    first = np.full(int(rows.session.max()) + 2, 2**62, dtype=np.int64)
    np.minimum.at(first, rows.session, rows.row)
    return np.where(rows.session < 0, rows.row, first[rows.session])


def window(trace: Trace, rows: TraceRows) -> tuple[Ints, Ints, int]:
    """(at_ns from the window's start, index into `rows`, the window's length in ns).

    A window without an end is as long as its last arrival and one mean gap.
    """
    assert rows.arrival_ns is not None
    start_ns = round(trace.start_s * NS_PER_S)
    end_ns = 2**62 if trace.end_s is None else round(trace.end_s * NS_PER_S)
    index = np.flatnonzero((rows.arrival_ns >= start_ns) & (rows.arrival_ns < end_ns))
    if not len(index):
        last_s = float(rows.arrival_ns.max()) / NS_PER_S
        raise InputError(
            problem(
                "trace.start_s",
                trace.start_s,
                f"a window that holds rows; {trace.file} ends at {last_s:.6g} s",
            )
        )
    at_ns = rows.arrival_ns[index] - start_ns
    if trace.end_s is not None:
        return at_ns, index, end_ns - start_ns
    gap_ns = int(at_ns[-1] - at_ns[0]) // (len(index) - 1) if len(index) > 1 else 0
    return at_ns, index, int(at_ns[-1]) + max(gap_ns, 1)


def rescale(
    trace: Trace, row: Ints, at_ns: Ints, index: Ints, span_ns: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """`scale` times as many requests: whole copies shifted round the window, and a thinned one for the rest.

    A row is kept when its own uniform, a function of (seed, class, position in the file), is below the share:
    the rows kept at a lower scale are among those kept at a higher one. The first copy is not shifted. Places of
    the c-th copy begin at c times the rows.
    """
    if trace.scale == 1.0:
        return at_ns, index
    keep = rng.random(int(row[index].max()) + 1)[row[index]]
    shift_ns_max = span_ns if trace.copy_shift_s_max is None else trace.copy_shift_s_max * NS_PER_S
    times, sources = [], []
    for copy in range(math.ceil(trace.scale)):
        kept = keep < trace.scale - copy
        shift_ns = 0 if copy == 0 else int(rng.random() * min(shift_ns_max, span_ns))
        times.append((at_ns[kept] + shift_ns) % span_ns if copy else at_ns[kept])
        sources.append(index[kept] + copy * len(row))
    at_ns, index = np.concatenate(times), np.concatenate(sources)
    order = np.argsort(at_ns, kind="stable")
    return at_ns[order], index[order]


def speed_up(at_ns: Ints, factor: float) -> Ints:
    """Picoseconds after division by `factor`: exact at 1, else to the nearest that float64 can tell."""
    if factor == 1.0:
        return at_ns * 1000
    return np.rint(at_ns * 1000.0 / factor).astype(np.int64)


def _repeat(
    trace: Trace, at_ns: Ints, index: Ints, span_ns: int, duration_s: float, n_place: int
) -> tuple[Ints, Ints]:
    """The window again and again until `duration_s`; each round has `n_place` places of its own."""
    n_round = math.ceil(duration_s * trace.speed_up * NS_PER_S / span_ns)
    if n_round * len(index) > REQUESTS_MAX:
        raise InputError(
            f"trace.repeat: {trace.file} would make {n_round * len(index):.3g} requests;"
            f" allowed: at most {REQUESTS_MAX:,}"
        )
    start_ns = np.arange(n_round, dtype=np.int64) * span_ns
    first = np.arange(n_round, dtype=np.int64) * n_place
    return (start_ns[:, None] + at_ns).ravel(), (first[:, None] + index).ravel()
