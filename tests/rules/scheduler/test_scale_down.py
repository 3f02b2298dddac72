"""Nodes of which little is in use, as the cluster autoscaler lets them go; nodes that others stand in for, as Karpenter
does.
"""

from __future__ import annotations

from typing import Any

from rules.cluster.small import HALF, WHOLE, group, nodes_of, pool, seconds, small, stages, told
from sim.model.tables.fault import GPU_LOST
from sim.model.tables.node import NODE_PROVISIONING, WHEN_EMPTY, WHEN_UNDERUTILIZED
from sim.units import NEVER, PS_PER_S

S = PS_PER_S
BY_USE = {"scan_ps": 10 * S, "unneeded_ps": 30 * S, "delay_after_add_ps": 0, "below_milli": 600}
KARPENTER = {"scan_ps": 10 * S, "consolidation": WHEN_UNDERUTILIZED, "disrupted": 5, "is_percent": 0}
ONE_MISSING = {"is_max": 1, "bound": 1}


def halves(n: int, **more: Any) -> Any:
    """So many replicas that take half a GPU, each alone on a node."""
    return small([group(n, n)], [HALF], [pool(n + 1, n)], placement=2, score_weights=[1, 0, 0, 0, 0], **more)


# ---- by use ----------------------------------------------------------------------
def test_a_node_goes_when_what_it_holds_has_fitted_elsewhere_for_long_enough() -> None:
    fleet = halves(2, **BY_USE)
    fleet.run(until_s=100)
    assert told(fleet, "node_cordoned", "replica_evicted", "node_removed") == [
        (40, "node_cordoned", 0, -1),
        (40, "replica_evicted", 0, 0),
        (45, "node_removed", 0, -1),
    ]
    assert nodes_of(fleet) == [-1, 1, 1]


def test_one_node_is_drained_at_a_time_unless_more_may_be() -> None:
    for at_a_time, gone_at in ((1, [(45, 0), (55, 2)]), (2, [(45, 0), (45, 2)])):
        fleet = halves(4, **BY_USE, drains_max=at_a_time)
        fleet.run(until_s=60)
        assert [event[::2] for event in told(fleet, "node_removed")] == gone_at


def test_nodes_in_use_and_the_last_of_a_group_stay() -> None:
    fleet = halves(2, **{**BY_USE, "below_milli": 500})
    fleet.run(until_s=200)
    assert stages(fleet) == ["ready"] * 2, "half is not less than a half"
    fleet = small(
        [group(2, 2, min_nodes=2)], [HALF], [pool(3, 2)], placement=2, score_weights=[1, 0, 0, 0, 0], **BY_USE
    )
    fleet.run(until_s=200)
    assert stages(fleet) == ["ready"] * 2


def test_a_budget_keeps_a_node() -> None:
    fleet = halves(2, budgets=[{"bound": 2}], **BY_USE)
    fleet.run(until_s=200)
    assert told(fleet, "node_cordoned") == []


def test_what_drains_for_want_of_use_has_no_longer_than_it_may() -> None:
    """A request that takes 100 s is on the node that goes."""
    for at_most, lost_at in ((20, 60), (90, 70)):
        fleet = halves(2, **BY_USE, graceful_ps=at_most * S, grace_ps=30 * S, requests=[(35, 100)])
        fleet.run(until_s=200)
        assert [event[0] for event in told(fleet, "replica_lost")] == [lost_at]


# ---- Karpenter ----------------------------------------------------------------------
def test_empty_nodes_go_after_a_while_as_many_as_the_budget_says() -> None:
    fleet = small(
        [group(5, 5)],
        [WHOLE],
        [pool(1)],
        **{**KARPENTER, "consolidation": WHEN_EMPTY, "disrupted": 2},
        consolidate_after_ps=15 * S,
    )
    fleet.run(until_s=41)
    assert [event[0] for event in told(fleet, "node_removed")] == [20, 20, 30, 30, 40]


def test_nodes_go_whose_replicas_fit_on_others_the_least_disruption_first() -> None:
    fleet = small(
        [group(3, 3, gpus=2)], [HALF], [pool(8, 3)], placement=2, score_weights=[1, 0, 0, 0, 0], **KARPENTER
    )
    fleet.run(until_s=5)
    fleet.scale(0, 4)
    fleet.run(until_s=60)
    assert [event[2] for event in told(fleet, "node_cordoned")] == [1, 2], "node 0 holds two"
    assert told(fleet, "node_cordoned")[0][0] == 10
    assert stages(fleet) == ["ready"]


