"""A user's function says where replicas go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rules.cluster.small import HALF, SMALL, group, nodes_of, pool, small, told
from sim.engine.host import Policies
from sim.engine.placing import Placer, Placing
from sim.engine.policies import PLACING_KEY, Law
from sim.errors import InputError
from sim.model.tables.node import BY_USER


def asked(function: Callable[[Placing], Any]) -> Policies:
    """A function of this file as the user's."""
    law = Law("place.py:place", function, "place.py", PLACING_KEY)
    return Policies({}, Placer(law, ["first", "second"], ["group"]))


def test_initial_replicas_are_asked_for_too_and_are_ready_at_once() -> None:
    seen: list[Placing] = []

    def place(now: Placing) -> int:
        seen.append(now)
        return max(node.node for node in now.nodes)

    fleet = small([group(3, 3)], [HALF], [pool(4, 3)], placement=BY_USER, policies=asked(place))
    fleet.run(until_s=0.001)
    assert nodes_of(fleet) == [2, 2, 1, -1]
    assert told(fleet, "replica_ready") == [(0.0, "replica_ready", -1, r) for r in range(3)]
    assert [[node.node for node in now.nodes] for now in seen] == [[0, 1, 2], [0, 1, 2], [0, 1]]
    assert [now.nodes[-1].replicas for now in seen] == [{}, {"first": 1}, {}]
    assert [now.nodes[-1].free_gpus for now in seen] == [1, 0.5, 1]


def test_a_replica_that_it_leaves_waiting_is_asked_for_again_when_something_changes() -> None:
    fleet = small(
        [group(2, 2)],
        [HALF],
        [pool(2)],
        placement=BY_USER,
        policies=asked(lambda now: None if now.waited_s < 5 else 1),
    )
    fleet.scale(0, 1)
    fleet.run(until_s=6)
    assert nodes_of(fleet) == [-1, -1]
    fleet.scale(0, 2)
    fleet.run(until_s=7)
    assert nodes_of(fleet) == [1, -1], "the second has not waited for long"
    assert told(fleet, "replica_placed") == [(6.0, "replica_placed", 1, 0)]


def test_it_is_not_asked_where_nobody_has_room() -> None:
    calls: list[str] = []

    def place(now: Placing) -> list[int]:
        calls.append(now.pool)
        return [node.node for node in now.nodes]

    fleet = small(
        [group(1, 1)], [HALF, SMALL], [pool(3, 3), pool(2, 2)], placement=BY_USER, policies=asked(place)
    )
    fleet.run(until_s=1)
    assert nodes_of(fleet) == [0, 0, -1, -1, -1]
    assert calls == ["first", "first"]


@pytest.mark.parametrize("answer", [7, [0, 0], "0", [0.0], True, {0: 1}, -1])
def test_an_answer_that_is_no_node_with_room_is_bad_input(answer: Any) -> None:
    fleet = small([group(1, 1)], [HALF], [pool(1)], placement=BY_USER, policies=asked(lambda _: answer))
    fleet.scale(0, 1)
    with pytest.raises(
        InputError, match=r"cluster.law: place.py:place .* returned .* at 0 s; allowed: numbers of nodes"
    ):
        fleet.run(until_s=1)
