"""Timers that are put off and forgotten go off when, and in the order in which, a plain list of them would."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from sim.compile.jit import entry_point, jit
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow
from sim.fill.state import new_state, slot_rows
from sim.fill.trace import Traffic
from sim.model.tables.codes import RETRY_FAILED
from sim.model.tables.run import Params, State
from sim.model.timers.kinds import TIMER_DEADLINE
from sim.model.timers.timer_heap import (
    arm,
    disarm,
    first_timer,
    first_timer_ps,
    is_first_current,
    refresh_first,
)
from sim.units import NEVER

N_SLOT = 6
ARM, DISARM, PASS = range(3)


def play(p, st, n_step):  # type: ignore[no-untyped-def]
    """Carry out the steps (what, slot, time) that stand in the trace and write behind them what goes off: (slot, time);
    returns how many did."""
    n = 0
    for i in range(n_step):
        what, s, time = p.trace[3 * i], p.trace[3 * i + 1], p.trace[3 * i + 2]
        if what == ARM:
            arm(st, s, TIMER_DEADLINE, time)
        elif what == DISARM:
            disarm(st, s)
        while what == PASS and first_timer_ps(st) <= time:
            first = first_timer(st)
            if is_first_current(st, first):
                p.trace[3 * n_step + 2 * n] = first
                p.trace[3 * n_step + 2 * n + 1] = st.slot[first].due_ps
                n += 1
                disarm(st, first)
            else:
                refresh_first(st, first)
    return n


def expected(steps: list[tuple[int, int, int]], request_of: list[int]) -> list[tuple[int, int]]:
    """The same from a dictionary of timers, looked through from end to end."""
    due: dict[int, int] = {}
    fired = []
    for what, s, time in steps:
        if what == ARM:
            due[s] = time
        elif what == DISARM:
            due.pop(s, None)
        else:
            gone = sorted((due[slot], request_of[slot], slot) for slot in due if due[slot] <= time)
            fired += [(slot, at) for at, _, slot in gone]
            for _, _, slot in gone:
                del due[slot]
    return fired


@some.composite
def steps_of_a_clock(draw: some.DrawFn) -> list[tuple[int, int, int]]:
    """Steps at a clock that only goes on; equal times are frequent."""
    now, steps = 0, []
    for _ in range(draw(some.integers(1, 60))):
        what = draw(some.sampled_from([ARM, ARM, ARM, DISARM, PASS]))
        if what == PASS:
            now += draw(some.integers(0, 4))
        steps.append(
            (
                what,
                draw(some.integers(0, N_SLOT - 1)),
                now + (draw(some.integers(0, 9)) if what == ARM else 0),
            )
        )
    return [*steps, (PASS, 0, now + 10)]


def empty_run() -> tuple[Params, State]:
    """A run of N_SLOT requests in which nothing has happened."""
    ones = np.ones(N_SLOT, dtype=np.int64)
    pool = PoolRow(np.full(2, 10), np.zeros(2, dtype=np.int64), 0, 0, 1000, 1, 64, 1000)
    run = RunRow(seed=1, duration_ps=10, warmup_ps=0, end_ps=10, sample_ps=0)
    client = ClassRow(attempts_max=2, backoff_ps=(1,), retry_on=RETRY_FAILED)
    p = make_params(run, Traffic(0 * ones, ones, ones, 0 * ones), [client], [ServedModelRow()], [pool])
    st = new_state(p)
    slots = slot_rows(st)
    slots["due_ps"] = NEVER
    slots["request"] = np.arange(len(slots))[::-1]  # whoever has the later slot goes first
    return p, st


@settings(deadline=None)  # the first call compiles
@given(steps_of_a_clock())
def test_what_goes_off_is_what_a_list_of_timers_says(steps: list[tuple[int, int, int]]) -> None:
    p, st = empty_run()
    slots = slot_rows(st)
    room = np.zeros(2 * N_SLOT * len(steps), dtype=np.int64)
    trace = np.concatenate([np.array(steps, dtype=np.int64).reshape(-1), room])
    n = compiled_play()(Params(p.m, trace), st, len(steps))
    fired = trace[3 * len(steps) :].reshape(-1, 2)[:n]
    assert [tuple(row) for row in fired.tolist()] == expected(steps, slots["request"].tolist())


@functools.cache
def compiled_play() -> Any:
    return entry_point(jit(play))
