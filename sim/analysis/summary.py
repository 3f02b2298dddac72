"""The summary of a run: every measure once, over the fleet, per traffic class and per pool."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sim.analysis.bills import class_usd, communities
from sim.analysis.carbon import without_hours
from sim.analysis.cost import bill_lines, token_cost, total_usd
from sim.analysis.energy import RUN, beside_energy, class_energy
from sim.analysis.facts import pool_facts, request_facts, run_facts
from sim.analysis.jobs import job_measures
from sim.analysis.latency import count, latencies
from sim.analysis.links import link_measures
from sim.analysis.nodes import beside_lines, beside_usd, node_measures, wait_measures
from sim.analysis.promises import kind_of, with_promises
from sim.analysis.queues import queue_measures
from sim.analysis.rollouts import rollout_measures
from sim.analysis.starts import cold_start_times
from sim.analysis.stations import station_measures
from sim.analysis.tenants import members, with_tenants
from sim.measures.formulas import Facts
from sim.measures.listed import CLASS, FLEET, POOL, POOLS, REQUESTS, TIMES
from sim.measures.measure import values
from sim.model.tables.codes import REASONS
from sim.records.version import SCHEMA_VERSION
from sim.records.window import measured_window_ps

ROUNDING = 1e-12
Bill = dict[str, Any]  # usd, kwh and kgco2e of a class: facts of CLASS


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
    edges = bucket_edges() if edges_ps is None else edges_ps
    scenario = without_hours(scenario, result)
    bills, result = _class_bills(scenario, result, step_tables), with_promises(scenario, result)
    whole = with_tenants(scenario, result)
    first_tenant = 1 + len(scenario.classes)
    return {
        **_fleet(scenario, result, step_tables, engine, edges, bills),
        "classes": {
            c.name: _class(scenario, result, i, edges, bills) for i, c in enumerate(scenario.classes)
        },
        "tenants": {
            name: {
                **_scope(scenario, whole, first_tenant + i, edges),
                **values(CLASS, bill_of([bills[c] for c in classes])),
            }
            for i, (name, classes) in enumerate(members(scenario).items())
        },
        "pools": {
            pool.name: _pool(scenario, result, i, step_tables) for i, pool in enumerate(scenario.pools)
        },
        "stations": station_measures(scenario, result),
        "links": link_measures(scenario, result),
        "node_groups": node_measures(scenario, result),
        "slice_waits": wait_measures(scenario, result),
        "jobs": job_measures(scenario, result),
        "queues": queue_measures(scenario, result),
        "deployments": rollout_measures(scenario, result),
        "usd_lines": _lines(scenario, result),
    }


def fleet_summary(
    scenario: Any, result: Any, step_tables: Sequence[Any], engine: str, classes: Collection[str] = ()
) -> dict[str, Any]:
    """The summary without its sections, but for the classes that are named: what a sweep keeps of a run."""
    scenario = without_hours(scenario)
    edges, bills, result = (
        bucket_edges(),
        _class_bills(scenario, result, step_tables),
        with_promises(scenario, result),
    )
    named = [i for i, c in enumerate(scenario.classes) if c.name in classes]
    return {
        **_fleet(scenario, result, step_tables, engine, edges, bills),
        "classes": {scenario.classes[i].name: _class(scenario, result, i, edges, bills) for i in named},
    }


def _class(scenario: Any, result: Any, i: int, edges: np.ndarray, bills: Sequence[Bill]) -> dict[str, Any]:
    return {
        **kind_of(scenario, i),
        **_scope(scenario, result, 1 + i, edges),
        **values(CLASS, bills[i]),
    }


def _fleet(
    scenario: Any,
    result: Any,
    step_tables: Sequence[Any],
    engine: str,
    edges: np.ndarray,
    bills: Sequence[Bill],
) -> dict[str, Any]:
    tokens = (count(result, "tokens_in", 0), count(result, "tokens_out", 0))
    start_ps, end_ps = measured_window_ps(scenario, result)
    beside = beside_usd(scenario, result.node_groups, result.pools, end_ps - start_ps, int(result.end_ps))
    drawn = [beside_energy(scenario, result.node_groups, result.pools, prefix) for prefix in ("", RUN)]
    pools = range(len(scenario.pools))
    facts = pool_facts(scenario, result, pools, tokens, step_tables, beside, (drawn[0], drawn[1]))
    idle = idle_facts(facts, bill_of(bills))
    return {
        **_heading(scenario, result, engine),
        **values(TIMES, run_facts(scenario, result)),
        **_scope(scenario, result, 0, edges),
        **values(POOLS, facts),
        **values(FLEET, {**facts, **idle}),
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
    }


def _scope(scenario: Any, result: Any, scope: int, edges: np.ndarray) -> dict[str, Any]:
    """What the requests of the fleet (scope 0) or of one class came to."""
    facts, statistics = request_facts(scenario, result, scope), latencies(result, scope, edges)
    found = {m.name: statistics[m.name] if m.is_latency else m.value(facts) for m in REQUESTS}
    return {**found, "reasons": _reasons(result, scope)}


def _reasons(result: Any, scope: int) -> dict[str, int]:
    """Requests that were not served, by reason; those that did not happen are left out."""
    found = {reason: count(result, f"reason_{reason}", scope) for reason in REASONS if reason}
    return {reason: n for reason, n in found.items() if n > 0}


def _pool(scenario: Any, result: Any, pool_id: int, step_tables: Sequence[Any]) -> dict[str, Any]:
    """What one pool is, cost and did; its prices are per million tokens that it computed."""
    pool, counters = scenario.pools[pool_id], result.pools[pool_id]
    tokens = (int(counters["prefill_tokens"]), int(counters["decode_tokens"]))
    facts = pool_facts(scenario, result, [pool_id], tokens, step_tables)
    return {
        "gpu": pool.device,
        "model": pool.model.name,
        "runtime": pool.runtime.name,
        "runtime_version": str(pool.runtime.version),
        "gpus_per_replica": int(pool.tp) * int(pool.pp),
        **values(POOL, facts),
        **values(POOLS, facts),
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


def _class_bills(scenario: Any, result: Any, step_tables: Sequence[Any]) -> list[Bill]:
    """What each class costs and draws."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    both = list(zip(scenario.pools, result.pools, strict=True))
    pool_usd = [total_usd([bill_lines(pool, c["gpu_ps"], end_ps - start_ps)]) for pool, c in both]
    costs = [token_cost(u, c) for u, (_, c) in zip(pool_usd, both, strict=True)]
    tokens = [
        (count(result, "tokens_in", 1 + i), count(result, "tokens_out", 1 + i))
        for i in range(len(scenario.classes))
    ]
    together, tables = communities(scenario), list(step_tables) or [None] * len(scenario.pools)
    usd = class_usd(tokens, pool_usd, costs, together)
    drawn = class_energy(tokens, scenario.pools, result.pools, tables, together)
    return [{"usd": u, "kwh": kwh, "kgco2e": kg} for u, (kwh, kg) in zip(usd, drawn, strict=True)]


