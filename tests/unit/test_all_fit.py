"""Whether every request fits every pool is asked once: the loop then turns nobody away, and where it is not so, it asks."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow
from sim.fill.trace import Traffic
from sim.steptime.table import simple_table
from sim.units import PS_PER_S

MAX_LEN, BLOCKS, BLOCK = 100, 5, 16


@pytest.mark.parametrize(
    ("max_len", "blocks"), [(MAX_LEN, BLOCKS), (BLOCK * BLOCKS - 1, BLOCKS), (MAX_LEN, BLOCKS + 2)]
)
@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
def test_at_the_limit(max_len: int, blocks: int, beyond: int) -> None:
    room = min(max_len, blocks * BLOCK)
    prompts, outputs = np.array([5, room + beyond - 4, 7]), np.array([3, 4, 1])
    table = simple_table(4, base_us=100, slope_ns=4, prefill_us_per_token=2, n_kv_blocks=blocks)
    pool = PoolRow(
        base_ps=table.base_ps,
        slope_ps=table.slope_ps,
        prefill_ps=0,
        work_ps=table.work_ps,
        attention_q16=0,
        n_blocks=blocks,
        block_size=BLOCK,
        max_num_seqs=4,
        max_num_batched_tokens=2048,
        max_model_len=max_len,
        min_replicas=1,
        max_replicas=1,
        initial_replicas=1,
        target_milli=1,
    )
    run = RunRow(1, 10 * PS_PER_S, 0, 20 * PS_PER_S, 0, 0)
    traffic = Traffic(np.arange(3) * PS_PER_S, prompts, outputs, np.zeros(3, dtype=np.int64))
    p = make_params(run, traffic, [ClassRow()], [ServedModelRow()], [pool])
    counts = make_result(p, run_plan(p)).counts
    assert p.all_fit == (beyond <= 0)
    if p.all_fit:
        assert counts["rejected"][0] == 0
    context, last_kv = (
        room + beyond,
        room + beyond - 1,
    )  # the last token of an answer is never written to the cache
    assert counts["rejected"][0] == (context > max_len or last_kv > blocks * BLOCK)
