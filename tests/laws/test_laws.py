"""What holds in every run, whatever the fleet, its traffic and its controllers."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity.engines import laws_of, run_on_loop
from parity.fleets import Dice, Fleet, fill_hpa, fill_queue, fleet

from sim.engine.host import run_plan
from sim.engine.result import RESULT_METRICS, Result, make_result
from sim.fill.params import traffic_of
from sim.model.loop.control import SCALER_PAR
from sim.model.router.choose import RANDOM
from sim.model.tables import codes
from sim.model.tables.codes import (
    BLAME_STREAM_COLUMNS,
    BLAME_TTFT_COLUMNS,
    BLOCKED,
    COMPLETED,
    CONCURRENCY,
    FAILED,
    FIXED,
    GATEWAY_FULL,
    HPA,
    IN_CPU_STAGE,
    IN_GATEWAY,
    IN_PREFILL,
    IN_QUEUE,
    IN_STREAM,
    INSIDE,
    NO_REASON,
    OUTCOMES,
    OVER_LIMIT,
    PREDICTED_TTFT,
    QUEUE,
    QUEUE_TIME,
    RATE_LIMITED,
    REASONS,
    REJECTED,
    REPLICA_LOST,
    SHED,
    SRC_BACKLOG,
    STAGE_NAMES,
    STAGE_READY,
    STALLED,
    TIMED_OUT,
    TOO_LONG,
)
from sim.model.tables.node import EVENT_REPLICA_LOST, EVENT_REPLICA_WAITS
from sim.model.tables.sample import STEP_PARTS
from sim.units import NEVER

from .users import can_fall_back
from .walk import Walk, walked

SEEDS = range(6000, 6080)
MORE_SEEDS = range(6080, 7000)
NASTY = range(6000, 6160)
BLOCKS = 8
STEP_WORK = ("prefill_tokens", "prefill_squares", "decode_tokens", "kv_read_tokens")
REASON_NAMES = set(REASONS)
REASONS = {
    COMPLETED: (NO_REASON,),
    REJECTED: (
        TOO_LONG,
        OVER_LIMIT,
        GATEWAY_FULL,
        RATE_LIMITED,
        CONCURRENCY,
        SHED,
        QUEUE_TIME,
        PREDICTED_TTFT,
        BLOCKED,
    ),
    TIMED_OUT: (IN_GATEWAY, IN_CPU_STAGE, IN_QUEUE, IN_PREFILL, IN_STREAM, STALLED),
    FAILED: (REPLICA_LOST,),
}


@cache
def finished(seed: int) -> tuple[Walk, Result]:
    """The walked run of a seed, records on."""
    walk = walked(
        fleet(seed, no_records=False, episodes=False)
    )  # their laws: tests/laws/cluster_laws.py, oracles
    return walk, make_result(walk.p, walk.st)


def check(walk: Walk, result: Result) -> None:
    """Every law of a finished run."""
    walk.fronts.check_stations()
    areas_are_integrals(walk, result)
    requests_are_conserved(walk, result)
    attempts_are_conserved(walk, result)
    stamps_are_in_order(walk, result)
    turns_follow_answers(walk, result)
    blame_sums_to_the_whole(walk, result)
    measures_are_those_of_the_requests(walk, result)
    work_adds_up(walk, result)
    the_window_adds_up(walk, result)
    queues_keep_littles_law(walk, result)
    the_series_adds_up(walk, result)
    nothing_is_left_behind(walk, result)


# ---- areas ---------------------------------------------------------------------------------------------------------
def events_of(walk: Walk, event: int) -> int:
    """How often something happened in the cluster."""
    return (
        int((walk.st.rows("event", int(walk.st.n_event))["event"] == event).sum()) if walk.p.n_cluster else 0
    )


def loses_replicas(walk: Walk) -> bool:
    """Whether a replica was lost with its node, or before it had drained for another one."""
    return events_of(walk, EVENT_REPLICA_LOST) > 0


def areas_are_integrals(walk: Walk, result: Result) -> None:
    """Billed, ready, busy and slot time are what one gets by counting between events; billed ≥ ready, billed ≥ busy."""
    for pool, row in enumerate(result.pools):
        for name in ("billed_ps", "ready_ps", "serving_ps", "busy_ps", "slot_ps"):
            assert row[f"run_{name}"] == walk.areas[name, pool], name
        for prefix in ("", "run_"):
            assert row[prefix + "billed_ps"] >= row[prefix + "serving_ps"] >= row[prefix + "busy_ps"] >= 0
            assert row[prefix + "serving_ps"] >= row[prefix + "ready_ps"] >= 0
            assert (
                row[prefix + "busy_ps"]
                <= row[prefix + "slot_ps"]
                <= row[prefix + "busy_ps"] * row["max_num_seqs"]
            )
            assert row[prefix + "gpu_ps"] == row[prefix + "billed_ps"] * row["gpus_per_replica"]
        # the part of a step that was done when a mark fell in it is lost too
        lost = walk.made.on.get("faults", False) or loses_replicas(walk)
        names = [name for name in row if f"run_{name}" in row and not (lost and name in STEP_WORK)]
        assert all(0 <= row[name] <= row[f"run_{name}"] for name in names)


# ---- requests ------------------------------------------------------------------------------------------------------
def requests_are_conserved(walk: Walk, result: Result) -> None:
    """Per class: offered = completed + rejected + timed out + failed + inside, in the window and over all."""
    counts, rows = result.counts, result.requests
    run = walk.made.run
    arrived = rows["arrival_ps"] <= min(result.end_ps, run.end_ps - 1)
    measured = (rows["arrival_ps"] >= run.warmup_ps) & (rows["arrival_ps"] < run.duration_ps)
    for k in range(len(walk.made.classes)):
        mine = rows["class_id"] == k
        for name in ("completed", "rejected", "timed_out", "failed"):
            code = OUTCOMES.index(name)
            assert counts[name][1 + k] == (mine & measured & (rows["outcome"] == code)).sum(), name
            assert counts[f"all_{name}"][1 + k] == (mine & (rows["outcome"] == code)).sum(), name
        assert counts["all_offered"][1 + k] == (mine & arrived).sum()
        assert counts["offered"][1 + k] == (mine & arrived & measured).sum()
        inside = mine & arrived & measured & (rows["outcome"] == INSIDE)
        assert counts["inside"][1 + k] == inside.sum()
        cached = mine & measured & (rows["outcome"] == COMPLETED) & is_cached(rows)
        assert walk.rows("counts")["from_cache"][k] == cached.sum()
    for name, column in counts.items():
        assert column[0] == column[1:].sum(), name
    assert np.all(rows["outcome"][~arrived] == INSIDE)
    for outcome, reasons in REASONS.items():
        assert np.all(np.isin(rows["reason"][arrived & (rows["outcome"] == outcome)], reasons))


def attempts_are_conserved(walk: Walk, result: Result) -> None:
    """Per class: attempts = the rows' = by how they ended + under way; each is a first one, a retry or a hedge."""
    counts, rows, run = result.counts, result.requests, walk.made.run
    ends = [f"attempts_{name}" for name in (*OUTCOMES[1:], "cancelled")]
    measured = (rows["arrival_ps"] >= run.warmup_ps) & (rows["arrival_ps"] < run.duration_ps)
    measured &= rows["arrival_ps"] <= min(result.end_ps, run.end_ps - 1)
    for k, row in enumerate(walk.made.classes):
        mine = measured & (rows["class_id"] == k)
        assert counts["attempts"][1 + k] == rows["attempts"][mine].sum()
        assert np.all(rows["attempts"][mine] <= row.attempts_max + can_fall_back(row))
        assert counts["wasted_tokens"][1 + k] == rows["wasted_tokens"][mine].sum()
        assert counts["attempts_completed"][1 + k] == counts["completed"][1 + k]
        under_way = counts["attempts"][1 + k] - sum(counts[name][1 + k] for name in ends)
        assert (
            0
            <= under_way
            <= 2 * (mine & (rows["outcome"] == INSIDE)).sum()
            + (mine & (rows["outcome"] == COMPLETED)).sum() * (row.hedge_ps != NEVER)
        )
        retries, hedges = counts["retries"][1 + k], counts["hedges"][1 + k]
        if walk.p.has_attempts:
            firsts = counts["offered"][1 + k] - (rows["attempts"][mine] == 0).sum()  # some are still deferred
            again = counts["attempts"][1 + k] - (firsts + retries + hedges)
            assert 0 <= again <= firsts * can_fall_back(row)
        first = counts["all_offered"][1 + k]
        if row.budget_burst_milli != NEVER:
            assert 1000 * retries <= row.budget_burst_milli + first * row.budget_ratio_milli
        if row.hedge_ps == NEVER:
            assert hedges == 0
        at = RESULT_METRICS.index("attempt_ttft")
        assert counts["completed"][1 + k] <= result.hist[1 + k, at].sum() <= counts["attempts"][1 + k]
    once = (rows["outcome"] == COMPLETED) | (measured & (rows["reason"] == TOO_LONG))
    assert np.all(rows["wasted_tokens"][once & (rows["attempts"] == 1)] == 0)


