"""Which slices a replica gets, and who goes first."""

from __future__ import annotations

import pytest

from rules.cluster.small import HALF, NOT_THERE, SMALL, WHOLE, group, nodes_of, pool, small, told
from sim.model.tables.node import BEST_FIT, BY_SCORES, FIRST_FIT, LEAST_ALLOCATED, MOST_ALLOCATED
from sim.units import PS_PER_S


# ---- nodes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "score", "node"),
    [
        (FIRST_FIT, 0, 0),
        (BEST_FIT, 0, 1),
        (BY_SCORES, LEAST_ALLOCATED, 2),
        (BY_SCORES, MOST_ALLOCATED, 1),
    ],
)
def test_each_policy_chooses_its_node(policy: int, score: int, node: int) -> None:
    """Node 0 has one slice taken, node 1 two, node 2 none."""
    fleet = small([group(3, 3)], [SMALL], [pool(4)], placement=FIRST_FIT)
    fleet.cordon(0)
    fleet.cordon(2)
    fleet.scale(0, 2)
    fleet.run(until_s=1)
    fleet.uncordon(0)
    fleet.cordon(1)
    fleet.scale(0, 3)
    fleet.run(until_s=2)
    fleet.uncordon(1)
    fleet.uncordon(2)
    fleet.params.cluster[0].placement = policy
    fleet.params.cluster[0].score_weights[score] = 1
    fleet.scale(0, 4)
    fleet.run(until_s=3)
    assert nodes_of(fleet) == [1, 1, 0, node]


def test_a_group_in_which_a_pool_cannot_run_takes_none_of_it() -> None:
    fleet = small([group(1, 1), group(1, 1)], [NOT_THERE, WHOLE], [pool(1, 1)])
    assert nodes_of(fleet) == [1]


# ---- slices --------------------------------------------------------------------------------------------------------
def test_a_gpu_is_filled_before_another_is_cut() -> None:
    fleet = small([group(1, 1, gpus=2)], [HALF], [pool(3, 3)])
    assert [fleet.state.gpu[u].busy for u in range(2)] == [0xFF, 0x0F]


def test_compute_slices_run_out_before_memory_slices_do() -> None:
    most = {**SMALL, "compute_slices": 3}
    fleet = small([group(1, 1)], [most], [pool(4, 4)])
    assert nodes_of(fleet) == [0, 0, -1, -1], "two times three compute slices of seven"


def test_one_media_extension_a_gpu() -> None:
    fleet = small([group(1, 1, gpus=2)], [{**SMALL, "media": 1}], [pool(3, 3)])
    assert nodes_of(fleet) == [0, 0, -1]


def test_slices_that_are_given_back_are_free_again() -> None:
    fleet = small([group(1, 1)], [HALF], [pool(3, 2)])
    fleet.run(until_s=1)
    fleet.scale(0, 1)
    fleet.run(until_s=2)
    assert int(fleet.state.gpu[0].busy) == 0x0F
    assert int(fleet.state.gpu[0].compute) == 3
    fleet.scale(0, 2)
    fleet.run(until_s=3)
    assert int(fleet.state.gpu[0].busy) == 0xFF


def test_instances_take_time_to_be_made() -> None:
    fleet = small([group(1, 1, create_ps=3 * PS_PER_S)], [HALF], [pool(1, start_s=10)])
    fleet.run(until_s=1)
    fleet.scale(0, 1)
    fleet.run(until_s=20)
    assert told(fleet, "replica_placed", "replica_ready") == [
        (1, "replica_placed", 0, 0),
        (14, "replica_ready", -1, 0),
    ]


