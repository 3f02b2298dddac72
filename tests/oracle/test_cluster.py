"""Nodes, their autoscaler and placement of replicas on slices, against a model of their own in plain Python.

Every event is compared with all that it says, its cause included, and every node, GPU, gang and sum at the end.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.model.tables.cluster_record import ClusterEvent
from sim.model.tables.run import State
from sim.model.tables.sample import MARK_RUN, MARK_WARM, N_MARK

from .cluster_cases import END_PS, FIRST_CUT, WITH_QUOTAS, Case, made, run_naive, run_product
from .naive_cluster import FOREVER, READY, Cluster, Machine
from .naive_jobs import Work

SEEDS, SCRIPTED, CUT = range(125), range(1000, 1040), range(FIRST_CUT, FIRST_CUT + 24)
IN_QUEUES = range(WITH_QUOTAS, WITH_QUOTAS + 20)
BLOCKS = 4


def big(pair: Any) -> int:
    """A sum of two words."""
    low, high = pair
    return int(low) + (int(high) << 62)


def events_of(state: State) -> list[tuple[int, ...]]:
    """Every event of the product."""
    rows = state.rows("event", int(state.n_event))
    return list(zip(*(rows[name].tolist() for name in ClusterEvent.FIELDS), strict=True))


def of_groups(state: State, n: int) -> list[tuple[int, ...]]:
    """Sums and counts of each group."""
    return [
        (
            *(big(row[name]) for name in SUMMED),
            *(int(row[name]) for name in COUNTS),
        )
        for row in state.rows("node_group", n)
    ]


SUMMED = ("billed_ps", "paid_ps", "rounded_ps", "ready_ps", "used_ps", "job_ps")
COUNTS = ("n_billed", "n_ready", "used_slices", "peak_nodes", "requested", "refused", "removed", "lost")


def of_naive_groups(cluster: Cluster) -> list[tuple[int, ...]]:
    """The same of the plain model."""
    return [
        (
            *(group.billed_ps, group.paid_ps, group.rounded_ps, group.ready_ps, group.used_ps, group.job_ps),
            *(group.billed, sum(node.stage >= READY for node in group.machines)),
            sum(group.kind.places * group.kind.gpus - node.free for node in group.machines),
            *(group.peak, group.requested, group.refused, group.removed, group.lost),
        )
        for group in cluster.groups
    ]


def of_nodes(state: State, n: int) -> list[tuple[int, ...]]:
    """What each node is and holds."""
    rows = state.rows("node", n)
    return list(zip(*(rows[name].tolist() for name in ("stage", "n_member", "used_slices")), strict=True))


def of_naive_nodes(cluster: Cluster) -> list[tuple[int, ...]]:
    """The same of the plain model."""
    return [(node.stage, node.n_member, sum(len(card.held) for card in node.cards)) for node in cluster.nodes]


def of_naive_gpus(cluster: Cluster) -> list[tuple[int, ...]]:
    """What is held of each GPU."""
    return [
        (sum(1 << s for s in card.held), card.compute, card.media)
        for node in cluster.nodes
        for card in node.cards
    ]


def of_naive_members(cluster: Cluster) -> list[tuple[int, ...]]:
    """What each member of each replica place, then of each job's runs, holds: node, GPUs, first slices by GPU."""
    found = []
    by_place = sorted(cluster.everybody, key=lambda one: one.pool.number)  # stable: in a place by number
    for one in by_place:
        for i in range(one.pool.kind.members):
            held = one.members[i] if one.members else []
            node: Machine | None = held[0][0] if held else None
            found.append(
                (
                    -1 if node is None else node.number,
                    sum(1 << gpu for _, gpu, _ in held),
                    sum(start << 3 * gpu for _, gpu, start in held),
                )
            )
    return found


def of_members(state: State, n: int) -> list[tuple[int, ...]]:
    """The same of the product; what a member held that holds nothing is not looked at."""
    return [
        (int(row["node"]), *((int(row["gpus"]), int(row["starts"])) if row["node"] >= 0 else (0, 0)))
        for row in state.rows("member", n)
    ]


