"""Nodes that have the bytes serve them to others over their network cards."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.link import THROUGH_NIC
from sim.model.tables.node import EVENT_PEER_SERVES, EVENT_PEER_STOPS
from sim.model.tables.start import FROM_PEER, MOVED
from sim.units import NEVER, PS_PER_S

from .test_node_cache import GB, STAGE_WEIGHTS, counted, pool_of, ready_s

GB_S_Q40 = 10**9 * 2**40 // 10**12  # a GB/s


def fleet(n: int, size_gb: int = 40, peer_gb_s: int = 4, nic_gb_s: int = 0, **step: Any) -> Fleet:
    """n nodes of one GPU, each with a cache; a start fetches 40 GB, from the store at 1 GB/s."""
    end_ps = 1000 * PS_PER_S
    row = StepRow(
        STAGE_WEIGHTS,
        1,
        0,
        0,
        size_gb * GB,
        artifact=1,
        through=THROUGH_NIC,
        peers=1,
        peer_q40=peer_gb_s * GB_S_Q40,
    )
    things = {
        "cluster": [{}],
        "node_group": [
            {
                "n_node": n,
                "initial_nodes": n,
                "gpus": 1,
                "cache_bytes": 100 * GB,
                "nic_q40": nic_gb_s * GB_S_Q40,
            }
        ],
        "slice_ask": [{"memory_slices": 8, "compute_slices": 7, "starts": 1}],
        "artifact": [{"size_bytes": size_gb * GB}],
    }
    return Fleet(
        make_params(
            RunRow(1, end_ps, 0, end_ps, 0),
            Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
            [ClassRow()],
            [ServedModelRow()],
            [pool_of(n, size_gb)._replace(steps=(row._replace(**step),))],
            things=things,
        )
    )


def started(made: Fleet, *at: tuple[int, int], until_s: int = 900) -> list[float]:
    """When each replica became ready, where (time in s, replicas wanted from then on)."""
    for at_s, wanted in at:
        if at_s:
            made.run(at_s)
        made.scale(0, wanted)
    made.run(until_s)
    return [round(one, 3) for one in ready_s(made, int(made.params.n_replica))]


def events(made: Fleet, kind: int) -> list[tuple[int, int]]:
    """(node, replica) of the events of a kind, in order."""
    rows = made.state.rows("event", int(made.state.n_event))
    return [(int(row["node"]), int(row["replica"])) for row in rows[rows["event"] == kind]]


def test_a_node_that_has_the_bytes_serves_them() -> None:
    made = fleet(2)
    assert started(made, (0, 1), (50, 2)) == [40, 60]
    assert events(made, EVENT_PEER_SERVES) == [(0, 1)]
    taken = made.state.rows("taken", 2)
    assert taken["how"].tolist() == [MOVED, FROM_PEER]
    assert taken["peer"].tolist() == [0, 1]
    assert counted(made) == [{"fetches": 2, "hits": 0, "joins": 0, "evictions": 0}]
    assert int(made.state.artifact[0].from_peers) == 1
    assert int(made.state.artifact[0].peer_bytes[0]) == 40 * GB
    assert made.state.rows("node", 2)["n_upload"].tolist() == [0, 0]


def test_without_a_limit_of_seeds_those_that_find_nobody_go_to_the_store() -> None:
    assert started(fleet(4), (0, 4)) == [40, 40, 40, 40]


def test_with_one_seed_the_others_wait_and_then_serve_each_other() -> None:
    """40 s from the store, then 10 s a round: one serves one, two serve two; one more comes from the store."""
    made = fleet(8, seeds_max=1)
    # at 40 s node 0 serves node 1, and node 2 begins at the store; at 50 s nodes 0 and 1 serve 3 and 4; then 5, 6 and 7
    assert started(made, (0, 8)) == [40, 50, 80, 60, 60, 70, 70, 70]
    assert events(made, EVENT_PEER_SERVES) == [
        (0, 1),
        (0, 3),
        (1, 4),
        (0, 5),
        (3, 6),
        (1, 7),
    ]  # in the order in which uploads end


def test_a_node_serves_as_many_as_it_may_and_its_card_is_shared() -> None:
    made = fleet(4, seeds_max=1, uploads_max=3, nic_gb_s=4)
    # three fetches share the card of node 0; the store serves nobody meanwhile, for all have found a peer
    assert started(made, (0, 4)) == [40, 70, 70, 70]


def test_the_cards_of_both_nodes_hold_a_fetch_back() -> None:
    made = fleet(2, nic_gb_s=2, peer_gb_s=8)
    assert started(made, (0, 1), (50, 2)) == [40, 70]
    assert made.state.rows("taken", 2)["link"].tolist() == [0, 2], (
        "the first of equals: of the node that serves"
    )


def test_the_peer_with_the_fewest_uploads_serves_the_first_of_equals() -> None:
    made = fleet(6, uploads_max=NEVER)
    started(made, (0, 2), (50, 6))
    assert events(made, EVENT_PEER_SERVES) == [(0, 2), (1, 3), (0, 4), (1, 5)]


def test_when_a_node_that_serves_is_lost_the_rest_comes_from_another_source() -> None:
    made = fleet(3)
    made.scale(0, 1)
    made.run(50)
    made.scale(0, 2)
    made.run(55)
    made.lose_node(0)  # half of the bytes have come; the other half takes 20 s at the store
    made.run(900)
    assert events(made, EVENT_PEER_STOPS) == [(0, 1)]
    rows = made.state.rows("replica", 2)
    assert round(rows["ready_ps"][1] / PS_PER_S, 3) == 75
    assert abs(int(made.state.artifact[0].peer_bytes[0]) - 20 * GB) < 100


def test_who_waits_for_a_source_and_is_not_wanted_any_longer_lets_the_others_go_on() -> None:
    made = fleet(4, seeds_max=1)
    made.scale(0, 4)
    made.run(10)
    made.scale(0, 2)  # the last two waited
    made.run(20)
    made.scale(0, 3)
    made.run(900)
    assert round(made.state.replica[1].ready_ps / PS_PER_S, 3) == 50
    assert int(made.state.n_queued) == 0
