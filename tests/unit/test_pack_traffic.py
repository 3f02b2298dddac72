"""Classes and tenants as rows, and what the gateway then does with them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sim import api
from sim.fill.rows import ClassRow, LimitRow, TenantRow
from sim.model.tables.codes import EQUAL_JITTER, RETRY_FAILED, RETRY_REJECTED
from sim.model.tables.pool import N_QUANTILE
from sim.pack.traffic import class_rows, limit_row, patience_ps, tenant_rows
from sim.scenario.compose import load_scenario
from sim.scenario.dist import Constant, Lognormal, Uniform
from sim.scenario.limits import Limits
from sim.units import NEVER, PS_PER_S

SMALL = ["duration_s=60", "drain_s=60", "traffic.arrivals={kind:poisson,rate_per_s:2}"]


def row(overrides: list[str]) -> ClassRow:
    """The first run's class as a row."""
    return class_rows(load_scenario("first_run", overrides))[0]


def test_a_class_that_says_nothing_has_one_attempt_and_no_limits() -> None:
    found = row([])
    assert not found.has_attempts
    assert found == ClassRow(ttft_ps=PS_PER_S, tpot_ps=PS_PER_S // 20)


def test_retries_in_numbers() -> None:
    found = row(["retry=budgeted", "retry.hedge_after_s=3", "retry.on=[rejected,failed]"])
    assert found.attempts_max == 3
    assert found.retry_on == RETRY_REJECTED | RETRY_FAILED
    assert found.backoff_ps == (PS_PER_S // 2, PS_PER_S)
    assert (found.jitter, found.hedge_ps) == (EQUAL_JITTER, 3 * PS_PER_S)
    assert (found.budget_ratio_milli, found.budget_burst_milli) == (100, 10_000)


def test_admission_and_caps_in_numbers() -> None:
    found = row(
        [
            "traffic.shed_above=12.5",
            "traffic.max_queue_s=0",
            "traffic.caps={input_tokens:100,long_input:truncate,output_tokens:50,long_output:reject}",
        ]
    )
    assert (found.shed_milli, found.max_queue_ps) == (12_500, 0)
    assert (found.prompt_max, found.output_max) == (NEVER, 50)


def test_limits_in_numbers() -> None:
    assert limit_row(Limits()) is None
    assert limit_row(Limits(max_concurrent=3)) == LimitRow(concurrent_max=3)
    assert limit_row(Limits(requests_per_s=4, tokens_per_s=1000)) == LimitRow(
        PS_PER_S // 4, 4, PS_PER_S // 1000, 60_000
    )


def test_patience_in_numbers() -> None:
    assert patience_ps(None) is None
    table = patience_ps(Constant(value=2.5))
    assert table is not None
    assert table.dtype == np.int64
    assert table.shape == (N_QUANTILE,)
    assert set(table.tolist()) == {5 * PS_PER_S // 2}
    never = patience_ps(Lognormal(median=3600, p99=1e9))
    assert never is not None
    assert np.all(np.diff(never) >= 0)
    assert (never[0] < NEVER, never[-1] == NEVER) == (True, True)
    none = patience_ps(Uniform(low=-1, high=1, min=0))
    assert none is not None
    assert none.min() == 1


def test_tenants_come_in_order_and_classes_of_none_share_a_last_one() -> None:
    overrides = [
        "tenants={a: {weight: 3, limits: {max_concurrent: 5}}, b: {}}",
        "classes={x: {tenant: b}, y: {tenant: a}, z: {}}",
    ]
    scenario = load_scenario("first_run", overrides)
    assert [r.tenant for r in class_rows(scenario)] == [1, 0, 2]
    assert tenant_rows(scenario) == [TenantRow(3, LimitRow(concurrent_max=5)), TenantRow(), TenantRow()]
    assert tenant_rows(load_scenario("first_run")) == [TenantRow()]
    named = load_scenario("first_run", ["tenants={a: {}}", "traffic.tenant=a"])
    assert tenant_rows(named) == [TenantRow()]


# ---- runs -------------------------------------------------------------------------------------------------
def reasons(overrides: list[str]) -> Counter[tuple[str, str]]:
    """How often each (outcome, reason) was, of a small run."""
    table = api.run("first_run", [*SMALL, *overrides]).requests
    columns = (table[name].to_pylist() for name in ("outcome", "reason"))
    return Counter(zip(*columns, strict=True))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["traffic.limits={requests_per_s:0.1}"], ("rejected", "rate_limited")),
        (["traffic.limits={max_concurrent:1}"], ("rejected", "concurrency")),
        (["traffic.shed_above=0.5"], ("rejected", "shed")),
        (["tenants.t.limits.max_concurrent=1", "traffic.tenant=t"], ("rejected", "concurrency")),
        (["traffic.caps.input_tokens=500"], ("rejected", "over_limit")),
        (
            ["traffic.caps={output_tokens:100,long_output:reject}"],
            ("rejected", "over_limit"),
        ),
        (["patience.first_token_s=0.02"], ("timed_out", "in_prefill")),
        (["patience.total_s=0.5"], ("timed_out", "in_stream")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_rule_of_the_scenario_reaches_the_gateway(overrides: list[str], reason: tuple[str, str]) -> None:
    found = reasons(overrides)
    assert found[reason] > 0
    assert {outcome for outcome, _ in found} <= {reason[0], "completed"}


def test_who_is_over_the_limit_is_refused_once_and_keeps_its_length() -> None:
    overrides = [*SMALL, "traffic.caps.input_tokens=1000", "retry=sdk_default"]
    table = api.run("first_run", overrides).requests
    for prompt, attempts, reason in zip(
        *(table[c].to_pylist() for c in ("prompt_tokens", "attempts", "reason")), strict=True
    ):
        assert (reason == "over_limit") == (prompt > 1000)
        assert attempts == 1


def test_truncated_and_clamped_requests_are_served_shorter() -> None:
    caps = "traffic.caps={input_tokens:500,long_input:truncate,output_tokens:60}"
    table = api.run("first_run", [*SMALL, caps]).requests
    assert set(table["outcome"].to_pylist()) == {"completed"}
    assert max(table["prompt_tokens"].to_pylist()) == 500
    assert max(table["output_tokens"].to_pylist()) == 60


def test_a_retry_follows_a_refusal() -> None:
    once, again = (
        api.run("first_run", [*SMALL, "traffic.limits={max_concurrent:2}", *more]).summary
        for more in ([], ["retry=aggressive"])
    )
    assert (once["retries"], once["attempts"]) == (0, once["offered"])
    assert again["retries"] > 0
    assert again["attempts"] == again["offered"] + again["retries"]
    assert again["completed"] > once["completed"]