def turns_follow_answers(walk: Walk, result: Result) -> None:
    """The next turn of a session comes so long after the answer was seen, to the picosecond, or not at all."""
    turns, run = walk.made.traffic.turns, walk.made.run
    if turns is None:
        return
    rows = result.requests
    place = {int(i): n for n, i in enumerate(rows["request_id"])}
    for i, (after, pause_ps) in enumerate(zip(turns.after, turns.pause_ps, strict=True)):
        if after < 0:
            continue
        n, follower = place.get(i), place.get(int(after))
        outcome = -1 if n is None else int(rows["outcome"][n])
        if outcome == COMPLETED:
            seen_ps = rows["last_token_ps"][n] + rows["network_ps"][n]
            comes_ps = int(seen_ps + max(1, pause_ps))
            assert (follower is None) == (comes_ps >= run.duration_ps)
            assert follower is None or rows["arrival_ps"][follower] == comes_ps
        elif outcome < 0 or outcome == INSIDE or not walk.made.classes[rows["class_id"][n]].is_persistent:
            assert follower is None
        elif follower is not None:
            assert rows["arrival_ps"][n] < rows["arrival_ps"][follower] < run.duration_ps


def is_simple(result: Result) -> bool:
    """Whether every request had one attempt at a replica, and nobody gave up, was lost or blocked: then the rows tell
    all there was.
    """
    rows = result.requests
    gone = np.isin(rows["outcome"], (TIMED_OUT, FAILED)) | (rows["reason"] == BLOCKED) | is_cached(rows)
    return not gone.any() and bool(np.all(rows["attempts"] <= 1))


