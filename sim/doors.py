"""The gateway's tables: classes and their clients' ways, limits, tenants, CPU stations."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from sim.errors import InputError
from sim.model import layout as a
from sim.rows import ClassRow, FrontRow, GroupRow, LimitRow, TenantRow
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S

ATTEMPTS_MAX = 100
BUCKET_MAX_PS = HORIZON_MAX_S * PS_PER_S
TOKEN_PERIOD_MAX_PS = 1 << 38  # a token: times the longest request, it stays below 2⁶³


def starts_of(sizes: list[int]) -> list[int]:
    """Where tables of these sizes start, one behind the other."""
    return [0, *accumulate(int(size) for size in sizes[:-1])]


def make_doors(
    classes: list[ClassRow],
    groups: list[GroupRow],
    tenants: list[TenantRow],
    front: FrontRow,
    has_faults: bool,
    p_run: np.ndarray,
    start: int,
) -> list[np.ndarray]:
    """The gateway's tables, to lie from `start` on: limits, tenants' weights, CPU stations."""
    p_run[a.P_ATTEMPTS] = int(
        has_faults  # what lost replicas had computed is wasted
        or any(c.has_attempts for c in classes)
        or any(tenant.limit is not None for tenant in tenants)
        or front.cache_entries > 0
        or any(group.outstanding_max != NEVER or group.hold_order != a.HOLD_FIFO for group in groups)
    )
    p_run[a.P_N_HEDGE] = len(_hedges(classes))
    p_run[a.P_CAPPED] = int(any(group.outstanding_max != NEVER for group in groups))
    p_run[a.P_N_LANE] = len(tenants) if any(g.hold_order == a.HOLD_FAIR for g in groups) else 1
    p_run[a.P_N_TENANT], p_run[a.P_N_STATION] = len(tenants), len(front.workers)
    p_run[[a.P_CACHE_ENTRIES, a.P_CACHE_LIFE_PS]] = front.cache_entries, front.cache_life_ps
    p_run[a.P_CACHE_PS] = front.cache_ps
    limits = _limits([c.limit for c in classes] + [tenant.limit for tenant in tenants])
    weights = np.array([tenant.weight for tenant in tenants], dtype=np.int64)
    workers = np.array(front.workers, dtype=np.int64)
    tables = [limits, weights, np.stack([np.cumsum(workers) - workers, workers], axis=1).reshape(-1)]
    p_run[[a.P_LIMITS, a.P_WEIGHTS, a.P_STATIONS]] = start + np.array(starts_of([len(x) for x in tables]))
    return tables


def make_classes(classes: list[ClassRow], start: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes' rows, and the tables of their clients' ways, which start at `start` in Params.m."""
    rows = np.zeros((len(classes), a.K_SIZE), dtype=np.int64)
    tables: list[np.ndarray] = []
    patiences: dict[bytes, int] = {}  # where it starts: classes of equally patient clients share a table
    for row, c in zip(rows, classes, strict=True):
        row[: a.K_TENANT] = c.group, c.priority, c.ttft_ps, c.itl_ps, c.tpot_ps, c.e2e_ps
        row[[a.K_TENANT, a.K_SHED_MILLI, a.K_WAIT_MAX_PS]] = c.tenant, c.shed_milli, c.wait_max_ps
        row[[a.K_ATTEMPTS_MAX, a.K_RETRY_ON, a.K_JITTER]] = c.attempts_max, c.retry_on, c.jitter
        row[[a.K_BUDGET_RATIO, a.K_BUDGET_BURST]] = c.budget_ratio_milli, c.budget_burst_milli
        row[[a.K_HEDGE_PS, a.K_HEDGE_LIST]] = c.hedge_ps, _hedges(classes).get(c.hedge_ps, -1)
        row[[a.K_PROMPT_MAX, a.K_OUTPUT_MAX]] = c.prompt_max, c.output_max
        if c.first_patience_ps is not None or c.total_patience_ps is not None:
            patience = np.full((a.N_QUANTILE, 2), NEVER)
            for column, x in zip(patience.T, (c.first_patience_ps, c.total_patience_ps), strict=True):
                column[:] = NEVER if x is None else x
            row[a.K_PATIENCE] = patiences.setdefault(patience.tobytes(), start)
            if row[a.K_PATIENCE] == start:
                tables.append(patience.reshape(-1))
                start += patience.size
        row[[a.K_WITHHELD, a.K_BLOCKED_Q20, a.K_FALLBACK]] = c.withheld, c.blocked_q20, c.fallback
        row[[a.K_DEADLINE_PS, a.K_DEFER_MAX_PS]] = c.deadline_ps, c.defer_max_ps
        row[[a.K_WINDOW_FROM_PS, a.K_WINDOW_TO_PS]] = c.window_ps
        row[[a.K_PERSISTENT, a.K_SESSION_MAX]] = c.persistent, c.session_max
        row[[a.K_GAP_PS, a.K_TTFT_MAX_PS]] = c.gap_ps, c.ttft_max_ps
        row[a.K_VISITS] = start
        visits = [len(c.before), len(c.after), *(x for visit in (*c.before, *c.after) for x in visit)]
        tables.append(np.array(visits, dtype=np.int64))
        start += len(visits)
        row[a.K_BACKOFF] = start
        if not 1 <= c.attempts_max <= ATTEMPTS_MAX or len(c.backoff_ps) < c.attempts_max - 1:
            raise InputError(f"attempts: {c.attempts_max} with {len(c.backoff_ps)} waits between them")
        row[a.K_POOLS] = start + len(c.backoff_ps)
        row[[a.K_N_POOL, a.K_ORDERED]] = len(c.pools), int(c.ordered and len(c.pools) > 0)
        tables += [np.array(c.backoff_ps, dtype=np.int64), np.array(c.pools, dtype=np.int64)]
        start += len(c.backoff_ps) + len(c.pools)
        row[a.K_NETWORK] = start if c.network_ps else 0
        tables.append(np.array(c.network_ps, dtype=np.int64))
        start += len(c.network_ps)
    return rows.reshape(-1), np.concatenate([np.zeros(0, dtype=np.int64), *tables])


def _hedges(classes: list[ClassRow]) -> dict[int, int]:
    """How long clients wait before they send a second attempt, and which list those are in who wait so long."""
    waits = sorted({c.hedge_ps for c in classes} - {NEVER})
    return {wait: j for j, wait in enumerate(waits)}


def _limits(limits: list[LimitRow | None]) -> np.ndarray:
    """The limits of the classes, then of the tenants."""
    rows = np.zeros((len(limits), a.V_SIZE), dtype=np.int64)
    for row, limit in zip(rows, limits, strict=True):
        found = limit or LimitRow()
        sizes = (found.request_ps * found.request_burst, found.token_ps * found.token_burst)
        if found.token_ps >= TOKEN_PERIOD_MAX_PS or max(sizes) > BUCKET_MAX_PS:
            raise InputError(f"limits: {found} is slower than a token in 0.2 s, or more than 45 days' worth")
        row[[a.V_REQUEST_PS, a.V_REQUEST_CAP]] = found.request_ps, sizes[0]
        row[[a.V_TOKEN_PS, a.V_TOKEN_CAP]] = found.token_ps, sizes[1]
        row[a.V_CONCURRENT] = found.concurrent_max
    return rows.reshape(-1)
