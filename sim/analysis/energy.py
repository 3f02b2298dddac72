"""What a run drew: kilowatt-hours and their CO2, worked out from the time of steps and what they computed.

A GPU that is held draws its idle watts, and in a step more: by the share of its peak arithmetic that prompts and answers
used while they were computed (`sim.scenario.power.watts`), each of the two by its own mean. docs/energy.md says how far
that is from measurements. Around the GPUs come the rest of their machines and the data centre's overhead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.bills import class_usd
from sim.analysis.cost import token_cost
from sim.model.placement.mig import N_SLICE
from sim.scenario.power import host_w, idle_w, max_w, watts
from sim.units import PS_PER_S

J_PER_KWH = 3.6e6
#: counters that a sample has too
WORK = ("prefill_ps", "decode_ps", "prefill_tokens", "prefill_squares", "decode_tokens", "kv_read_tokens")
RUN = "run_"  # how counters of the whole run begin


class Energy(NamedTuple):
    """What something drew."""

    gpu_kwh: float  # its GPUs alone
    kwh: float  # with their machines and the data centre's overhead
    kgco2e: float


def pool_energy(pool: Any, counters: Mapping[str, int], table: Any | None, prefix: str = "") -> Energy | None:
    """One pool's in the window, or in the whole run (`prefix` RUN); None where its step table does not tell of FLOPs."""
    if table is None or not table.peak_flops:
        return None
    power, tdp_w = pool.gpu.power, float(pool.gpu.tdp_w)
    held_s = counters[f"{prefix}gpu_ps"] / PS_PER_S
    rest_w = idle_w(power, tdp_w)
    joules = rest_w * held_s * pool.watt_share
    for step_ps, flops in parts_of(counters, table, prefix):
        if step_ps > 0:
            step_s = step_ps / PS_PER_S
            mfu = flops / (table.peak_flops * step_s)
            more_w = (watts(power, tdp_w, mfu) - rest_w) * pool.step_watt_share
            joules += more_w * step_s * counters["gpus_per_replica"]
    around = host_w(power, tdp_w) * held_s * pool.watt_share
    return at_site(pool.site, joules, around)


def parts_of(counters: Mapping[str, Any], table: Any, prefix: str) -> tuple[tuple[Any, Any], ...]:
    """(time of steps in ps, FLOPs) of prompts, and of answers."""
    squares, read = counters[f"{prefix}prefill_squares"] // 2, counters[f"{prefix}kv_read_tokens"]
    each, attended = float(table.flops_per_token), float(table.flops_per_attended_token)
    return (
        (counters[f"{prefix}prefill_ps"], counters[f"{prefix}prefill_tokens"] * each + squares * attended),
        (counters[f"{prefix}decode_ps"], counters[f"{prefix}decode_tokens"] * each + read * attended),
    )


def at_site(site: Any, gpu_joules: float, around_joules: float) -> Energy:
    """Joules of GPUs and of the machines around them, where they stand."""
    kwh = (gpu_joules + around_joules) / J_PER_KWH * site.pue
    return Energy(gpu_joules / J_PER_KWH, kwh, kwh * site.g_co2e_per_kwh / 1000)