def dear_and_cheap(**more: Any) -> Any:
    """A dear node with a replica, and a cheap one that is to be had, after 25 s."""
    groups = [
        group(1, 1, price_micro=10**7),
        group(1, price_micro=10**6, n_step=1, **more),
    ]
    steps = [{"stage": NODE_PROVISIONING, "quantile_ps": seconds(25)}]
    return small(groups, [WHOLE] * 2, [pool(2, 1)], steps=steps, **KARPENTER)


def test_a_node_makes_way_for_a_cheaper_one_which_comes_first() -> None:
    fleet = dear_and_cheap()
    fleet.run(until_s=100)
    assert told(
        fleet,
        "node_requested",
        "node_cordoned",
        "node_ready",
        "replica_evicted",
        "replica_ready",
        "node_removed",
    )[1:] == [
        (0, "replica_ready", -1, 0),
        (10, "node_requested", 1, 0),
        (10, "node_cordoned", 0, -1),
        (35, "node_ready", 1, -1),
        (40, "replica_evicted", 0, 0),
        (45, "node_removed", 0, -1),
        (50, "replica_ready", -1, 1),
    ]


def test_where_the_cheaper_one_does_not_come_the_old_one_stays() -> None:
    fleet = dear_and_cheap(no_capacity_q20=1 << 20, retry_ps=1000 * S)
    fleet.run(until_s=100)
    assert told(fleet, "node_refused", "node_cordoned") == [(10, "node_refused", 1, 0)]
    fleet = dear_and_cheap()
    fleet.run(until_s=20)
    fleet.lose_node(1)
    fleet.run(until_s=30)
    assert told(fleet, "node_uncordoned") == [(20, "node_uncordoned", 0, -1)]


def test_prepaid_nodes_cost_nothing_more() -> None:
    """They take what dearer nodes hold, and are never given back for what they hold."""
    groups = [group(1, 1, price_micro=10**6), group(1, price_micro=10**7, is_prepaid=1)]
    fleet = small(groups, [WHOLE] * 2, [pool(2, 1)], **KARPENTER)
    fleet.run(until_s=200)
    assert stages(fleet) == ["ready"]
    assert 1 in nodes_of(fleet)


def test_several_nodes_make_way_for_fewer() -> None:
    """Two dear nodes with half a GPU in use each, and a large cheap one that takes both: together, not one by one."""
    groups = [group(2, 2, price_micro=10**6), group(1, gpus=1, price_micro=15 * 10**5)]
    fleet = small(groups, [WHOLE, HALF], [pool(4, 2)], **KARPENTER)
    fleet.run(until_s=11)
    assert [event[2] for event in told(fleet, "node_cordoned")] == [0, 1]
    assert [event[2] for event in told(fleet, "node_requested")] == [2]


# ---- nodes that have lost a GPU ----------------------------------------------------------------------
def test_a_node_that_has_lost_a_gpu_is_replaced_after_a_while() -> None:
    """Two replicas on a node of two GPUs: one GPU is lost at 5 and would be repaired at 500."""
    lost = {"kind": GPU_LOST, "at_ps": 5 * S, "lasts_ps": 495 * S, "units": 1, "is_of_nodes": 1}
    for after, removed_at in ((30 * S, [45]), (NEVER, [])):
        steps = [{"stage": NODE_PROVISIONING, "quantile_ps": seconds(25)}]
        fleet = small(
            [group(1, 1, gpus=2, min_nodes=1, n_step=1)],
            [WHOLE],
            [pool(3, 2)],
            steps=steps,
            episodes=[lost],
            scan_ps=10 * S,
            replace_after_ps=after,
        )
        fleet.run(until_s=200)
        assert [event[0] for event in told(fleet, "node_removed")] == removed_at
        assert [event[0] for event in told(fleet, "node_requested")] == removed_at
        assert nodes_of(fleet).count(0) == (2 if removed_at else 1)


def test_a_gpu_that_is_repaired_in_time_keeps_its_node() -> None:
    lost = {"kind": GPU_LOST, "at_ps": 5 * S, "lasts_ps": 20 * S, "units": 1, "is_of_nodes": 1}
    fleet = small(
        [group(1, 1)], [WHOLE], [pool(2, 1)], episodes=[lost], scan_ps=10 * S, replace_after_ps=25 * S
    )
    fleet.run(until_s=200)
    assert told(fleet, "node_cordoned") == []
