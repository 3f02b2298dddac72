"""Tenants as sums of their classes, and whose bill it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_result import FakeClass, FakePool, FakeTenant, measured, spiky_run, two_pools

from sim.analysis.bills import communities
from sim.analysis.summary import summarize
from sim.analysis.tenants import with_tenants


def three_classes(pools: bool = False) -> tuple[Any, Any]:
    """A run with classes chat and code of acme and batch of nobody, in equal parts."""
    scenario, result = spiky_run(n=3000, lost=0.1)
    rows = {**result.requests, "class_id": np.arange(3000, dtype=np.int32) % 3}
    hist, sums, counts = measured(rows, n_class=3)
    classes = (FakeClass("chat", tenant="acme"), FakeClass("code", tenant="acme"), FakeClass("batch"))
    result = result._replace(hist=hist, sums=sums, counts=counts)
    tenants = (FakeTenant("acme"), FakeTenant("idle"))
    scenario = replace(scenario, classes=classes, tenants=tenants)
    return two_pools(scenario, result) if pools else (scenario, result)


def test_a_tenant_is_the_sum_of_its_classes() -> None:
    scenario, result = three_classes()
    summary = summarize(scenario, result)
    acme, chat, code = (summary["tenants"]["acme"], *(summary["classes"][n] for n in ("chat", "code")))
    for name in ("offered", "completed", "rejected", "goodput", "wasted_tokens", "attempts"):
        assert acme[name] == chat[name] + code[name]
    assert acme["ttft"]["mean_served_s"] == pytest.approx(
        (
            chat["ttft"]["mean_served_s"] * chat["completed"]
            + code["ttft"]["mean_served_s"] * code["completed"]
        )
        / acme["completed"]
    )
    assert min(chat["ttft"]["p90_s"], code["ttft"]["p90_s"]) <= acme["ttft"]["p90_s"]
    assert acme["ttft"]["p90_s"] <= max(chat["ttft"]["p90_s"], code["ttft"]["p90_s"])
    assert summary["tenants"]["idle"]["offered"] == 0
    assert summary["tenants"]["idle"]["usd"] == 0


def test_scopes_of_tenants_change_nothing_of_the_others() -> None:
    scenario, result = three_classes()
    more = with_tenants(scenario, result)
    assert np.array_equal(more.hist[:4], result.hist)
    assert all(more.sums[name][:4] == row for name, row in result.sums.items())
    assert with_tenants(replace(scenario, tenants=()), result) is result


def test_classes_and_what_is_idle_sum_to_the_bill() -> None:
    summary = summarize(*three_classes())
    usd = [section["usd"] for section in summary["classes"].values()]
    assert all(u > 0 for u in usd)
    assert sum(usd) + summary["usd_idle"] == pytest.approx(summary["usd"])
    assert summary["usd_idle"] == pytest.approx(0)
    assert summary["tenants"]["acme"]["usd"] == pytest.approx(usd[0] + usd[1])


def test_a_class_pays_for_the_tokens_it_had_in_proportion() -> None:
    scenario, result = three_classes()
    result.counts["tokens_in"][1:] = [100, 300, 0]
    result.counts["tokens_out"][1:] = [500, 0, 500]
    pool = {**result.pools[0], "prefill_ps": 10**12, "decode_ps": 3 * 10**12}
    summary = summarize(scenario, result._replace(pools=[pool]))
    chat, code, batch = (summary["classes"][name]["usd"] for name in ("chat", "code", "batch"))
    whole = summary["usd"]
    assert (chat, code, batch) == pytest.approx((whole * 7 / 16, whole * 3 / 16, whole * 6 / 16))


def test_pools_that_only_one_class_may_use_are_on_its_bill_alone() -> None:
    scenario, result = three_classes(True)
    routes = (("main",), ("main",), ("spare",))
    classes = [replace(c, route_to=route) for c, route in zip(scenario.classes, routes, strict=True)]
    scenario = replace(scenario, classes=tuple(classes))
    assert communities(scenario) == [([0, 1], [0]), ([2], [1])]
    summary = summarize(scenario, result)
    assert summary["classes"]["batch"]["usd"] == pytest.approx(summary["pools"]["spare"]["usd"])


def test_what_nobody_was_served_for_is_nobodys() -> None:
    scenario, result = three_classes()
    for name in ("tokens_in", "tokens_out"):
        result.counts[name][:] = 0
    summary = summarize(scenario, result)
    assert summary["usd_idle"] == pytest.approx(summary["usd"])
    assert FakePool().name in summary["pools"]
