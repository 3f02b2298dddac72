"""Every router against its slow reference, and what each of them promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parity.engines import run_on_loop
from parity.fleets import ClassRow, FaultRow, Fleet

from sim.engine.result import make_result
from sim.fill.params import PoolRow, RunRow, ServedModelRow, Traffic
from sim.fill.trace import Chains
from sim.model.router.choose import (
    CONSISTENT_HASH,
    LEAST_OUTSTANDING,
    PREFIX_AWARE,
    ROUND_ROBIN,
    ROUTERS,
    SESSION_AFFINITY,
    WEIGHTED_SCORE,
)
from sim.model.router.hash_ring import make_ring
from sim.model.tables.codes import COMPLETED, FAILED, N_START_STAGE
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.served_model import PLACES_MAX
from sim.units import NEVER

ROOT = Path(__file__).parents[2]
MS = 10**9


def ask(seeds: str) -> str:
    """What the reference says of the fleets of some seeds, in a process without a compiler."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.oracle.routers", seeds]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_routing_is_the_references() -> None:
    told = ask("0:200")
    for router in ROUTERS:
        assert int(told.partition(f"{router}: ")[2].split()[0]) > 80, f"{router} was hardly asked: {told}"


@pytest.mark.slow
def test_every_routing_is_the_references_many_more_times() -> None:
    ask("200:800")


# ---- one pool, many users ----------------------------------------------------------------------
def pool_of(n: int, **changes: int) -> PoolRow:
    """Replicas that serve up to eight requests at once, a token in 10 ms."""
    speed = np.full(9, 10 * MS)
    row = PoolRow(
        speed,
        0 * speed,
        0,
        0,
        10_000,
        8,
        8192,
        8192,
        max_replicas=n,
        initial_replicas=n,
        min_replicas=n,
        target_milli=n,
    )
    return row._replace(**changes)


def story(
    group: ServedModelRow,
    pools: list[PoolRow],
    session: np.ndarray,
    gap_ps: int,
    tokens: int = 20,
    **more: object,
) -> Fleet:
    """Requests at even gaps, each of its session."""
    n = len(session)
    traffic = Traffic(np.arange(n) * gap_ps, np.full(n, 10), np.full(n, tokens), np.zeros(n, int), session)
    run = RunRow(seed=5, duration_ps=n * gap_ps + 1, warmup_ps=0, end_ps=(n + 10**6) * gap_ps, sample_ps=0)
    return Fleet(run, traffic, [ClassRow()], [group], pools, [], {}, 1)._replace(**more)  # type: ignore[arg-type]


def replicas(made: Fleet) -> np.ndarray:
    """The replica of every request."""
    found = make_result(made.params, run_on_loop(made)).requests
    assert (found["outcome"] == COMPLETED).sum() + (found["outcome"] == FAILED).sum() == len(found["outcome"])
    return found["replica_id"]


def test_a_session_stays_at_its_replica() -> None:
    sessions = np.random.default_rng(1).integers(0, 40, 2000)
    kept = replicas(
        story(ServedModelRow(SESSION_AFFINITY, settings={"load_min": 8}), [pool_of(8)], sessions, 20 * MS)
    )
    assert all(len(set(kept[sessions == s])) == 1 for s in range(40))
    assert len(set(kept)) == 8
    lost = replicas(story(ServedModelRow(LEAST_OUTSTANDING), [pool_of(8)], sessions, 20 * MS))
    assert not any(len(set(lost[sessions == s])) == 1 for s in range(40))


def test_a_session_leaves_an_overloaded_replica_and_stays_away() -> None:
    """One session sends all there is: its replica fills up to the factor, then it moves, and from there again."""
    sessions = np.zeros(400, int)
    kept = replicas(
        story(
            ServedModelRow(SESSION_AFFINITY, settings={"overload_factor_milli": 2000}),
            [pool_of(4)],
            sessions,
            10 * MS,
        )
    )
    moves = np.flatnonzero(np.diff(kept))
    assert set(kept) == {0, 1, 2, 3}
    assert 3 <= len(moves) < 200, "it moves from replica to replica, but not at every request"


