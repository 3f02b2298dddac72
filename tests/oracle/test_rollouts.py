"""Deployments against a plain model of them: drawn versions, strategies, limits, gates on quality, chains and losses.

python -m tests.oracle.test_rollouts A:B
"""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import ClassRow, FaultRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.signals import SignalRow
from sim.model.rollout.limits import STRATEGIES
from sim.model.tables.codes import N_START_STAGE
from sim.model.tables.gate import GATE_BAD, MILLION
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.rollout import NONE
from sim.model.tables.run import Params
from sim.units import NEVER

from .naive_rollout import GateKind, Plan, Set, simulate

UNIT_PS = 10  # whatever happens does so at whole tens: a replica without work is gone one ps behind
SAMPLE_PS = 5 * UNIT_PS
END_PS = 4000
NOTHING = np.zeros(5, dtype=np.int64)


class Case:
    """Two or three versions, each of which replaces the one before."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, np.random.default_rng([seed, 71])
        n_pool = self.whole(2, 3)
        self.most = [self.whole(1, 9)]
        for _ in range(n_pool - 1):
            self.most.append(self.most[-1] + self.whole(0, 2))
        self.initial = self.whole(0, self.most[0])
        self.start_ps = [self.ticks(0, 12) for _ in range(n_pool)]
        self.gates: list[dict[str, int]] = []
        self.steps: list[dict[str, int]] = []
        self.rollouts = [self.rollout(pool) for pool in range(n_pool - 1)]
        self.losses = [
            (self.ticks(1, 200), self.whole(0, n_pool - 1), self.whole(1, 2)) for _ in range(self.whole(0, 4))
        ]

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def ticks(self, low: int, high: int) -> int:
        """A time."""
        return self.whole(low, high) * UNIT_PS

    def rollout(self, pool: int) -> dict[str, int]:
        """The row of one deployment; its steps and gates are added to the others'."""
        strategy = str(self.rng.choice(["rolling", "recreate", "canary", "blue_green"]))
        n_step = self.whole(0, 3) if strategy == "canary" else 0
        n_gate = self.whole(0, 2)
        row = {
            "at_ps": self.ticks(1, 60) + 60 * UNIT_PS * pool,
            "pool": pool,
            "to_pool": pool + 1,
            "strategy": STRATEGIES.index(strategy),
            "surge": self.whole(0, 3),
            "surge_percent": 0,
            "unavailable": self.whole(0, 3),
            "unavailable_percent": 0,
            "min_ready_ps": self.ticks(0, 5) * self.whole(0, 1),
            "progress_deadline_ps": self.ticks(1, 60),
            "aborts_late": self.whole(0, 1),
            "sync_ps": self.ticks(1, 4),
            "first_step": len(self.steps),
            "n_step": n_step,
            "first_gate": len(self.gates),
            "n_gate": n_gate,
            "routed": int(strategy == "canary") * self.whole(0, 1),
            "preview": self.whole(1, 3) if self.whole(0, 1) else NONE,
            "auto_promotion": self.whole(0, 3) and 1,
            "auto_promotion_ps": self.ticks(0, 20) * self.whole(0, 1),
            "scale_down_delay_ps": self.ticks(0, 20),
            "abort_delay_ps": self.ticks(0, 20),
        }
        for name in ("surge", "unavailable"):
            if self.whole(0, 1):
                row |= {name: self.whole(0, 100), f"{name}_percent": 1}
        self.steps += [
            {"weight": self.whole(0, 20) * 5, "pause_ps": self.ticks(0, 30)} for _ in range(n_step)
        ]
        self.gates += [self.gate(strategy == "canary") for _ in range(n_gate)]
        return row

    def gate(self, has_steps: bool) -> dict[str, int]:
        """The row of a gate on bad answers."""
        at_most = self.whole(0, 10) * MILLION // 20
        return {
            "measure": GATE_BAD,
            "at_most": at_most,
            "fail_above": at_most + self.whole(1, 5) * MILLION // 10 if self.whole(0, 1) else NEVER,
            "window_ps": UNIT_PS,
            "period_ps": self.ticks(1, 20),
            "retry_ps": self.ticks(1, 4),
            "delay_ps": self.ticks(0, 4),
            "samples": self.whole(1, 8),
            "seen_q30": self.whole(0, 2**29),
            "count": self.whole(0, 3) if has_steps else 0,
            "failure_limit": self.whole(0, 3),
            "inconclusive_limit": self.whole(0, 4),
            "error_limit": self.whole(0, 6),
        }

    # ---- for the product ------------------------------------------------------------------
    @property
    def params(self) -> Params:
        """The case as the product takes it."""
        pools = [self.pool(i) for i in range(len(self.most))]
        versions = [{"first_gate": 0, "n_gate": 0} for _ in pools]
        for row in self.rollouts:
            versions[row["to_pool"]] = {"first_gate": row["first_gate"], "n_gate": row["n_gate"]}
        return make_params(
            RunRow(seed=self.seed, duration_ps=END_PS, warmup_ps=0, end_ps=END_PS, sample_ps=SAMPLE_PS),
            Traffic(*(np.zeros(0, dtype=np.int64) for _ in range(4))),
            [ClassRow()],
            [ServedModelRow()],
            pools,
            [FaultRow(*loss) for loss in self.losses],
            things={
                "rollout": self.rollouts,
                "rollout_step": self.steps,
                "gate": self.gates,
                "version": versions,
            },
        )

    def pool(self, number: int) -> PoolRow:
        """A version."""
        stages = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
        stages[-1] = self.start_ps[number]
        return PoolRow(
            base_ps=NOTHING + 10,
            slope_ps=NOTHING,
            prefill_ps=0,
            attention_q16=0,
            n_blocks=100,
            max_num_seqs=4,
            max_num_batched_tokens=100,
            max_model_len=1000,
            signals=(SignalRow(scrape_ps=10**6),),
            stage_ps=stages,
            min_replicas=0,
            max_replicas=self.most[number],
            initial_replicas=0 if number else self.initial,
            target_milli=self.initial,
            tick_ps=NEVER,
        )

    # ---- for the plain model ------------------------------------------------------------------
    @property
    def plans(self) -> list[Plan]:
        """The deployments as the plain model takes them."""
        return [
            Plan(
                at_ps=row["at_ps"],
                pool=row["pool"],
                to=row["to_pool"],
                strategy=STRATEGIES[row["strategy"]],
                surge=(row["surge"], bool(row["surge_percent"])),
                unavailable=(row["unavailable"], bool(row["unavailable_percent"])),
                min_ready_ps=row["min_ready_ps"],
                deadline_ps=row["progress_deadline_ps"],
                aborts_late=bool(row["aborts_late"]),
                sync_ps=row["sync_ps"],
                steps=[
                    (step["weight"], step["pause_ps"])
                    for step in self.steps[row["first_step"] : row["first_step"] + row["n_step"]]
                ],
                gates=[
                    (number, kind_of(self.gates[number]))
                    for number in range(row["first_gate"], row["first_gate"] + row["n_gate"])
                ],
                routed=bool(row["routed"]),
                preview=None if row["preview"] == NONE else row["preview"],
                auto=bool(row["auto_promotion"]),
                auto_ps=row["auto_promotion_ps"],
                stays_ps=row["scale_down_delay_ps"],
                abort_stays_ps=row["abort_delay_ps"],
            )
            for row in self.rollouts
        ]


