"""A request still inside at the end misses an objective only once it is beyond it: exactly at it, it is met."""

from __future__ import annotations

import numpy as np
import pytest

from sim.compile.jit import entry_point
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow
from sim.fill.state import new_state
from sim.fill.trace import Traffic
from sim.model.request.in_flight import is_missed

missed = entry_point(is_missed)
ARRIVAL_PS, NOW_PS, FIRST_PS, GAP_PS = 100, 1000, 400, 70


@pytest.mark.parametrize(
    ("objective", "seen_ps"),
    [("ttft_ps", FIRST_PS - ARRIVAL_PS), ("itl_ps", GAP_PS), ("e2e_ps", NOW_PS - ARRIVAL_PS)],
)
@pytest.mark.parametrize(("beyond_ps", "is_beyond"), [(-1, True), (0, False), (1, False)])
def test_at_the_objective_it_is_met(objective: str, seen_ps: int, beyond_ps: int, is_beyond: bool) -> None:
    one = np.ones(1, dtype=np.int64)
    pool = PoolRow(np.full(2, 10), np.zeros(2, dtype=np.int64), 0, 0, 100, 1, 64, 100)
    run = RunRow(seed=1, duration_ps=10**6, warmup_ps=0, end_ps=10**7, sample_ps=0)
    promised = ClassRow()._replace(**{objective: seen_ps + beyond_ps})
    params = make_params(run, Traffic(0 * one, one, one, 0 * one), [promised], [ServedModelRow()], [pool])
    state = new_state(params)
    state.now_ps = NOW_PS
    slot = state.slot[0]
    slot.arrival_ps, slot.first_ps, slot.gap_max = ARRIVAL_PS, FIRST_PS, GAP_PS
    assert bool(missed(params, state, 0, -1)) == is_beyond