def test_a_session_whose_replica_is_lost_finds_another_and_keeps_it() -> None:
    """The place of a lost replica is taken by another one that does not know the session."""
    sessions = np.random.default_rng(2).integers(0, 12, 600)
    made = story(
        ServedModelRow(SESSION_AFFINITY, settings={"load_min": 100}), [pool_of(4)], sessions, 30 * MS
    )
    lost_ps = 300 * 30 * MS + 7
    made = made._replace(faults=[FaultRow(lost_ps, 0, 1)])
    kept, before = replicas(made), np.arange(600) < 301
    for s in range(12):
        here, then = set(kept[before & (sessions == s)]), set(kept[~before & (sessions == s)])
        assert len(here) == len(then) == 1
        assert here == then or here == {0}
    assert {s for s in range(12) if set(kept[before & (sessions == s)]) == {0}}, "nobody was at the lost one"


# ---- consistent hashing ----------------------------------------------------------------------
def test_a_replica_that_is_not_there_moves_its_own_keys_and_no_others() -> None:
    """Load is no matter here: every request is over before the next one comes."""
    sessions = np.random.default_rng(3).integers(0, 500, 3000)
    group = ServedModelRow(CONSISTENT_HASH, settings={"load_factor_milli": 10_000})
    all_ten = replicas(story(group, [pool_of(10)], sessions, 1000 * MS))
    nine = replicas(
        story(group, [pool_of(10, initial_replicas=9, min_replicas=9, target_milli=9)], sessions, 1000 * MS)
    )
    assert np.array_equal(all_ten[all_ten != 9], nine[all_ten != 9])
    assert len(set(nine[all_ten == 9])) > 3, "its keys went to several others"
    assert all(len(set(all_ten[sessions == s])) == 1 for s in set(sessions))


