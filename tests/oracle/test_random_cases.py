"""The laws that the plain model keeps on a few hundred cases; the cases are as nasty as they should be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from .naive import Run, run, simulate
from .random_cases import Case, case, cases

SEEDS = range(400)
STAMPS = ("routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps")


def laws(given_case: Case, told: Run) -> None:
    """Assert everything that holds in every case."""
    for asked, answer in zip(given_case["requests"], told.requests, strict=True):
        outcome_is_whole(answer)
        stamps_are_in_order(asked[0], answer)
        tokens_are_all_there(asked, answer)
    for replica in told.replicas:
        steps_follow_each_other(replica, given_case["end_ps"])
    every_token_was_computed_once_more_only_if_preempted(given_case, told)
    limits_were_kept(given_case, told)


def outcome_is_whole(answer: dict[str, Any]) -> None:
    """Every request has one outcome, and a reason exactly when rejected."""
    assert answer["outcome"] in ("completed", "rejected", "inside")
    assert (answer["reason"] != "") == (answer["outcome"] == "rejected")
    assert (answer["last_token_ps"] >= 0) == (answer["outcome"] == "completed")
    assert (answer["replica"] >= 0) == (answer["routed_ps"] >= 0)
    if answer["outcome"] == "rejected":
        assert answer["routed_ps"] == -1


def stamps_are_in_order(arrival_ps: int, answer: dict[str, Any]) -> None:
    """arrival ≤ routed ≤ scheduled < first token ≤ last token; nothing after what did not happen."""
    stamps = [answer[key] for key in STAMPS]
    happened = [stamp for stamp in stamps if stamp >= 0]
    assert stamps[: len(happened)] == happened
    assert [arrival_ps, *happened] == sorted([arrival_ps, *happened])
    if len(happened) >= 3:
        assert happened[1] < happened[2]


def tokens_are_all_there(asked: tuple[int, ...], answer: dict[str, Any]) -> None:
    """As many gaps as tokens less one, all positive, summing to the span between first and last."""
    assert all(gap >= 1 for gap in answer["gaps"])
    assert answer["itl_max_ps"] == max(answer["gaps"], default=0)
    if answer["outcome"] == "completed":
        assert len(answer["gaps"]) == max(asked[2] - 1, 0)
        assert sum(answer["gaps"]) == answer["last_token_ps"] - answer["first_token_ps"]


def steps_follow_each_other(replica: dict[str, Any], end_ps: int) -> None:
    """One step at a time, none after the end; busy time is theirs."""
    for step, following in pairwise(replica["log"]):
        assert step["start_ps"] + step["dt_ps"] <= following["start_ps"]
    assert all(step["start_ps"] < end_ps and step["chunks"] for step in replica["log"])
    assert replica["busy_ps"] == sum(step["dt_ps"] for step in replica["log"][: replica["steps"]])
    assert len(replica["log"]) - replica["steps"] == (replica["cut_ps"] > 0)


def every_token_was_computed_once_more_only_if_preempted(given_case: Case, told: Run) -> None:
    """A completed request computed its prompt and all tokens but the last; more exactly if preempted."""
    computed: Counter[int] = Counter()
    for replica in told.replicas:
        for step in replica["log"]:
            computed.update({number: chunk for number, _, chunk in step["chunks"]})
    for number, (asked, answer) in enumerate(zip(given_case["requests"], told.requests, strict=True)):
        least = asked[1] + max(asked[2], 1) - 1
        if answer["outcome"] == "completed":
            assert (computed[number] > least) == (answer["preemptions"] > 0)
            assert computed[number] >= least
        if answer["outcome"] == "rejected":
            assert computed[number] == 0


def limits_were_kept(given_case: Case, told: Run) -> None:
    """No step has more sequences or tokens than its pool allows (a whole prompt may be alone in a step)."""
    owners = [pool for pool in given_case["pools"] for _ in pool["ready_at"]]
    for pool, replica in zip(owners, told.replicas, strict=True):
        for step in replica["log"]:
            tokens = sum(chunk for _, _, chunk in step["chunks"])
            alone = len(step["chunks"]) == 1 and not pool["chunked_prefill"]
            assert alone or tokens <= pool["max_num_batched_tokens"]
            assert len(step["chunks"]) <= (1 if pool["batching"] == "none" else pool["max_num_seqs"])


def shifted(given_case: Case, by_ps: int) -> Case:
    """The same case, later."""
    return {
        **given_case,
        "requests": [(at + by_ps, *rest) for at, *rest in given_case["requests"]],
        "pools": [
            {**pool, "ready_at": [ready_ps + by_ps for ready_ps in pool["ready_at"]]}
            for pool in given_case["pools"]
        ],
        "interventions": [(at + by_ps, *rest) for at, *rest in given_case["interventions"]],
        "end_ps": given_case["end_ps"] + by_ps,
    }


@pytest.mark.parametrize("block", range(8))
def test_the_laws_hold(block: int) -> None:
    for seed in SEEDS[block::8]:
        given_case = case(seed)
        laws(given_case, run(**given_case))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_laws_hold_wherever_hypothesis_looks(given_case: Case) -> None:
    laws(given_case, run(**given_case))


@pytest.mark.parametrize("seed", range(40))
def test_a_later_start_changes_nothing_else(seed: int) -> None:
    given_case = case(seed)
    for early, late in zip(simulate(**given_case), simulate(**shifted(given_case, 1000)), strict=True):
        moved = {key: early[key] + 1000 for key in STAMPS if early[key] >= 0}
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
    given_case = case(seed)
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
            outcomes = Counter(answer["outcome"] for answer in simulate(**given_case))
            assert outcomes["inside"] == 0
            served += outcomes["completed"]
    assert served > 300


def test_a_seed_is_a_case() -> None:
    assert case(3) == case(3)
    assert case(3) != case(4)


def test_the_cases_reach_the_corners() -> None:
    """Each corner is met by a fair number of the seeds: what they are for is what they do."""
    met: Counter[str] = Counter()
    for seed in SEEDS:
        given_case = case(seed)
        met.update(set(corners(given_case, run(**given_case))))
    rare = {name: met[name] for name in CORNERS if met[name] < 15}
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
)


def corners(given_case: Case, told: Run) -> list[str]:
    """Which corners a case met."""
    owners = [pool for pool in given_case["pools"] for _ in pool["ready_at"]]
    drains = {index: at_ps for at_ps, index, _ in given_case["interventions"]}
    steps = [step for replica in told.replicas for step in replica["log"]]
    ends = {step["start_ps"] + step["dt_ps"] for step in steps}
    sizes = [{chunk for _, _, chunk in step["chunks"]} for step in steps]
    met = ["step cut off"] * any(replica["cut_ps"] for replica in told.replicas)
    met += ["mixed step"] * any(len(size) > 1 for size in sizes)
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


def fell_early(number: int, answer: dict[str, Any], told: Run) -> bool:
    """Whether a preempted request started again from nothing before its first token came out."""
    log = told.replicas[answer["replica"]]["log"]
    starts = [
        step["start_ps"] for step in log for one, done, _ in step["chunks"] if one == number and done == 0
    ]
    return len(starts) > 1 and (answer["first_token_ps"] == -1 or starts[1] < answer["first_token_ps"])
