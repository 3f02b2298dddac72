"""A cluster under generated fleets keeps to its laws after every event; one that is never short changes nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from parity.engines import run_on_loop
from parity.fleets import Fleet, fleet

from sim.fill.rows import PoolRow
from sim.fill.state import table
from sim.model.tables.run import DIGESTED
from sim.units import NEVER

from .cluster_laws import ClusterWalk

SEEDS = range(4000, 4036)
MORE_SEEDS = range(4036, 4400)
BLOCKS = 4
NEVER_SHORT = range(4000, 4110)


def with_cluster(seed: int) -> Fleet:
    """The fleet of a seed on its cluster; in every second one nobody is preempted."""
    made = fleet(seed, cluster=True, scaled=True, no_records=False)
    row = {**made.cluster["cluster"][0], "preempts": seed % 2}
    return made._replace(cluster={**made.cluster, "cluster": [row]})


def walked(seeds: range) -> Counter[str]:
    """What happened in the runs of these seeds, all of which keep to the laws."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        walk = ClusterWalk(with_cluster(seed))
        try:
            walk.run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed} at {walk.now_ps} ps: {error}") from error
        seen += walk.seen
    return seen


def test_a_cluster_keeps_to_its_laws_after_every_event() -> None:
    seen = walked(SEEDS)
    names = ("node_ready", "node_lost", "node_removed", "node_refused", "replica_lost", "waited")
    assert min(seen[name] for name in names) > 15, seen
    assert seen["replica_placed"] > 300
    assert seen["looked for room"] > 600
    assert seen["over several nodes"] > 60
    assert seen["names what it waited for"] == seen["waited"] > 200
    assert min(seen[name] for name in ("answered", "decided first", "member_placed", "rollout_ended")) > 3


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_hundreds_of_clusters_keep_to_their_laws(block: int) -> None:
    walked(MORE_SEEDS[block::BLOCKS])


# ---- a cluster that is never short ---------------------------------------------------------------------------------
def slow_starts(made: Fleet) -> Fleet:
    """The same fleet, no start of which takes no time: what begins and ends at one instant has no order of its own."""
    pools = [
        pool._replace(stage_ps=pool.stage_ps + made.grid_ps)
        for pool in made.pools
        if pool.stage_ps is not None
    ]
    assert len(pools) == len(made.pools)
    return made._replace(pools=pools)


def roomy(seed: int, pools: list[PoolRow]) -> dict[str, list[dict[str, int]]]:
    """Whole GPUs for every replica place, ready from the beginning; some as gangs over several nodes."""
    rng = np.random.default_rng([seed, 53])
    places = [
        {
            "n_member": int(rng.integers(1, 4)),
            "member_gpus": int(rng.integers(1, 3)),
            "priority": int(rng.integers(3)),
        }
        for _ in pools
    ]
    # a node for every member: what one takes never stands in the way of another
    n_node = sum(pool.max_replicas * place["n_member"] for pool, place in zip(pools, places, strict=True))
    whole = {"memory_slices": 8, "compute_slices": 7, "starts": 1, "weight": 1}
    groups = [{"n_node": n_node, "initial_nodes": n_node, "gpus": 2, "zone": g} for g in range(2)]
    policy = {"placement": int(rng.integers(3)), "mig_placement": int(rng.integers(4)), "scan_ps": NEVER}
    return {
        "cluster": [policy],
        "node_group": groups,
        "slice_ask": [whole] * (len(groups) * len(pools)),
        "pool_place": places,
    }


#: What a run without a cluster leaves: all that the digest covers, and the rows of requests and of the time series.
COMPARED = (*DIGESTED, "record", "attempt", "spent", "sample", "station_sample", "start_hist")


def test_a_cluster_that_is_never_short_changes_nothing() -> None:
    started = 0
    for seed in NEVER_SHORT:
        made = slow_starts(fleet(seed, cluster=False, scaled=True, no_records=False))
        on_nodes = made._replace(cluster=roomy(seed, made.pools))
        one, other = run_on_loop(made), run_on_loop(on_nodes)
        for name in COMPARED:
            kept = [table(p, state, name) for p, state in ((made.params, one), (on_nodes.params, other))]
            assert np.array_equal(*kept), f"seed {seed}: {name}"
        pools = [state.rows("pool", len(made.pools)) for state in (one, other)]
        assert np.array_equal(*pools), f"seed {seed}"
        assert (one.n_sample, one.now_ps) == (other.n_sample, other.now_ps)
        places = other.rows("pool_place", len(made.pools))
        assert places["waited_max_ps"].max() == 0
        assert other.rows("group_mark", 6)["billed_ps"].sum() > 0
        started += int(pools[0]["started"].sum())
    assert started > 300
