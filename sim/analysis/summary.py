"""The summary of a run: every measure once, over the fleet, per traffic class and per pool."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sim.analysis.bills import class_usd
from sim.analysis.cost import bill_lines, per_million_tokens, token_cost, total_usd
from sim.analysis.latency import count, latencies
from sim.analysis.promises import kind_of, promises_kept, with_promises
from sim.analysis.replicas import replica_counts
from sim.analysis.starts import cold_start_times
from sim.analysis.stations import station_measures
from sim.analysis.tenants import members, with_tenants
from sim.analysis.use import at_each_time, kv_use, shares, use_parts
from sim.model.tables.codes import REASONS
from sim.records.version import SCHEMA_VERSION
from sim.records.window import measured_window_ps
from sim.units import PS_PER_S, ps_to_s

FATES = ("offered", "completed", "rejected", "timed_out", "failed", "inside")
TRIES = ("attempts", "retries", "hedges", "wasted_tokens")
ANSWERS = ("from_cache", "blocked")
SEEN = ("kv_blocks_used", "kv_blocks_total", "ready", "wanted")  # in samples
S_PER_HOUR = 3600.0
ROUNDING = 1e-12


def summarize(
    scenario: Any,
    result: Any,
    step_tables: Sequence[Any] = (),
    engine: str = "",
    edges_ps: np.ndarray | None = None,
) -> dict[str, Any]:
    """What a run came to in its measured window (docs/outputs.md lists the keys).

    Seconds, usd and counts; what was never served is infinite, what cannot be said None. `step_tables`, one
    per pool, give mfu and bandwidth_use.
    """
    edges = _edges_ps() if edges_ps is None else edges_ps
    usd, result = _class_usd(scenario, result), with_promises(scenario, result)
    whole = with_tenants(scenario, result)
    first_tenant = 1 + len(scenario.classes)
    return {
        **_fleet(scenario, result, step_tables, engine, edges, usd),
        "classes": {c.name: _class(scenario, result, i, edges, usd) for i, c in enumerate(scenario.classes)},
        "tenants": {
            name: {**_scope(scenario, whole, first_tenant + i, edges), "usd": sum(usd[c] for c in classes)}
            for i, (name, classes) in enumerate(members(scenario).items())
        },
        "pools": {
            pool.name: _pool(scenario, result, i, step_tables) for i, pool in enumerate(scenario.pools)
        },
        "stations": station_measures(scenario, result),
        "usd_lines": _lines(scenario, result),
    }


def fleet_summary(
    scenario: Any, result: Any, step_tables: Sequence[Any], engine: str, classes: Collection[str] = ()
) -> dict[str, Any]:
    """The summary without its sections, but for the classes that are named: what a sweep keeps of a run."""
    edges, usd, result = _edges_ps(), _class_usd(scenario, result), with_promises(scenario, result)
    named = [i for i, c in enumerate(scenario.classes) if c.name in classes]
    return {
        **_fleet(scenario, result, step_tables, engine, edges, usd),
        "classes": {scenario.classes[i].name: _class(scenario, result, i, edges, usd) for i in named},
    }


def _class(scenario: Any, result: Any, i: int, edges: np.ndarray, usd: Sequence[float]) -> dict[str, Any]:
    return {**kind_of(scenario, i), **_scope(scenario, result, 1 + i, edges), "usd": usd[i]}


def _fleet(
    scenario: Any,
    result: Any,
    step_tables: Sequence[Any],
    engine: str,
    edges: np.ndarray,
    usd: Sequence[float],
) -> dict[str, Any]:
    tokens = (count(result, "tokens_in", 0), count(result, "tokens_out", 0))
    return {
        **_heading(scenario, result, engine),
        **_scope(scenario, result, 0, edges),
        **_pools(scenario, result, range(len(scenario.pools)), tokens, step_tables),
        "usd_idle": _rest(total_usd([_lines(scenario, result)]), sum(usd)),
    }


def _heading(scenario: Any, result: Any, engine: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario.name,
        "question": scenario.question,
        "look_at": list(scenario.look_at),
        "seed": int(scenario.seed),
        "engine": engine,
        "digest": f"{int(result.digest) & (2**64 - 1):016x}",
        "duration_s": ps_to_s(measured_window_ps(scenario, result)[1]),
        "warmup_s": float(scenario.warmup_s),
        "window_s": _window_s(scenario, result),
        "end_s": ps_to_s(int(result.end_ps)),
    }


def _scope(scenario: Any, result: Any, scope: int, edges: np.ndarray) -> dict[str, Any]:
    """Fates, latencies and rates of the fleet (scope 0) or of one class."""
    fates = {name: count(result, name, scope) for name in FATES}
    tokens_in, tokens_out = count(result, "tokens_in", scope), count(result, "tokens_out", scope)
    window_s = _window_s(scenario, result)
    return {
        **fates,
        "served_fraction": _ratio(fates["completed"], fates["offered"]),
        **promises_kept(result, scope, window_s),
        "offered_per_s": _ratio(fates["offered"], window_s),
        "completed_per_s": _ratio(count(result, "done", scope), window_s),
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "input_tokens_per_s": _ratio(tokens_in, window_s),
        "output_tokens_per_s": _ratio(tokens_out, window_s),
        "prefix_hit_ratio": _ratio(
            count(result, "cached_tokens", scope), count(result, "asked_tokens", scope)
        ),
        "from_cache_fraction": _from_cache_fraction(scenario, result, scope),
        **latencies(result, scope, edges),
        **{name: count(result, name, scope) for name in (*TRIES, *ANSWERS)},
        "reasons": _reasons(result, scope),
    }


def _from_cache_fraction(scenario: Any, result: Any, scope: int) -> float | None:
    """Answers that the response cache gave; None where there is no such cache."""
    if scenario.gateway.response_cache is None:
        return None
    return _ratio(count(result, "from_cache", scope), count(result, "completed", scope))


def _reasons(result: Any, scope: int) -> dict[str, int]:
    """Requests that were not served, by reason; those that did not happen are left out."""
    found = {reason: count(result, f"reason_{reason}", scope) for reason in REASONS if reason}
    return {reason: n for reason, n in found.items() if n > 0}


def _pool(scenario: Any, result: Any, pool_id: int, step_tables: Sequence[Any]) -> dict[str, Any]:
    """What one pool is, cost and did; its prices are per million tokens that it computed."""
    pool, counters = scenario.pools[pool_id], result.pools[pool_id]
    tokens = (int(counters["prefill_tokens"]), int(counters["decode_tokens"]))
    return {
        "gpu": pool.gpu.name,
        "model": pool.model.name,
        "runtime": pool.runtime.name,
        "runtime_version": str(pool.runtime.version),
        "gpus_per_replica": int(pool.tp) * int(pool.pp),
        "completions": int(counters["completions"]),
        "steps": int(counters["steps"]),
        "prefill_tokens": tokens[0],
        "decode_tokens": tokens[1],
        "prefix_hit_ratio": _ratio(int(counters["cached_tokens"]), int(counters["asked_tokens"])),
        "prefix_runs_dropped": int(counters["prefix_runs_dropped"]),
        **_pools(scenario, result, [pool_id], tokens, step_tables),
        "cold_start": cold_start_times(scenario, result, pool_id),
        "step_time": step_time(step_tables[pool_id] if step_tables else None),
    }


def step_time(table: Any | None) -> dict[str, Any] | None:
    """What a pool's step times rest on: class, expected error in percent, what nothing measured has checked, source."""
    if table is None or table.basis is None:
        return None
    basis = table.basis
    return {
        "class": basis.kind,
        "expected_error_percent": basis.expected_error_percent,
        "unchecked": list(basis.unchecked),
        "text": basis.text,
        "source": table.source,
    }


