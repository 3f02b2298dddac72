"""CPU stations, guardrail, response cache, deadlines and deferred starts, in stories whose times are worked out by hand.

The plain model is right about each, and the product is the plain model. One step of the plain pool takes 10 ps.
"""

from __future__ import annotations

from typing import Any

import pytest

from sim.rng import STREAM_GUARD

from . import naive_gateway
from .compare import case_differences
from .naive import Run, run
from .naive_front import Station
from .naive_gateway import DAY_PS
from .philox import draw_below
from .stories import LATER_PS, column, pool

ALWAYS = 1 << 20


def told(requests: list[tuple[int, ...]], *pools: dict[str, Any], users: dict[str, Any], **more: Any) -> Run:
    """Run (arrival_ps, prompt, output[, content[, class]]) requests; class 0 is that of the users, 1 expects nothing."""
    full = [(request[0], request[1], request[2], (*request, 0, 0)[4]) for request in requests]
    for name in ("first_patience_ps", "total_patience_ps"):
        if isinstance(users.get(name), int):
            users = {**users, name: [users[name]] * 1024}
    case = {
        "requests": full,
        "contents": [(*request, -1)[3] for request in requests],
        "pools": list(pools) or [pool()],
        "classes": [users, {}],
        "groups": [{"router": "round_robin", "queue_capacity": 100}] * more.pop("n_group", 1),
        "end_ps": LATER_PS,
        "tenants": [{"limit": None}],
        **more,
    }
    assert case_differences(case) == []
    return run(**case)


def fates(found: Run) -> list[str]:
    """How each request ended: its outcome, and its reason if that is a bad one."""
    return [request["reason"] or request["outcome"] for request in found.requests]


# ---- stations ----------------------------------------------------------------------
def test_a_station_serves_one_after_the_other() -> None:
    # A: 4 + 2 · 1 = 6, then the GPU at once; B (1) waits until 6, 4 + 1 = 5 more: 11, and for the step that ends at 16
    found = told([(0, 2, 1), (1, 1, 1)], users={"before": [(0, 4, 1, 0)]}, front={"workers": [1]})
    assert column(found, "routed_ps") == [6, 11]
    assert column(found, "last_token_ps") == [16, 26]
    assert column(found, "taken_ps") == [0, 1]


def test_looks_at_a_station() -> None:
    # A is at work from 0 to 6, B from 6 to 11, C (who has gone at 5) from 11 to 15; nobody is there yet at 0
    classes = [{"before": [(0, 4, 1, 0)]}, {"before": [(0, 4, 0, 0)], "first_patience_ps": [2] * 1024}]
    case = {
        "requests": [(0, 2, 1, 0), (1, 1, 1, 0), (3, 1, 1, 1)],
        "contents": [-1] * 3,
        "pools": [pool()],
        "classes": classes,
        "tenants": [{"limit": None}],
        "groups": [{"router": "round_robin", "queue_capacity": 100}],
        "end_ps": LATER_PS,
        "front": {"workers": [1]},
        "look_at": (0, 3, 6, 9, 12, 15),
    }
    assert case_differences(case) == []
    seen = run(**case).stations
    assert [look["busy_workers"] for look in seen] == [0, 1, 1, 1, 1, 0]
    assert [look["in_line"] for look in seen] == [0, 1, 1, 1, 0, 0]
    assert [look["wait_ps"] for look in seen] == [0, 8, 9, 6, 3, 0]
    assert [look["visits"] for look in seen] == [0, 2, 3, 3, 3, 3]
    assert [look["done_ps"] for look in seen] == [0, 3, 6, 9, 12, 15]


def test_workers_share_a_line() -> None:
    station = Station(2)
    assert [station.enter(at_ps, 10) for at_ps in (0, 1, 2, 3, 40)] == [10, 11, 20, 21, 50]


def test_work_without_length_waits_in_line_all_the_same() -> None:
    station = Station(1)
    assert [station.enter(*job) for job in ((0, 0), (0, 5), (1, 0), (5, 0), (5, 2))] == [0, 5, 5, 5, 7]


