"""What holds of GPUs that replicas share, after every event of a run on SimPy.

A step's share of its GPU is read when it starts: alone it is the whole GPU, and the steps in progress then, each with that
share, make no more progress than the GPU would. A step that is in progress is never timed anew.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from parity.engines import laws_of
from parity.fleets import fleet

from sim.engine import simpy
from sim.model.tables.codes import STEP_DECODES, STEP_PROMPTS
from sim.model.tables.node import TENANTS_MAX, TIME_SLICING

SEEDS = [seed for seed in range(4000, 4080) if int(fleet(seed).params.n_gpu_share) > 0]


class Walk:
    """One run, looked at after every event."""

    def __init__(self, seed: int) -> None:
        made = fleet(seed)
        self.fleet = simpy.Fleet(made.params, laws_of(made))
        self.p = self.fleet.params
        self.begun: dict[int, tuple[int, int]] = {}
        self.seen: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Walk to the end; what was seen."""
        while not self.fleet.is_over:
            self.fleet.step()
            for number in range(int(self.p.n_gpu_share)):
                self.check(number)
        return self.seen

    def check(self, number: int) -> None:
        """One GPU: its counts are those of its tenants; a step that has just begun takes as long as they say."""
        st, gpu = self.fleet.state, self.fleet.state.gpu_share[number]
        tenants = [int(gpu.tenant[i]) - 1 for i in range(TENANTS_MAX) if gpu.tenant[i] > 0]
        assert len(set(tenants)) == len(tenants)
        rows = {r: st.replica[r] for r in tenants}
        assert all(int(row.shared_gpu) == number + 1 for row in rows.values())
        assert all((row.jump_steps > 0) == (row.step_kind > 0) for row in rows.values())
        percent = {r: int(self.p.pool_place[row.pool].thread_percent) for r, row in rows.items()}
        decoding = sum(row.step_kind & STEP_DECODES > 0 for row in rows.values())
        threads = sum(percent[r] for r, row in rows.items() if row.step_kind & STEP_PROMPTS)
        busy = sum(row.step_kind > 0 for row in rows.values())
        assert (gpu.n_busy, gpu.n_decoding, gpu.prompt_percent) == (busy, decoding, threads)
        for r, row in rows.items():
            key = (int(row.jump_ps), int(row.step))
            if row.step_kind > 0 and self.begun.get(r) != key and row.jump_ps == int(self.fleet.env.now):
                self.begun[r] = key
                self.check_step(row, busy, decoding, threads)

    def check_step(self, row: Any, busy: int, decoding: int, threads: int) -> None:
        """A step that has just begun: its share of what it uses, times those that use it, is at most the whole."""
        took, alone = int(row.jump_first_ps), int(row.alone_first_ps)
        group = self.p.node_group[self.fleet.state.gpu_share[row.shared_gpu - 1].group]
        self.seen["alone" if busy == 1 else "beside others"] += 1
        if busy == 1:
            assert took == alone
        elif group.sharing == TIME_SLICING:
            assert took >= busy * alone
        elif row.step_kind == STEP_DECODES:
            assert took >= decoding * alone
        elif row.step_kind == STEP_PROMPTS:
            assert 100 * took >= max(100, threads) * alone
        assert took >= alone


def test_nobody_gets_more_of_a_gpu_than_there_is() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += Walk(seed).run()
    assert min(seen["alone"], seen["beside others"]) > 40, seen
