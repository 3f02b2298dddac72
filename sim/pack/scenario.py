"""A scenario and its requests as arrays: names, units and distributions end here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError, problem
from sim.fill.by_name import fields_of
from sim.fill.params import (
    ClassRow,
    PoolRow,
    RunRow,
    ServedModelRow,
    Traffic,
    World,
    make_world,
    with_traffic,
)
from sim.fill.rows import AUTO_RUNS, StepRow
from sim.model.router.choose import KINDS, ROUTERS
from sim.model.tables.codes import (
    BATCHINGS,
    CONTINUOUS,
    HOLD_ORDERS,
    SCHEDULINGS,
)
from sim.model.tables.run import Params
from sim.pack.autoscaler import scaler_row, signal_rows
from sim.pack.closed_loop import is_closed, lists_of
from sim.pack.cluster import cluster_rows, with_node_prices, zones_of
from sim.pack.coldstart import artifacts_of
from sim.pack.faults import episode_rows
from sim.pack.network import is_away, network_row, overhead_s
from sim.pack.rollouts import rollout_rows
from sim.pack.start_steps import limited_ends, step_rows
from sim.pack.traffic import check_work, class_rows, front_row, tenant_rows
from sim.scenario.pool import Pool
from sim.scenario.pool_choice import is_ordered, preferred
from sim.scenario.scenario import Scenario
from sim.steptime import StepTable, make_step_table, max_model_len
from sim.steptime.slices import with_slices
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S, s_to_ps
from sim.workload.requests import Requests, make_requests
from sim.workload.tenants import with_recorded_tenants

SAMPLES_AIM = 360
NICE_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900)


class Plan(NamedTuple):
    """A run that is ready to start."""

    params: Params
    tables: list[StepTable]  # one a pool
    scenario: Scenario  # its pools sorted by the model they serve: the order of every pool_id
    traces: dict[str, dict[str, Any]] | None = None  # class → how its recording was read


class Outline(NamedTuple):
    """A scenario as arrays, but for its seed and its requests: what its runs in a sweep have in common."""

    world: World
    tables: list[StepTable]  # one a pool
    scenario: Scenario  # its pools sorted by the model they serve
    classes: list[ClassRow]
    asks_contents: bool  # whether its gateway keeps answers
    in_list: dict[str, int]  # requests to have ready for load generators without an end, by class


def plan(scenario: Scenario, seed: int | None = None, requests: Requests | None = None) -> Plan:
    """Pack a scenario for one seed. Raises InputError where the fleet or its traffic is impossible."""
    scenario = with_recorded_tenants(scenario)
    return with_seed(outline(scenario), scenario.seed if seed is None else seed, requests)


def outline(scenario: Scenario) -> Outline:
    """Pack all of a scenario that is the same for every seed. Raises InputError where the fleet is impossible."""
    scenario = with_node_prices(with_slices(scenario))
    models = scenario.models
    pools = sorted(scenario.pools, key=lambda pool: models.index(pool.model.name))
    tables = [make_step_table(pool) for pool in pools]
    links = [link.name for link in scenario.links]
    served = ("",) if scenario.pool_choice.across_models else models
    artifacts = artifacts_of(pools) if scenario.cluster.is_limited else []
    ends = limited_ends(scenario.cluster.node_groups)
    rows = [
        pool_row(
            pool,
            table,
            served_model_of(pool.model.name, served),
            step_rows(pool, links, scenario.cluster.is_limited, artifacts, ends),
        )
        for pool, table in zip(pools, tables, strict=True)
    ]
    later = {deployment.to for deployment in scenario.deployments}
    rows = [
        row._replace(initial_replicas=0) if pool.name in later else row
        for pool, row in zip(pools, rows, strict=True)
    ]
    prices = [usd_per_token(pool, table) for pool, table in zip(pools, tables, strict=True)]
    classes, front = class_rows(scenario), front_row(scenario)
    world = make_world(
        run_row(scenario),
        [
            row._replace(
                served_model=served_model_of(c.model, served),
                pools=tuple(preferred(scenario, c, pools, prices)),
                ordered=int(is_ordered(scenario, c)),
                network_ps=network_row(c, scenario, pools),
                is_away=is_away(c, scenario, pools),
            )
            for c, row in zip(scenario.classes, classes, strict=True)
        ],
        [served_model_row(scenario) for _ in served],
        rows,
        tenants=tenant_rows(scenario),
        front=front,
        things=things_of(scenario, names_of(scenario, pools))
        | cluster_rows(scenario, pools, artifacts)
        | rollout_rows(scenario.deployments, pools)
        | episode_rows(scenario, pools),
    )
    ordered = dataclasses.replace(scenario, pools=tuple(pools))
    return Outline(world, tables, ordered, classes, front.cache_entries > 0, lists_of(ordered, tables))


def with_seed(of: Outline, seed: int, requests: Requests | None = None) -> Plan:
    """Pack the rest for one seed. Raises InputError where the traffic is impossible."""
    scenario = of.scenario.with_seed(seed)
    if requests is None:
        requests = make_requests(scenario, seed, of.in_list)
    traffic = checked_traffic(of, requests)
    return Plan(with_traffic(of.world, seed, traffic), of.tables, scenario, requests.traces)


def checked_traffic(of: Outline, requests: Requests) -> Traffic:
    """The requests of a run as its world takes them. Raises InputError where they are impossible."""
    check_measured(of.scenario, requests)
    check_work(of.scenario, of.classes, requests)
    traffic = Traffic(*requests[:8])
    return traffic if of.asks_contents else traffic._replace(content_id=None)


def check_measured(scenario: Scenario, requests: Requests) -> None:
    """Raise InputError where requests come, and all of them within the warm-up: nothing would be measured.

    Of sessions only the first requests' times are known; those that follow may come later.
    """
    if requests.turns is not None or not len(requests.arrival_ps):
        return
    last_s = int(requests.arrival_ps.max()) / PS_PER_S
    if last_s < scenario.warmup_s:
        why = f"less than {last_s:g} s, when the last of {len(requests.arrival_ps):,} requests comes: none is measured"
        raise InputError(problem("warmup_s", scenario.warmup_s, why))


def served_model_of(model: str | None, served: tuple[str, ...]) -> int:
    """Which of the served models a model is; where pools serve across models, there is one for all."""
    return served.index(model) if model in served else 0


def served_model_row(scenario: Scenario) -> ServedModelRow:
    """A model's router and gateway in numbers."""
    router, choice = scenario.router, scenario.pool_choice
    spill = NEVER if choice.spill_over is None else max(1, thousandths(choice.spill_over))
    code = ROUTERS.index(router.kind)
    kind = KINDS[code]
    return ServedModelRow(
        router=code,
        hold_max=scenario.gateway.queue_capacity,
        settings=fields_of(kind.settings, router) if kind.settings is not None else {},
        spill_milli=spill,
        outstanding_max=scenario.gateway.max_outstanding_per_replica or NEVER,
        hold_order=HOLD_ORDERS.index(scenario.gateway.hold_order),
    )


