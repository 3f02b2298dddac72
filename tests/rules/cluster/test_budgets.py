"""Disruption budgets: what drains and preemptions may take away, and what nobody asks them about."""

from __future__ import annotations

from typing import Any

import pytest
from parity.engines import run_on_loop
from parity.fleets import fleet as made_fleet

from rules.cluster.small import HALF, WHOLE, group, nodes_of, pool, small, stages, told
from sim.errors import InputError
from sim.fill.params import FaultRow
from sim.model.tables.node import EVENT_NAMES
from sim.units import PS_PER_S

ONE_MISSING = {"is_max": 1, "bound": 1}
ALL_STAY = {"bound": 3}


def spread(budget: dict[str, int], **more: Any) -> Any:
    """Three replicas on a node each, and two nodes to spare; a start takes 10 s."""
    return small([group(5, 5)], [WHOLE], [pool(5, 3)], budgets=[budget], **more)


# ---- drains ----------------------------------------------------------------------
def test_a_drain_takes_one_at_a_time_where_one_may_be_missing() -> None:
    fleet = spread(ONE_MISSING)
    fleet.run(until_s=1)
    fleet.drain(0)
    fleet.drain(1)
    assert stages(fleet)[:2] == ["cordoned", "cordoned"]
    fleet.run(until_s=40)
    found = told(fleet, "replica_evicted", "eviction_refused", "node_drained")
    assert [event[:3] for event in found] == [
        (1, "replica_evicted", 0),
        (1, "eviction_refused", 1),
        (6, "node_drained", 0),
        (6, "eviction_refused", 1),
        (
            11,
            "eviction_refused",
            1,
        ),  # the other one's replacement is ready at 11, but nodes come before replicas
        (16, "replica_evicted", 1),
        (21, "node_drained", 1),
    ]
    assert sorted(nodes_of(fleet)) == [-1, -1, 2, 3, 4]


def test_a_budget_that_allows_nothing_holds_a_drain_up_for_ever() -> None:
    fleet = spread(ALL_STAY)
    fleet.run(until_s=1)
    fleet.drain(0)
    fleet.run(until_s=100)
    assert told(fleet, "replica_evicted") == []
    assert len(told(fleet, "eviction_refused")) == 20
    fleet.uncordon(0)
    fleet.run(until_s=200)
    assert len(told(fleet, "eviction_refused")) == 20
    assert stages(fleet)[0] == "ready"