def test_a_station_behind_the_gpu_begins_a_moment_after_the_last_token() -> None:
    # tokens at 10 and 20; 21 + 3 + 2 · 2 = 28
    found = told([(0, 1, 2)], users={"after": [(0, 3, 0, 2)]}, front={"workers": [1]})
    row = found.requests[0]
    assert (row["first_token_ps"], row["computed_ps"], row["last_token_ps"]) == (10, 20, 28)


def test_work_in_line_is_done_even_if_nobody_wants_it() -> None:
    # A leaves at 3, its 10 ps of work do not: B begins at 10
    found = told(
        [(0, 1, 1), (1, 1, 1, -1, 1)],
        users={"before": [(0, 10, 0, 0)], "first_patience_ps": 3},
        classes=[
            {"before": [(0, 10, 0, 0)], "first_patience_ps": [3] * 1024},
            {"before": [(0, 5, 0, 0)]},
        ],
        front={"workers": [1]},
    )
    assert fates(found) == ["in_cpu_stage", "completed"]
    assert column(found, "routed_ps") == [-1, 15]


def test_who_leaves_a_station_behind_the_gpu_has_wasted_everything() -> None:
    found = told(
        [(0, 3, 2)], users={"after": [(0, 30, 0, 0)], "total_patience_ps": 40}, front={"workers": [1]}
    )
    assert fates(found) == ["in_cpu_stage"]
    assert column(found, "wasted_tokens") == [4]


@pytest.mark.parametrize(
    ("patience_ps", "fate"), [(10, "in_prefill"), (11, "in_cpu_stage"), (12, "completed")]
)
def test_an_answer_that_is_out_at_the_deadline_is_too_late(patience_ps: int, fate: str) -> None:
    # the last token at 10, the verdict at 11
    users = {"total_patience_ps": patience_ps, "blocked_q20": 1}
    assert draw_below(1, naive_gateway.STREAM_GUARD, 0, 1, ALWAYS) > 1
    assert fates(told([(0, 1, 1)], users=users)) == [fate]
    assert fates(told([(0, 1, 1)], users={"deadline_ps": patience_ps, "blocked_q20": 1})) == [fate]
    withheld = {"first_patience_ps": patience_ps, "blocked_q20": 1, "withheld": True}
    assert fates(told([(0, 1, 1)], users=withheld)) == [fate]


# ---- withheld answers and guardrails ----------------------------------------------------------------------
def test_a_withheld_answer_comes_all_at_once() -> None:
    for users, out_ps in (
        ({}, 30),  # nothing to wait for: with its last token
        ({"blocked_q20": 1}, 31),
        ({"after": [(0, 4, 0, 0)]}, 35),
    ):
        found = told([(0, 1, 3)], users={"withheld": True, **users}, front={"workers": [1]})
        assert (column(found, "first_token_ps"), column(found, "last_token_ps")) == ([out_ps], [out_ps])
    short = told([(0, 1, 3)], users={"withheld": True}, end_ps=25)
    assert column(short, "first_token_ps") == [-1]


def test_who_sees_nothing_loses_patience() -> None:
    users = {"first_patience_ps": 25}
    assert fates(told([(0, 1, 3)], users=users)) == ["completed"]
    assert fates(told([(0, 1, 3)], users={**users, "withheld": True})) == ["in_stream"]


def test_a_blocked_answer_is_rejected_and_never_tried_again() -> None:
    users = {"blocked_q20": ALWAYS, "attempts_max": 3, "retry_on": ["rejected"], "backoff_ps": [1, 1]}
    found = told([(0, 2, 2)], users=users)
    assert (fates(found), column(found, "attempts"), column(found, "wasted_tokens")) == (
        ["blocked"],
        [1],
        [3],
    )
    assert found.attempts[0]["end_ps"] == 21


