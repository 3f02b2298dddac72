"""Clients' patience, retries and limits at the door: what holds, what is inherited, and one line for each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.compose import load_scenario
from sim.scenario.dist import Constant, Lognormal
from sim.scenario.limits import Limits
from sim.scenario.resolved import resolved
from sim.scenario.retry import ExponentialBackoff
from sim.scenario.traffic import TrafficClass

TWO = ["classes.chat.arrivals.rate_per_s=6", "classes.code.arrivals.rate_per_s=1"]
TENANT = ["tenants.acme.weight=2", "classes.chat.tenant=acme"]


def only(overrides: list[str]) -> TrafficClass:
    """The single class of the first run."""
    (entry,) = load_scenario("first_run", overrides).classes
    return entry


def test_clients_wait_for_ever_and_ask_once_unless_the_scenario_says_more() -> None:
    entry = only([])
    assert (entry.patience.first_token_s, entry.patience.total_s) == (None, None)
    assert (entry.retry.attempts, entry.retry.waits_s, entry.retry.hedge_after_s) == (1, (), None)
    assert (entry.tenant, entry.share, entry.shed_above, entry.max_queue_s) == (None, None, None, None)
    assert entry.limits == Limits()


def test_a_plain_number_is_a_patience() -> None:
    entry = only(["patience.first_token_s=4", "patience.total_s={kind:lognormal,median:30,p99:90}"])
    assert entry.patience.first_token_s == Constant(value=4)
    assert entry.patience.total_s == Lognormal(median=30, p99=90)


def test_the_groups_of_clients_are_options_for_all_classes_or_one() -> None:
    scenario = load_scenario(
        "two_models", ["retry=sdk_default", "retry@classes.code.retry=aggressive", "patience=api_client"]
    )
    chat, code = scenario.classes
    assert (chat.retry.name, code.retry.name) == ("sdk_default", "aggressive")
    assert chat.patience == code.patience
    assert chat.retry.waits_s == (0.5, 1.0)
    assert code.retry.waits_s == (0.5,) * 4


def test_a_class_of_another_kind_of_traffic_inherits_the_groups_too() -> None:
    scenario = load_scenario("two_models", ["patience.total_s=30", "classes.code.patience.total_s=9"])
    assert [c.patience.total_s for c in scenario.classes] == [Constant(value=30), Constant(value=9)]


def test_traffic_may_say_it_as_well() -> None:
    entry = only(["traffic.retry={attempts: 3, on: [failed]}", "traffic.patience.first_token_s=2"])
    assert (entry.retry.attempts, entry.retry.on) == (3, ("failed",))
    assert entry.patience.first_token_s == Constant(value=2)


def test_exponential_waits_stop_growing_at_their_cap() -> None:
    backoff = "{kind:exponential,base_s:1,factor:3,cap_s:10}"
    assert only([f"retry={{attempts:6,backoff:{backoff}}}"]).retry.waits_s == (1, 3, 9, 10, 10)
    assert ExponentialBackoff(base_s=1).cap_s is None


def test_buckets_that_are_not_given_hold_a_second_of_requests_and_a_minute_of_tokens() -> None:
    assert Limits(requests_per_s=0.5).request_burst == 1
    assert Limits(requests_per_s=20).request_burst == 20
    assert Limits(tokens_per_s=100).tokens_burst == 6000
    assert Limits(requests_per_s=20, burst=3, tokens_per_s=100, token_burst=9).request_burst == 3
    assert (Limits().request_burst, Limits().tokens_burst) == (0, 0)


def test_tenants_stand_at_the_top_and_a_resolved_scenario_reads_back() -> None:
    scenario = load_scenario(
        "first_run",
        [
            *TWO,
            *TENANT,
            "tenants.acme.limits={requests_per_s: 5, max_concurrent: 9}",
            "tenants.b={}",
            "classes.code.tenant=b",
            "retry=budgeted",
            "patience=chat_user",
            "traffic.shed_above=40",
        ],
    )
    assert [(t.name, t.weight, t.limits.max_concurrent) for t in scenario.tenants] == [
        ("acme", 2, 9),
        ("b", 1, None),
    ]
    assert from_dict(resolved(scenario)) == scenario


EXPONENTIAL = "{kind:exponential,base_s:1}"
MISTAKES: list[tuple[list[str], str, str]] = [
    (["patience.first_token_s=-1"], "patience.first_token_s: -1", "a number > 0"),
    (["patience.total_s=0"], "patience.total_s: 0", "null for patience without end"),
    (["patience.total_s={kind:uniform,low:-2,high:3}"], "patience.total_s: can be negative", "min: 0"),
    (["patience.first_token_s=9", "patience.total_s=9"], "patience.first_token_s: 9", "less than total_s (9"),
    (["patience.first_token=9"], "patience.first_token: no such key", "did you mean 'first_token_s'"),
    (["patience=chatuser"], "patience: 'chatuser' is not one of", "did you mean 'chat_user'"),
    (["retry=sdk_default", "retry.attempts=1"], "retry.attempts: 1", "≥ 2 with backoff, jitter"),
    (["retry.hedge_after_s=1"], "retry.attempts: 1", "≥ 2 with hedge_after_s"),
    (["retry.budget={ratio:0.1}"], "retry.attempts: 1", "≥ 2 with budget"),
    (["retry=sdk_default", "retry.attempts=null"], "retry.attempts: null", "≥ 1 and ≤ 100"),
    (["retry=sdk_default", "retry.attempts=0"], "retry.attempts: 0", "≥ 1 and ≤ 100"),
    (["retry=sdk_default", "retry.attempts=1e9"], "retry.attempts: 1000000000.0", "≥ 1 and ≤ 100"),
    (["retry=sdk_default", "retry.on=[]"], "retry.on: []", "at least one of timed_out, rejected, failed"),
    (["retry=sdk_default", "retry.on=[time_out]"], "retry.on[0]: 'time_out'", "did you mean 'timed_out'"),
    (["retry=sdk_default", "retry.on=[failed,failed]"], "retry.on: ['failed', 'failed']", "each end once"),
    (["retry=sdk_default", "retry.on=[timed_out]"], "retry.on: ['timed_out']", "set a patience"),
    (["retry.attempts=3"], "retry.backoff: is missing", "rejected again"),
    (["retry=sdk_default", "retry.backoff.cap_s=0.1"], "retry.backoff.cap_s: 0.1", "≥ base_s (0.5 s)"),
    (["retry=sdk_default", "retry.backoff.factor=0.5"], "retry.backoff.factor: 0.5", "≥ 1"),
    (
        ["retry=sdk_default", "retry.backoff={base_s: 1200, cap_s: null}"],
        "retry.backoff.base_s: 1200",
        "the run ends before",
    ),
    (["retry=sdk_default", "retry.backoff.kind=linear"], "retry.backoff.kind: 'linear'", "constant, expon"),
    (["retry={attempts:2,on:[failed],jitter:full}"], "retry.jitter: 'full'", "no wait to spread"),
    (["retry=budgeted", "retry.budget.burst=0"], "retry.budget.burst: 0", "none would ever be made"),
    (
        ["retry=sdk_default", "retry.hedge_after_s=5", "patience.first_token_s=4"],
        "retry.hedge_after_s: 5",
        "less than patience.first_token_s (4 s)",
    ),
    (
        [f"traffic.retry={{attempts:1,backoff:{EXPONENTIAL}}}"],
        "traffic.retry.attempts: 1",
        "≥ 2 with backoff",
    ),
    (["traffic.limits.burst=5"], "traffic.limits.burst: 5", "null while there is no requests_per_s"),
    (["traffic.limits.token_burst=5"], "traffic.limits.token_burst: 5", "no tokens_per_s"),
    (["traffic.limits.requests_per_s=0"], "traffic.limits.requests_per_s: 0", "> 0"),
    (
        ["traffic.limits={requests_per_s:0.001,burst:10000}"],
        "traffic.limits.burst: 10000",
        "take 45 days to fill",
    ),
    (
        ["traffic.limits={tokens_per_s:100,token_burst:10}", "traffic.prompt_tokens=500"],
        "traffic.limits.token_burst: 10",
        "none would ever pass",
    ),
    (["traffic.limits.max_concurrent=0"], "traffic.limits.max_concurrent: 0", "≥ 1"),
    (["traffic.shed_above=0"], "traffic.shed_above: 0", "> 0"),
    (["traffic.max_queue_s=-1"], "traffic.max_queue_s: -1", "≥ 0"),
    (["traffic.caps.long_input=truncate"], "traffic.caps.long_input: 'truncate'", "no caps.input_tokens"),
    (["traffic.caps.long_output=reject"], "traffic.caps.long_output: 'reject'", "no caps.output_tokens"),
    (["traffic.caps.long_input=clamp"], "traffic.caps.long_input: 'clamp'", "reject, truncate"),
    (["traffic.share=0.5"], "traffic.share 0.5: shares sum to 0.5", "a sum of 1"),
    (["classes.chat.share=0.5", "classes.code.share=0.6"], "classes.chat.share 0.5", "sum to 1.1"),
    (
        [*TWO, "classes.chat.share=0.5", "classes.code.share=0.5"],
        "classes.code.arrivals: differs from that of chat",
        "split one process",
    ),
    (["traffic.tenant=acme"], "traffic.tenant: 'acme'", "there are no `tenants`"),
    ([*TWO, *TENANT, "classes.code.tenant=acne"], "classes.code.tenant: 'acne'", "did you mean 'acme'"),
    (["tenants.acme={}"], "tenants.acme: no class has this tenant", "classes.NAME.tenant"),
    ([*TWO, *TENANT, "tenants.acme.weight=0"], "tenants.acme.weight: 0", "≥ 1"),
    ([*TWO, *TENANT, "tenants.acme.wait=2"], "tenants.acme.wait: no such key", "did you mean 'weight'"),
    ([*TWO, *TENANT, "tenants.acme.limits.burst=2"], "tenants.acme.limits.burst: 2", "no requests_per_s"),
    (
        [*TWO, *TENANT, "tenants.acme.limits.max_concurrent=8", "classes.chat.limits.max_concurrent=9"],
        "classes.chat.limits.max_concurrent: 9",
        "≤ 8, the limit of tenant acme",
    ),
    (["tenants=3"], "tenants: 3 is not a mapping", ""),
    (["tenants.acme=3"], "tenants.acme: 3 is not a mapping", ""),
    (["retry@pools.a.retry=none"], "retry@pools.a.retry:", "retry@classes.NAME.retry"),
]


@pytest.mark.parametrize(
    ("overrides", "said", "allowed"), MISTAKES, ids=[" ".join(m[0])[:60] for m in MISTAKES]
)
def test_one_line_names_the_key_and_what_is_allowed(overrides: list[str], said: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", overrides)
    (line,) = caught.value.problems
    assert said in line
    assert allowed in line


def test_a_mistake_that_classes_inherit_is_told_once() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", [*TWO, "retry.attempts=3"])
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["retry={attempts: 2, on: [], hedge_after_s: 1}"],
        ["retry={attempts: 4, on: [failed]}"],
        ["retry={attempts: 3, on: [timed_out], backoff: {kind: constant, base_s: 0}}", "patience.total_s=5"],
        ["traffic.share=1"],
        ["traffic.caps.input_tokens=100", "traffic.prompt_tokens=500"],
        ["traffic.limits={tokens_per_s: 10, max_concurrent: 1}", "traffic.max_queue_s=0"],
        ["patience.total_s={kind: uniform, low: 0, high: 3}"],
    ],
)
def test_what_looks_odd_and_is_fine(overrides: list[str]) -> None:
    assert only(overrides)


def test_every_mistake_of_a_class_at_once() -> None:
    entry: dict[str, Any] = {
        "traffic": {
            "patience": {"total_s": -1},
            "retry": {"attempts": 1, "jitter": "full"},
            "limits": {"burst": 2},
            "tenant": "x",
            "share": 0.2,
        }
    }
    plain = resolved(load_scenario("first_run"))
    plain.pop("classes")
    with pytest.raises(InputError) as caught:
        from_dict({**plain, **entry})
    keys = [line.split(":")[0].split(" ")[0] for line in caught.value.problems]
    assert keys == [
        "traffic.patience.total_s",
        "traffic.retry.attempts",
        "traffic.limits.burst",
        "traffic.share",
        "traffic.tenant",
    ]