def is_cached(rows: dict[str, np.ndarray]) -> np.ndarray:
    """The requests that the response cache answered, or would have."""
    return (rows["routed_ps"] >= 0) & (rows["replica_id"] < 0)


def is_streamed(walk: Walk, rows: dict[str, np.ndarray]) -> np.ndarray:
    """The requests whose clients see each token as it is computed, and the last one last."""
    plain = [not (c.is_withheld or c.after or c.blocked_q20) for c in walk.made.classes]
    return np.array(plain)[rows["class_id"]] & ~is_kept(walk, rows)


def is_kept(walk: Walk, rows: dict[str, np.ndarray]) -> np.ndarray:
    """The requests whose answers have to do with the response cache."""
    content, front = walk.made.traffic.content_id, walk.made.front
    ids = rows["request_id"]
    return np.zeros(len(ids), dtype=bool) if content is None or not front.cache_entries else content[ids] >= 0


def stamps_are_in_order(walk: Walk, result: Result) -> None:
    """arrival ≤ taken ≤ routed ≤ scheduled < first token ≤ last token ≤ end; nothing after what did not happen.

    Some of the table may arrive after the end.
    """
    came = result.requests["arrival_ps"] <= result.end_ps
    rows = {name: column[came] for name, column in result.requests.items()}
    stamps = [
        rows[name]
        for name in ("arrival_ps", "taken_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps")
    ]
    for i, (before, after) in enumerate(itertools.pairwise(stamps)):
        happened = after >= 0
        assert np.all(before[happened] >= 0)
        computed = (happened & ~is_cached(rows)) if i == 3 else np.zeros(len(happened), dtype=bool)
        assert np.all(before[happened] <= after[happened])
        assert np.all(before[computed] < after[computed])
        assert np.all(after[happened] <= result.end_ps)
    done = rows["outcome"] == COMPLETED
    assert np.array_equal(done, rows["last_token_ps"] >= 0)
    assert np.all(rows["routed_ps"][rows["replica_id"] >= 0] >= 0)
    assert np.all(is_kept(walk, rows)[is_cached(rows)])
    for k, row in enumerate(walk.made.classes):
        mine = done & (rows["class_id"] == k)
        assert not row.is_withheld or np.array_equal(
            rows["first_token_ps"][mine], rows["last_token_ps"][mine]
        )
        if row.deadline_ps != NEVER:
            assert np.all(rows["last_token_ps"][mine] < rows["arrival_ps"][mine] + row.deadline_ps)
    done &= is_streamed(walk, rows)
    span = (rows["last_token_ps"] - rows["first_token_ps"])[done]
    longest, tokens = rows["itl_max_ps"][done], rows["output_tokens"][done]
    assert np.array_equal(longest > 0, tokens >= 2)
    assert np.all(np.where(tokens >= 2, (longest <= span) & (longest * (tokens - 1) >= span), span == 0))


