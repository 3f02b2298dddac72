"""Traffic classes and tenants in numbers: who they are, what they are promised, how their clients behave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.model import layout as a
from sim.rows import ClassRow, LimitRow, TenantRow
from sim.scenario.dist import Dist
from sim.scenario.limits import Limits
from sim.scenario.retry import Retry
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S, s_to_ps
from sim.workload.dists import quantile_table

RETRY_ON = {"rejected": a.RETRY_REJECTED, "timed_out": a.RETRY_TIMED_OUT, "failed": a.RETRY_FAILED}


def class_rows(scenario: Scenario) -> list[ClassRow]:
    """The classes, in order."""
    tenants = tenant_names(scenario)
    return [class_row(entry, scenario.models, tenants) for entry in scenario.classes]


def class_row(entry: TrafficClass, models: Sequence[str], tenants: Sequence[str | None]) -> ClassRow:
    """A traffic class in numbers."""
    promised, patience, caps = entry.objectives, entry.patience, entry.caps
    row = ClassRow(
        group=models.index(entry.model) if entry.model else 0,
        priority=entry.priority,
        ttft_ps=ps_or_never(promised.ttft_s),
        itl_ps=ps_or_never(promised.itl_s),
        tpot_ps=ps_or_never(promised.tpot_s),
        e2e_ps=ps_or_never(promised.e2e_s),
        tenant=tenants.index(entry.tenant),
        shed_milli=NEVER if entry.shed_above is None else max(1, round(1000 * entry.shed_above)),
        wait_max_ps=ps_or_never(entry.max_queue_s),
        ttft_max_ps=ps_or_never(entry.max_ttft_s),
        gap_ps=ps_or_never(patience.stall_s),
        persistent=int(entry.sessions is not None and entry.sessions.persistent),
        session_max=or_never(caps.session_tokens),
        first_patience_ps=patience_ps(patience.first_token_s),
        total_patience_ps=patience_ps(patience.total_s),
        limit=limit_row(entry.limits),
        prompt_max=or_never(caps.input_tokens if caps.long_input == "reject" else None),
        output_max=or_never(caps.output_tokens if caps.long_output == "reject" else None),
    )
    return with_retry(row, entry.retry)


def with_retry(row: ClassRow, retry: Retry) -> ClassRow:
    """A class's row with how its clients try again."""
    budget = retry.budget
    return row._replace(
        attempts_max=retry.attempts,
        retry_on=sum(RETRY_ON[end] for end in set(retry.on)) if retry.attempts > 1 else 0,
        backoff_ps=tuple(s_to_ps(wait_s) for wait_s in retry.waits_s),
        jitter=a.JITTERS.index(retry.jitter),
        budget_ratio_milli=0 if budget is None else round(1000 * budget.ratio),
        budget_burst_milli=NEVER if budget is None else round(1000 * budget.burst),
        hedge_ps=ps_or_never(retry.hedge_after_s),
    )


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
    seconds = quantile_table(dist, a.N_QUANTILE)
    endless = seconds > HORIZON_MAX_S
    ps = np.rint(np.where(endless, 0.0, seconds) * PS_PER_S).astype(np.int64)
    return np.where(endless, NEVER, np.maximum(ps, 1))


def ps_or_never(limit_s: float | None) -> int:
    """A time in ps; None is never."""
    return NEVER if limit_s is None else s_to_ps(limit_s)


def or_never(count: int | None) -> int:
    """A number; None is never reached."""
    return NEVER if count is None else count
