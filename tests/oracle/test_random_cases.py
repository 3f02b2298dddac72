"""The laws that the plain model keeps on a few hundred cases; the cases are as nasty as they should be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from .naive import Run, run, simulate
from .naive_gateway import DAY_PS, FINAL
from .random_cases import Case, case, cases, later

SEEDS = range(400)
MORE_SEEDS = range(800)
REASONS = {
    "completed": ("",),
    "inside": ("",),
    "rejected": (
        "too_long",
        "over_limit",
        "concurrency",
        "rate_limited",
        "shed",
        "queue_time",
        "gateway_full",
        "blocked",
    ),
    "timed_out": ("in_gateway", "in_cpu_stage", "in_queue", "in_prefill", "in_stream"),
    "failed": ("replica_lost",),
}
STAMPS = ("taken_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps")


def laws(given_case: Case, told: Run) -> None:
    """Assert everything that holds in every case."""
    for asked, answer in zip(given_case["requests"], told.requests, strict=True):
        outcome_is_whole(answer)
        stamps_are_in_order(asked[0], answer)
        tokens_are_all_there(asked, answer, given_case["classes"][asked[3]]["withheld"])
    for replica in told.replicas:
        steps_follow_each_other(replica, given_case["end_ps"])
    every_token_was_computed_once_more_only_if_preempted(given_case, told)
    limits_were_kept(given_case, told)
    attempts_add_up(given_case, told)
    waste_is_what_answered_nobody(told)
    budgets_were_kept(given_case, told)
    concurrency_was_kept(given_case, told)


def outcome_is_whole(answer: dict[str, Any]) -> None:
    """Every request has one outcome, a reason exactly when that is a bad one, and the reason goes with it."""
    assert answer["reason"] in REASONS[answer["outcome"]]
    assert (answer["last_token_ps"] >= 0) == (answer["outcome"] == "completed")
    assert (answer["replica"] >= 0) == (answer["routed_ps"] >= 0 and answer["place"] != "cache")
    if answer["outcome"] == "rejected":
        assert (answer["routed_ps"] >= 0) == (answer["reason"] == "blocked")
    if answer["place"] in ("before", "in"):
        reached = {"in_cpu_stage": 1, "in_gateway": 1, "in_queue": 2, "in_prefill": 3}.get(answer["reason"])
        assert reached is None or sum(answer[key] >= 0 for key in STAMPS) == reached
    if answer["place"] == "cache":
        assert answer["reason"] in ("", "in_gateway")


def stamps_are_in_order(arrival_ps: int, answer: dict[str, Any]) -> None:
    """arrival ≤ taken ≤ routed ≤ scheduled < first token ≤ last token; nothing after what did not happen."""
    stamps = [answer[key] for key in STAMPS]
    happened = [stamp for stamp in stamps if stamp >= 0]
    assert stamps[: len(happened)] == happened
    assert [arrival_ps, *happened] == sorted([arrival_ps, *happened])
    if len(happened) >= 4 and answer["place"] != "cache":
        assert happened[2] < happened[3]


def tokens_are_all_there(asked: tuple[int, ...], answer: dict[str, Any], is_withheld: bool) -> None:
    """As many gaps as tokens less one, all positive, summing to the span between first and last; all at once from the
    cache. Of a withheld answer first and last are one."""
    assert all(gap >= 1 for gap in answer["gaps"])
    assert answer["itl_max_ps"] == max(answer["gaps"], default=0)
    if answer["outcome"] == "completed":
        assert len(answer["gaps"]) == max(asked[2] - 1, 0) * (answer["place"] != "cache")
        assert answer["first_token_ps"] <= answer["computed_ps"] <= answer["last_token_ps"]
        if is_withheld:
            assert answer["first_token_ps"] == answer["last_token_ps"]
        else:
            assert sum(answer["gaps"]) == answer["computed_ps"] - answer["first_token_ps"]


def steps_follow_each_other(replica: dict[str, Any], end_ps: int) -> None:
    """One step at a time, none after the end; busy time is theirs."""
    for step, following in pairwise(replica["log"]):
        assert step.get("lost_ps", step["start_ps"] + step["dt_ps"]) <= following["start_ps"]
    assert all(step["start_ps"] < end_ps and step["chunks"] for step in replica["log"])
    lost = [step for step in replica["log"] if "lost_ps" in step]
    whole = [step for step in replica["log"] if "lost_ps" not in step]
    cut_ps = sum(step["lost_ps"] - step["start_ps"] for step in lost)
    assert replica["busy_ps"] == sum(step["dt_ps"] for step in whole[: replica["steps"]]) + cut_ps
    assert len(whole) - replica["steps"] == (replica["cut_ps"] > 0)


def every_token_was_computed_once_more_only_if_preempted(given_case: Case, told: Run) -> None:
    """An answer computed its prompt and all tokens but the last; more exactly if preempted."""
    computed: Counter[tuple[int, int]] = Counter()
    for replica in told.replicas:
        for step in replica["log"]:
            for (number, _, chunk), n in zip(step["chunks"], step["attempts"], strict=True):
                computed[number, n] += chunk
    for attempt in told.attempts:
        asked, key = given_case["requests"][attempt["request"]], (attempt["request"], attempt["n"])
        least = asked[1] + max(asked[2], 1) - 1
        if attempt["outcome"] == "completed" and attempt["place"] != "cache":
            assert (computed[key] > least) == (attempt["preemptions"] > 0)
            assert computed[key] >= least
        if attempt["routed_ps"] < 0:
            assert computed[key] == 0
        assert attempt["wasted"] <= computed[key]


def limits_were_kept(given_case: Case, told: Run) -> None:
    """No step has more sequences or tokens than its pool allows (a whole prompt may be alone in a step)."""
    owners = [pool for pool in given_case["pools"] for _ in pool["ready_at"]]
    for pool, replica in zip(owners, told.replicas, strict=True):
        for step in replica["log"]:
            tokens = sum(chunk for _, _, chunk in step["chunks"])
            alone = len(step["chunks"]) == 1 and not pool["chunked_prefill"]
            assert alone or tokens <= pool["max_num_batched_tokens"]
            assert len(step["chunks"]) <= (1 if pool["batching"] == "none" else pool["max_num_seqs"])


def attempts_add_up(given_case: Case, told: Run) -> None:
    """Numbered from 1, one after the other but for a twin, no more than allowed; each has ended but one at most."""
    for number, (asked, answer) in enumerate(zip(given_case["requests"], told.requests, strict=True)):
        ours = [attempt for attempt in told.attempts if attempt["request"] == number]
        row = given_case["classes"][asked[3]]
        assert [attempt["n"] for attempt in ours] == list(range(1, answer["attempts"] + 1))
        again = sum(attempt["is_fallback"] for attempt in ours)
        assert again <= (row["fallback"] is not None and row["blocked_q20"] > 0)
        assert len(ours) <= row["attempts_max"] + again
        if len(ours) == 0:
            assert asked[0] + row["defer_max_ps"] >= given_case["end_ps"]
        assert asked[0] < given_case["end_ps"] or len(ours) == 0
        outcomes = Counter(attempt["outcome"] for attempt in ours)
        assert outcomes["completed"] == (answer["outcome"] == "completed")
        assert outcomes["inside"] == 0 or answer["outcome"] in ("inside", "completed")
        assert answer["wasted_tokens"] == sum(attempt["wasted"] for attempt in ours)
        for before, after in pairwise(ours):
            assert before["taken_ps"] <= after["taken_ps"]
            assert after["is_hedge"] or 0 <= before["end_ps"] <= after["taken_ps"]
        if answer["outcome"] not in ("completed", "inside"):
            assert (answer["outcome"], answer["reason"]) in [
                (attempt["outcome"], attempt["reason"]) for attempt in ours
            ]


def waste_is_what_answered_nobody(told: Run) -> None:
    """An attempt that answered, or is still under way, wasted nothing; nor did one that never ran; a blocked one, all."""
    for attempt in told.attempts:
        assert (attempt["wasted"] > 0) or attempt["reason"] != "blocked"
        if attempt["outcome"] in ("completed", "inside") or attempt["scheduled_ps"] < 0:
            assert attempt["wasted"] == 0


def budgets_were_kept(given_case: Case, told: Run) -> None:
    """At no time had a class made more retries than its first attempts and the burst could have paid for."""
    for k, row in enumerate(given_case["classes"]):
        if row["budget_burst_milli"] is None:
            continue
        ours = [attempt for attempt in told.attempts if given_case["requests"][attempt["request"]][3] == k]
        again = [attempt for attempt in ours if attempt["n"] > 1 and not attempt["is_hedge"]]
        retries = [attempt for attempt in again if not attempt["is_fallback"]]
        for n, retry in enumerate(sorted(retries, key=lambda attempt: attempt["taken_ps"]), 1):
            firsts = sum(attempt["n"] == 1 and attempt["taken_ps"] <= retry["taken_ps"] for attempt in ours)
            assert 1000 * n <= row["budget_burst_milli"] + firsts * row["budget_ratio_milli"]


def concurrency_was_kept(given_case: Case, told: Run) -> None:
    """Whenever an attempt passed its limits, fewer of its class and of its tenant than allowed were in flight."""
    classes = given_case["classes"]
    of = [classes[asked[3]] for asked in given_case["requests"]]
    for number, tenant in enumerate(given_case["tenants"]):
        mine = [attempt for attempt in told.attempts if of[attempt["request"]]["tenant"] == number]
        check_in_flight(mine, tenant["limit"])
    for row in classes:
        check_in_flight([attempt for attempt in told.attempts if of[attempt["request"]] is row], row["limit"])


def check_in_flight(attempts: list[dict[str, Any]], limit: dict[str, Any] | None) -> None:
    """Of attempts that passed, never more at once than the limit; those of no length are never many."""
    if limit is None or limit["concurrent_max"] is None:
        return
    spans = [(attempt["taken_ps"], attempt["end_ps"]) for attempt in attempts if attempt["counted"]]
    for start_ps, _ in spans:
        inside = sum(other <= start_ps and (end_ps < 0 or end_ps > start_ps) for other, end_ps in spans)
        assert inside <= limit["concurrent_max"]


@pytest.mark.parametrize("block", range(8))
def test_the_laws_hold(block: int) -> None:
    for seed in SEEDS[block::8]:
        check(seed)


def check(seed: int) -> None:
    """The laws on the case of a seed."""
    given_case = case(seed)
    try:
        laws(given_case, run(**given_case))
    except AssertionError as error:
        line = f"python -c 'from tests.oracle.test_random_cases import check; check({seed})'"
        raise AssertionError(f"seed {seed}: {error}\nrepeat with {line}") from error


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_laws_hold_wherever_hypothesis_looks(given_case: Case) -> None:
    laws(given_case, run(**given_case))


@pytest.mark.parametrize("seed", range(40))
def test_a_later_start_changes_nothing_else(seed: int) -> None:
    given_case = case(seed)
    by_ps = 5 * DAY_PS  # whole days: what may wait for its hours sees no difference
    for early, late in zip(simulate(**given_case), simulate(**later(given_case, by_ps)), strict=True):
        moved = {key: early[key] + by_ps for key in ("arrival_ps", *STAMPS, "computed_ps") if early[key] >= 0}
        assert late == {**early, **moved}


@pytest.mark.parametrize("seed", range(40))
def test_the_past_does_not_know_the_future(seed: int) -> None:
    """Without the later half of the requests nothing before the first of them is different."""
    given_case = case(seed)
    kept = given_case["requests"][: len(given_case["requests"]) // 2]
    cut_ps = given_case["requests"][len(kept)][0]
    short = run(**{**given_case, "requests": kept, "end_ps": min(cut_ps, given_case["end_ps"])})
    long = run(**{**given_case, "end_ps": min(cut_ps, given_case["end_ps"])})
    assert long.requests[: len(kept)] == short.requests
    assert long.replicas == short.replicas


@pytest.mark.parametrize("seed", range(60))
def test_groups_do_not_touch_each_other(seed: int) -> None:
    given_case = case(seed, calm=True)
    in_turn = [
        {**group, "router": "round_robin"} for group in given_case["groups"]
    ]  # ties are drawn by request
    given_case = {**given_case, "groups": in_turn}
    classes, whole = given_case["classes"], simulate(**given_case)
    for number in range(len(given_case["groups"])):
        ours = [i for i, asked in enumerate(given_case["requests"]) if classes[asked[3]]["group"] == number]
        alone = simulate(**{**given_case, "requests": [given_case["requests"][i] for i in ours]})
        assert alone == [whole[i] for i in ours]


def test_without_ends_drains_and_full_batches_everything_is_served() -> None:
    served = 0
    for seed in SEEDS:
        given_case = case(seed)
        patient = [pool["batching"] != "static" for pool in given_case["pools"]]
        if all(patient) and not given_case["interventions"] and given_case["end_ps"] == 10**7:
            late = {**given_case, "end_ps": 10**9}  # some wait long before they try again
            outcomes = Counter(answer["outcome"] for answer in simulate(**late))
            assert outcomes["inside"] == 0
            served += outcomes["completed"]
    assert served > 200


def test_a_seed_is_a_case() -> None:
    assert case(3) == case(3)
    assert case(3) != case(4)


def test_the_cases_reach_the_corners() -> None:
    """Each corner is met by a fair number of the seeds: what they are for is what they do."""
    met: Counter[str] = Counter()
    for seed in MORE_SEEDS:
        given_case = case(seed)
        met.update(set(corners(given_case, run(**given_case))))
    rare = {name: met[name] for name in CORNERS if met[name] < RARE.get(name, 15)}
    assert not rare


CORNERS = (
    "preempted",
    "preempted twice",
    "preempted before its first token",
    "preempted under priority",
    "preempted in a batch",
    "too_long",
    "gateway_full",
    "held, then served",
    "completed on draining",
    "inside",
    "embedding",
    "arrival on a boundary",
    "step cut off",
    "mixed step",
    "over_limit",
    "rate_limited",
    "concurrency",
    "shed",
    "queue_time",
    "in_gateway",
    "in_queue",
    "in_prefill",
    "in_stream",
    "replica_lost",
    "completed by a retry",
    "completed by a hedge",
    "retried at once",
    "a twin that lost",
    "a twin that lost in a batch",
    "a class without a budget left",
    "in_cpu_stage",
    "blocked",
    "answered by the fallback",
    "from the cache",
    "given up while the cache answers",
    "a line at a station",
    "deferred",
    "no time for another try",
    "withheld",
)


RARE = {
    "queue_time": 5,
    "completed by a hedge": 10,
    "from the cache": 6,
    "given up while the cache answers": 1,
}


def corners(given_case: Case, told: Run) -> list[str]:
    """Which corners a case met."""
    owners = [pool for pool in given_case["pools"] for _ in pool["ready_at"]]
    drains = {index: at_ps for at_ps, index, _ in given_case["interventions"]}
    steps = [step for replica in told.replicas for step in replica["log"]]
    ends = {step["start_ps"] + step["dt_ps"] for step in steps}
    sizes = [{chunk for _, _, chunk in step["chunks"]} for step in steps]
    met = ["step cut off"] * any(replica["cut_ps"] for replica in told.replicas)
    met += ["mixed step"] * any(len(size) > 1 for size in sizes)
    met += user_corners(given_case, told)
    for number, (asked, answer) in enumerate(zip(given_case["requests"], told.requests, strict=True)):
        met += [answer["reason"], answer["outcome"]]
        met += ["arrival on a boundary"] * (asked[0] in ends)
        met += ["embedding"] * (asked[2] == 0 and answer["outcome"] == "completed")
        met += ["held, then served"] * (answer["routed_ps"] > asked[0] and answer["last_token_ps"] >= 0)
        met += ["completed on draining"] * (
            answer["last_token_ps"] > drains.get(answer["replica"], answer["last_token_ps"])
        )
        if answer["preemptions"]:
            pool = owners[answer["replica"]]
            met += ["preempted"] + ["preempted twice"] * (answer["preemptions"] > 1)
            met += ["preempted under priority"] * (pool["scheduling"] == "priority")
            met += ["preempted in a batch"] * (pool["batching"] in ("static", "dynamic"))
            met += ["preempted before its first token"] * fell_early(number, answer, told)
    return met


def user_corners(given_case: Case, told: Run) -> list[str]:
    """Which corners the users of a case met."""
    met = []
    for before, after in pairwise(told.attempts):
        if after["n"] > 1 and not after["is_hedge"]:
            met += ["retried at once"] * (before["end_ps"] == after["taken_ps"])
            met += ["completed by a retry"] * (after["outcome"] == "completed")
    for attempt in told.attempts:
        met += ["completed by a hedge"] * (attempt["is_hedge"] and attempt["outcome"] == "completed")
        if attempt["outcome"] == "cancelled":
            met += ["a twin that lost"] + ["a twin that lost in a batch"] * (attempt["scheduled_ps"] >= 0)
    for asked, answer in zip(given_case["requests"], told.requests, strict=True):
        row = given_case["classes"][asked[3]]
        poor = answer["outcome"] in row["retry_on"] and answer["attempts"] < row["attempts_max"]
        met += ["a class without a budget left"] * (
            poor and answer["reason"] not in FINAL and row["deadline_ps"] is None
        )
        met += ["no time for another try"] * (
            poor and answer["reason"] not in FINAL and row["budget_burst_milli"] is None
        )
        met += ["deferred"] * (answer["attempts"] == 1 and answer["taken_ps"] > asked[0])
        met += ["withheld"] * (row["withheld"] and asked[2] > 1 and answer["outcome"] == "completed")
        met += ["from the cache"] * (answer["place"] == "cache" and answer["outcome"] == "completed")
        met += ["given up while the cache answers"] * (
            answer["place"] == "cache" and answer["outcome"] == "timed_out"
        )
        if len(row["before"]) == 1 and answer["routed_ps"] >= 0 and answer["place"] != "cache":
            _, base_ps, prompt_ps, output_ps = row["before"][0]
            work_ps = base_ps + prompt_ps * asked[1] + output_ps * asked[2]
            met += ["a line at a station"] * (answer["routed_ps"] > answer["taken_ps"] + work_ps)
    met += ["answered by the fallback"] * any(
        attempt["is_fallback"] and attempt["outcome"] == "completed" for attempt in told.attempts
    )
    return met


def fell_early(number: int, answer: dict[str, Any], told: Run) -> bool:
    """Whether a preempted request started again from nothing before its first token came out."""
    log = told.replicas[answer["replica"]]["log"]
    starts = [
        step["start_ps"] for step in log for one, done, _ in step["chunks"] if one == number and done == 0
    ]
    return len(starts) > 1 and (answer["first_token_ps"] == -1 or starts[1] < answer["first_token_ps"])
