"""Blocked answers go to another group: what a class says of its own group's pools does not hold there."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow
from sim.fill.trace import Traffic

US = 10**6


@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("outstanding_max", [1, 10])
def test_a_list_of_pools_is_one_of_the_classs_own_group(ordered: int, outstanding_max: int) -> None:
    ones = np.ones(4, dtype=np.int64)
    speed = np.full(9, US)
    pool = PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)
    group = ServedModelRow(outstanding_max=outstanding_max)
    p = make_params(
        RunRow(seed=1, duration_ps=10**9, warmup_ps=0, end_ps=10**12, sample_ps=0),
        Traffic(ones, ones, ones, 0 * ones),
        [ClassRow(blocked_q20=1 << 20, fallback=1, pools=(1,), ordered=ordered)],
        [group, group],
        [pool, pool, pool._replace(served_model=1)],
    )
    result = make_result(p, run_plan(p))
    assert result.counts["completed"][0] == 4
    assert result.requests["pool_id"].tolist() == [2] * 4
    assert [row["run_completions"] for row in result.pools] == [0, 4, 4]
