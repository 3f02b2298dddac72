"""Users and the gateway's defences, in stories whose times are worked out by hand: the plain model is right about each.

One step of the plain pool takes 10 ps.
"""

from __future__ import annotations

from typing import Any

import pytest

from sim.compile.jit import entry_point
from sim.rng import STREAM_PATIENCE, STREAM_RETRY, draw_below

from . import naive_gateway, philox
from .naive import Run, run
from .stories import LATER_PS, column, pool, tokens


def told(requests: list[tuple[int, ...]], *pools: dict[str, Any], users: dict[str, Any], **more: Any) -> Run:
    """Run (arrival_ps, prompt, output[, class]) requests; class 0 expects nothing, class 1 is that of the users."""
    full = [(request[0], request[1], request[2], (*request, 0)[3]) for request in requests]
    for name in ("first_patience_ps", "total_patience_ps"):
        if isinstance(users.get(name), int):
            users = {**users, name: [users[name]] * 1024}
    group = {"router": more.pop("router", "round_robin"), "queue_capacity": more.pop("queue_capacity", 100)}
    end_ps = more.pop("end_ps", LATER_PS)
    return run(full, list(pools) or [pool()], [{}, users], [group], end_ps, **more)


def fates(found: Run) -> list[str]:
    """How each request ended: its outcome, and its reason if that is a bad one."""
    return [request["reason"] or request["outcome"] for request in found.requests]


# ---- patience ----------------------------------------------------------------------
def test_who_waits_too_long_leaves_the_queue_at_once() -> None:
    # one seat: A 0 to 50; B (1) leaves at 21; C (2) goes at 50, D (60) as well
    found = told(
        [(0, 1, 5), (1, 1, 1, 1), (2, 1, 1), (60, 1, 1, 1)],
        pool(max_num_seqs=1),
        users={"first_patience_ps": 20},
    )
    assert fates(found) == ["completed", "in_queue", "completed", "completed"]
    assert column(found, "last_token_ps") == [50, -1, 60, 70]
    assert found.attempts[1]["end_ps"] == 21


def test_who_leaves_a_batch_stays_in_it_until_the_step_ends() -> None:
    # one seat: A's tokens at 10 and 20; it leaves at 25, the step ends at 30: B. Computed by 20: 2 tokens
    found = told([(0, 1, 9, 1), (1, 1, 1)], pool(max_num_seqs=1), users={"total_patience_ps": 25})
    assert fates(found) == ["in_stream", "completed"]
    assert found.requests[0]["gaps"] == [10]
    assert column(found, "wasted_tokens") == [2, 0]
    assert column(found, "scheduled_ps") == [0, 30]


@pytest.mark.parametrize(("patience_ps", "fate"), [(9, "in_prefill"), (10, "in_prefill"), (11, "completed")])
def test_an_answer_at_the_deadline_is_too_late(patience_ps: int, fate: str) -> None:
    for name in ("first_patience_ps", "total_patience_ps"):
        found = told([(0, 1, 1, 1)], users={name: patience_ps})
        assert fates(found) == [fate]
        assert found.requests[0]["wasted_tokens"] == 0


def test_a_held_attempt_leaves_the_gateway() -> None:
    # one place: A leaves at 5, so B (6) is held and served when the replica is ready at 50
    found = told(
        [(0, 1, 1, 1), (6, 1, 1)], pool(ready_at=[50]), users={"first_patience_ps": 5}, queue_capacity=1
    )
    assert fates(found) == ["in_gateway", "completed"]
    assert column(found, "last_token_ps") == [-1, 60]


def test_a_place_that_nobody_is_left_to_take_is_given_up() -> None:
    # static, 2 seats, 2 tokens a step: A fills the first step, B leaves at 5; C and D are a batch of their own
    found = told(
        [(0, 2, 3), (0, 2, 1, 1), (6, 1, 1), (7, 1, 1)],
        pool(batching="static", max_num_seqs=2, max_num_batched_tokens=2),
        users={"first_patience_ps": 5},
    )
    assert column(found, "scheduled_ps") == [0, -1, 30, 30]


