"""Nodes come, are cordoned, are lost; the node autoscaler asks for them and gives them back."""

from __future__ import annotations

import pytest

from rules.cluster.small import HALF, WHOLE, group, nodes_of, pool, seconds, small, stages, told
from sim.fill.rows import FaultRow
from sim.model.tables.node import (
    BY_PRIORITY,
    CHEAPEST,
    LEAST_WASTE,
    NODE_BOOTING,
    NODE_DRIVER,
    NODE_PROVISIONING,
)
from sim.units import PS_PER_S

S = PS_PER_S
SCANS = {"scan_ps": 10 * S, "unneeded_ps": 30 * S, "delay_after_add_ps": 0}


# ---- a node's way --------------------------------------------------------------------------------------------------
def test_a_node_goes_through_its_steps_and_passes_over_those_that_take_no_time() -> None:
    steps = [
        {"stage": NODE_PROVISIONING, "quantile_ps": seconds(5)},
        {"stage": NODE_BOOTING, "quantile_ps": seconds(0)},
        {"stage": NODE_DRIVER, "quantile_ps": seconds(7)},
    ]
    fleet = small([group(1, n_step=3)], [WHOLE], [pool(1, 1)], steps=steps, **SCANS)
    seen = []
    for at_s in (9, 11, 16, 23):
        fleet.run(until_s=at_s)
        seen.append(stages(fleet))
    assert seen == [[], ["provisioning"], ["driver"], ["ready"]]
    assert told(fleet, "replica_placed") == [(22, "replica_placed", 0, 0)]
    state = fleet.run()
    assert int(state.node_group[0].billed_ps[0]) == 990 * S, "from the request on"
    assert int(state.node_group[0].ready_ps[0]) == 978 * S


def test_a_drought_refuses_and_the_group_is_left_alone_for_a_while() -> None:
    groups = [group(1, n_drought=1, retry_ps=25 * S)]
    droughts = [{"from_ps": 0, "to_ps": 15 * S}]
    fleet = small(groups, [WHOLE], [pool(1, 1)], droughts=droughts, **SCANS)
    fleet.run(until_s=60)
    assert told(fleet, "node_refused", "node_requested") == [
        (10, "node_refused", 0, 0),
        (40, "node_requested", 0, 0),
    ]


# ---- cordons and losses --------------------------------------------------------------------------------------------
def test_a_cordoned_node_keeps_what_it_holds_and_takes_nothing_new() -> None:
    fleet = small([group(1, 1)], [HALF], [pool(2, 1)])
    fleet.cordon(0)
    fleet.scale(0, 2)
    fleet.run(until_s=5)
    assert nodes_of(fleet) == [0, -1]
    fleet.uncordon(0)
    fleet.run(until_s=6)
    assert nodes_of(fleet) == [0, 0]


def test_what_a_lost_node_holds_is_lost_and_starts_elsewhere() -> None:
    fleet = small([group(2, 2)], [WHOLE], [pool(1, 1)])
    fleet.run(until_s=5)
    fleet.lose_node(0)
    fleet.run(until_s=6)
    assert nodes_of(fleet) == [1]
    assert [event[1:] for event in told(fleet)[-5:]] == [
        ("replica_lost", 0, 0),
        ("replica_gone", -1, 0),
        ("node_lost", 0, -1),
        ("replica_waits", -1, 0),
        ("replica_placed", 1, 0),
    ]


def test_a_fault_takes_nodes_of_its_zone_and_shuts_their_groups_for_the_outage() -> None:
    groups = [group(2, 2, zone=0), group(2, 2, zone=1)]
    fault = FaultRow(5 * S, 0, 0, zone=2, nodes=1, outage_ps=100 * S)
    fleet = small(groups, [WHOLE] * 2, [pool(4, 4)], faults=[fault], **SCANS)
    fleet.run(until_s=50)
    assert told(fleet, "node_lost", "node_requested") == [(5, "node_lost", 2, -1)]
    fleet.run(until_s=120)
    assert told(fleet, "node_requested") == [(110, "node_requested", 2, 2)]


# ---- the node autoscaler -------------------------------------------------------------------------------------------
def test_it_asks_for_as_many_nodes_as_those_who_wait_fill() -> None:
    fleet = small([group(9)], [HALF], [pool(5, 5)], **SCANS)
    fleet.run(until_s=11)
    assert len(told(fleet, "node_requested")) == 3
    assert nodes_of(fleet) == [0, 0, 1, 1, 2]


def test_a_gang_that_does_not_fit_whole_opens_no_node() -> None:
    """The first pool's gang needs two nodes of which there is one: it alone gets none, and adds none for the other."""
    fleet = small([group(1)], [WHOLE], [pool(1, 1)], [{"n_member": 2}], **SCANS)
    fleet.run(until_s=100)
    assert told(fleet, "node_requested", "node_refused") == []
    places = [{"n_member": 3, "priority": 1}, {}]
    fleet = small([group(2)], [WHOLE] * 2, [pool(1, 1), pool(1, 1)], places, **SCANS)
    fleet.run(until_s=15)
    assert told(fleet, "node_requested") == [(10, "node_requested", 0, 1)]


@pytest.mark.parametrize(("expander", "chosen"), [(BY_PRIORITY, 0), (CHEAPEST, 1), (LEAST_WASTE, 2)])
def test_each_expander_chooses_its_group(expander: int, chosen: int) -> None:
    groups = [
        group(1, gpus=4, priority=3, price_micro=9 * 10**6),
        group(1, gpus=2, priority=2, price_micro=10**6),
        group(1, gpus=1, priority=1, price_micro=5 * 10**6),
    ]
    fleet = small(groups, [WHOLE] * 3, [pool(1, 1)], expander=expander, **SCANS)
    fleet.run(until_s=11)
    assert told(fleet, "node_requested") == [(10, "node_requested", chosen, 0)]


def test_nodes_that_hold_nothing_go_after_a_while_down_to_the_minimum_a_few_at_once() -> None:
    fleet = small([group(5, 5, min_nodes=1)], [WHOLE], [pool(1)], bulk_delete_max=3, **SCANS)
    fleet.run(until_s=100)
    assert told(fleet, "node_removed") == [
        *[(30, "node_removed", node, -1) for node in range(3)],
        (40, "node_removed", 3, -1),
    ]


def test_none_goes_soon_after_one_was_asked_for() -> None:
    settings = {**SCANS, "delay_after_add_ps": 50 * S}
    groups = [group(1, 1), group(1, priority=1)]
    fleet = small(groups, [HALF, WHOLE], [pool(3, 3)], expander=BY_PRIORITY, **settings)
    fleet.run(until_s=11)
    assert told(fleet, "node_requested") == [(10, "node_requested", 1, 2)]
    fleet.scale(0, 0)
    fleet.run(until_s=100)
    assert [at for at, *_ in told(fleet, "node_removed")] == [60, 60]


def test_a_gang_that_is_tried_in_vain_makes_no_empty_node_young_again() -> None:
    """Half of the gang would fit on the empty node: each placement tries that, and takes it back."""
    fleet = small(
        [group(1, 1), group(1, 1, zone=1)], [WHOLE] * 2, [pool(1, 1), pool(9)][:1], [{"n_member": 2}], **SCANS
    )
    for at_s in (12, 22, 28):
        fleet.run(until_s=at_s)
        fleet.cordon(1)
        fleet.uncordon(1)  # a placement is due
    fleet.run(until_s=35)
    assert int(fleet.state.n_pass) > 3
    assert [event[:3] for event in told(fleet, "node_removed")] == [
        (30, "node_removed", 0),
        (30, "node_removed", 1),
    ]
