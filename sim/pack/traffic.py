"""Traffic classes and tenants in numbers: who they are, what they are promised, how their clients behave."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.errors import InputError
from sim.fill.by_name import fields_of
from sim.fill.rows import ClassRow, FrontRow, LimitRow, TenantRow, VisitRow
from sim.model.tables.codes import JITTERS, RETRY_FAILED, RETRY_REJECTED, RETRY_TIMED_OUT
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.traffic import TrafficClass as ClassParams
from sim.scenario.check_stations import clock_s
from sim.scenario.dist import Dist
from sim.scenario.limits import Limits
from sim.scenario.retry import Retry
from sim.scenario.scenario import Scenario
from sim.scenario.station import Visit, times_of
from sim.scenario.traffic import TrafficClass
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S, s_to_ps
from sim.workload.dists import quantile_table
from sim.workload.requests import Requests

DAY_S = 86_400
PS_PER_MS, PS_PER_US = 10**9, 10**6
VERDICTS = 1 << 20  # of so many answers a guardrail blocks a whole number
WORK_MAX_DAYS = 50  # after a run of 45 days they still fit into 63 bits of picoseconds
RETRY_ON = {"rejected": RETRY_REJECTED, "timed_out": RETRY_TIMED_OUT, "failed": RETRY_FAILED}


def class_rows(scenario: Scenario) -> list[ClassRow]:
    """The classes, in order."""
    tenants = tenant_names(scenario)
    return [
        around_gpu(with_retry(class_row(entry, scenario, tenants), entry.retry), entry, scenario)
        for entry in scenario.classes
    ]


def class_row(entry: TrafficClass, scenario: Scenario, tenants: list[str | None]) -> ClassRow:
    """A traffic class in numbers, but for its retries and what stands around the GPU: keys that share their stem with a
    field of its row (`stall_s`, `stall_ps`) by name, others one by one.
    """
    models = scenario.models
    patience, caps = entry.patience, entry.caps
    by_name = fields_of(ClassParams, entry, entry.objectives, patience)
    own: dict[str, Any] = {name: value for name, value in by_name.items() if name in ClassRow._fields}
    others = {name: value for name, value in by_name.items() if name not in own}
    return ClassRow(**own)._replace(
        served_model=models.index(entry.model) if entry.model else 0,
        tenant=tenants.index(entry.tenant),
        shed_milli=NEVER if entry.shed_above is None else max(1, round(1000 * entry.shed_above)),
        ttft_max_ps=ps_or_never(entry.max_ttft_s),
        is_persistent=int(entry.sessions is not None and entry.sessions.persistent),
        session_max=or_never(caps.session_tokens),
        first_patience_ps=patience_ps(patience.first_token_s),
        total_patience_ps=patience_ps(patience.total_s),
        limit=limit_row(entry.limits),
        prompt_max=or_never(caps.input_tokens if caps.long_input == "reject" else None),
        output_max=or_never(caps.output_tokens if caps.long_output == "reject" else None),
        more=others,
    )


def with_retry(row: ClassRow, retry: Retry) -> ClassRow:
    """A class's row with how its clients try again."""
    budget = retry.budget
    return row._replace(
        attempts_max=retry.attempts,
        retry_on=sum(RETRY_ON[end] for end in set(retry.on)) if retry.attempts > 1 else 0,
        backoff_ps=tuple(s_to_ps(wait_s) for wait_s in retry.waits_s),
        jitter=JITTERS.index(retry.jitter),
        budget_ratio_milli=0 if budget is None else round(1000 * budget.ratio),
        budget_burst_milli=NEVER if budget is None else round(1000 * budget.burst),
        hedge_ps=ps_or_never(retry.hedge_after_s),
    )


# ---- around the GPU ----------------------------------------------------------------------
def around_gpu(row: ClassRow, entry: TrafficClass, scenario: Scenario) -> ClassRow:
    """A class's row with its stations, its guardrail, its deadline and the hours in which it starts."""
    guardrail = entry.guardrail
    begin_ps, end_ps = (
        clock_ps(text, entry.curves.start_hour) for text in entry.cheap_hours or ("00:00",) * 2
    )
    return row._replace(
        before=tuple(visit_row(visit, scenario, False) for visit in entry.before),
        after=tuple(visit_row(visit, scenario, True) for visit in entry.after),
        is_withheld=int(guardrail.withheld),
        blocked_q20=max(1, round(guardrail.blocked * VERDICTS)) if guardrail.blocked > 0 else 0,
        fallback=-1 if guardrail.fallback is None else scenario.models.index(guardrail.fallback),
        deadline_ps=ps_or_never(entry.deadline_s),
        window_ps=(begin_ps, end_ps) if entry.cheap_hours else (0, 0),
        defer_max_ps=s_to_ps(entry.defer_max_s or DAY_S) if entry.cheap_hours else 0,
    )


