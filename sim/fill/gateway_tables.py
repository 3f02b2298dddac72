"""The gateway's tables: classes and their clients, limits, tenants, CPU stations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from sim.errors import InputError
from sim.fill.rows import ClassRow, FrontRow, LimitRow, ServedModelRow, TenantRow, copy_fields
from sim.model.tables.codes import HOLD_FAIR, HOLD_FIFO
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params
from sim.model.tables.traffic import LimitParams, StationParams, TrafficClass
from sim.units import HORIZON_MAX_S, NEVER, PS_PER_S

ATTEMPTS_MAX = 100
BUCKET_MAX_PS = HORIZON_MAX_S * PS_PER_S
TOKEN_PERIOD_MAX_PS = 1 << 38  # a token: times the longest request, it stays below 2⁶³

#: Fields of a class that are the same in its row.
OF_CLASS = (
    *(
        "served_model",
        "priority",
        "ttft_ps",
        "itl_ps",
        "tpot_ps",
        "e2e_ps",
        "tenant",
        "shed_milli",
        "max_queue_ps",
    ),
    *(
        "attempts_max",
        "retry_on",
        "jitter",
        "budget_ratio_milli",
        "budget_burst_milli",
        "hedge_ps",
        "prompt_max",
    ),
    *("output_max", "is_withheld", "blocked_q20", "fallback", "deadline_ps", "defer_max_ps", "is_persistent"),
    *("session_max", "stall_ps", "ttft_max_ps"),
)


def starts_of(sizes: list[int]) -> list[int]:
    """Where tables of these sizes start, one behind the other."""
    return [0, *accumulate(int(size) for size in sizes[:-1])]


def gateway_tables(
    classes: list[ClassRow],
    models: list[ServedModelRow],
    tenants: list[TenantRow],
    front: FrontRow,
    has_faults: bool,
    params: Params,
    start: int,
) -> list[np.ndarray]:
    """The gateway's tables, to lie from `start` on: limits, tenants' weights, CPU stations."""
    params.has_attempts = int(
        has_faults  # what lost replicas had computed is wasted
        or any(c.has_attempts for c in classes)
        or any(tenant.limit is not None for tenant in tenants)
        or front.cache_entries > 0
        or any(group.outstanding_max != NEVER or group.hold_order != HOLD_FIFO for group in models)
    )
    params.n_hedge_list = len(_hedges(classes))
    params.has_outstanding_max = int(any(group.outstanding_max != NEVER for group in models))
    params.n_queue = len(tenants) if any(g.hold_order == HOLD_FAIR for g in models) else 1
    params.n_tenant, params.n_station = len(tenants), len(front.workers)
    params.cache_entries, params.cache_life_ps = front.cache_entries, front.cache_life_ps
    params.cache_ps = front.cache_ps
    limits = _limits([c.limit for c in classes] + [tenant.limit for tenant in tenants])
    weights = np.array([tenant.weight for tenant in tenants], dtype=np.int64)
    workers = np.array(front.workers, dtype=np.int64)
    stations = np.zeros(len(workers) * StationParams.SIZE, dtype=np.int64)
    StationParams.rows(stations)["first_worker"] = np.cumsum(workers) - workers
    StationParams.rows(stations)["n_worker"] = workers
    tables = [limits, weights, stations]
    params.limit_at, params.weight_at, params.station_at = start + np.array(
        starts_of([len(x) for x in tables])
    )
    return tables


def make_classes(classes: list[ClassRow], start: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes' rows, and the tables of their clients' behaviour, which start at `start` in Params.m."""
    words = np.tile(TrafficClass.blank(), len(classes))
    tables: list[np.ndarray] = []
    patiences: dict[bytes, int] = {}  # where it starts: classes of equally patient clients share a table

    def add(numbers: Sequence[int] | np.ndarray) -> int:
        tables.append(np.array(numbers, dtype=np.int64))
        return start + sum(len(table) for table in tables[:-1])

    for i, c in enumerate(classes):
        row = TrafficClass(words, i * TrafficClass.SIZE)
        copy_fields(c, row, OF_CLASS)
        for name, value in c.more.items():
            setattr(row, name, value)
        row.hedge_list = _hedges(classes).get(c.hedge_ps, -1)
        row.window_from_ps, row.window_to_ps = c.window_ps
        if c.first_patience_ps is not None or c.total_patience_ps is not None:
            patience = np.full((N_QUANTILE, 2), NEVER)
            for column, x in zip(patience.T, (c.first_patience_ps, c.total_patience_ps), strict=True):
                column[:] = NEVER if x is None else x
            if patience.tobytes() not in patiences:
                patiences[patience.tobytes()] = add(patience.reshape(-1))
            row.patience_at = patiences[patience.tobytes()]
        visits = (*c.before, *c.after)
        row.visits_at = add([len(c.before), len(c.after), *(number for visit in visits for number in visit)])
        if not 1 <= c.attempts_max <= ATTEMPTS_MAX or len(c.backoff_ps) < c.attempts_max - 1:
            raise InputError(f"attempts: {c.attempts_max} with {len(c.backoff_ps)} waits between them")
        row.backoff_at = add(c.backoff_ps)
        row.pools_at, row.n_pool = add(c.pools), len(c.pools)
        row.is_ordered = int(c.ordered and len(c.pools) > 0)
        row.network_at = add(c.network_ps) if c.network_ps else 0
    return words, np.concatenate([np.zeros(0, dtype=np.int64), *tables])


def _hedges(classes: list[ClassRow]) -> dict[int, int]:
    """Hedge delay → number of the list that attempts with this delay are in."""
    waits = sorted({c.hedge_ps for c in classes} - {NEVER})
    return {wait: j for j, wait in enumerate(waits)}


def _limits(limits: list[LimitRow | None]) -> np.ndarray:
    """The limits of the classes, then of the tenants."""
    words = np.zeros(len(limits) * LimitParams.SIZE, dtype=np.int64)
    for i, limit in enumerate(limits):
        row, found = LimitParams(words, i * LimitParams.SIZE), limit or LimitRow()
        caps = (found.request_ps * found.request_burst, found.token_ps * found.token_burst)
        if found.token_ps >= TOKEN_PERIOD_MAX_PS or max(caps) > BUCKET_MAX_PS:
            raise InputError(f"limits: {found} is slower than a token in 0.2 s, or more than 45 days' worth")
        row.request_cap_ps, row.token_cap_ps = caps
        copy_fields(found, row, ("request_ps", "token_ps", "concurrent_max"))
    return words
