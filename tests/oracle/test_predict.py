"""The predicted ttft: exact where nobody is in the way, with stations before the GPU and prompts that are cached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from parity.engines import run_on_loop
from parity.fleets import ClassRow, Fleet

import sim
from sim.engine.result import make_result
from sim.fill.params import PoolRow, RunRow, ServedModelRow, Traffic
from sim.model.tables.codes import REASONS

from . import naive_prefix
from .compare_prefix import RUNS, prefix_differences
from .stories import LATER_PS, pool

MS = 10**9


def case(most_ps: int | None, requests: list[tuple[int, int, int, int]], **more: Any) -> dict[str, Any]:
    """Requests of one segment; class 0 comes straight in and is never refused, class 1 goes by two stations."""
    n = len(requests)
    users = {"before": [(0, 7, 1, 0), (1, 5, 0, 2)], "ttft_max_ps": most_ps}
    return {
        "requests": requests,
        "contents": [-1] * n,
        "pools": [pool(prefill_ps_per_token=3, attention_q16=1 << 16, prefix_runs=RUNS, **more)],
        "classes": [{}, users],
        "groups": [{"router": "round_robin", "queue_capacity": 100}],
        "tenants": [{"limit": None}],
        "front": {"workers": [1, 2]},
        "chains": {"leaf": [0] * n, "shared": [16] * n, "parent": [-1], "start": [0]},
        "end_ps": LATER_PS,
    }


def row(most_ps: int | None, requests: list[tuple[int, int, int, int]], **more: Any) -> dict[str, Any]:
    """What became of the last request; the product agrees."""
    made = case(most_ps, requests, **more)
    assert prefix_differences(made) == []
    return naive_prefix.run(**made).requests[-1]


@pytest.mark.parametrize("budget", [100, 7, 3])
@pytest.mark.parametrize("is_warm", [False, True])
def test_it_is_exact_on_an_idle_fleet(budget: int, is_warm: bool) -> None:
    requests = [(0, 18, 2, 0)] * is_warm + [(3000, 23, 4, 1)]
    free = row(None, requests, max_num_batched_tokens=budget)
    ttft_ps = free["first_token_ps"] - free["arrival_ps"]
    work_ps = 7 + 23 + 5 + 2 * 4
    chunks = -(-(23 - 16 * is_warm) // budget)
    assert 0 <= ttft_ps - work_ps - 10 * chunks - 3 * (23 - 16 * is_warm) <= 23**2
    assert row(ttft_ps, requests, max_num_batched_tokens=budget)["outcome"] == "completed"
    assert row(ttft_ps - 1, requests, max_num_batched_tokens=budget)["reason"] == "predicted_ttft"


def test_the_line_at_a_station_counts() -> None:
    """The one worker is busy until 3030 with another's prompt, so whoever comes at 3001 waits for 29 ps."""
    alone = row(None, [(3001, 23, 4, 1)])
    behind = [(3000, 23, 4, 1), (3001, 23, 4, 1)]
    ttft_ps = alone["first_token_ps"] - alone["arrival_ps"] + 29
    assert row(ttft_ps, behind)["reason"] == ""
    assert row(ttft_ps - 1, behind)["reason"] == "predicted_ttft"


def test_a_cache_that_went_with_its_replica_is_not_counted() -> None:
    """Of two replicas the warm one drains: its cache is of no use to who comes then."""
    requests = [(0, 18, 2, 0), (3000, 23, 4, 1)]
    warm = row(None, requests)
    ttft_ps = warm["first_token_ps"] - warm["arrival_ps"]
    for changes, reason in (([], ""), ([(2000, 0, "drain"), (2000, 1, "ready")], "predicted_ttft")):
        made = {**case(ttft_ps, requests, ready_at=[0, None]), "interventions": changes}
        assert prefix_differences(made) == []
        assert naive_prefix.run(**made).requests[-1]["reason"] == reason


def test_a_class_that_may_not_use_the_first_pool_is_not_measured_by_it() -> None:
    """The first pool is ten times slower; a prompt of 300 tokens takes 310 ms in the second, where the class goes."""
    speed = np.full(9, 10 * MS)
    fast = PoolRow(speed, 0 * speed, MS, 0, 10_000, 8, 8192, 8192)
    slow = fast._replace(base_ps=10 * speed, prefill_ps=10 * MS)
    run = RunRow(seed=5, duration_ps=10_000 * MS, warmup_ps=0, end_ps=10**6 * MS, sample_ps=0)
    request = Traffic(*np.array([[0], [300], [5], [0]]))
    for pools, most_ps, reason in (((1,), 310 * MS, 0), ((1,), 310 * MS - 1, 1), ((), 3100 * MS - 1, 1)):
        users = ClassRow(ttft_max_ps=most_ps, pools=pools)
        made = Fleet(run, request, [users], [ServedModelRow()], [slow, fast], [], {}, 1)
        found = make_result(made.params, run_on_loop(made)).requests
        assert REASONS[found["reason"][0]] == ("", "predicted_ttft")[reason]


def test_both_engines_predict_alike() -> None:
    overrides = [
        *("duration_s=120", "traffic=chat_sessions", "runtime=vllm_prefix_cache", "traffic.max_ttft_s=0.03"),
        *("traffic.arrivals.rate_per_s=3", "station@gateway.stations.tok=tokeniser_python"),
        *("traffic.before=[tok]", "router=prefix_aware"),
    ]
    one, other = (sim.run("first_run", [*overrides, f"engine={name}"]) for name in ("cpu", "simpy"))
    assert one.digest == other.digest
    assert one.summary["reasons"]["predicted_ttft"] > 0
    assert one.summary["prefix_hit_ratio"] > 0
