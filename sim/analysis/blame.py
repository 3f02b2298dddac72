"""What the misses of a run spent their time on, and what those that met their objectives did.

From the table of requests alone. A request that missed and was answered has parts; one that never was is counted by
its reason, for it has no time to share out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.overtime import bin_count, bin_of
from sim.errors import InputError, nearest, problem
from sim.model.tables.codes import BLAME_STREAM, BLAME_STREAM_COLUMNS, BLAME_TTFT, BLAME_TTFT_COLUMNS
from sim.units import s_to_ps

MEASURES = ("ttft", "e2e")
CAUSES = {"ttft": BLAME_TTFT, "e2e": (*BLAME_TTFT, "decode")}
PROMISES = {"ttft": ("ttft",), "e2e": ("ttft", "itl", "tpot", "e2e")}  # a miss of e2e is a miss of anything
SLOWEST = 100  # without an objective, one in so many is looked at
OPEN, MET, MISSED = range(3)
NOBODY = np.zeros(0, dtype=np.int64)

Limits = Mapping[str, int]  # measure → ps


class Spent(NamedTuple):
    """Some requests, and the time that each part took of all of theirs together, ps."""

    n: int
    total_ps: int
    parts_ps: dict[str, int]

    def share(self, cause: str) -> float:
        """The part of the whole that a cause took."""
        return self.parts_ps[cause] / self.total_ps if self.total_ps else 0.0

    def mean_s(self, cause: str | None = None) -> float | None:
        """Seconds a request, of one cause or of all."""
        spent_ps = self.total_ps if cause is None else self.parts_ps[cause]
        return spent_ps / self.n / 1e12 if self.n else None


class OverTime(NamedTuple):
    """By arrival: how many missed and met, and the mean seconds of a miss by cause; (bin,) each."""

    time_s: np.ndarray  # middle of the bin
    width_s: float
    missed: np.ndarray
    met: np.ndarray
    spent_s: dict[str, np.ndarray]


class Blame(NamedTuple):
    """What came out: `promises` says what was held against whom, class → measure → ps."""

    measure: str
    klass: str | None  # the only one, or the one asked for
    promises: dict[str, Limits]  # empty: no objective, the slowest requests instead
    n: int  # judged
    n_missed: int
    slowest_ps: int  # without objectives: the least time of those that are looked at
    unanswered: dict[str, int]  # reason → misses that were never answered
    missed: Spent  # answered misses
    met: Spent
    over_time: OverTime
    missed_rows: np.ndarray = NOBODY  # rows of requests.parquet, of the answered misses
    met_rows: np.ndarray = NOBODY


class Rows(NamedTuple):
    """The measured requests; times are int64 ps, −1 where they did not come."""

    row: np.ndarray  # of requests.parquet
    klass: np.ndarray  # codes of `names`
    names: list[str]
    age_ps: np.ndarray  # from arrival to the end of the run, and the network
    arrival_s: np.ndarray
    values: dict[str, np.ndarray]  # ttft, itl, tpot, e2e
    outcome: np.ndarray
    reason: np.ndarray
    parts: dict[str, dict[str, np.ndarray]]  # measure → cause → ps

    def of(self, chosen: np.ndarray) -> Rows:
        """Some of them."""
        return self._replace(
            row=self.row[chosen],
            klass=self.klass[chosen],
            age_ps=self.age_ps[chosen],
            arrival_s=self.arrival_s[chosen],
            values={name: v[chosen] for name, v in self.values.items()},
            outcome=self.outcome[chosen],
            reason=self.reason[chosen],
            parts={
                m: {name: part[chosen] for name, part in parts.items()} for m, parts in self.parts.items()
            },
        )


# ---- reading ----------------------------------------------------------------------
def read_rows(requests: Any, end_s: float) -> Rows:
    """The measured requests of a run that ended at `end_s`; InputError where their parts were not recorded."""
    if "blame_queue_ps" not in requests.column_names:
        raise InputError("why: this run was recorded before its parts were; run it again")
    arrival, first, last = (_ps(requests, f"{name}_ps") for name in ("arrival", "first_token", "last_token"))
    network = np.rint(requests.column("network_s").to_numpy() * 1e12).astype(np.int64)
    asked = arrival - network  # as its user sees it
    tokens = requests.column("output_tokens").to_numpy().astype(np.int64)
    gap_max = _ps(requests, "itl_max_ps")
    streamed = (
        last - first - np.maximum(_ps(requests, "blame_stream_cpu_ps"), 0)
    )  # stations behind the GPU are no tokens
    tpot = np.where((last >= 0) & (tokens > 1), streamed // np.maximum(tokens - 1, 1), -1)
    codes, names = _coded(requests, "class")
    outcomes, outcome_names = _coded(requests, "outcome")
    outcome = np.array([*outcome_names, ""])[outcomes]
    answered = np.isin(
        outcome, ("completed", "inside")
    )  # a first token of an answer that broke off answers nobody
    reasons, reason_names = _coded(requests, "reason")
    until = {c: _ps(requests, name) for c, name in zip(BLAME_TTFT, BLAME_TTFT_COLUMNS, strict=True)}
    after = {c: _ps(requests, name) for c, name in zip(BLAME_STREAM, BLAME_STREAM_COLUMNS, strict=True)}
    nothing = np.zeros(len(arrival), dtype=np.int64)
    rows = Rows(
        row=np.arange(len(arrival)),
        klass=codes,
        names=names,
        age_ps=s_to_ps(end_s) - asked,
        arrival_s=arrival / 1e12,
        values={
            "ttft": np.where(answered & (first >= 0), first - asked, -1),
            "itl": gap_max,
            "tpot": tpot,
            "e2e": np.where(last >= 0, last - asked, -1),
        },
        outcome=outcome,
        reason=np.array([*reason_names, ""])[reasons],
        parts={
            "ttft": until,
            "e2e": {c: until.get(c, nothing) + after.get(c, nothing) for c in CAUSES["e2e"]},
        },
    )
    return rows.of(requests.column("measured").to_numpy(zero_copy_only=False).astype(bool))


def _ps(table: Any, name: str) -> np.ndarray:
    """A column of exact times, −1 for null."""
    return np.asarray(table.column(name).fill_null(-1).to_numpy())


def _coded(table: Any, name: str) -> tuple[np.ndarray, list[str]]:
    """A column of names as (codes, names); null is −1."""
    column = table.column(name).unify_dictionaries().combine_chunks()
    return np.asarray(column.indices.fill_null(-1).to_numpy()), column.dictionary.to_pylist()


def promises_of(config: Mapping[str, Any]) -> dict[str, Limits]:
    """Class → its objectives, from the resolved configuration of a run."""
    found: dict[str, Limits] = {}
    for c in config.get("config", {}).get("classes", []):
        limits = c.get("objectives") or {}
        found[c["name"]] = {
            name: s_to_ps(limits[f"{name}_s"])
            for name in PROMISES["e2e"]
            if limits.get(f"{name}_s") is not None
        }
    return found


# ---- judging ----------------------------------------------------------------------
def blame(rows: Rows, promises: Mapping[str, Limits], klass: str | None, measure: str | None) -> Blame:
    """What the misses of a run, or of one class, spent their time on; InputError for a class or measure not there.

    Without a measure: ttft, or e2e where only that or another part of the stream was promised. Requests whose class
    promises nothing of the measure are left out, unless none does: then the slowest of all count as misses.
    """
    if klass is not None:
        if klass not in promises:
            raise InputError(problem("class", klass, ", ".join(promises), nearest(klass, promises)))
        rows = rows.of(rows.klass == (rows.names.index(klass) if klass in rows.names else -1))
        promises = {klass: promises[klass]}
    if measure is None:
        only_later = not any("ttft" in limits for limits in promises.values()) and any(promises.values())
        measure = "e2e" if only_later else "ttft"
    if measure not in MEASURES:
        raise InputError(problem("measure", measure, " or ".join(MEASURES), nearest(measure, MEASURES)))
    every: dict[str, Limits] = {
        name: {part: limit for part, limit in limits.items() if part in PROMISES[measure]}
        for name, limits in promises.items()
    }
    held = {name: limits for name, limits in every.items() if limits}
    only = next(iter(promises)) if len(promises) == 1 else None
    verdict = judged(rows, held, measure) if held else slowest(rows.values[measure])
    return _summed(rows, verdict, measure, only, held)


def judged(rows: Rows, held: Mapping[str, Limits], measure: str) -> np.ndarray:
    """MET, MISSED or OPEN (nothing promised, or still inside with everything in reach) for each request."""
    verdict = np.full(len(rows.klass), OPEN)
    for code, name in enumerate(rows.names):
        if name in held:
            mine = rows.klass == code
            verdict[mine] = _judged(rows.of(mine), held[name], measure)
    return verdict


def _judged(rows: Rows, limits: Limits, measure: str) -> np.ndarray:
    """The same for the requests of one class."""
    ttft, inside = rows.values["ttft"], rows.outcome == "inside"
    late = np.zeros(len(ttft), dtype=bool)
    for name, limit in limits.items():
        late |= rows.values[name] > limit
    waiting = inside & (ttft < 0)
    if "ttft" in limits:
        late |= waiting & (rows.age_ps > limits["ttft"])
    if measure == "ttft":
        over = (ttft >= 0) | ~inside
        late |= (ttft < 0) & ~inside
    else:
        over = ~inside
        late |= over & (rows.values["e2e"] < 0)
        if "e2e" in limits:
            late |= inside & (rows.age_ps > limits["e2e"])
    return np.where(late, MISSED, np.where(over, MET, OPEN))


def slowest(values: np.ndarray) -> np.ndarray:
    """MISSED for the slowest one in SLOWEST of those that have a value, MET for the others, OPEN without one."""
    verdict = np.where(values >= 0, MET, OPEN)
    order = np.argsort(values, kind="stable")[::-1]
    n = int((values >= 0).sum())
    verdict[order[: -(-n // SLOWEST)]] = MISSED
    return verdict


def _summed(
    rows: Rows, verdict: np.ndarray, measure: str, only: str | None, held: dict[str, Limits]
) -> Blame:
    missed, answered = verdict == MISSED, rows.values[measure] >= 0
    lost = missed & ~answered
    worst = rows.values[measure][missed & answered]
    return Blame(
        measure=measure,
        klass=only,
        promises=held,
        n=int((verdict != OPEN).sum()),
        n_missed=int(missed.sum()),
        slowest_ps=int(worst.min(initial=2**62)) if len(worst) else 0,
        unanswered=dict(Counter(_fates(rows.of(lost))).most_common()),
        missed=_spent(rows, missed & answered, measure),
        met=_spent(rows, (verdict == MET) & answered, measure),
        over_time=_over_time(rows, verdict, missed & answered, measure),
        missed_rows=rows.row[missed & answered],
        met_rows=rows.row[(verdict == MET) & answered],
    )


def _fates(rows: Rows) -> list[str]:
    """Outcome and reason of requests that were not answered, as words."""
    both = zip(rows.outcome.tolist(), rows.reason.tolist(), strict=True)
    words = [outcome if outcome == "inside" else f"{outcome} {reason}" for outcome, reason in both]
    return [word.strip().replace("_", " ") for word in words]


def _spent(rows: Rows, chosen: np.ndarray, measure: str) -> Spent:
    parts = {cause: _sum(rows.parts[measure][cause][chosen]) for cause in CAUSES[measure]}
    return Spent(int(chosen.sum()), _sum(rows.values[measure][chosen]), parts)


def _sum(values: np.ndarray) -> int:
    """An exact sum: two halves, so that neither can overflow."""
    return (int((values >> 31).sum()) << 31) + int((values & (2**31 - 1)).sum())


def _over_time(rows: Rows, verdict: np.ndarray, chosen: np.ndarray, measure: str) -> OverTime:
    end_s = float(rows.arrival_s.max(initial=0.0)) + 1e-9
    n_bins = bin_count(len(rows.arrival_s))
    at = bin_of(rows.arrival_s, end_s)
    count = np.bincount(at[chosen], minlength=n_bins)

    def mean_s(values: np.ndarray) -> np.ndarray:
        total = np.bincount(at[chosen], weights=values[chosen] / 1e12, minlength=n_bins)
        return total / np.maximum(count, 1)

    return OverTime(
        time_s=(np.arange(n_bins) + 0.5) * end_s / n_bins,
        width_s=end_s / n_bins,
        missed=np.bincount(at[verdict == MISSED], minlength=n_bins),
        met=np.bincount(at[verdict == MET], minlength=n_bins),
        spent_s={cause: mean_s(rows.parts[measure][cause]) for cause in CAUSES[measure]},
    )


def causes_seen(spent: Sequence[Spent], measure: str) -> list[str]:
    """The causes that took any time of any of them, in the order of a request's life."""
    return [cause for cause in CAUSES[measure] if any(some.parts_ps[cause] for some in spent)]


def blame_of_run(run: Any, klass: str | None = None, measure: str | None = None) -> Blame:
    """What the misses of a run folder, read, spent their time on; InputError where its requests were not kept."""
    if run.tables.requests.num_rows == 0:
        raise InputError(problem("run", str(run.path), "a run with requests and output.records=true"))
    rows = read_rows(run.tables.requests, float(run.summary["end_s"]))
    return blame(rows, promises_of(run.config), klass, measure)