def added(parts: Sequence[Energy | None]) -> Energy | None:
    """Several together; None where one of them is not known."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Energy(*(float(sum(column)) for column in zip(*known, strict=True))) if known else None


def with_watts(scenario: Any, result: Any, tables: Sequence[Any | None]) -> Any:
    """The result; each sample has what its pool drew in the mean since the one before, W, with the machines and the data
    centre's overhead (NaN where that is not known, or no time went by).
    """
    samples = result.samples
    if "prefill_squares" not in samples or not len(samples["time_ps"]):
        return result
    drawn = np.full(len(samples["time_ps"]), np.nan)
    for number, (pool, table) in enumerate(zip(scenario.pools, tables, strict=True)):
        mine = np.flatnonzero(np.asarray(samples["pool_id"]) == number)
        mine = mine[np.argsort(np.asarray(samples["time_ps"])[mine], kind="stable")]
        if table is not None and table.peak_flops:
            since = {
                name: np.diff(np.asarray(samples[name])[mine], prepend=0)
                for name in ("time_ps", "gpu_ps", *WORK)
            }
            gpus = int(result.pools[number]["gpus_per_replica"])
            drawn[mine] = pool_watts(pool, {**since, "gpus_per_replica": gpus}, table)
    return result._replace(samples={**samples, "watts": drawn})


def pool_watts(pool: Any, since: Mapping[str, Any], table: Any) -> np.ndarray:
    """(interval,) W of a pool: `pool_energy` of each of many intervals, over their `time_ps`."""
    power, tdp_w = pool.gpu.power, float(pool.gpu.tdp_w)
    least, most = idle_w(power, tdp_w), max_w(power, tdp_w)
    joules = (least + host_w(power, tdp_w)) * since["gpu_ps"].astype(float) / PS_PER_S
    for step_ps, flops in parts_of(since, table, ""):
        step_s = step_ps.astype(float) / PS_PER_S
        mfu = flops.astype(float) / table.peak_flops / np.where(step_s > 0, step_s, 1.0)
        rise = np.minimum(1.0, np.maximum(0.0, mfu) / power.full_at_mfu) ** power.exponent
        joules += (most - least) * rise * step_s * since["gpus_per_replica"]
    elapsed_s = since["time_ps"].astype(float) / PS_PER_S
    return np.asarray(
        np.where(elapsed_s > 0, joules, np.nan)
        * pool.watt_share
        * pool.site.pue
        / np.where(elapsed_s > 0, elapsed_s, 1.0)
    )


def beside_energy(
    scenario: Any,
    groups: Sequence[Mapping[str, int]],
    pools: Sequence[Mapping[str, int]],
    prefix: str = "",
) -> Energy:
    """What nodes draw beside what pools are given of it: together it is every node's idle watts, from its request until it
    is gone, and what steps add. GPUs that batch jobs hold draw their most: what jobs compute is not known. Nodes that are
    paid but were not asked for are off.
    """
    total = Energy(0.0, 0.0, 0.0)
    if not groups:
        return total
    for group, c in zip(scenario.cluster.node_groups, groups, strict=True):
        gpu_s = c[f"{prefix}billed_ps"] / PS_PER_S * group.gpus
        least, most = idle_w(group.gpu.power, group.gpu.tdp_w), max_w(group.gpu.power, group.gpu.tdp_w)
        job_s = c.get(f"{prefix}job_ps", 0) / PS_PER_S / N_SLICE
        own = at_site(group.site, least * gpu_s + (most - least) * job_s, group.host_w * gpu_s)
        total = Energy(*(a + b for a, b in zip(total, own, strict=True)))
    for pool, c in zip(scenario.pools, pools, strict=True):
        power, held_s = pool.gpu.power, c[f"{prefix}gpu_ps"] / PS_PER_S * pool.watt_share
        idle, around = idle_w(power, pool.gpu.tdp_w) * held_s, host_w(power, pool.gpu.tdp_w) * held_s
        total = Energy(*(a - b for a, b in zip(total, at_site(pool.site, idle, around), strict=True)))
    return total


def energy_facts(
    pools: Sequence[Any],
    counters: Sequence[Mapping[str, int]],
    tables: Sequence[Any | None],
    beside: Energy | None = None,
    run_beside: Energy | None = None,
) -> dict[str, float | None]:
    """Facts of some pools together, and of what nodes drew beside them."""
    mine = [pool_energy(*one) for one in zip(pools, counters, tables, strict=True)]
    run = [pool_energy(*one, RUN) for one in zip(pools, counters, tables, strict=True)]
    window = added([*mine, *([] if beside is None else [beside])])
    whole = added([*run, *([] if run_beside is None else [run_beside])])
    return {
        "gpu_kwh": window and window.gpu_kwh,
        "kwh": window and window.kwh,
        "kgco2e": window and known(window.kgco2e),
        "run_kwh": whole and whole.kwh,
    }


def known(kg: float) -> float | None:
    """Kilograms, None where an intensity is not known."""
    return None if math.isnan(kg) else kg


def class_energy(
    tokens: Sequence[Sequence[int]],
    pools: Sequence[Any],
    counters: Sequence[Mapping[str, int]],
    tables: Sequence[Any | None],
    together: Sequence[tuple[list[int], list[int]]],
) -> list[tuple[float | None, float | None]]:
    """(kWh, kg of CO2e) of each class: its part of what pools drew, as its part of what they cost (`class_usd`)."""
    mine = [pool_energy(*one) for one in zip(pools, counters, tables, strict=True)]
    if not all(part is not None for part in mine):
        return [(None, None)] * len(tokens)
    found = []
    for amounts in ([part.kwh for part in mine if part], [part.kgco2e for part in mine if part]):
        costs = [token_cost(amount, c) for amount, c in zip(amounts, counters, strict=True)]
        found.append(class_usd(tokens, amounts, costs, together))
    return [(kwh, known(kg)) for kwh, kg in zip(*found, strict=True)]
