"""The summaries of many runs of one scenario as rows: `flat_summary(fleet_summary(…))` of each, to the last bit.

What runs left comes as arrays (`sim.engine.many`). Percentiles and samples are worked out of all runs at once; prices,
shares and rates by the same formulas as those of one run, run by run.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from sim.analysis.bills import class_usd, communities
from sim.analysis.carbon import without_hours
from sim.analysis.cost import bill_lines, token_cost, total_usd
from sim.analysis.energy import RUN, beside_energy, class_energy
from sim.analysis.facts import facts_of_pools
from sim.analysis.latency import MANY_OR_NONE, PER
from sim.analysis.nodes import beside_usd
from sim.analysis.percentiles import Histograms, lost_in_proportion, middles_ps
from sim.analysis.promises import KEPT, promises_anything
from sim.analysis.summary import Bill, bill_of, bucket_edges, idle_facts
from sim.analysis.verdicts import limits_of
from sim.engine.many import N_HIST, Filled, Many
from sim.engine.result import RESULT_METRICS
from sim.measures.formulas import Facts
from sim.measures.levels import PERMILLES, STATISTICS, key_of
from sim.measures.listed import CLASS, FLEET, POOLS, REQUESTS, TIMES
from sim.measures.measure import Measure
from sim.model.base.histogram import N_BUCKET
from sim.records.version import SCHEMA_VERSION
from sim.records.window import window_ps
from sim.scenario.slo import Limit
from sim.units import PS_PER_S, ps_to_s

Row = list[Any]
N_KEY = len(STATISTICS)


class Latencies:
    """The latency measures of one scope in many runs."""

    def __init__(
        self, filled: Filled, sums: np.ndarray, counts: Mapping[str, np.ndarray], scope: int
    ) -> None:
        n = len(sums)
        completed = counts["completed"][:, scope]
        rows = np.array(filled.rows)
        nobodys = np.isin(RESULT_METRICS, MANY_OR_NONE)
        hidden = np.zeros((n, N_HIST), dtype=bool)  # gaps of answers that nobody got
        hidden[np.ix_(completed <= 0, rows[nobodys])] = True
        self.filled = filled.without(hidden.reshape(-1)) if hidden.any() else filled
        self._sums = sums
        self._seen = Histograms.filled(self.filled.at, self.filled.number, n * N_HIST, N_BUCKET)
        before = np.asarray(self._seen.before)
        self._row = np.arange(n)[:, np.newaxis] * N_HIST + rows  # (run, measure)
        self._n_served = before[self._row + 1] - before[self._row]
        self.n_lost = self._lost(completed, counts, scope)

    def _lost(self, completed: np.ndarray, counts: Mapping[str, np.ndarray], scope: int) -> np.ndarray:
        """(run, measure) durations that the requests that were not served lack."""
        columns = []
        for i, name in enumerate(RESULT_METRICS):
            offered = counts["attempts" if PER[name] == "attempt" else "offered"][:, scope]
            if name in MANY_OR_NONE:
                numbers = (self._n_served[:, i].tolist(), completed.tolist(), (offered - completed).tolist())
                columns.append(
                    np.array([lost_in_proportion(*of_run) for of_run in zip(*numbers, strict=True)])
                )
            else:
                columns.append(np.maximum(0, offered - self._n_served[:, i]))
        return np.stack(columns, axis=1)

    def counts(self, run: int | None = None) -> np.ndarray:
        """(measure, bucket) how many durations, of one run, or of all together."""
        n = N_HIST * N_BUCKET
        at, number = self.filled.at, self.filled.number
        if run is not None:
            chosen = slice(*np.searchsorted(at, [run * n, (run + 1) * n]))
            at, number = at[chosen], number[chosen]
        found = np.zeros(n, dtype=np.int64)
        np.add.at(found, at % n, number)
        return found.reshape(N_HIST, N_BUCKET)[list(self.filled.rows)]

    def rows(self) -> list[Row]:
        """Of each run, of each of RESULT_METRICS every statistic, one behind the other; None of nothing."""
        n_run = len(self._sums)
        table = np.full((n_run, len(RESULT_METRICS), N_KEY), np.nan)
        n = N_KEY // 2
        mean = np.full(self._n_served.shape, np.nan)
        some = self._n_served > 0
        mean[some] = self._sums[some] / self._n_served[some].astype(object)  # exact, past 64 bits too
        table[:, :, 0] = np.where(self.n_lost > 0, np.inf, mean)
        table[:, :, 1:n] = self._levels(self._n_served + self.n_lost)
        table[:, :, n] = mean
        table[:, :, n + 1 :] = self._levels(self._n_served)
        table /= PS_PER_S
        unknown = np.isnan(table).any(axis=(1, 2)).tolist()
        rows = table.reshape(n_run, -1).tolist()
        return [
            [None if value != value else value for value in row] if is_unknown else row
            for row, is_unknown in zip(rows, unknown, strict=True)
        ]

    def _levels(self, n_all: np.ndarray) -> np.ndarray:
        """(run, measure, level) nearest-rank quantiles in ps among so many, those that were served first."""
        permilles = np.array(tuple(PERMILLES.values()))
        ranks = np.maximum(1, -(-permilles * n_all[..., np.newaxis] // 1000))
        found = np.where(n_all > 0, np.inf, np.nan)[..., np.newaxis] * np.ones(len(permilles))
        is_served = ranks <= self._n_served[..., np.newaxis]
        before = np.asarray(self._seen.before)[self._row]
        asked = (before[..., np.newaxis] + ranks)[is_served]
        found[is_served] = middles_ps(bucket_edges(), self._seen.buckets_at(asked))
        return found


class Summaries:
    """The rows of many runs of one scenario: `names` are its columns, in the order of a flat summary."""

    def __init__(self, scenario: Any, step_tables: Sequence[Any], named: Collection[str] = ()) -> None:
        self._scenario = scenario = without_hours(scenario)
        self._tables = list(step_tables) or [None] * len(scenario.pools)
        self._named = {c.name: 1 + i for i, c in enumerate(scenario.classes) if c.name in named}
        self._communities = communities(scenario)
        self._limits = limits_of(scenario)
        plain = [m.name for m in (*POOLS, *FLEET)]
        self.names = ["schema_version", "scenario", "question", "seed", "digest"]
        self.names += [*(m.name for m in TIMES), *scope_names(), *plain, "slo_ok"]
        self._place = {name: i for i, name in enumerate(self.names)}

    @property
    def scopes(self) -> tuple[int, ...]:
        """What is looked at: the fleet, and the classes that are named."""
        return (0, *self._named.values())

    def rows(self, many: Many, seeds: Sequence[int]) -> tuple[list[Row], Latencies]:
        """A row a run, and the fleet's latencies."""
        counts = with_promises(self._scenario, many.counts)
        stacked, of_name = np.stack(list(counts.values())), list(counts)
        latencies = {
            scope: Latencies(many.filled[scope], many.sums[scope], many.counts, scope)
            for scope in self.scopes
        }
        statistics = {scope: found.rows() for scope, found in latencies.items()}
        counted = {scope: stacked[:, :, scope].T.tolist() for scope in self.scopes}
        tokens = np.stack([counts["tokens_in"], counts["tokens_out"]], axis=-1).tolist()
        pools, sums, seen = pool_rows(many.pools), pool_rows([added(many.pools)]), self._seen(many)
        rows = []
        for r, seed in enumerate(seeds):
            window = window_ps(self._scenario, many.window_end_ps[r])
            requests = {
                scope: {**dict(zip(of_name, counted[scope][r], strict=True)), **self._shared(window)}
                for scope in self.scopes
            }
            bills = self._class_bills(pools[r], tokens[r], window)
            bought, tables = tuple(tokens[r][0]), self._tables
            end_ps = many.end_ps[r]
            elapsed_ps = window[1] - window[0]
            beside = beside_usd(self._scenario, many.node_groups[r], pools[r], elapsed_ps, end_ps)
            drawn = [
                beside_energy(self._scenario, many.node_groups[r], pools[r], prefix) for prefix in ("", RUN)
            ]
            facts = facts_of_pools(
                self._scenario.pools,
                pools[r],
                sums[r][0],
                seen[r],
                bought,
                tables,
                window,
                end_ps,
                beside,
                (drawn[0], drawn[1]),
            )
            facts = {**facts, **idle_facts(facts, bill_of(bills))}
            row = [
                *(SCHEMA_VERSION, self._scenario.name, self._scenario.question),
                *(seed, f"{many.digest[r] & (2**64 - 1):016x}"),
                *evaluated(TIMES, self._times(window, many.end_ps[r])),
                *scope_values(requests[0], statistics[0][r]),
                *evaluated(POOLS, facts),
                *evaluated(FLEET, facts),
            ]
            of_class = {
                name: (requests[scope], statistics[scope][r], bills[scope - 1])
                for name, scope in self._named.items()
            }
            rows.append([*row, self._ok(row, of_class)])
        return rows, latencies[0]

    def _shared(self, window: tuple[int, int]) -> Facts:
        return {
            "window_s": ps_to_s(window[1] - window[0]),
            "response_caches": int(self._scenario.gateway.response_cache is not None),
        }

    def _times(self, window: tuple[int, int], end_ps: int) -> Facts:
        return {
            "duration_s": ps_to_s(window[1]),
            "warmup_s": float(self._scenario.warmup_s),
            "window_s": ps_to_s(window[1] - window[0]),
            "end_s": ps_to_s(end_ps),
        }

    def _class_bills(
        self, pools: Sequence[Mapping[str, int]], tokens: Sequence[Sequence[int]], window: tuple[int, int]
    ) -> list[Bill]:
        """What each class costs and draws."""
        both = list(zip(self._scenario.pools, pools, strict=True))
        pool_usd = [total_usd([bill_lines(pool, c["gpu_ps"], window[1] - window[0])]) for pool, c in both]
        costs = [token_cost(u, c) for u, (_, c) in zip(pool_usd, both, strict=True)]
        usd = class_usd(tokens[1:], pool_usd, costs, self._communities)
        drawn = class_energy(tokens[1:], self._scenario.pools, pools, self._tables, self._communities)
        return [{"usd": u, "kwh": kwh, "kgco2e": kg} for u, (kwh, kg) in zip(usd, drawn, strict=True)]

    def _seen(self, many: Many) -> list[Facts]:
        start_ps, end_ps = np.array([window_ps(self._scenario, end) for end in many.window_end_ps]).T
        return seen_by_samples(many.samples, many.n_sample, start_ps, end_ps)

    def _ok(self, row: Row, of_class: Mapping[str, tuple[Facts, Row, Bill]]) -> bool | None:
        """Whether every limit held; None without limits."""
        if not self._limits:
            return None
        return all(
            observed is not None and limit.is_met(float(observed))
            for limit, observed in ((limit, self._observed(limit, row, of_class)) for limit in self._limits)
        )

    def _observed(self, limit: Limit, row: Row, of_class: Mapping[str, tuple[Facts, Row, Bill]]) -> Any:
        if limit.scope is None:
            return row[self._place["_".join(limit.path)]]
        facts, statistics, bill = of_class[limit.scope]
        values = dict(zip(scope_names(), scope_values(facts, statistics), strict=True))
        values |= {m.name: m.value(bill) for m in CLASS}
        return values["_".join(limit.path[2:])]