def _pools(
    scenario: Any, result: Any, pool_ids: Sequence[int], tokens: tuple[int, int], step_tables: Sequence[Any]
) -> dict[str, Any]:
    """Cost, utilisation and replicas of some pools together; `tokens` (in, out) are what it bought."""
    chosen = [result.pools[p] for p in pool_ids]
    start_ps, end_ps = measured_window_ps(scenario, result)
    bills = [bill_lines(scenario.pools[p], result.pools[p]["gpu_ps"], end_ps - start_ps) for p in pool_ids]
    run_bills = [
        bill_lines(scenario.pools[p], result.pools[p]["run_gpu_ps"], result.end_ps) for p in pool_ids
    ]
    usd = total_usd(bills)
    costs = [token_cost(total_usd([bill]), c) for bill, c in zip(bills, chosen, strict=True)]
    tables = [step_tables[p] if step_tables else None for p in pool_ids]
    seen = at_each_time(result.samples, pool_ids, SEEN)
    return {
        "gpu_seconds": sum(int(c["gpu_ps"]) for c in chosen) / PS_PER_S,
        "usd": usd,
        "usd_per_hour": _ratio(usd * S_PER_HOUR, _window_s(scenario, result)),
        **per_million_tokens(usd, costs, *tokens),
        "run_gpu_seconds": sum(int(c["run_gpu_ps"]) for c in chosen) / PS_PER_S,
        "run_usd": total_usd(run_bills),
        "mfu": None,
        "bandwidth_use": None,
        **shares([use_parts(c, table) for c, table in zip(chosen, tables, strict=True)]),
        "kv_use": kv_use(seen, (start_ps, end_ps)),
        "preemptions": sum(int(c["preemptions"]) for c in chosen),
        **replica_counts(result, pool_ids, end_ps - start_ps, seen),
    }


def _class_usd(scenario: Any, result: Any) -> list[float]:
    """What each class costs."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    both = list(zip(scenario.pools, result.pools, strict=True))
    pool_usd = [total_usd([bill_lines(pool, c["gpu_ps"], end_ps - start_ps)]) for pool, c in both]
    return class_usd(
        scenario, result, pool_usd, [token_cost(u, c) for u, (_, c) in zip(pool_usd, both, strict=True)]
    )


def _lines(scenario: Any, result: Any) -> list[dict[str, Any]]:
    """Every billing line of the measured window; they sum to usd."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    both = zip(scenario.pools, result.pools, strict=True)
    return [line for pool, c in both for line in bill_lines(pool, c["gpu_ps"], end_ps - start_ps)]


def _rest(whole: float, part: float) -> float:
    """What is left of the whole; 0 where that is the rounding of sums."""
    return whole - part if abs(whole - part) > ROUNDING * whole else 0.0


def _window_s(scenario: Any, result: Any) -> float:
    start_ps, end_ps = measured_window_ps(scenario, result)
    return ps_to_s(end_ps - start_ps)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


@functools.cache
def _edges_ps() -> np.ndarray:
    from sim.model.base.histogram import bucket_edges_ps

    return bucket_edges_ps()
