"""The facts that formulas of measures read: what requests came to, and what pools did, used and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.analysis.cost import bill_lines, split_usd, token_cost, total_usd
from sim.analysis.energy import Energy, energy_facts
from sim.analysis.replicas import most_replicas
from sim.analysis.use import at_each_time, kv_use, used_parts
from sim.measures.formulas import Facts
from sim.records.window import measured_window_ps
from sim.units import ps_to_s

SEEN = ("kv_blocks_used", "kv_blocks_total", "ready", "wanted")  # in samples


def window_s(scenario: Any, result: Any) -> float:
    """The measured window, s."""
    start_ps, end_ps = measured_window_ps(scenario, result)
    return ps_to_s(end_ps - start_ps)


def run_facts(scenario: Any, result: Any) -> Facts:
    """The times of a run, s."""
    return {
        "duration_s": ps_to_s(measured_window_ps(scenario, result)[1]),
        "warmup_s": float(scenario.warmup_s),
        "window_s": window_s(scenario, result),
        "end_s": ps_to_s(int(result.end_ps)),
    }


def request_facts(scenario: Any, result: Any, scope: int) -> Facts:
    """Every counter of the fleet (scope 0) or of a class by name, the window, and whether there is a response cache."""
    return {
        **{name: int(column[scope]) for name, column in result.counts.items()},
        "window_s": window_s(scenario, result),
        "response_caches": int(scenario.gateway.response_cache is not None),
    }


def pool_facts(
    scenario: Any,
    result: Any,
    pool_ids: Sequence[int],
    tokens: tuple[int, int],
    step_tables: Sequence[Any],
    beside: tuple[float, float] = (0.0, 0.0),
    drawn: tuple[Energy | None, Energy | None] = (None, None),
) -> Facts:
    """Some pools together: sums of all their counters, what they used and had, and their bill; `tokens` (in, out) are
    what it bought. `beside` is what else was paid, and `drawn` what else was drawn, in the window and in the whole run."""
    chosen = [result.pools[p] for p in pool_ids]
    window_ps = measured_window_ps(scenario, result)
    samples = at_each_time(result.samples, pool_ids, SEEN)
    return facts_of_pools(
        [scenario.pools[p] for p in pool_ids],
        chosen,
        _sums(chosen),
        {"kv_use": kv_use(samples, window_ps), **most_replicas(samples)},
        tokens,
        [step_tables[p] if step_tables else None for p in pool_ids],
        window_ps,
        result.end_ps,
        beside,
        drawn,
    )


def facts_of_pools(
    pools: Sequence[Any],
    counters: Sequence[Mapping[str, int]],
    sums: Mapping[str, int],
    seen: Facts,
    tokens: tuple[int, int],
    tables: Sequence[Any | None],
    window_ps: tuple[int, int],
    end_ps: int,
    beside: tuple[float, float] = (0.0, 0.0),
    drawn: tuple[Energy | None, Energy | None] = (None, None),
) -> Facts:
    """The same of some pools' counters, their sums, and what their samples have `seen`; `tables` are their step tables."""
    elapsed_ps = window_ps[1] - window_ps[0]
    bills = [bill_lines(pool, c["gpu_ps"], elapsed_ps) for pool, c in zip(pools, counters, strict=True)]
    run_bills = [bill_lines(pool, c["run_gpu_ps"], end_ps) for pool, c in zip(pools, counters, strict=True)]
    usd = total_usd(bills) + beside[0]
    costs = [token_cost(total_usd([bill]), c) for bill, c in zip(bills, counters, strict=True)]
    price = split_usd(usd, costs, *tokens)
    return {
        **sums,
        **used_parts(counters, tables),
        **energy_facts(pools, counters, tables, *drawn),
        "window_ps": elapsed_ps,
        "window_s": ps_to_s(elapsed_ps),
        "usd": usd,
        "run_usd": total_usd(run_bills) + beside[1],
        "prompt_usd": price.prompt_usd,
        "output_usd": price.output_usd,
        "tokens_in": tokens[0],
        "tokens_out": tokens[1],
        **seen,
    }


def station_facts(counters: Mapping[str, int], end_ps: int) -> Facts:
    """What a CPU station counted, and the time that its workers had."""
    return {**counters, "workers_ps": counters["workers"] * end_ps}


def _sums(pools: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(int(pool[name]) for pool in pools) for name in pools[0]} if pools else {}