@functools.cache
def scope_names() -> tuple[str, ...]:
    """The columns of what the requests of a scope came to."""
    return tuple(
        name
        for m in REQUESTS
        for name in ([f"{m.name}_{key_of(s)}" for s in STATISTICS] if m.is_latency else [m.name])
    )


def scope_values(facts: Facts, statistics: Row) -> Row:
    """Their values: `statistics` are those of RESULT_METRICS, one behind the other."""
    row: Row = []
    for value, at in _OF_SCOPE:
        if value is not None:
            row.append(value(facts))
        else:
            row += statistics[at : at + N_KEY]
    return row


#: Of each of REQUESTS its formula, or where the statistics of a latency begin.
_OF_SCOPE = tuple(
    (None, N_KEY * RESULT_METRICS.index(m.name)) if m.formula is None else (m.formula.value, 0)
    for m in REQUESTS
)


def evaluated(measures: tuple[Measure, ...], facts: Facts) -> Row:
    """The values of some measures, in their order; latencies are left out."""
    return [m.formula.value(facts) for m in measures if m.formula is not None]


def with_promises(scenario: Any, counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The counts, (run, 1 + class), with what was promised: `sim.analysis.promises.with_promises` of many runs."""
    promising = np.array([promises_anything(entry) for entry in scenario.classes], dtype=np.int64)
    columns = {
        "promising": np.ones_like(counts["offered"][:, 1:]),
        "judged": (counts["offered"] - counts["inside"] + counts["inside_missed"])[:, 1:],
        **{name: counts[name][:, 1:] for name in KEPT},
    }
    made = {}
    for name, column in columns.items():
        kept = column * promising
        made[name] = np.concatenate([kept.sum(axis=1, keepdims=True), kept], axis=1)
    return {**counts, **made}


def added(pools: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The counters of some pools together."""
    return {name: functools.reduce(np.add, [pool[name] for pool in pools]) for name in pools[0]}


def pool_rows(pools: Sequence[Mapping[str, np.ndarray]]) -> list[list[dict[str, int]]]:
    """Of each run the counters of each pool."""
    by_pool = [
        [
            dict(zip(columns, values, strict=True))
            for values in zip(*(c.tolist() for c in columns.values()), strict=True)
        ]
        for columns in pools
    ]
    return [list(of_run) for of_run in zip(*by_pool, strict=True)]


def seen_by_samples(
    samples: Mapping[str, np.ndarray], n_sample: np.ndarray, start_ps: np.ndarray, end_ps: np.ndarray
) -> list[Facts]:
    """Of each run what its samples saw of all pools together: `kv_use` of its window, and the most replicas.

    `samples` has a row a sample and pool, one run's `n_sample` rows behind another's.
    """
    run = np.repeat(np.arange(len(n_sample)), n_sample)
    columns = dict(samples)
    time_ps = columns["time_ps"]
    if ((time_ps[1:] < time_ps[:-1]) & (run[1:] == run[:-1])).any():
        order = np.lexsort((time_ps, run))
        columns = {name: column[order] for name, column in columns.items()}
        time_ps = columns["time_ps"]
    is_new = np.ones(len(run), dtype=bool)
    is_new[1:] = (time_ps[1:] > time_ps[:-1]) | (run[1:] != run[:-1])
    starts = np.flatnonzero(is_new)
    run, time_ps = run[starts], time_ps[starts]
    used, total, ready, wanted = (
        np.add.reduceat(columns[name], starts) if len(starts) else columns[name]
        for name in ("kv_blocks_used", "kv_blocks_total", "ready", "wanted")
    )
    counted = (time_ps >= start_ps[run]) & (time_ps <= end_ps[run]) & (total > 0)
    share = used[counted] / total[counted]
    borders = np.searchsorted(run[counted], np.arange(len(n_sample) + 1)).tolist()
    ends = np.searchsorted(run, np.arange(len(n_sample) + 1)).tolist()
    return [
        {
            "kv_use": float(np.add.reduce(share[a:b]) / (b - a)) if b > a else None,
            "replicas_ready_max": max(0, int(ready[c:d].max(initial=0))),
            "replicas_wanted_max": max(0, int(wanted[c:d].max(initial=0))),
        }
        for a, b, c, d in zip(borders, borders[1:], ends, ends[1:], strict=False)
    ]
