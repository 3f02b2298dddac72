"""Engines on a GPU that is shared by configuration, and asked for more memory than it has."""

from __future__ import annotations

from typing import Any

from rules.cluster.small import group, pool, small, told
from sim.model.tables.cause import CAUSE_NAMES
from sim.model.tables.node import TIME_SLICING

PLACE = {"memory_slices": 1, "compute_slices": 0, "starts": 0b1111, "weight": 1}


def shared(n: int, memory_micro: int, **more: Any) -> Any:
    """A GPU of four places, and so many replicas there from the beginning; a start takes 10 s."""
    groups = [group(1, 1, slices=4, sharing=TIME_SLICING)]
    return small(groups, [PLACE], [pool(4, n)], [{"memory_micro": memory_micro}], **more)


def test_where_there_is_memory_for_all_nobody_crashes() -> None:
    fleet = shared(4, 250_000)
    fleet.run(until_s=100)
    assert told(fleet, "replica_crashed") == []
    assert len(told(fleet, "replica_ready")) == 4


def test_who_finds_too_little_crashes_again_and_again_until_a_neighbour_is_gone() -> None:
    """The stage of `small` begins with the image, which is there: an engine in place starts in no time."""
    fleet = shared(2, 600_000)
    fleet.run(until_s=45)
    assert [event[0] for event in told(fleet, "replica_crashed")] == [0, 0, 10, 30]
    assert told(fleet, "replica_ready") == [(0, "replica_ready", -1, 0)]
    assert int(fleet.state.pool[0].crashed) == 4
    events = fleet.state.rows("event", int(fleet.state.n_event))
    assert {CAUSE_NAMES[row["cause"]] for row in events if row["event"] == 28} == {"out_of_memory"}
    fleet.scale(0, 1)
    fleet.run(until_s=60)
    assert len(told(fleet, "replica_gone")) == 1, "who is not ready goes first"