def test_a_blocked_answer_is_made_again_by_the_fallback() -> None:
    # blocked at 11; the fallback's replica takes 10 ps, then the verdict is not asked for: 21, out at 22
    users = {"blocked_q20": ALWAYS, "fallback": 1, "after": [(0, 0, 0, 0)]}
    found = told([(0, 2, 1)], pool(), pool(group=1), users=users, n_group=2, front={"workers": [1]})
    row = found.requests[0]
    assert (row["outcome"], row["attempts"], row["taken_ps"], row["replica"]) == ("completed", 2, 11, 1)
    assert (row["first_token_ps"], row["last_token_ps"], row["wasted_tokens"]) == (21, 22, 2)


def test_who_fell_back_stays_there() -> None:
    # blocked at 11; in the fallback (100 ps a step) a twin at 41, on the other replica; the first answers at 111
    users = {"blocked_q20": ALWAYS, "fallback": 1, "attempts_max": 3, "hedge_ps": 30, "backoff_ps": [1, 1]}
    slow = pool(group=1, base_ps=[100] * 9, ready_at=[0, 0])
    found = told([(0, 1, 1)], pool(), slow, users=users, n_group=2)
    assert [attempt["replica"] for attempt in found.attempts] == [0, 1, 2]
    assert [attempt["outcome"] for attempt in found.attempts] == ["rejected", "completed", "cancelled"]
    assert column(found, "last_token_ps") == [112]  # a guardrail that asks nothing still takes its moment


def test_the_plain_dice_of_guardrails_are_the_products() -> None:
    assert naive_gateway.STREAM_GUARD == STREAM_GUARD


# ---- response cache ----------------------------------------------------------------------
def test_an_answer_is_kept_from_when_it_is_complete_while_it_is_young() -> None:
    # A is complete at 11: at 10 it is not there yet, at 11 it is, 3 ps later out; at 16 it is 5 old: too old. The one
    # of 10 is complete at 21: at 25 there again
    requests = [(at, 1, 1, 7) for at in (0, 10, 11, 16, 25)]
    found = told(requests, users={}, front={"cache_entries": 1, "cache_life_ps": 5, "cache_ps": 3})
    assert column(found, "replica") == [0, 0, -1, 0, -1]
    assert column(found, "first_token_ps") == [10, 20, 14, 30, 28]
    assert column(found, "last_token_ps") == [11, 21, 14, 31, 28]


def test_answers_of_one_instant_are_kept_in_the_order_of_their_requests() -> None:
    requests = [(0, 1, 1, 7), (0, 1, 1, 8), (20, 1, 1, 7), (20, 1, 1, 8)]
    assert column(told(requests, users={}, front={"cache_entries": 1}), "replica") == [0, 0, 0, -1]


def test_the_least_recently_used_answer_goes() -> None:
    # 7 and 8 are kept at 10; 7 is used at 11; 9 (12 to 22) puts 8 out: at 31 seven is there, eight is not
    requests = [(0, 1, 1, 7), (0, 1, 1, 8), (11, 1, 1, 7), (12, 1, 1, 9), (31, 1, 1, 7), (31, 1, 1, 8)]
    found = told(requests, users={}, front={"cache_entries": 2})
    assert column(found, "replica") == [0, 0, -1, 0, -1, 0]


def test_the_limits_come_before_the_cache() -> None:
    found = told(
        [(0, 1, 1, 7), (20, 1, 1, 7)],
        users={"limit": {"request_ps": 100, "request_burst": 1}},
        front={"cache_entries": 1},
    )
    assert fates(found) == ["completed", "rate_limited"]


@pytest.mark.parametrize("users", [{"first_patience_ps": 5}, {"deadline_ps": 5}])
def test_nobody_waits_longer_for_an_answer_from_the_cache(users: dict[str, Any]) -> None:
    requests = [(0, 1, 1, 7, 1), (20, 1, 1, 7)]
    for cache_ps, fate in ((4, "completed"), (5, "in_gateway")):
        front = {"cache_entries": 1, "cache_ps": cache_ps}
        assert fates(told(requests, users=users, front=front)) == ["completed", fate]