def differences(case: Case, state: State, cluster: Cluster) -> list[str]:
    """Where the product and the plain model differ, in words."""
    p, found = case.params, []
    events = events_of(state)
    for i, (one, other) in enumerate(zip(events, cluster.events, strict=False)):
        if one != other:
            found.append(f"event {i}: {one}, expected {other}; before {events[max(0, i - 3) : i]}")
            break
    if len(events) != len(cluster.events):
        found.append(f"{len(events)} events, expected {len(cluster.events)}")
    if found:
        return found
    gpus = state.rows("gpu", int(p.n_gpu))
    n_pool = len(case.pools)
    places, pools = state.rows("pool_place", n_pool), state.rows("pool", n_pool)
    n_replica = int(p.n_replica)
    marks = state.rows("group_mark", N_MARK * len(case.groups)).reshape(N_MARK, -1)
    both = {
        "groups": (of_groups(state, len(case.groups)), of_naive_groups(cluster)),
        "nodes": (of_nodes(state, int(p.n_node)), of_naive_nodes(cluster)),
        "gpus": (
            list(zip(*(gpus[name].tolist() for name in ("busy", "compute", "media")), strict=True)),
            of_naive_gpus(cluster),
        ),
        "members": (of_members(state, int(p.n_member)), of_naive_members(cluster)),
        "stages": (
            state.rows("replica", n_replica)["stage"].tolist(),
            [replica.stage for replica in cluster.copies],
        ),
        "waiting": (
            state.rows("workload", int(p.n_workload))["is_waiting"].tolist(),
            [int(one.waits) for one in cluster.everybody],
        ),
        "runs": (runs_of(state, int(p.n_job_run)), [of_naive_run(run) for run in cluster.runs]),
        "jobs' places": (
            [
                (int(row["placed"]), big(row["waited_ps"]), int(row["preempted"]))
                for row in state.rows("pool_place", int(p.n_pool_place))[n_pool:]
            ],
            [(job.placed, job.waited_ps, job.preempted) for job in cluster.jobs],
        ),
        "jobs' samples": (
            [
                tuple(int(row[name]) for name in ("time_ps", "group", "job_slices", "waiting"))
                for row in state.rows(
                    "job_sample", int(state.n_sample) * len(case.groups) * bool(cluster.runs)
                )
            ],
            cluster.job_samples,
        ),
        "pools": (
            [
                (
                    int(place["placed"]),
                    big(place["waited_ps"]),
                    int(place["waited_max_ps"]),
                    int(pool["started"]),
                    int(place["preempted"]),
                )
                for place, pool in zip(places, pools, strict=True)
            ],
            [
                (pool.placed, pool.waited_ps, pool.longest_ps, pool.started, pool.preempted)
                for pool in cluster.pools
            ],
        ),
        "warm-up": (mark_sums(marks[MARK_WARM]), cluster.marks[0]),
        "run": (mark_sums(marks[MARK_RUN]), cluster.sums()),
        "passes": (int(state.n_pass), cluster.passes),
        "samples": (samples_of(state, case), cluster.samples),
        "quota used": (
            [
                (big(row["used_ps"]), big(row["borrowed_ps"]))
                for row in state.rows("quota_use", int(p.n_quota_queue) * int(p.n_quota_pair))
            ],
            [
                tuple(cluster.gate.areas[queue, flavor, name] for name in ("used", "borrowed"))
                for queue, flavor, *_ in cluster.gate.uses()
            ],
        ),
        "queues' samples": (
            [
                tuple(row.tolist())
                for row in state.rows("quota_sample", int(p.n_quota_sample))[: len(cluster.gate.samples)]
            ],
            cluster.gate.samples,
        ),
    }
    return [f"{name}: {one}, expected {other}" for name, (one, other) in both.items() if one != other]


RUN_STATES = ("new", "queued", "waits", "runs", "finished", "failed")
OF_RUN = ("kept_ps", "first_placed_ps", "ended_ps", "n_placed", "n_preempted", "n_lost", "held_ps", "lost_ps")


def runs_of(state: State, n: int) -> list[tuple[Any, ...]]:
    """What has become of each run of a job."""
    return [
        (RUN_STATES[int(row["stage"])], *(int(row[name]) for name in OF_RUN))
        for row in state.rows("job_run", n)
    ]


def of_naive_run(run: Work) -> tuple[Any, ...]:
    """The same of the plain model: a run that still runs has held its slices up to now."""
    held_ps = run.held_ps + (END_PS - run.got_ps if run.state == "runs" else 0)
    return (
        *(run.state, run.safe_ps, run.first_ps, run.ended_ps, run.starts, run.n_preempted, run.n_lost),
        *(held_ps, run.lost_ps),
    )


def mark_sums(rows: np.ndarray) -> list[tuple[int, ...]]:
    """Of each group."""
    return [tuple(big(row[name]) for name in SUMMED) for row in rows]


def samples_of(state: State, case: Case) -> list[tuple[int, ...]]:
    """The groups' time series."""
    if case.every_ps == FOREVER:
        return []
    return [
        (
            *(int(row["time_ps"]), int(row["group"]), *row["by_stage"].tolist()),
            *(int(row[name]) for name in SAMPLED),
            *(big(row["billed_ps"]), big(row["used_ps"])),
        )
        for row in state.rows("group_sample", int(state.n_sample) * len(case.groups))
    ]


SAMPLED = (
    "used_slices",
    "free_slices",
    "useless_slices",
    "empty_gpus",
    "part_gpus",
    "waiting",
    "requested",
    "refused",
    "lost",
    "removed",
)


@functools.lru_cache(256)
def naive_of(seed: int, is_scripted: bool = False) -> Cluster:
    """The plain model at the end of a seed's run, which two tests look at."""
    return run_naive(made(seed, is_scripted))