def usd_per_token(pool: Pool, table: StepTable) -> float:
    """What an output token costs when a replica's batch is full, but for a factor that all pools share."""
    n = len(table.base_ps) - 1
    return pool.usd_per_gpu_hour * pool.gpus_per_replica * int(table.base_ps[n]) / max(1, n)


def thousandths(value: float) -> int:
    """A number in thousandths."""
    return round(value * 1000)


def things_of(scenario: Scenario, names: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, int]]]:
    """The rows of tables that declare a key: what the scenario has under it, by name. `names`: of what a field may name."""
    return {
        name: [fields_of(table.row, thing, names=names) for thing in getattr(scenario, table.key)]
        for name, table in Params.TABLES.items()
        if table.key and table.row is not None
    }


def names_of(scenario: Scenario, pools: Sequence[Pool]) -> dict[str, list[str]]:
    """What a field may name, by its place; of groups and zones the first place stands for none."""
    groups = scenario.cluster.node_groups
    of_nodes = {"node_group": ["", *(group.name for group in groups)], "zone": ["", *zones_of(groups)]}
    return {"pool": [pool.name for pool in pools], **of_nodes}


def run_row(scenario: Scenario) -> RunRow:
    """The clock's marks of a run."""
    end_s = min(scenario.duration_s + scenario.drain_s, float(HORIZON_MAX_S))
    return RunRow(
        seed=scenario.seed,
        duration_ps=s_to_ps(scenario.duration_s),
        warmup_ps=s_to_ps(scenario.warmup_s),
        end_ps=s_to_ps(end_s),
        sample_ps=s_to_ps(sample_interval_s(scenario)),
        records=int(scenario.output.records),
        closes=int(is_closed(scenario)),
    )


def sample_interval_s(scenario: Scenario) -> float:
    """The step of the time series: as asked for, or a round number that gives about 360 points."""
    if scenario.output.sample_interval_s is not None:
        return scenario.output.sample_interval_s
    aim = scenario.duration_s / SAMPLES_AIM
    return next((step for step in NICE_STEPS_S if step >= aim), math.ceil(aim / 900) * 900.0)


def pool_row(
    pool: Pool, table: StepTable, served_model: int, starts: tuple[np.ndarray, tuple[StepRow, ...]]
) -> PoolRow:
    """A pool in numbers, with the steps of its starts."""
    runtime = pool.runtime
    none = runtime.batching == "none"
    scaler, tick_ps, target, settings = scaler_row(pool)
    stage_ps, steps = starts
    return PoolRow(
        base_ps=table.base_ps,
        slope_ps=table.slope_ps,
        prefill_ps=0,
        work_ps=table.work_ps,
        request_overhead_ps=s_to_ps(overhead_s(pool)),
        mixed_ps=table.mixed_ps,
        attention_q16=table.attention_q16,
        n_blocks=table.n_kv_blocks,
        max_num_seqs=1 if none else runtime.max_num_seqs,
        max_num_batched_tokens=runtime.max_num_batched_tokens,
        max_model_len=max_model_len(pool),
        served_model=served_model,
        block_size=runtime.block_size,
        batching=CONTINUOUS if none else BATCHINGS.index(runtime.batching),
        scheduling=SCHEDULINGS.index(runtime.scheduling),
        long_prefill_threshold=runtime.long_prefill_token_threshold,
        chunked_prefill=int(runtime.chunked_prefill),
        prefill_interval=runtime.prefill_schedule_interval,
        batch_delay_ps=s_to_ps(runtime.max_batch_delay_s),
        gpus=pool.gpus_per_replica,
        tp=pool.tp,
        min_replicas=pool.min_replicas,
        max_replicas=pool.max_replicas,
        initial_replicas=pool.replicas_at_start,
        autoscaler=scaler,
        tick_ps=tick_ps,
        target_milli=target,
        signals=signal_rows(pool),
        autoscaler_settings=settings,
        stage_ps=stage_ps,
        steps=steps,
        prefix_runs=(runtime.prefix_runs or AUTO_RUNS) if runtime.prefix_caching else 0,
    )