# ---- retries ----------------------------------------------------------------------
def test_a_user_tries_again_and_again() -> None:
    # one seat: A 0 to 30; B taken at 1, leaves at 13; taken at 17, leaves at 29; taken at 34: 34 to 44
    users = {
        "first_patience_ps": 12,
        "attempts_max": 3,
        "retry_on": ["timed_out"],
        "backoff_ps": [4, 5],
    }
    found = told([(0, 1, 3), (1, 1, 1, 1)], pool(max_num_seqs=1), users=users)
    row = found.requests[1]
    assert (row["attempts"], row["taken_ps"], row["first_token_ps"], row["outcome"]) == (
        3,
        34,
        44,
        "completed",
    )
    assert [attempt["taken_ps"] for attempt in found.attempts] == [0, 1, 17, 34]
    short = told([(0, 1, 3), (1, 1, 1, 1)], pool(max_num_seqs=1), users={**users, "attempts_max": 2})
    assert fates(short) == ["completed", "in_queue"]
    waiting = told([(0, 1, 3), (1, 1, 1, 1)], pool(max_num_seqs=1), users=users, end_ps=16)
    assert (waiting.requests[1]["outcome"], waiting.requests[1]["attempts"]) == ("inside", 1)


def test_only_the_outcomes_of_the_rule_are_tried_again() -> None:
    users = {"attempts_max": 2, "retry_on": ["timed_out", "failed"], "backoff_ps": [0]}
    found = told([(0, 1, 1, 1)], pool(ready_at=[50]), users=users, queue_capacity=0)
    assert (fates(found), column(found, "attempts")) == (["gateway_full"], [1])
    users = {**users, "retry_on": ["rejected"]}
    found = told(
        [(0, 1, 1, 1), (0, 99, 9, 1)], pool(ready_at=[50], max_model_len=50), users=users, queue_capacity=0
    )
    assert (fates(found), column(found, "attempts")) == (["gateway_full", "too_long"], [2, 1])


def test_a_budget_pays_for_retries() -> None:
    # rejected at 0, 1, 2, 3; burst 1.5, each first attempt pays 0.5 in, up to 1.5
    # A: 1.5, pays 1 (0.5 left); B: 1.0, pays (0); C: 0.5, cannot; D: 1.0, pays
    users = {
        "attempts_max": 2,
        "retry_on": ["rejected"],
        "backoff_ps": [0],
        "budget_ratio_milli": 500,
        "budget_burst_milli": 1500,
    }
    requests = [(at, 1, 1, 1) for at in range(4)]
    found = told(requests, pool(ready_at=[50]), users=users, queue_capacity=0)
    assert column(found, "attempts") == [2, 2, 1, 2]


@pytest.mark.parametrize(("jitter", "least"), [("none", 7 << 20), ("full", 0), ("equal", 7 << 19)])
def test_jitter_spreads_the_waits(jitter: str, least: int) -> None:
    backoff_ps = 7 << 20
    users = {"attempts_max": 3, "retry_on": ["rejected"], "backoff_ps": [backoff_ps] * 2, "jitter": jitter}
    found = told([(0, 1, 1, 1)], pool(ready_at=[None]), users=users, queue_capacity=0, seed=5, end_ps=10**9)
    taken = [attempt["taken_ps"] for attempt in found.attempts]
    draws = [philox.draw_below(5, STREAM_RETRY, 0, n, 1 << 20) for n in (1, 2)]
    part = {"none": 0, "full": 7, "equal": 3}[jitter]  # 7 << 20 >> 21 is 3
    assert taken[1:] == [least + part * draws[0], 2 * least + part * sum(draws)]


def test_what_a_lost_replica_held_is_tried_elsewhere() -> None:
    # round robin: A on 0, lost at 15 with one token out, at once again on 1: 15 to 45; B on 1, C on 0, not tried again
    users = {"attempts_max": 2, "retry_on": ["failed"], "backoff_ps": [0]}
    found = told(
        [(0, 1, 3, 1), (1, 1, 1), (2, 1, 9)],
        pool(ready_at=[0, 0]),
        users=users,
        interventions=[(15, 0, "lose")],
    )
    assert fates(found) == ["completed", "completed", "replica_lost"]
    assert tokens(found)[0] == [25, 35, 45]
    assert column(found, "wasted_tokens") == [1, 0, 0]
    assert column(found, "replica") == [1, 1, 0]
    assert [found.replicas[0][key] for key in ("busy_ps", "steps")] == [15, 1]


