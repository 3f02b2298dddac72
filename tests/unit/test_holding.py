"""What the gateway holds when replicas take no more: nothing is lost, priorities and fair shares order it."""

from __future__ import annotations

import numpy as np
import pytest

import sim
from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow, TenantRow
from sim.fill.trace import Traffic
from sim.model.tables.codes import HOLD_FAIR, HOLD_FIFO, HOLD_PRIORITY

US = 10**6


def served(order: int, weights: tuple[int, int] = (1, 1)) -> dict[str, np.ndarray]:
    """40 requests of tenant 0 at once, then 8 of tenant 1; one replica that takes one at a time, 1 µs a step."""
    klass = np.repeat([0, 1], [40, 8])
    ones = np.ones(48, dtype=np.int64)
    traffic = Traffic(np.where(klass == 0, 0, US), 4 * ones, 2 * ones, klass)
    speed = np.full(9, US)
    pool = PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)
    run = RunRow(seed=1, duration_ps=10**9, warmup_ps=0, end_ps=10**12, sample_ps=0)
    classes = [ClassRow(priority=1, tenant=0), ClassRow(priority=0, tenant=1)]
    group = ServedModelRow(outstanding_max=1, hold_order=order)
    p = make_params(run, traffic, classes, [group], [pool], tenants=[TenantRow(w) for w in weights])
    result = make_result(p, run_plan(p))
    assert result.counts["completed"][0] == 48
    return result.requests


def last_of(rows: dict[str, np.ndarray], klass: int) -> int:
    """When the last request of a class was answered, in µs."""
    return int(rows["last_token_ps"][rows["class_id"] == klass].max()) // US


def test_in_order_of_arrival_the_late_tenant_waits_for_all_of_the_first() -> None:
    rows = served(HOLD_FIFO)
    assert rows["routed_ps"].tolist() == sorted(rows["routed_ps"].tolist())


def test_the_more_important_class_goes_first() -> None:
    rows = served(HOLD_PRIORITY)
    assert last_of(rows, 1) < sorted(rows["last_token_ps"][rows["class_id"] == 0])[10] // US


def test_fair_shares_take_turns_and_follow_the_weights() -> None:
    rows = served(HOLD_FAIR)
    before = int((rows["last_token_ps"][rows["class_id"] == 0] // US < last_of(rows, 1)).sum())
    assert 7 <= before <= 10  # turn by turn: eight of one for eight of the other
    favoured = served(HOLD_FAIR, weights=(1, 4))
    assert last_of(favoured, 1) < last_of(rows, 1)


def test_no_replica_ever_holds_more_than_the_gateway_gives_it() -> None:
    rows = served(HOLD_FIFO)
    order = np.argsort(rows["routed_ps"])
    assert (rows["routed_ps"][order][1:] > rows["last_token_ps"][order][:-1]).all()


@pytest.mark.parametrize("order", ["fifo", "priority", "fair"])
def test_a_scenario_says_so(order: str) -> None:
    made = sim.load("first_run", [f"gateway.hold_order={order}", "gateway.max_outstanding_per_replica=2"])
    assert made.gateway.hold_order == order