def kind_of(row: dict[str, int]) -> GateKind:
    """A gate as the plain model takes it."""
    same = {
        name: row[name] for name in GateKind.__dataclass_fields__ if name not in ("at_most", "fail_above")
    }
    above = None if row["fail_above"] == NEVER else Fraction(row["fail_above"], MILLION)
    return GateKind(at_most=Fraction(row["at_most"], MILLION), fail_above=above, **same)


def told_by_product(case: Case) -> tuple[list[Any], list[Any]]:
    """(what became of each deployment, what each pool wanted and had ready at each sample)."""
    params = case.params
    found = make_result(params, run_plan(params))
    n_pool = len(case.most)
    wanted, ready = (found.samples[name].reshape(-1, n_pool) for name in ("wanted", "ready"))
    samples = [list(zip(w, r, strict=True)) for w, r in zip(wanted.tolist(), ready.tolist(), strict=True)]
    names = (
        "started_ps",
        "ended_ps",
        "timed_out_ps",
        "aborted_ps",
        "paused_ps",
        "promoted_ps",
        "because",
        "step",
    )
    rows = [tuple(row[name] for name in (*names, "most", "least")) for row in found.rollouts]
    measured = [gate["measured"] for gate in found.gates]
    return [rows, measured], samples


def told_by_naive(case: Case) -> tuple[list[Any], list[Any]]:
    """The same of the plain model."""
    sets = [
        Set(most, start_ps, 0 if i else case.initial)
        for i, (most, start_ps) in enumerate(zip(case.most, case.start_ps, strict=True))
    ]
    controllers, samples = simulate(case.seed, sets, case.plans, case.losses, END_PS, SAMPLE_PS)
    rows = [
        (
            *(
                -1 if at is None else at
                for at in (c.started, c.ended, c.late, c.aborted, c.paused, c.promoted)
            ),
            *(c.because, c.step, c.most, c.least),
        )
        for c in controllers
    ]
    return [rows, [watch.measured for c in controllers for watch in c.watches]], samples


def difference(seed: int) -> str:
    """What the two say differently of a case; an empty string where they agree."""
    case = Case(seed)
    (rows, samples), (naive_rows, naive_samples) = told_by_product(case), told_by_naive(case)
    for i, (one, other) in enumerate(zip(samples, naive_samples, strict=False)):
        if one != other:
            return f"seed {seed}, at {i * SAMPLE_PS}: {one}, naively {other}; {case.rollouts}"
    if rows != naive_rows:
        return f"seed {seed}: {rows}, naively {naive_rows}; {case.rollouts}"
    return "" if len(samples) == len(naive_samples) else f"seed {seed}: {len(samples)} samples"


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_deployments_are_those_of_the_plain_model(first: int) -> None:
    assert [line for line in map(difference, range(first, first + 20)) if line] == []


def test_cases_have_every_outcome() -> None:
    rows = [row for seed in range(100) for row in told_by_naive(Case(seed))[0][0]]
    for place in range(6):  # begun, ended, late, gone back, paused, promoted
        assert sum(row[place] >= 0 for row in rows) >= 5
    assert sum(row[1] >= 0 and row[3] >= 0 for row in rows) >= 20


if __name__ == "__main__":
    begin, end = (int(text) for text in sys.argv[1].split(":"))
    lines = [line for line in map(difference, range(begin, end)) if line]
    print("\n".join(lines[:5]) or "the same", len(lines))
    sys.exit(bool(lines))
