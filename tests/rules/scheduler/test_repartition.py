"""GPUs that are cut anew: who goes so that an instance can be made, and who stays."""

from __future__ import annotations

from typing import Any

from rules.cluster.small import HALF, SMALL, WHOLE, group, nodes_of, pool, small, told
from sim.model.tables.cause import CAUSE_NAMES
from sim.units import PS_PER_S

S = PS_PER_S


def scattered(**more: Any) -> Any:
    """Two nodes of a GPU, a small instance on each, and somebody who comes at 1 s and wants a whole one's half twice."""
    places = [{"priority": more.pop("small_priority", 0)}, {}]
    fleet = small(
        [group(2, 2, repartitions=more.pop("repartitions", 1), create_ps=3 * S)],
        [SMALL, WHOLE],
        [pool(3, 2), pool(1)],
        places,
        placement=2,
        score_weights=[1, 0, 0, 0, 0],
        repartitions=1,
        **more,
    )
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    return fleet


def test_the_fewest_go_and_start_where_they_fit() -> None:
    """The small one of the first node goes to the other one; the large one is placed as soon as it has drained."""
    fleet = scattered()
    fleet.run(until_s=50)
    assert told(fleet, "replica_evicted") == [(1, "replica_evicted", 0, 0)]
    assert nodes_of(fleet) == [-1, 1, 1, 0]
    ready = told(fleet, "replica_ready")[2:]
    assert [(round(at), who) for at, _, _, who in ready] == [(14, 2), (14, 3)], (
        "3 s to make an instance, 10 s to start"
    )
    events = fleet.state.rows("event", int(fleet.state.n_event))
    evicted = next(row for row in events if row["event"] == 26)
    assert CAUSE_NAMES[evicted["cause"]] == "repartition"
    assert evicted["cause_id"] == 3


def test_without_it_who_finds_no_place_waits() -> None:
    fleet = scattered(repartitions=0)
    fleet.run(until_s=50)
    assert told(fleet, "replica_evicted") == []
    assert nodes_of(fleet) == [0, 1, -1, -1]


def test_nobody_goes_who_matters_more_or_whose_budget_forbids_it() -> None:
    for words in ({"small_priority": 1}, {"budgets": [{"bound": 2}, {}]}):
        fleet = scattered(**words)
        fleet.run(until_s=50)
        assert told(fleet, "replica_evicted", "eviction_refused") == []


def test_nobody_goes_who_fits_nowhere_else() -> None:
    fleet = small([group(1, 1, repartitions=1)], [HALF, WHOLE], [pool(2, 1), pool(1)], repartitions=1)
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    fleet.run(until_s=20)
    assert told(fleet, "replica_evicted") == []


# ---- MIG modes ----------------------------------------------------------------------
OFF = {**WHOLE, "is_whole": 1}


def switched(**more: Any) -> Any:
    """A node of two GPUs, a small instance on the first; a whole GPU is wanted at 1 s."""
    groups = [group(1, 1, gpus=2, switches=1, mode_ps=42 * S, create_ps=3 * S, **more)]
    fleet = small(groups, [SMALL, OFF], [pool(4, 1), pool(1)])
    fleet.run(until_s=1)
    fleet.scale(1, 1)
    fleet.run(until_s=100)
    return fleet


def test_an_idle_gpu_switches_its_mode_and_the_start_waits_for_it() -> None:
    fleet = switched()
    assert told(fleet, "mig_mode_switched") == [(1, "mig_mode_switched", 0, 4)]
    assert told(fleet, "replica_ready")[1:] == [(53, "replica_ready", -1, 4)], "42 s and no instance to make"
    fleet.scale(1, 0)
    fleet.scale(0, 2)
    fleet.run(until_s=200)
    assert len(told(fleet, "mig_mode_switched")) == 1, "the other GPU is in the right mode"
    assert told(fleet, "replica_ready")[-1][0] == 113


def test_where_the_node_has_to_be_idle_a_busy_one_switches_nothing() -> None:
    assert told(switched(mode_of_node=1), "mig_mode_switched", "replica_placed")[1:] == []