def clock_ps(text: str, start_hour: float) -> int:
    """A time of day as picoseconds after t = 0, at which the clock shows `start_hour`: within a day."""
    return (clock_s(text) * PS_PER_S - s_to_ps(3600 * start_hour)) % (DAY_S * PS_PER_S)


def visit_row(visit: Visit, scenario: Scenario, is_after: bool) -> VisitRow:
    """A visit to a station in numbers."""
    stations = scenario.gateway.stations
    base_ms, prompt_us, output_us = times_of(stations[visit.station], visit, is_after)
    return VisitRow(
        list(stations).index(visit.station),
        round(base_ms * PS_PER_MS),
        round(prompt_us * PS_PER_US),
        round(output_us * PS_PER_US),
    )


def front_row(scenario: Scenario) -> FrontRow:
    """The gateway's CPU stations and its response cache in numbers."""
    row = FrontRow(workers=tuple(station.workers for station in scenario.gateway.stations.values()))
    cache = scenario.gateway.response_cache
    if cache is None:
        return row
    return row._replace(
        cache_entries=cache.entries,
        cache_life_ps=ps_or_never(cache.lifetime_s),
        cache_ps=s_to_ps(cache.latency_s),
    )


def check_work(scenario: Scenario, rows: list[ClassRow], requests: Requests) -> None:
    """Raise InputError where a station may be given more work than the clock can count to: weeks for each worker."""
    if not scenario.gateway.stations:
        return
    days = [0.0] * len(scenario.gateway.stations)
    for k, row in enumerate(rows):
        mine = requests.class_id == k
        prompt, output = (int(np.sum(x[mine], dtype=np.int64)) for x in requests[1:3])
        for visit in (*row.before, *row.after):
            work = int(mine.sum()) * visit.base_ps + prompt * visit.prompt_ps + output * visit.output_ps
            days[visit.station] += work * row.attempts_max / (DAY_S * PS_PER_S)
    stations = scenario.gateway.stations.items()
    lines = [
        f"gateway.stations.{name}: {found:.0f} days of work for {station.workers} workers, should every attempt be"
        f" made; allowed: {WORK_MAX_DAYS} days a worker"
        for (name, station), found in zip(stations, days, strict=True)
        if found > WORK_MAX_DAYS * station.workers
    ]
    if lines:
        raise InputError(lines)


def tenant_names(scenario: Scenario) -> list[str | None]:
    """The tenants in order; classes of no tenant share a nameless last one."""
    names: list[str | None] = [tenant.name for tenant in scenario.tenants]
    return [*names, None] if any(entry.tenant is None for entry in scenario.classes) else names


def tenant_rows(scenario: Scenario) -> list[TenantRow]:
    """The tenants in numbers, as `tenant_names` has them."""
    rows = [TenantRow(tenant.weight, limit_row(tenant.limits)) for tenant in scenario.tenants]
    return rows + [TenantRow()] * (len(tenant_names(scenario)) - len(rows))


def limit_row(limits: Limits) -> LimitRow | None:
    """Limits in numbers; None where nothing is limited."""
    row = LimitRow(
        request_ps=period_ps(limits.requests_per_s),
        request_burst=limits.request_burst,
        token_ps=period_ps(limits.tokens_per_s),
        token_burst=limits.tokens_burst,
        concurrent_max=or_never(limits.max_concurrent),
    )
    return None if row == LimitRow() else row


def period_ps(per_s: float | None) -> int:
    """The time between two of so many a second; 0 for no rate."""
    return 0 if per_s is None else max(1, round(PS_PER_S / per_s))


def patience_ps(dist: Dist | None) -> np.ndarray | None:
    """The quantiles of a patience, each at least a picosecond; beyond the longest run it has no end."""
    if dist is None:
        return None
    seconds = quantile_table(dist, N_QUANTILE)
    endless = seconds > HORIZON_MAX_S
    ps = np.rint(np.where(endless, 0.0, seconds) * PS_PER_S).astype(np.int64)
    return np.where(endless, NEVER, np.maximum(ps, 1))


def ps_or_never(limit_s: float | None) -> int:
    """A time in ps; None is never."""
    return NEVER if limit_s is None else s_to_ps(limit_s)


def or_never(count: int | None) -> int:
    """A number; None is never reached."""
    return NEVER if count is None else count