def test_the_answer_from_the_cache_is_not_there_before_it_comes() -> None:
    found = told(
        [(0, 1, 1, 7), (20, 1, 1, 7)], users={}, front={"cache_entries": 1, "cache_ps": 9}, end_ps=25
    )
    assert column(found, "first_token_ps") == [10, -1]


def test_an_answer_from_the_cache_beats_the_twin() -> None:
    # A asks a slow replica; B (1) gets the same answer from the fast one at 12; A's twin (30) finds it in the cache
    slow, fast = pool(base_ps=[100] * 9), pool()
    users = {"attempts_max": 2, "hedge_ps": 30, "backoff_ps": [0]}
    found = told(
        [(0, 1, 2, 7), (1, 1, 1, 7, 1)], slow, fast, users=users, front={"cache_entries": 1, "cache_ps": 2}
    )
    assert column(found, "last_token_ps") == [32, 12]
    assert [attempt["outcome"] for attempt in found.attempts] == ["cancelled", "completed", "completed"]
    assert found.attempts[0]["end_ps"] == 33


# ---- deadlines ----------------------------------------------------------------------
@pytest.mark.parametrize(("deadline_ps", "attempts"), [(4, 1), (5, 2), (8, 2), (9, 3)])
def test_no_retry_begins_at_the_deadline(deadline_ps: int, attempts: int) -> None:
    # refused at 0, 4 and 8
    users = {
        "deadline_ps": deadline_ps,
        "attempts_max": 3,
        "retry_on": ["rejected"],
        "backoff_ps": [4, 4],
        "limit": {"concurrent_max": 0},
    }
    assert column(told([(0, 1, 1)], users=users), "attempts") == [attempts]


def test_a_deadline_counts_from_the_arrival() -> None:
    # given up at 12, tried again at 13, given up for good at 20
    users = {
        "deadline_ps": 20,
        "first_patience_ps": 12,
        "attempts_max": 3,
        "retry_on": ["timed_out"],
        "backoff_ps": [1, 1],
    }
    found = told([(0, 1, 1)], pool(base_ps=[100] * 9), users=users)
    assert [attempt["end_ps"] for attempt in found.attempts] == [12, 20]


# ---- deferred starts ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("window_ps", "most_ps", "starts"),
    [
        ((20, 30), 100, [20, 29, 130]),  # before it, in it, when it is over: as long as it may
        ((20, 30), 5, [5, 29, 35]),
        ((DAY_PS - 9, 20), 100, [0, 129, 130]),  # over midnight
    ],
)
def test_who_can_wait_starts_in_given_hours(
    window_ps: tuple[int, int], most_ps: int, starts: list[int]
) -> None:
    requests = [(at, 1, 1) for at in (0, 29, 30)]
    users = {"window_ps": window_ps, "defer_max_ps": most_ps}
    assert column(told(requests, users=users), "taken_ps") == starts


def test_hours_come_every_day() -> None:
    found = told(
        [(3 * DAY_PS - 5, 1, 1)], users={"window_ps": (20, 30), "defer_max_ps": 100}, end_ps=4 * DAY_PS
    )
    assert column(found, "taken_ps") == [3 * DAY_PS + 20]


def test_who_still_waits_at_the_end_has_not_tried() -> None:
    found = told([(0, 1, 1)], users={"window_ps": (200, 300), "defer_max_ps": 100}, end_ps=50)
    assert (column(found, "attempts"), column(found, "taken_ps"), fates(found)) == ([0], [-1], ["inside"])


# ---- what is measured ----------------------------------------------------------------------
def test_who_leaves_but_does_not_count_takes_no_gap_from_others() -> None:
    # A does not count and leaves at 35, in the step until 40; B's two gaps, that step among them, do
    found = told([(0, 1, 9), (20, 1, 9)], users={"total_patience_ps": 35}, measured_ps=(1, 100))
    assert [request["gaps"] for request in found.requests] == [[10, 10], [10, 10]]