# ---- hedges ----------------------------------------------------------------------
def test_the_faster_of_two_answers() -> None:
    # replica 0 takes 100 ps a step, 1 takes 10: the twin is taken at 30, its tokens are at 40 and 50
    slow, fast = pool(base_ps=[100] * 9), pool()
    users = {"attempts_max": 2, "hedge_ps": 30}
    found = told([(0, 1, 2, 1), (60, 1, 1)], slow, fast, users=users)
    row = found.requests[0]
    assert (row["attempts"], row["taken_ps"], row["replica"], tokens(found)[0]) == (2, 30, 1, [40, 50])
    assert [(attempt["outcome"], attempt["end_ps"]) for attempt in found.attempts[:2]] == [
        ("cancelled", 41),
        ("completed", 50),
    ]
    assert [found.replicas[0][key] for key in ("busy_ps", "steps")] == [
        200,
        2,
    ]  # A's ghost, then the other request


def test_what_the_slower_one_computed_is_wasted() -> None:
    # replica 0: 1 token a step of 30 ps: 1 of 2 at 30; the twin (31) answers at 41, the other is gone at 60
    slow, fast = pool(base_ps=[30] * 9, max_num_batched_tokens=1), pool()
    found = told([(0, 2, 1, 1)], slow, fast, users={"attempts_max": 2, "hedge_ps": 31})
    assert (column(found, "wasted_tokens"), column(found, "last_token_ps")) == ([1], [41])
    assert found.replicas[0]["steps"] == 2


def test_a_twin_that_is_turned_away_changes_nothing() -> None:
    # the twin of A (30) is one too many; A answers at 100 all the same, and has no third attempt left to try
    users = {"attempts_max": 3, "hedge_ps": 30, "limit": {"concurrent_max": 1}, "retry_on": ["rejected"]}
    found = told([(0, 1, 1, 1)], pool(base_ps=[100] * 9), users={**users, "backoff_ps": [1, 1]})
    assert (fates(found), column(found, "attempts"), column(found, "last_token_ps")) == (
        ["completed"],
        [2],
        [100],
    )
    assert found.attempts[1]["reason"] == "concurrency"


def test_the_last_of_two_to_end_decides() -> None:
    # the twin (30) is one too many; A gives up at 50, and is tried again as attempt 3 after the second wait, at 55
    users = {
        "attempts_max": 3,
        "hedge_ps": 30,
        "first_patience_ps": 50,
        "retry_on": ["timed_out"],
        "backoff_ps": [1, 5],
        "limit": {"concurrent_max": 1},
    }
    found = told([(0, 1, 1, 1)], pool(ready_at=[90]), users=users)
    assert [attempt["taken_ps"] for attempt in found.attempts] == [0, 30, 55]
    assert (fates(found), column(found, "last_token_ps")) == (["completed"], [100])


def test_a_twin_that_is_left_alone_gets_one_itself() -> None:
    # A gives up at 50, its twin (30) has one at 60 and gives up at 80
    users = {"attempts_max": 3, "hedge_ps": 30, "first_patience_ps": 50, "backoff_ps": [1, 5]}
    found = told([(0, 1, 1, 1)], pool(ready_at=[90]), users=users)
    assert [attempt["taken_ps"] for attempt in found.attempts] == [0, 30, 60]
    assert [attempt["end_ps"] for attempt in found.attempts] == [50, 80, 100]


# ---- limits ----------------------------------------------------------------------
def test_a_request_bucket_refills_steadily() -> None:
    # 2 at once, one more every 10: two at 0, the third and the one at 9 are too early, 10 and 20 are not; nor are
    # two at 41 (full at 40), but not a third
    limit = {"request_ps": 10, "request_burst": 2}
    requests = [(at, 1, 1, 1) for at in (0, 0, 0, 9, 10, 20, 41, 41, 41)]
    found = told(requests, users={"limit": limit})
    refused = [number for number, fate in enumerate(fates(found)) if fate == "rate_limited"]
    assert refused == [2, 3, 8]


