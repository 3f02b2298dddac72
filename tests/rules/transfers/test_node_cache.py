"""What nodes keep: starts on a node that has the weights, or is getting them, move no bytes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.codes import STAGE_ENGINE
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params
from sim.units import PS_PER_S

GB = 10**9
STAGE_WEIGHTS = STAGE_ENGINE - 1


def pool_of(n: int, seconds: float) -> PoolRow:
    """A pool whose starts fetch weights, n replicas at most."""
    speed = np.full(9, PS_PER_S)
    return PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=0,
        max_replicas=n,
        initial_replicas=0,
        target_milli=0,
        stage_ps=np.full((1, N_QUANTILE), round(seconds * PS_PER_S)),
    )


def fleet(
    pools: list[PoolRow],
    artifacts: list[int],
    sizes: list[int],
    cache_gb: int,
    hit_s: int = 0,
    setup_s: int = 0,
    **group: Any,
) -> Params:
    """One node of eight GPUs; a start of each pool brings one artifact, alone in the time that its stage says."""
    end_ps, setup_ps = 1000 * PS_PER_S, setup_s * PS_PER_S
    made = [
        pool._replace(
            steps=(StepRow(STAGE_WEIGHTS, 1, 0, 0, sizes[what] * GB, setup_ps, 1 + what, hit_s * PS_PER_S),)
        )
        for pool, what in zip(pools, artifacts, strict=True)
    ]
    things = {
        "cluster": [{}],
        "node_group": [{"n_node": 1, "initial_nodes": 1, "gpus": 8, "cache_bytes": cache_gb * GB, **group}],
        "slice_ask": [{"memory_slices": 8, "compute_slices": 7, "starts": 1}] * len(pools),
        "artifact": [{"size_bytes": size * GB} for size in sizes],
    }
    return make_params(
        RunRow(1, end_ps, 0, end_ps, 0),
        Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        made,
        things=things,
    )


def ready_s(made: Fleet, n: int) -> list[float]:
    """When each replica became ready."""
    return (made.state.rows("replica", n)["ready_ps"] / PS_PER_S).tolist()


def counted(made: Fleet, n: int = 1) -> list[dict[str, int]]:
    """What has become of each artifact."""
    rows = made.state.rows("artifact", n)
    return [{name: int(row[name]) for name in ("fetches", "hits", "joins", "evictions")} for row in rows]


def test_a_second_start_on_a_node_that_has_the_weights_moves_nothing() -> None:
    made = Fleet(fleet([pool_of(2, 40)], [0], [16], cache_gb=100))
    made.scale(0, 1)
    made.run(100)
    made.scale(0, 2)
    made.run(200)
    assert ready_s(made, 2) == [40, 100]
    assert counted(made) == [{"fetches": 1, "hits": 1, "joins": 0, "evictions": 0}]
    assert int(made.state.artifact[0].saved_bytes[0]) == 16 * GB


def test_a_start_waits_for_the_bytes_that_another_one_is_fetching() -> None:
    made = Fleet(fleet([pool_of(3, 40)], [0], [16], cache_gb=100))
    made.scale(0, 1)
    made.run(30)
    made.scale(0, 3)
    made.run(200)
    assert ready_s(made, 3) == [40, 40, 40]
    assert counted(made) == [{"fetches": 1, "hits": 0, "joins": 2, "evictions": 0}]


def test_who_waits_goes_on_where_the_one_that_fetched_was_stopped() -> None:
    first, second = pool_of(1, 40), pool_of(2, 40)
    made = Fleet(fleet([first, second], [0, 0], [16], cache_gb=100))
    made.scale(0, 1)
    made.run(30)
    made.scale(1, 2)
    made.run(35)
    made.scale(0, 0)
    made.run(200)
    assert ready_s(made, 3)[1:] == [40, 40]
    assert counted(made) == [{"fetches": 1, "hits": 0, "joins": 1, "evictions": 0}]


def test_what_was_used_longest_ago_makes_room() -> None:
    pools = [pool_of(2, 10), pool_of(2, 20), pool_of(2, 30)]
    made = Fleet(fleet(pools, [0, 1, 2], [16, 16, 16], cache_gb=40))
    for at_s, pool in enumerate((0, 1, 0, 2, 1)):
        made.run(100 * (at_s + 1))
        made.scale(pool, int(made.state.pool[pool].wanted) + 1)
    made.run(900)
    # the third start of all finds its weights and makes them the last used: the second pool's make room
    assert ready_s(made, 6) == [110, 300, 220, 520, 430, 0]
    assert [row["evictions"] for row in counted(made, 3)] == [1, 1, 0]


def test_without_a_cache_or_with_one_that_is_too_small_every_start_fetches() -> None:
    for cache_gb in (0, 15):
        made = Fleet(fleet([pool_of(2, 40)], [0], [16], cache_gb=cache_gb))
        made.scale(0, 1)
        made.run(100)
        made.scale(0, 2)
        made.run(200)
        assert ready_s(made, 2) == [40, 140]
        assert counted(made)[0]["hits"] == 0


def test_what_a_node_is_preloaded_with_is_there_from_the_beginning() -> None:
    made = Fleet(fleet([pool_of(1, 40)], [0], [16], cache_gb=100, preloaded=1))
    made.scale(0, 1)
    made.run(100)
    assert counted(made)[0]["hits"] == 1
    assert ready_s(made, 1) == [0]


def test_a_start_reads_what_its_node_has_in_a_time_of_its_own() -> None:
    for setup_s in (0, 3, 20):
        made = Fleet(fleet([pool_of(3, 40)], [0], [16], cache_gb=100, hit_s=7, setup_s=setup_s))
        made.scale(0, 1)
        made.run(30)
        made.scale(0, 2)  # waits for the bytes of the first, and reads them
        made.run(100)
        made.scale(0, 3)
        made.run(200)
        assert ready_s(made, 3) == [40, 57 if setup_s == 20 else 47, 107]