@pytest.mark.parametrize("factor_milli", [1000, 1250, 2000])
def test_the_bound_is_never_exceeded(factor_milli: int) -> None:
    """One key for everybody: whoever is routed finds no more than the bound, the mean just before counted by hand."""
    n, gap_ps, tokens = 300, 7 * MS, 30
    group = ServedModelRow(CONSISTENT_HASH, settings={"load_factor_milli": factor_milli})
    made = story(group, [pool_of(5)], np.zeros(n, int), gap_ps, tokens)
    found = make_result(made.params, run_on_loop(made)).requests
    start, end, where = found["arrival_ps"], found["last_token_ps"], found["replica_id"]
    fullest = 0
    for i in range(n):
        inside = (start[:i] < start[i]) & (end[:i] >= start[i])
        held = np.bincount(where[:i][inside], minlength=5)
        most = -(-factor_milli * (int(held.sum()) + 1) // 5000)
        assert held[where[i]] + 1 <= most
        fullest += held.max() + 1 >= most
    assert fullest > n // 2, "the bound was hardly ever felt"


def test_keys_spread_over_the_ring() -> None:
    """With v virtual nodes a share of n replicas has a standard deviation of about 1 / (n · √v)."""
    ring = make_ring(10, 1000, 3)
    assert np.array_equal(ring, np.sort(ring))
    places = ring & PLACES_MAX
    arcs = np.diff(np.concatenate([[float(ring[-1]) - 2.0**63], ring.astype(float)])) / 2**63
    shares = np.array([arcs[places == place].sum() for place in range(10)])
    assert shares.sum() == pytest.approx(1)
    assert np.all(np.abs(shares - 0.1) < 5 * 0.1 / np.sqrt(1000))


# ---- weighted scores of stale snapshots ----------------------------------------------------------------------
def herd(age_ps: int, count_own: int) -> tuple[Fleet, dict[str, np.ndarray]]:
    """Sixty requests a second on four replicas that can run 32, scored by a snapshot of that age."""
    group = ServedModelRow(WEIGHTED_SCORE, settings={"snapshot_ps": age_ps, "count_own": count_own})
    made = story(group, [pool_of(4)], np.full(1200, -1), 1000 * MS // 60)
    return made, make_result(made.params, run_on_loop(made)).requests


def test_a_fresh_snapshot_of_requests_alone_is_least_outstanding() -> None:
    made, found = herd(0, 0)
    plain = replicas(made._replace(groups=[ServedModelRow(LEAST_OUTSTANDING)]))
    assert np.array_equal(found["replica_id"], plain)
    assert np.array_equal(herd(0, 1)[1]["replica_id"], plain)


def test_who_reads_a_stale_snapshot_runs_with_the_herd() -> None:
    """All of an interval go to those who were the least loaded at its beginning; the older the snapshot, the longer the
    wait.
    """
    waits = []
    for age_ps in (0, 200 * MS, 1000 * MS, 4000 * MS):
        found = herd(age_ps, 0)[1]
        if age_ps:
            start, end, where = found["arrival_ps"], found["last_token_ps"], found["replica_id"]
            for k in set(start // age_ps):
                first = int(np.flatnonzero(start // age_ps == k)[0])
                held = np.bincount(where[:first][end[:first] >= start[first]], minlength=4)
                assert (held[where[start // age_ps == k]] == held.min()).all()
        waits.append(float((found["scheduled_ps"] - found["arrival_ps"]).mean()))
    assert waits[0] < 10 * MS, "without the herd there is a place for everybody at the next step"
    assert waits == sorted(waits)
    assert waits[-1] > 20 * waits[0]


def test_counting_what_was_sent_since_tames_the_herd() -> None:
    blind, counting = herd(1000 * MS, 0)[1], herd(1000 * MS, 1)[1]
    waits = [float((found["scheduled_ps"] - found["arrival_ps"]).mean()) for found in (blind, counting)]
    assert waits[1] < waits[0] / 10
    interval = counting["arrival_ps"] // (1000 * MS)
    assert all(len(set(counting["replica_id"][interval == k])) == 4 for k in set(interval))


def test_a_replica_that_is_new_since_the_snapshot_counts_as_empty() -> None:
    """It gets the next request; from a router that does not count what it sends, all until the next snapshot."""
    stage_ps = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    stage_ps[0] = 9100 * MS
    for count_own in (0, 1):
        group = ServedModelRow(WEIGHTED_SCORE, settings={"snapshot_ps": 1000 * MS, "count_own": count_own})
        pool = pool_of(4, initial_replicas=3, tick_ps=0)._replace(stage_ps=stage_ps)
        made = story(group, [pool], np.full(60, -1), 200 * MS, tokens=400)
        found = make_result(made.params, run_on_loop(made)).requests
        first = (found["arrival_ps"] >= 9100 * MS) & (found["arrival_ps"] < 10_000 * MS)
        assert found["replica_id"][first][0] == 3
        assert count_own or set(found["replica_id"][first]) == {3}


# ---- prefix caches ----------------------------------------------------------------------
def chatting(gap_ps: int, router: int = PREFIX_AWARE, **changes: int) -> dict[str, np.ndarray]:
    """Sixty sessions of ten prompts, each with the one before it inside, on four replicas with a prefix cache."""
    sessions = np.random.default_rng(7).permutation(np.repeat(np.arange(60), 10))
    turn = np.array([np.sum(sessions[:i] == who) for i, who in enumerate(sessions)])
    settings = (
        {"imbalance_min": 4, "imbalance_factor_milli": 1500, **changes} if router == PREFIX_AWARE else {}
    )
    group = ServedModelRow(router, settings=settings)
    made = story(group, [pool_of(4, prefix_runs=5000)], sessions, gap_ps)
    prompt = 64 * (1 + turn)
    shared = Chains(sessions, prompt, np.full(60, -1), np.zeros(60, dtype=np.int64))
    return make_result(
        made.params,
        run_on_loop(made._replace(traffic=made.traffic._replace(prompt_tokens=prompt, chains=shared))),
    ).requests | {"session": sessions, "turn": turn}


def test_who_has_the_prefix_gets_the_request() -> None:
    found = chatting(300 * MS)
    later = found["turn"] > 1
    assert np.all(found["cached_tokens"][later] >= 64 * found["turn"][later] - 16)
    assert all(len(set(found["replica_id"][found["session"] == who])) == 1 for who in range(60))
    assert len(set(found["replica_id"])) == 4, (
        "one at a time, every new session finds all replicas idle alike"
    )


def test_who_has_the_prefix_is_left_alone_when_it_is_too_busy() -> None:
    """Sent faster than one replica serves, sessions spread, and some move; without a prefix none would come back."""
    found = chatting(10 * MS)
    assert set(found["replica_id"]) == {0, 1, 2, 3}
    blind = chatting(10 * MS, router=ROUND_ROBIN)
    assert found["cached_tokens"].sum() > 1.4 * blind["cached_tokens"].sum()
    picky = chatting(300 * MS, match_min_milli=1000)
    plain = chatting(300 * MS, router=LEAST_OUTSTANDING)
    assert np.array_equal(picky["replica_id"], plain["replica_id"]), "no prompt is cached in full"


# ---- pools in order of preference ----------------------------------------------------------------------
def two_pools(spill_milli: int, gap_ps: int, ordered: int = 1, **more: object) -> dict[str, np.ndarray]:
    """A class that prefers pool 1 (two replicas) to pool 0 (three) and may not use pool 2; 300 ms a request."""
    made = story(
        ServedModelRow(spill_milli=spill_milli),
        [pool_of(3), pool_of(2), pool_of(1)],
        np.full(400, -1),
        gap_ps,
    )
    made = made._replace(classes=[ClassRow(pools=(1, 0), ordered=ordered)], **more)
    found = make_result(made.params, run_on_loop(made)).requests
    assert not (found["pool_id"] == 2).any()
    return found


def test_the_preferred_pool_serves_alone_while_it_has_room() -> None:
    assert set(two_pools(8000, 30 * MS)["pool_id"]) == {1}
    assert set(two_pools(8000, 30 * MS, ordered=0)["pool_id"]) == {0, 1}


def test_what_the_preferred_pool_has_no_room_for_spills_over() -> None:
    found = two_pools(4000, 10 * MS)
    start, end, pool = found["arrival_ps"], found["last_token_ps"], found["pool_id"]
    for i in range(len(start)):
        inside = (start[:i] < start[i]) & (end[:i] >= start[i])
        held = [int((pool[:i][inside] == k).sum()) for k in (0, 1)]
        room = [held[0] + 1 <= 4 * 3, held[1] + 1 <= 4 * 2]
        fuller = held[1] / 2 > held[0] / 3
        assert pool[i] == (1 if room[1] else 0 if room[0] or fuller else 1)
    assert set(pool) == {0, 1}


def test_without_a_limit_nothing_spills_over_but_a_pool_that_is_lost_is_replaced() -> None:
    crowded = two_pools(NEVER, 5 * MS)
    assert set(crowded["pool_id"]) == {1}
    lost = two_pools(NEVER, 30 * MS, faults=[FaultRow(3000 * MS, 1, 1), FaultRow(6000 * MS, 1, 2)])
    late = lost["arrival_ps"] > 6000 * MS
    assert set(lost["pool_id"][~late]) == {1}
    assert set(lost["pool_id"][late]) == {1}, "without a cold start the pool is back at once"
    stage_ps = np.full((N_START_STAGE, N_QUANTILE), 400 * MS, dtype=np.int64)
    group, pools = ServedModelRow(), [pool_of(3), pool_of(2, tick_ps=0)._replace(stage_ps=stage_ps)]
    made = story(group, pools, np.full(400, -1), 30 * MS, faults=[FaultRow(6000 * MS, 1, 2)])
    found = make_result(
        made.params, run_on_loop(made._replace(classes=[ClassRow(pools=(1, 0), ordered=1)]))
    ).requests
    away = (found["arrival_ps"] >= 6000 * MS) & (found["arrival_ps"] < 8000 * MS)
    assert set(found["pool_id"][away]) == {0}
    assert set(found["pool_id"][~away]) == {1}


# ---- the network ----------------------------------------------------------------------
def test_the_network_is_what_users_see_and_nothing_else() -> None:
    """Every answer comes later by its pool's round trip; nothing in the fleet does."""
    pools, trips = [pool_of(2), pool_of(3)], (70 * MS, 5 * MS)
    near = story(ServedModelRow(ROUND_ROBIN), pools, np.full(300, -1), 20 * MS)
    far = near._replace(classes=[ClassRow(network_ps=trips)])
    one, other = (make_result(made.params, run_on_loop(made)) for made in (near, far))
    for name in one.requests.keys() - {"network_ps", "blame_network_ps"}:
        assert np.array_equal(one.requests[name], other.requests[name]), name
    network = other.requests["network_ps"]
    assert np.array_equal(network, np.array(trips)[other.requests["pool_id"]])
    assert np.array_equal(network, other.requests["blame_network_ps"])
    assert not one.requests["network_ps"].any()
    for name in ("ttft", "e2e"):
        assert other.sums[name][0] == one.sums[name][0] + int(network.sum())
    for name in ("attempt_ttft", "queue_wait", "tpot", "itl"):
        assert other.sums[name] == one.sums[name]


@pytest.mark.parametrize(("late_ps", "met"), [(0, 1), (1, 0)])
def test_objectives_are_what_users_see(late_ps: int, met: int) -> None:
    """An answer that comes exactly in time is in time; a picosecond of network more, and it is not."""
    made = story(ServedModelRow(), [pool_of(1)], np.array([-1]), 1000 * MS)
    row = make_result(made.params, run_on_loop(made)).requests
    e2e_ps = int(row["last_token_ps"][0] - row["arrival_ps"][0])
    promised = ClassRow(e2e_ps=e2e_ps + 30 * MS, network_ps=(30 * MS + late_ps,))
    made = made._replace(classes=[promised])
    assert make_result(made.params, run_on_loop(made)).counts["met"][0] == met