def blame_sums_to_the_whole(walk: Walk, result: Result) -> None:
    """No part is negative; they sum to ttft and to e2e; each is there where what it is blamed on was there."""
    rows = result.requests
    first, last = rows["first_token_ps"] >= 0, rows["last_token_ps"] >= 0
    of_ttft, of_stream = (
        [rows[name] for name in names] for names in (BLAME_TTFT_COLUMNS, BLAME_STREAM_COLUMNS)
    )
    assert all(np.all(part[first] >= 0) and np.all(part[~first] == -1) for part in of_ttft)
    assert all(np.all(part[last] >= 0) and np.all(part[~last] == -1) for part in of_stream)
    asked = rows["arrival_ps"] - rows["network_ps"]  # as the user sees it
    assert np.array_equal(sum(of_ttft)[first], (rows["first_token_ps"] - asked)[first])
    assert np.array_equal(sum(of_ttft + of_stream)[last], (rows["last_token_ps"] - asked)[last])
    assert np.all(rows["blame_retry_ps"][first] == (rows["taken_ps"] - rows["arrival_ps"])[first])
    assert np.all((rows["blame_prefill_ps"] > 0)[first & (rows["preemptions"] == 0) & ~is_cached(rows)])
    lost = np.maximum(rows["blame_preemption_ps"], 0) + np.maximum(rows["blame_stream_preemption_ps"], 0)
    assert np.all((rows["preemptions"] > 0)[lost > 0])
    # of an answer held back, a preemption after the first token is part of what was withheld
    streamed = ~is_held_back(walk, rows)
    assert np.all((lost > 0)[last & streamed & (rows["preemptions"] > 0)])
    if sum(pool["run_replicas_started"] for pool in result.pools) == 0 and not events_of(
        walk, EVENT_REPLICA_WAITS
    ):
        assert np.all(rows["blame_cold_start_ps"][first] == 0)


def is_held_back(walk: Walk, rows: dict[str, np.ndarray]) -> np.ndarray:
    """The requests whose clients see nothing before they see it all."""
    return np.array([bool(c.is_withheld) for c in walk.made.classes])[rows["class_id"]]