def _lines(scenario: Any, result: Any) -> list[dict[str, Any]]:
    """Every billing line of the measured window; they sum to usd."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    both = zip(scenario.pools, result.pools, strict=True)
    held = [line for pool, c in both for line in bill_lines(pool, c["gpu_ps"], end_ps - start_ps)]
    return held + beside_lines(scenario, result)


def bill_of(bills: Sequence[Bill]) -> Bill:
    """Several classes together; None where it is not known of one."""
    columns = {name: [bill[name] for bill in bills] for name in ("usd", "kwh", "kgco2e")}
    return {name: None if None in column else sum(column) for name, column in columns.items()}


def idle_facts(facts: Facts, classes: Bill) -> dict[str, float | None]:
    """What no class costs and draws."""
    kwh = None if facts["kwh"] is None else rest_usd(facts["kwh"], classes["kwh"])
    return {"usd_idle": rest_usd(facts["usd"], classes["usd"]), "kwh_idle": kwh}


def rest_usd(whole: float, part: float) -> float:
    """What is left of the whole; 0 where that is the rounding of sums."""
    return whole - part if abs(whole - part) > ROUNDING * whole else 0.0


@functools.cache
def bucket_edges() -> np.ndarray:
    """The lower edges of the buckets and the upper edge of the last, (N_BUCKET + 1,) ps; made once."""
    from sim.model.base.histogram import bucket_edges_ps

    return bucket_edges_ps()