def assert_alike(seeds: range, is_scripted: bool = False) -> None:
    """No case of these seeds differs."""
    failed = {}
    for seed in seeds:
        case = made(seed, is_scripted)
        state = run_plan(case.params) if is_scripted else run_product(case)
        if lines := differences(case, state, naive_of(seed, is_scripted)):
            failed[seed] = lines
    told = "\n".join(f"seed {seed}: {lines[0]}" for seed, lines in list(failed.items())[:5])
    assert not failed, f"{len(failed)} of {len(seeds)} clusters differ\n{told}"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_clusters_that_a_user_scales_and_breaks_are_as_the_plain_model_says(block: int) -> None:
    assert_alike(SEEDS[block::BLOCKS])


def test_clusters_that_are_left_alone_are_as_the_plain_model_says_on_the_compiled_loop() -> None:
    assert_alike(SCRIPTED, is_scripted=True)


def test_clusters_with_queues_are_as_the_plain_model_says() -> None:
    assert_alike(IN_QUEUES)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_hundreds_of_clusters_with_queues_are_as_the_plain_model_says(block: int) -> None:
    seeds = range(WITH_QUOTAS + 20 + block, WITH_QUOTAS + 800, BLOCKS)
    assert_alike(seeds)
    seen: Counter[str] = Counter()
    for seed in seeds:
        seen += run_naive(made(seed)).seen
    assert {name: n for name, n in IN_QUEUES_AT_LEAST.items() if seen[name] < n} == {}


#: What a block of these comes to at least.
IN_QUEUES_AT_LEAST = {
    "admitted": 1000,
    "admitted after a wait": 100,
    "admitted and borrows": 200,
    "not the first flavour": 50,
    "turns of several queues": 100,
    "unplaceable": 500,
    "short 0": 100,
    "short 1": 3,
    "short 2": 200,
    "kept in vain": 50,
    "taken InClusterQueue": 20,
    "taken from one that waits": 10,
}


def test_gpus_that_are_cut_anew_for_who_waits_are_as_the_plain_model_says() -> None:
    assert_alike(CUT)
    seen: Counter[str] = Counter()
    for seed in CUT:
        seen += naive_of(seed).seen
    assert seen["GPUs cut anew"] >= 8
    assert seen["GPUs cut anew for more than one"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_thousands_of_clusters_are_as_the_plain_model_says(block: int) -> None:
    assert_alike(range(2000 + block, 4000, BLOCKS))
    assert_alike(range(4000 + block, 5000, BLOCKS), is_scripted=True)
    assert_alike(range(FIRST_CUT + 100 + block, FIRST_CUT + 700, BLOCKS))


#: What the default cases come to at least, so that nothing is compared that never happens.
AT_LEAST = {
    "placed": 1000,
    "placed after a wait": 500,
    "found nothing": 2000,
    "placed behind somebody who waits": 100,
    "overtook by priority": 100,
    "gave up waiting": 300,
    "no room at the start": 200,
    "shared GPUs": 500,
    "several GPUs": 200,
    "shared by configuration": 200,
    "not at the lowest start": 1000,
    "gangs on several nodes": 60,
    "members on one node": 150,
    "part of a gang found room": 100,
    "a zone was passed over": 20,
    "preempted": 20,
    "preempted on their way": 1,
    "preempted on one of several nodes": 8,
    "placed where room was made": 30,
    "spared": 50,
    "waits for those that drain": 10,
    "refused": 50,
    "drought": 40,
    "left alone for now": 100,
    "outages": 30,
    **{f"expander {i} chose of several": 15 for i in range(4)},
    "not the first option": 50,
    "nodes on their way will do": 60,
    "removed": 100,
    "kept for the minimum": 40,
    "kept for another scan": 10,
    "too soon to go": 100,
    "nodes lost": 200,
    "lost on their way": 10,
    "told before": 15,
    "replicas lost": 300,
    "starts lost": 25,
    "cordoned": 80,
    "uncordoned": 10,
    "runs finished": 200,
    "runs lost": 60,
    "runs preempted": 5,
    "runs given up": 4,
    "runs that go on from a checkpoint": 8,
    "bills rounded up": 100,
    "evicted": 200,
    "evictions refused": 25,
    "little used": 400,
    "unneeded": 80,
    "drained for want of use": 15,
    "budgets keep a node": 12,
    "empty nodes consolidated": 400,
    "as many as may be going": 150,
    "drained as they fit elsewhere": 6,
    "gave way to a fresh node": 5,
    "no fresh node to be had": 5,
}


def test_the_made_clusters_have_everything_that_is_compared() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += naive_of(seed).seen
    assert {name: n for name, n in AT_LEAST.items() if seen[name] < n} == {}
    scripted: Counter[str] = Counter()
    for seed in SCRIPTED:
        scripted += naive_of(seed, is_scripted=True).seen
    rare = ("placed after a wait", "nodes lost", "removed", "gangs on several nodes", "shared GPUs")
    assert min(scripted[name] for name in rare) >= 10