def measures_are_those_of_the_requests(walk: Walk, result: Result) -> None:
    """Histograms hold one entry per measured request (gap for gap), sums are the rows' sums, `met` is who met all."""
    rows, run = result.requests, walk.made.run
    measured = (rows["arrival_ps"] >= run.warmup_ps) & (rows["arrival_ps"] < run.duration_ps)
    done = measured & (rows["outcome"] == COMPLETED)
    long = done & (rows["output_tokens"] > 1)
    span = rows["last_token_ps"] - rows["first_token_ps"]
    asked = rows["arrival_ps"] - rows["network_ps"]  # as the user sees it
    streamed = is_streamed(walk, rows)  # what follows the last token is no part of tpot
    values = {
        "ttft": (done, rows["first_token_ps"] - asked),
        "e2e": (done, rows["last_token_ps"] - asked),
        "queue_wait": (done, rows["scheduled_ps"] - rows["taken_ps"]),
        "tpot": (long & streamed, span // np.maximum(1, rows["output_tokens"] - 1)),
    }
    for k, limits in enumerate(walk.made.classes):
        mine = rows["class_id"] == k
        met = done & mine & (rows["itl_max_ps"] <= limits.itl_ps)
        for name, (who, value) in values.items():
            if name == "tpot" and not np.all(streamed[mine]):
                continue
            at = RESULT_METRICS.index(name)
            assert result.hist[1 + k, at].sum() == (who & mine).sum(), name
            assert result.sums[name][1 + k] == sum(value[who & mine].tolist()), name
            met &= ~who | (value <= getattr(limits, f"{name}_ps", NEVER))
        if limits.tpot_ps == NEVER or np.all(streamed[mine]):
            assert result.counts["met"][1 + k] == met.sum()
        gaps = result.hist[1 + k, RESULT_METRICS.index("itl")].sum()
        known = np.maximum(0, rows["output_tokens"] - 1)[done & mine & ~is_cached(rows)].sum()
        unfinished = measured & mine & (rows["first_token_ps"] >= 0) & ~done
        others = (rows["attempts"] * np.maximum(0, rows["output_tokens"] - 1))[measured & mine].sum()
        assert known <= gaps <= known + others
        if not unfinished.any() and is_simple(result) and np.all(streamed[mine]):
            assert result.sums["itl"][1 + k] == sum(span[done & mine].tolist())


# ---- work ----------------------------------------------------------------------------------------------------------
def shares_gpus(walk: Walk) -> bool:
    """Whether replicas have neighbours on their GPUs."""
    return any(int(walk.p.node_group[g].sharing) > 0 for g in range(int(walk.p.n_node_group)))


def work_adds_up(walk: Walk, result: Result) -> None:
    """A step is prefill or decode; every token is computed once, and again only after a preemption."""
    rows = result.requests
    simple = is_simple(result)
    for pool, (row, marks) in enumerate(zip(result.pools, walk.rows("pool"), strict=True)):
        mine = rows["pool_id"] == pool
        preemptions, done = rows["preemptions"][mine].sum(), (mine & (rows["outcome"] == COMPLETED)).sum()
        assert row["run_preemptions"] == marks["preempted"] >= preemptions
        assert row["run_completions"] >= done
        assert marks["routed"] >= mine.sum()
        if simple and np.all(is_streamed(walk, rows)):
            assert (row["run_preemptions"], row["run_completions"]) == (preemptions, done)
            assert marks["routed"] == mine.sum()
        for prefix in ("", "run_"):
            parts = row[f"{prefix}prefill_ps"] + row[f"{prefix}decode_ps"]
            assert parts == row[f"{prefix}busy_ps"] or (
                shares_gpus(walk) and 0 <= parts < row[f"{prefix}busy_ps"]
            )  # the rest was the neighbours' on the GPU
        if simple and np.all(rows["outcome"][mine] == COMPLETED):
            prompts = rows["prompt_tokens"][mine].sum()
            decodes = np.maximum(0, rows["output_tokens"][mine] - 1).sum()
            again = row["run_preemptions"] > 0
            found = row["run_cached_tokens"]
            assert found == rows["cached_tokens"][mine].sum() <= row["run_asked_tokens"]
            if again:
                assert row["run_prefill_tokens"] + found >= prompts or row["run_asked_tokens"] > 0
            else:
                assert row["run_prefill_tokens"] + found == prompts
                assert row["run_asked_tokens"] in (0, prompts)
            assert row["run_decode_tokens"] <= decodes if again else row["run_decode_tokens"] == decodes


def the_window_adds_up(walk: Walk, result: Result) -> None:
    """Between the marks: completions, prompts and tokens are those of the requests' own stamps, and no replica emits
    more than its step times allow; every share of its time is one.
    """
    rows, run = result.requests, walk.made.run
    done = rows["outcome"] == COMPLETED
    within = {
        name: (rows[name] >= run.warmup_ps) & (rows[name] < run.duration_ps)
        for name in ("scheduled_ps", "first_token_ps", "last_token_ps")
    }
    gone = ~np.isin(rows["outcome"], (COMPLETED, INSIDE)) | is_cached(rows)
    over = (rows["last_token_ps"] >= 0) & (rows["last_token_ps"] < run.warmup_ps)
    late = rows["first_token_ps"] >= run.duration_ps
    streamed = np.all(is_streamed(walk, rows))
    for k in range(len(walk.made.classes)):
        mine = rows["class_id"] == k
        assert result.counts["done"][1 + k] == (mine & done & within["last_token_ps"]).sum()
        found = {name: result.counts[name][1 + k] for name in ("tokens_in", "tokens_out")}
        answered = mine & ~gone & (rows["first_token_ps"] >= 0)
        if streamed:
            assert found["tokens_in"] == rows["prompt_tokens"][answered & within["first_token_ps"]].sum()
            whole = answered & done & within["first_token_ps"] & within["last_token_ps"]
            most = answered & ~over & ~late
            tokens = rows["output_tokens"]
            assert tokens[whole].sum() <= found["tokens_out"] <= tokens[most].sum()
    room = 0
    for row, limits in zip(result.pools, walk.pools, strict=True):
        base = walk.p.base[limits["table_at"] :][: limits["max_num_seqs"] + 1]
        shortest = max(1, min(int(base[1:].min()), int(base[0])))
        room += row["slot_ps"] // shortest + int(limits["n_replica"] * limits["max_num_seqs"])
        assert abs(row["step_parts"]) <= STEP_PARTS * limits["n_replica"]
        if row["busy_ps"] == 0:
            assert row["prefill_tokens"] == row["decode_tokens"] == 0
    assert result.counts["tokens_out"][0] <= room


def queues_keep_littles_law(walk: Walk, result: Result) -> None:
    """The area under a queue's length is the time that its requests spent in it: at the gateway, waiting, in all."""
    rows, end_ps = result.requests, result.end_ps
    if not is_simple(result):
        return
    arrived = (rows["arrival_ps"] < walk.made.run.end_ps) & (rows["outcome"] != REJECTED)
    until = {name: np.where(rows[name] >= 0, rows[name], end_ps) for name in rows if name.endswith("_ps")}
    held = until["routed_ps"] - rows["arrival_ps"]
    if np.any(rows["outcome"] == REJECTED) and walk.areas["away", 0] > 0:
        return  # when they were turned away is not told
    assert walk.areas["held", 0] + walk.areas["away", 0] == held[arrived].sum()
    inside = until["last_token_ps"] - rows["arrival_ps"]
    assert walk.areas["in_flight", 0] == inside[arrived].sum()
    waiting = (until["scheduled_ps"] - until["routed_ps"])[arrived].sum()
    again = rows["preemptions"].sum() > 0
    assert walk.areas["waiting", 0] >= waiting if again else walk.areas["waiting", 0] == waiting


# ---- time series ---------------------------------------------------------------------------------------------------
def the_series_adds_up(walk: Walk, result: Result) -> None:
    """Every row has its replicas in one stage each; what is cumulative never falls; nobody is counted twice."""
    rows = result.samples
    names = STAGE_NAMES[1:]
    for pool, limits in enumerate(walk.pools):
        mine = rows["pool_id"] == pool
        series = {name: rows[name][mine] for name in rows}
        places = sum(series[name] for name in names)
        assert np.all(places <= limits["n_replica"])
        assert np.all(series["ready"] + series["draining"] <= limits["n_replica"])
        assert np.all(series["kv_blocks_used"] <= series["kv_blocks_total"])
        assert np.all(
            series["kv_blocks_total"] == (series["ready"] + series["draining"]) * limits["n_blocks"]
        )
        assert np.all(series["running"] <= (series["ready"] + series["draining"]) * limits["max_num_seqs"])
        for name in ("time_ps", "attempts", "retries", "routed", "completions", "preemptions", "gpu_ps"):
            assert np.all(np.diff(series[name]) >= 0), name
        assert np.all(np.diff(series["attempts"] - series["retries"]) >= 0)
        period_ps = int(walk.p.sample_ps)
        expected = period_ps * np.arange(len(series["time_ps"]))
        assert np.array_equal(series["time_ps"][:-1], expected[:-1]), "a sample every period, from 0 on"
        assert np.all(series["time_ps"][-1:] <= expected[-1:]), "the last where the run ends"
        assert np.all(np.diff(series["time_ps"]) > 0), "one at an instant"
        if is_simple(result):
            assert np.all(series["routed"] - series["completions"] == series["waiting"] + series["running"])
        billed = (places - series["waiting_slice"]).astype(object) * int(limits["gpus"])
        assert np.all(
            np.diff(series["gpu_ps"])
            <= int(limits["n_replica"] * limits["gpus"]) * np.diff(series["time_ps"])
        )
        assert np.all(billed >= 0)


def nothing_is_left_behind(walk: Walk, result: Result) -> None:
    """When the run is over every slot is free again; engines that have emptied hold no block and no sequence."""
    st = walk.st
    n_slot = len(walk.slots)
    duration_ps = min(walk.made.run.duration_ps, result.window_end_ps or 0)  # closed loops may end before
    assert duration_ps <= result.end_ps <= walk.made.run.end_ps
    assert st.in_flight == 0
    n_own = (traffic_of(walk.p).arrival_ps != NEVER).sum()
    assert st.cursor == n_own or result.end_ps == walk.made.run.end_ps
    free, slot = 0, int(st.free_slot)
    while slot >= 0:
        free, slot = free + 1, int(st.slot[slot].next)
    assert free == n_slot
    for r, row in enumerate(walk.replicas):
        if row["n_run"] == 0 and row["stage"] == STAGE_READY:
            limits = walk.pools[walk.home[r]]
            assert row["free_blocks"] == limits["n_blocks"]
            assert (row["n_decode"], row["kv"], row["n_chunk"], row["n_gap"]) == (0, 0, 0, 0)
            assert not st.m[row["residue_at"] : row["residue_at"] + limits["block_size"]].any()


# ---- tests ---------------------------------------------------------------------------------------------------------
def check_seeds(seeds: range) -> None:
    for seed in seeds:
        try:
            check(*finished(seed))
        except AssertionError as error:
            line = f"python -m tests.laws.repeat {seed}"
            raise AssertionError(f"seed {seed}: {error}\nrepeat with {line}") from error


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_laws_hold(block: int) -> None:
    check_seeds(SEEDS[block::BLOCKS])


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_laws_hold_in_hundreds_of_fleets(block: int) -> None:
    check_seeds(MORE_SEEDS[block::BLOCKS])


@pytest.mark.slow
@settings(max_examples=30, deadline=None, print_blob=True)
@given(st.integers(0, 10**9), st.dictionaries(st.sampled_from(sorted(fleet(0).on)), st.booleans()))
def test_the_laws_hold_wherever_hypothesis_looks(seed: int, switches: dict[str, bool]) -> None:
    walk = walked(fleet(seed, **{**switches, "no_records": False, "episodes": False}))
    check(walk, make_result(walk.p, walk.st))


@pytest.mark.slow
def test_the_fleets_are_as_nasty_as_they_should_be() -> None:
    """The laws would be cheap if nothing happened: everything that can happen does, often."""
    seen = {
        "preempted": 0,
        "too_long": 0,
        "gateway_full": 0,
        "held": 0,
        "failed": 0,
        "rate_limited": 0,
        "concurrency": 0,
        "shed": 0,
        "queue_time": 0,
        "in_queue": 0,
        "in_prefill": 0,
        "in_stream": 0,
        "retried": 0,
        "hedged": 0,
        "wasted": 0,
        "blocked": 0,
        "in_cpu_stage": 0,
        "cached": 0,
        "stations": 0,
        "started": 0,
        "drained": 0,
    }
    for seed in NASTY:
        walk, result = finished(seed)
        rows = result.requests
        seen["preempted"] += bool(rows["preemptions"].any())
        seen["too_long"] += bool((rows["reason"] == TOO_LONG).any())
        seen["gateway_full"] += bool((rows["reason"] == GATEWAY_FULL).any())
        for name in REASON_NAMES & seen.keys() - {"too_long", "gateway_full"}:
            seen[name] += bool((rows["reason"] == codes.REASONS.index(name)).any())
        seen["retried"] += result.counts["retries"][0] > 0
        seen["hedged"] += result.counts["attempts_cancelled"][0] > 0
        seen["cached"] += bool(is_cached(rows).any())
        seen["stations"] += any(end > start for station in walk.fronts.jobs for start, end, _ in station)
        seen["wasted"] += bool((rows["wasted_tokens"] > 0).any())
        seen["held"] += bool((rows["routed_ps"] > rows["taken_ps"]).any())
        seen["failed"] += bool((rows["outcome"] == FAILED).any())
        seen["started"] += any(pool["run_replicas_started"] for pool in result.pools)
        seen["drained"] += any(pool["scaled_down"] for pool in result.pools)
    assert all(count >= len(NASTY) // 25 for count in seen.values()), seen


@pytest.mark.parametrize("seed", range(40))
def test_the_same_seed_twice_is_the_same_run(seed: int) -> None:
    one, other = (run_on_loop(fleet(seed)) for _ in range(2))
    assert np.array_equal(one.m, other.m)


def test_another_seed_is_another_run() -> None:
    made = next(
        made
        for made in map(fleet, range(1000))
        if made.groups[0].router == RANDOM
        and sum(pool.initial_replicas for pool in made.pools if pool.served_model == 0) > 1
        and make_result(made.params, run_on_loop(made)).counts["completed"][0] > 12
    )
    digests = {
        make_result(other.params, run_on_loop(other)).digest
        for other in (made._replace(run=made.run._replace(seed=seed)) for seed in range(20))
    }
    assert len(digests) > 5


# ---- common random numbers -----------------------------------------------------------------------------------------
def other_policy(made: Fleet, kind: int) -> Fleet:
    """The same fleet under another controller."""
    dice = Dice(made.run.seed % 10**6)
    dice.grid_ps = made.grid_ps
    pools = []
    for pool in made.pools:
        par = np.zeros(SCALER_PAR, dtype=np.int64)
        if kind == HPA:
            fill_hpa(dice, par, (pool.min_replicas, pool.max_replicas))
        elif kind == QUEUE:
            fill_queue(dice, par, (pool.min_replicas, pool.max_replicas))
        tick_ps = dice.ticks(1, 5) if kind == HPA else 0
        pools.append(
            pool._replace(
                autoscaler=kind,
                autoscaler_settings=par,
                tick_ps=tick_ps,
                target_milli=pool.max_replicas,
                signals=(pool.signals[0]._replace(source=SRC_BACKLOG),),
            )
        )
    return made._replace(pools=pools)


def test_the_nth_cold_start_of_a_pool_takes_as_long_under_every_policy() -> None:
    common = different = 0
    for seed in range(7000, 7013):
        made = fleet(seed, cold_starts=True, scaled=True, users_laws=False, links=False)  # nothing to share
        starts = [walked(other_policy(made, kind)).starts for kind in (FIXED, HPA, QUEUE)]
        for one, other in ((starts[0], starts[1]), (starts[0], starts[2]), (starts[1], starts[2])):
            for key in one.keys() & other.keys():
                assert one[key] == other[key], f"start {key} of seed {seed}"
                common += 1
        different += len(set(starts[0].values()) | set(starts[1].values())) > 1
    assert common > 20
    assert different > 3


def test_a_run_leaves_its_parameters_alone() -> None:
    for seed in range(20):
        made = fleet(seed)
        params = made.params
        kept = params.m.copy(), params.trace.copy()
        run_plan(params, laws_of(made))
        assert np.array_equal(params.m, kept[0])
        assert np.array_equal(params.trace, kept[1])