def test_a_token_bucket_counts_prompt_and_output() -> None:
    # 10 tokens, one more each ps: 6 at 0 (4 left), 6 at 1 (5) no, 6 at 2 (6) yes, 11 never
    limit = {"token_ps": 1, "token_burst": 10}
    requests = [(0, 5, 1, 1), (1, 4, 2, 1), (2, 3, 3, 1), (99, 9, 2, 1), (99, 9, 1, 1)]
    found = told(requests, users={"limit": limit})
    assert fates(found) == ["completed", "rate_limited", "completed", "rate_limited", "completed"]


def test_who_is_turned_away_by_one_limit_costs_the_other_nothing() -> None:
    # the class has 2 and one more every 100; the tenant one at a time: B (5) is too many, C (11) passes with 1.11
    users = {"limit": {"request_ps": 100, "request_burst": 2}}
    found = told(
        [(at, 1, 1, 1) for at in (0, 5, 11)], users=users, tenants=[{"limit": {"concurrent_max": 1}}]
    )
    assert fates(found) == ["completed", "concurrency", "completed"]


def test_whoever_is_answered_now_is_still_in_flight() -> None:
    # A is answered at 10: B at 10 is one too many, C at 11 is not
    found = told([(at, 1, 1, 1) for at in (0, 10, 11)], users={"limit": {"concurrent_max": 1}})
    assert fates(found) == ["completed", "concurrency", "completed"]


def test_a_class_says_how_long_a_request_may_be() -> None:
    requests = [(0, 5, 1, 1), (0, 6, 1, 1), (0, 1, 4, 1), (0, 1, 5, 1)]
    found = told(requests, users={"prompt_max": 5, "output_max": 4})
    assert fates(found) == ["completed", "over_limit", "completed", "over_limit"]


# ---- load ----------------------------------------------------------------------
def test_shedding_counts_all_that_is_outstanding_for_each_ready_replica() -> None:
    # two replicas, 2 for each: four others at 0, A is shed; one of them is done at 10: B at 11 passes
    requests = [(0, 1, 1), (0, 1, 9), (0, 1, 9), (0, 1, 9), (1, 1, 1, 1), (11, 1, 1, 1)]
    found = told(requests, pool(ready_at=[0, 0]), users={"shed_milli": 2000})
    assert fates(found)[4:] == ["shed", "completed"]


def test_shedding_counts_what_is_held() -> None:
    found = told([(0, 1, 1), (1, 1, 1, 1)], pool(ready_at=[50]), users={"shed_milli": 1000})
    assert fates(found) == ["completed", "shed"]


def test_who_would_wait_too_long_is_turned_away() -> None:
    # one seat, answers at 10 and 20: 10 ps between two. At 25: C would wait for nobody, D for one, E for two: 20 > 15
    requests = [(0, 1, 1), (0, 1, 1), (25, 1, 1, 1), (25, 1, 1, 1), (25, 1, 1, 1)]
    found = told(requests, pool(max_num_seqs=1), users={"wait_max_ps": 15})
    assert fates(found)[2:] == ["completed", "completed", "queue_time"]


def test_the_time_between_answers_is_smoothed() -> None:
    group = naive_gateway.Group({}, [], [])
    for at_ps, gap_ps in ((5, None), (15, 10), (41, 11), (41, 10), (41, 9), (42, 8)):
        group.note_completion(
            at_ps
        )  # 10 + (26 − 10 >> 4), 11 + (0 − 11 >> 4), 10 + (−10 >> 4), 9 + (1 − 9 >> 4)
        assert group.gap_ps == gap_ps


# ---- dice ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    # the known answers of Random123
    [
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_plain_dice_are_philox(counter: tuple[int, ...], key: tuple[int, ...], words: str) -> None:
    assert " ".join(f"{word:08x}" for word in philox.philox(counter, key)) == words


def test_the_plain_dice_fall_as_the_products() -> None:
    assert (naive_gateway.STREAM_PATIENCE, naive_gateway.STREAM_RETRY) == (STREAM_PATIENCE, STREAM_RETRY)
    draw = entry_point(draw_below)
    for seed, entity, index, n in ((0, 0, 0, 2), (2**63 - 1, 5, 3, 1024), (2**40 + 7, 10**6, 99, 1 << 20)):
        assert philox.draw_below(seed, STREAM_RETRY, entity, index, n) == draw(
            seed, STREAM_RETRY, entity, index, n
        )
