"""Gateway, routers, drains and the end, in stories worked out by hand: the plain model is right."""

from __future__ import annotations

import pytest

from .naive import run
from .stories import LATER_PS, column, pool, story, tokens


@pytest.mark.parametrize(
    ("prompt", "output", "outcome"),
    # 3 blocks of 2 tokens and 9 tokens of context: the last token is never cached
    [(5, 2, "completed"), (5, 3, "rejected"), (6, 0, "completed"), (7, 0, "rejected"), (1, 9, "rejected")],
)
def test_what_could_never_fit_is_rejected(prompt: int, output: int, outcome: str) -> None:
    told = story([(0, prompt, output)], pool(block_size=2, n_kv_blocks=3, max_model_len=9))
    assert told.requests[0]["outcome"] == outcome
    assert told.requests[0]["reason"] == ("too_long" if outcome == "rejected" else "")


def test_context_is_a_limit_of_its_own() -> None:
    told = story([(0, 8, 2), (0, 8, 1)], pool(max_model_len=9))
    assert column(told, "outcome") == ["rejected", "completed"]


def test_the_gateway_holds_releases_and_overflows() -> None:
    # both replicas ready at 100, one place: A held, B lost; at 100 A goes before C, which arrives then
    # at 200 replica 0 drains before D arrives; it still finishes A: 20 tokens, 100 to 300
    requests = [(0, 1, 20), (10, 1, 1), (100, 1, 1), (200, 1, 1), (201, 1, 1)]
    told = story(requests, pool(ready_at=[100, 100]), queue_capacity=1, interventions=[(200, 0, "drain")])
    assert column(told, "outcome") == ["completed", "rejected", "completed", "completed", "completed"]
    assert column(told, "reason") == ["", "gateway_full", "", "", ""]
    assert column(told, "routed_ps") == [100, -1, 100, 200, 201]
    assert column(told, "replica") == [0, -1, 1, 1, 1]
    assert column(told, "last_token_ps") == [300, -1, 110, 210, 220]


def test_a_drained_fleet_holds_again() -> None:
    # drained at 5 with A waiting in it: A is served 0 to 10, B (6) is held until replica 1 at 50
    told = story(
        [(0, 1, 1), (6, 1, 1)],
        pool(ready_at=[0, None]),
        interventions=[(5, 0, "drain"), (50, 1, "ready")],
    )
    assert tokens(told) == [[10], [60]]
    assert column(told, "replica") == [0, 1]


def test_a_request_for_a_pool_that_is_not_ready_waits_while_others_pass() -> None:
    # A needs the big pool (ready at 100); B fits the small one
    small, big = pool(n_kv_blocks=1), pool(n_kv_blocks=9, ready_at=[100])
    told = story([(0, 9, 1), (5, 1, 1)], small, big)
    assert tokens(told) == [[110], [15]]
    assert column(told, "replica") == [1, 0]


def test_round_robin_goes_on_after_the_last_choice() -> None:
    # 0, 1, 2, 0; replica 1 drains at 4: after 0 comes 2
    requests = [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1)]
    told = story(requests, pool(ready_at=[0, 0, 0]), interventions=[(4, 1, "drain")])
    assert column(told, "replica") == [0, 1, 2, 0, 2]


def test_least_outstanding_sees_the_replica_before_its_boundary() -> None:
    # A on 0 until 10; B at 10 comes before that boundary: 1; C at 11: 0 is empty
    told = story([(0, 1, 1), (10, 1, 1), (11, 1, 1)], pool(ready_at=[0, 0]), router="least_outstanding")
    assert column(told, "replica") == [0, 1, 0]


def test_least_outstanding_counts_who_waits() -> None:
    # A and B at one instant, before any step: A already waits in 0
    told = story([(0, 1, 1), (0, 1, 1)], pool(ready_at=[0, 0]), router="least_outstanding")
    assert column(told, "replica") == [0, 1]


def test_least_kv_compares_shares_of_the_cache() -> None:
    # blocks of 1. A: 0/10 = 0/4, lowest index. B at 1: 4/10 against 0. C at 2: 4/10 against 1/4.
    # D at 3: what only waits holds no block, still 4/10 against 1/4
    # E at 12: A has 5 of 10 since 10; B 2, C and D 1 each of 4 since 11: fewer blocks, the larger share
    small = {"block_size": 1, "max_num_batched_tokens": 9}
    told = story(
        [(0, 4, 5), (1, 1, 3), (2, 1, 1), (3, 1, 1), (12, 1, 1)],
        pool(n_kv_blocks=10, **small),
        pool(n_kv_blocks=4, **small),
        router="least_kv",
    )
    assert column(told, "replica") == [0, 1, 1, 1, 0]


def test_groups_keep_to_their_own_replicas() -> None:
    # class 1 belongs to group 1, whose pool is the first: replica 0
    pools = [pool(group=1), pool(group=0)]
    classes = [{"group": 0}, {"group": 1}]
    told = run([(0, 1, 1, 0), (0, 1, 1, 1)], pools, classes, [{}, {}], LATER_PS)
    assert column(told, "replica") == [1, 0]


def test_the_end_leaves_requests_inside() -> None:
    # tokens at 10 and 20; the one due at 30 = the end does not come
    told = story([(0, 1, 5), (40, 1, 1)], end_ps=30)
    request = told.requests[0]
    assert (request["outcome"], request["first_token_ps"], request["last_token_ps"]) == ("inside", 10, -1)
    assert request["gaps"] == [10]
    assert (told.requests[1]["outcome"], told.requests[1]["routed_ps"]) == ("inside", -1)
    assert [told.replicas[0][key] for key in ("busy_ps", "steps", "cut_ps")] == [20, 2, 10]