# ---- who waits -----------------------------------------------------------------------------------------------------
def test_the_higher_priority_goes_first_then_the_older() -> None:
    fleet = small([group(3)], [WHOLE] * 2, [pool(2), pool(1)], [{"priority": 0}, {"priority": 1}], preempts=0)
    for at_s, which in ((1, (0, 1)), (2, (0, 2)), (3, (1, 1))):
        fleet.run(until_s=at_s)
        fleet.scale(*which)
    fleet.run(until_s=4)
    rows = fleet.state.workload
    order, r = [], int(fleet.state.first_waiting)
    while r >= 0:
        order.append(r)
        r = int(rows[r].next)
    assert order == [2, 0, 1]


def test_one_that_finds_nothing_does_not_hold_up_a_smaller_one() -> None:
    fleet = small([group(1, 1)], [WHOLE, HALF], [pool(1), pool(2, 1)], [{"priority": 5}, {}], preempts=0)
    fleet.run(until_s=1)
    fleet.scale(0, 1)
    fleet.scale(1, 2)
    fleet.run(until_s=2)
    assert nodes_of(fleet) == [-1, 0, 0]


# ---- gangs ---------------------------------------------------------------------------------------------------------
def test_a_gang_is_placed_whole_in_one_zone_or_not_at_all() -> None:
    groups = [group(1, 1, zone=0), group(2, 2, zone=1)]
    place = [{"n_member": 2}]
    fleet = small(groups, [WHOLE] * 2, [pool(2, 2)], place)
    assert [int(fleet.state.member[i].node) for i in range(4)] == [1, 2, -1, -1]
    fleet = small([group(1, 1, zone=0), group(1, 1, zone=1)], [WHOLE] * 2, [pool(1, 1)], place)
    assert [int(fleet.state.member[i].node) for i in range(2)] == [-1, -1]


def test_members_take_their_gpus_on_one_node() -> None:
    fleet = small([group(2, 2, gpus=3)], [WHOLE], [pool(3, 3)], [{"member_gpus": 2}])
    assert nodes_of(fleet) == [0, 1, -1], "one GPU is left on each"


# ---- preemption ----------------------------------------------------------------------------------------------------
def test_a_replica_of_lower_priority_gives_way() -> None:
    fleet = small([group(1, 1)], [WHOLE] * 2, [pool(1, 1), pool(1)], [{"priority": 0}, {"priority": 1}])
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    fleet.run(until_s=2)
    assert nodes_of(fleet) == [-1, 0]
    assert int(fleet.state.n_waiting) == 1, "its pool wants another one as soon as it has a place for it"
    names = [name for _, name, _, _ in told(fleet)][-5:]
    assert names == ["replica_preempted", "replica_drains", "replica_gone", "replica_waits", "replica_placed"]


def test_equals_do_not_preempt_each_other() -> None:
    fleet = small([group(1, 1)], [WHOLE] * 2, [pool(1, 1), pool(1)])
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    fleet.run(until_s=2)
    assert nodes_of(fleet) == [0, -1]


def test_as_many_as_possible_are_spared_the_most_important_first() -> None:
    pools = [pool(1, 1), pool(1, 1), pool(1)]
    places = [{"priority": 0}, {"priority": 1}, {"priority": 2}]
    fleet = small([group(1, 1)], [HALF] * 3, pools, places)
    fleet.run(until_s=1)
    fleet.scale(2, 1)
    fleet.run(until_s=2)
    assert nodes_of(fleet) == [-1, 0, 0]


def test_a_gang_with_two_members_on_a_node_is_preempted_once_and_drains() -> None:
    places = [{"priority": 0, "n_member": 2}, {"priority": 1}]
    fleet = small([group(1, 1, gpus=2)], [HALF, WHOLE], [pool(1, 1), pool(2)], places)
    fleet.run(until_s=1)
    fleet.scale(1, 2)
    fleet.run(until_s=2)
    assert nodes_of(fleet) == [-1, 0, 0]
    assert [event[1:] for event in told(fleet, "replica_preempted", "replica_drains")] == [
        ("replica_preempted", 0, 0),
        ("replica_drains", -1, 0),
    ]