@pytest.mark.parametrize("bound", [26, 33, 34, 66])
def test_percentages_round_up(bound: int) -> None:
    """Of three: 26 % and 33 % are one, 34 % and 66 % two."""
    fleet = spread({"is_max": 1, "is_percent": 1, "bound": bound})
    fleet.run(until_s=1)
    for node in range(3):
        fleet.drain(node)
    assert len(told(fleet, "replica_evicted")) == -(-3 * bound // 100)


def test_what_starts_needs_no_leave() -> None:
    fleet = small([group(2, 2)], [WHOLE], [pool(2)], budgets=[{"bound": 1}])
    fleet.run(until_s=1)
    fleet.scale(0, 1)
    fleet.run(until_s=2)
    fleet.drain(0)
    assert told(fleet, "replica_evicted")[0][:3] == (2, "replica_evicted", 0)


def test_scripted_maintenance_gives_nodes_back() -> None:
    fault = FaultRow(5 * PS_PER_S, 0, 0, 1, nodes=2, drains=1)
    fleet = spread(ONE_MISSING, faults=[fault])
    fleet.run(until_s=100)
    assert [event[2] for event in told(fleet, "node_removed")] == [0, 1]
    assert stages(fleet) == ["ready"] * 3
    assert int(fleet.state.node_group[0].removed) == 2


def test_faults_ask_no_budget() -> None:
    fleet = spread(ALL_STAY)
    fleet.run(until_s=1)
    for node in range(3):
        fleet.lose_node(node)
    assert len(told(fleet, "replica_lost")) == 3


def test_nodes_that_are_not_there_cannot_be_drained() -> None:
    with pytest.raises(InputError):
        spread(ALL_STAY).drain(99)


# ---- preemption ----------------------------------------------------------------------
def test_a_preemption_looks_for_a_node_where_no_budget_breaks() -> None:
    """Without a budget the replica on the first of two equal nodes would go."""
    places = [{"priority": 0}, {"priority": 0}, {"priority": 2}]
    for budget, gone in (({}, 0), ({"bound": 1}, 1)):
        pools = [pool(1, 1), pool(1, 1), pool(1)]
        fleet = small([group(2, 2)], [WHOLE] * 3, pools, places, budgets=[budget, {}, {}])
        fleet.run(until_s=1)
        fleet.scale(2, 1)
        fleet.run(until_s=2)
        assert [event[3] for event in told(fleet, "replica_preempted")] == [gone]
        assert int(fleet.state.budget[0].broken) == 0


def test_those_that_a_budget_protects_are_spared_first() -> None:
    """Without a budget the first of two equals is spared."""
    places = [{"priority": 0}, {"priority": 0}, {"priority": 2}]
    for budget, gone in (({}, 1), ({"bound": 1}, 0)):
        pools = [pool(1, 1), pool(1, 1), pool(1)]
        fleet = small([group(1, 1)], [HALF] * 3, pools, places, budgets=[{}, budget, {}])
        fleet.run(until_s=1)
        fleet.scale(2, 1)
        fleet.run(until_s=2)
        assert [event[3] for event in told(fleet, "replica_preempted")] == [gone]


def test_a_budget_gives_way_where_nothing_else_helps() -> None:
    places = [{"priority": 0}, {"priority": 1}]
    fleet = small([group(1, 1)], [WHOLE] * 2, [pool(1, 1), pool(1)], places, budgets=[{"bound": 1}, {}])
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    fleet.run(until_s=2)
    assert len(told(fleet, "replica_preempted")) == 1
    assert int(fleet.state.budget[0].broken) == 1


# ---- the law ----------------------------------------------------------------------
def check_evictions(seed: int) -> int:
    """Recount the ready replicas of every pool from the events: no eviction of a ready one leaves fewer than the budget of
    its pool wants. Returns how many evictions there were.
    """
    made = made_fleet(seed, cluster=True)
    budgets = made.cluster.get("budget")
    if not budgets:
        return 0
    params, state = made.params, run_on_loop(made)
    pool_of = [i for i, p in enumerate(made.pools) for _ in range(p.max_replicas)]
    wanted = [p.initial_replicas for p in made.pools]
    ready: list[set[int]] = [set() for _ in made.pools]
    n = 0
    for row in state.rows("event", min(int(state.n_event), int(params.n_event) - 1)):
        name, r = EVENT_NAMES[row["event"]], int(row["replica"])
        if not 0 <= r < len(pool_of):  # of a node, or of a job
            continue
        pool_id = pool_of[r]
        if name == "pool_scaled":
            wanted[pool_id] = int(row["value"])
        elif name == "replica_ready":
            ready[pool_id].add(r)
        elif name == "replica_evicted":
            n += 1
            if budgets[pool_id]["is_set"] and r in ready[pool_id]:
                assert len(ready[pool_id]) - 1 >= least(budgets[pool_id], wanted[pool_id]), (seed, row)
        if name in ("replica_drains", "replica_gone", "replica_lost", "replica_evicted"):
            ready[pool_id].discard(r)
    return n


def least(budget: dict[str, int], wanted: int) -> int:
    """Replicas that have to stay ready."""
    bound = -(-budget["bound"] * wanted // 100) if budget["is_percent"] else budget["bound"]
    return max(0, wanted - bound) if budget["is_max"] else bound


def test_no_eviction_breaks_a_budget() -> None:
    assert sum(check_evictions(seed) for seed in range(4000, 4060)) > 10
