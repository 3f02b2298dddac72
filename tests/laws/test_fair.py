"""No tenant starves where tenants share: while two of them wait, neither is served much more than the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, PoolRow, RunRow, ServedModelRow, TenantRow
from sim.fill.trace import Traffic
from sim.model.tables.codes import HOLD_FAIR

US = 10**6
OUTPUT_WEIGHT = 2  # a token of an answer counts as two of a prompt
PROMPT_MAX, OUTPUT_MAX = 30, 12


def crowded(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """The rows of tenants that flood a few replicas one after the other, their weights, how many requests run at most."""
    rng = np.random.default_rng([seed, 33])
    n_tenant, n_replica, most = (int(rng.integers(low, high)) for low, high in ((2, 5), (1, 4), (1, 4)))
    starts = rng.integers(0, 60, n_tenant) * US
    tenant = np.repeat(np.arange(n_tenant), 60)
    arrival = np.sort(starts)[tenant] + rng.integers(0, 5 * US, len(tenant)) * int(rng.integers(0, 2))
    order = np.argsort(arrival, kind="stable")
    n = len(tenant)
    traffic = Traffic(
        arrival[order],
        rng.integers(1, PROMPT_MAX + 1, n),
        rng.integers(1, OUTPUT_MAX + 1, n),
        tenant[order],
    )
    weights = rng.integers(1, 5, n_tenant)
    speed = np.full(9, US)
    pool = PoolRow(
        speed, 0 * speed, 0, 0, 1000, 8, 64, 1000, max_replicas=n_replica, initial_replicas=n_replica
    )
    p = make_params(
        RunRow(seed=seed, duration_ps=10**12, warmup_ps=0, end_ps=10**13, sample_ps=0),
        traffic,
        [ClassRow(tenant=i) for i in range(n_tenant)],
        [ServedModelRow(outstanding_max=most, hold_order=HOLD_FAIR)],
        [pool],
        tenants=[TenantRow(int(weight)) for weight in weights],
    )
    result = make_result(p, run_plan(p))
    assert result.counts["completed"][0] == n
    return result.requests, weights, n_replica * most


def served(rows: dict[str, np.ndarray], tenant: int, until_ps: int) -> int:
    """What a tenant was served until then, in weighted tokens: prompts handed over, answers complete."""
    mine = rows["class_id"] == tenant
    handed, answered = (mine & (rows[name] <= until_ps) for name in ("routed_ps", "last_token_ps"))
    return int(rows["prompt_tokens"][handed].sum() + OUTPUT_WEIGHT * rows["output_tokens"][answered].sum())


@pytest.mark.parametrize("block", range(2))
def test_no_tenant_starves(block: int) -> None:
    assert sum(check(seed) for seed in range(block, 24, 2)) > 300


def check(seed: int) -> int:
    """Of two that wait, one may be ahead by a prompt and the answers that run: twice that over any span of time.

    Returns how many instants were compared.
    """
    rows, weights, running = crowded(seed)
    slack = 2 * (PROMPT_MAX + OUTPUT_WEIGHT * OUTPUT_MAX * running)
    waits = rows["routed_ps"] > rows["arrival_ps"]
    waited = [rows["routed_ps"][waits & (rows["class_id"] == tenant)] for tenant in range(len(weights))]
    compared = 0
    for i, j in itertools.combinations(range(len(weights)), 2):
        begin, end = max(waited[i].min(), waited[j].min()), min(waited[i].max(), waited[j].max())
        for at_ps in np.unique(rows["routed_ps"][(rows["routed_ps"] > begin) & (rows["routed_ps"] < end)]):
            one, other = ((served(rows, k, at_ps) - served(rows, k, begin)) / weights[k] for k in (i, j))
            line = f"cd tests && python -c 'from laws.test_fair import check; check({seed})'"
            assert abs(one - other) <= slack / min(weights[[i, j]]), f"tenants {i}, {j}; repeat with\n{line}"
            compared += 1
    return compared
