"""What many runs leave behind, as arrays with a row a run: the numbers of `sim.engine.result`, read all at once.

Runs of one scenario differ by their seed. `Reader.add` copies of a finished state the words that a summary is made of,
while they are warm; `Reader.read` makes columns of those of all runs. Whole numbers that may pass 63 bits are Python's, in
arrays of objects, which add and divide exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.engine.nodes import group_rows
from sim.engine.result import (
    PLAIN_MARKS,
    POOL_STATE,
    RESULT_METRICS,
    SINGLE,
    WIDE_MARKS,
    counts_of,
    make_digest,
)
from sim.fill.state import pool_rows
from sim.model.base.histogram import N_BUCKET
from sim.model.tables.codes import LIMB_BITS, METRICS, MORE_METRICS, N_METRIC, N_MORE, STAGE_READY
from sim.model.tables.run import Params, State
from sim.model.tables.sample import MARK_RUN, MARK_WARM, MARK_WINDOW, N_MARK, PoolSample

N_HIST = N_METRIC + N_MORE  # histograms of a class, those that are kept where attempts are among them
SAMPLE = PoolSample.FIELDS
#: Column of `Many.samples` → word of a sample.
SAMPLE_WORDS = {
    "time_ps": SAMPLE["time_ps"].offset,
    "kv_blocks_used": SAMPLE["used_blocks"].offset,
    "kv_blocks_total": SAMPLE["n_blocks"].offset,
    "ready": SAMPLE["by_stage"].offset + STAGE_READY - 1,
    "wanted": SAMPLE["wanted"].offset,
}


class Filled(NamedTuple):
    """The filled buckets of the histograms of many runs: of run r the h-th is number r · N_HIST + h."""

    at: np.ndarray  # number of the histogram · N_BUCKET + bucket, rising
    number: np.ndarray  # how many durations
    rows: tuple[int, ...]  # which of a run's histograms is of each of RESULT_METRICS

    def without(self, histograms: np.ndarray) -> Filled:
        """Those that are not of some histograms, (run · N_HIST,) of booleans."""
        kept = ~histograms[self.at // N_BUCKET]
        return self._replace(at=self.at[kept], number=self.number[kept])


class Many(NamedTuple):
    """Finished runs of one scenario; the first axis of each array is the run, and scope 0 is the fleet."""

    n: int
    digest: list[int]
    end_ps: list[int]
    window_end_ps: list[int]
    counts: dict[str, np.ndarray]  # name → (run, 1 + class)
    filled: dict[int, Filled]  # of each scope that was asked for
    sums: dict[int, np.ndarray]  # of these: (run, RESULT_METRICS) ps, objects
    pools: list[dict[str, np.ndarray]]  # pool → counter → (run,) objects
    samples: dict[str, np.ndarray]  # column → (run's samples · pools, one run behind the other)
    n_sample: np.ndarray  # (run,) how many rows of these
    node_groups: list[list[dict[str, int]]]  # run → group → counter


class Reader:
    """Reads finished runs of one scenario."""

    def __init__(self, params: Params, scopes: tuple[int, ...] = (0,)) -> None:
        self._params = params
        self._scopes = scopes
        self._has_attempts = bool(params.has_attempts)
        self._digest: list[int] = []
        self._end_ps: list[int] = []
        self._node_groups: list[list[dict[str, int]]] = []
        self._tables: dict[str, list[np.ndarray]] = {
            name: [] for name in ("counts", "mark", "pool", "limit", "sample")
        }
        self._filled: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {
            scope: ([], []) for scope in scopes
        }

    def takes(self, params: Params) -> bool:
        """Whether runs with these parameters can stand beside those that are read here."""
        return bool(params.has_attempts) == self._has_attempts

    def add(self, state: State) -> None:
        """Copy what a summary needs of a finished run."""
        p = self._params
        n_class, n_pool = int(p.n_class), int(p.n_pool)
        self._digest.append(make_digest(state))
        self._end_ps.append(int(state.now_ps))
        self._node_groups.append(group_rows(p, state))
        rows = {"counts": n_class, "mark": N_MARK * n_pool, "pool": n_pool}
        for name, n in rows.items() if not self._has_attempts else {**rows, "limit": n_class}.items():
            self._tables[name].append(words_of(state, name, n).copy())
        samples = words_of(state, "sample", int(state.n_sample) * n_pool).reshape(-1, PoolSample.SIZE)
        self._tables["sample"].append(samples[:, list(SAMPLE_WORDS.values())])
        hist = words_of(state, "hist", n_class * N_METRIC * N_BUCKET).reshape(n_class, -1)
        more = words_of(state, "more", n_class * N_MORE * N_BUCKET * self._has_attempts).reshape(n_class, -1)
        for scope in self._scopes:
            parts = [in_scope(table, scope) for table in (hist, more)[: 1 + self._has_attempts]]
            places = [np.flatnonzero(part != 0) for part in parts]  # of booleans it is twice as fast
            first = N_HIST * N_BUCKET * (len(self._digest) - 1)
            at = [place + first + i * len(parts[0]) for i, place in enumerate(places)]
            numbers = [part[place] for part, place in zip(parts, places, strict=True)]
            self._filled[scope][0].extend(at)
            self._filled[scope][1].extend(numbers)

    def read(self) -> Many:
        """All runs that were added, in the order in which they were."""
        p, n = self._params, len(self._digest)
        tables = {name: np.concatenate(words) for name, words in self._tables.items() if words}
        counts = records(tables["counts"], "counts", n)
        sent_on = records(tables["limit"], "limit", n)["sent_on"] if self._has_attempts else None
        marks = records(tables["mark"], "mark", n).reshape(n, N_MARK, int(p.n_pool))
        seen = records(tables["pool"], "pool", n)
        return Many(
            n=n,
            digest=self._digest,
            end_ps=self._end_ps,
            window_end_ps=marks["time_ps"][:, MARK_WINDOW, 0].tolist(),
            counts=counts_of(counts, sent_on),
            filled={
                scope: Filled(np.concatenate(at), np.concatenate(numbers), self._rows())
                for scope, (at, numbers) in self._filled.items()
            },
            sums={scope: self._sums(counts, scope) for scope in self._scopes},
            pools=[pool_columns(marks[:, :, i], seen[:, i], row) for i, row in enumerate(pool_rows(p))],
            samples=dict(zip(SAMPLE_WORDS, tables["sample"].T, strict=True)),
            n_sample=np.array([len(rows) for rows in self._tables["sample"]]),
            node_groups=self._node_groups,
        )

    def _rows(self) -> tuple[int, ...]:
        """Which of a run's histograms is of each of RESULT_METRICS."""
        return tuple(
            N_METRIC + MORE_METRICS.index(name)
            if self._has_attempts and name in MORE_METRICS
            else METRICS.index(SINGLE.get(name, name))
            for name in RESULT_METRICS
        )

    def _sums(self, counts: np.ndarray, scope: int) -> np.ndarray:
        columns = []
        for row in self._rows():
            name, at = ("sums", 2 * row) if row < N_METRIC else ("more_sums", 2 * (row - N_METRIC))
            by_class = wides(counts[name][:, :, at : at + 2])
            columns.append(by_class.sum(axis=1) if scope == 0 else by_class[:, scope - 1])
        return np.stack(columns, axis=1)


def words_of(state: State, name: str, n: int) -> np.ndarray:
    """The first n rows of a table as plain words, a view."""
    table = State.TABLES[name]
    start = table.start_of(state)
    return state.m[start : start + n * (1 if table.row is None else table.row.SIZE)]


def in_scope(table: np.ndarray, scope: int) -> np.ndarray:
    """Of a table (class, word) the sum of all classes, or one of them."""
    if scope:
        return table[scope - 1]
    return table[0] if len(table) == 1 else np.asarray(table.sum(axis=0))


def records(words: np.ndarray, name: str, n: int) -> np.ndarray:
    """Rows of a table of n runs as records, (run, row)."""
    row = State.TABLES[name].row
    assert row is not None
    return row.rows(words).reshape(n, -1)


def wides(limbs: np.ndarray) -> np.ndarray:
    """Two-limb sums, (…, 2), as whole numbers of Python's, (…,)."""
    low, high = limbs[..., 0].astype(object), limbs[..., 1]
    return low + (high.astype(object) << LIMB_BITS) if high.any() else low


def pool_columns(marks: np.ndarray, seen: np.ndarray, params: np.ndarray) -> dict[str, np.ndarray]:
    """What one pool did in each run, (run,): `marks` (run, mark), `seen` (run,). The counters are those of a result."""
    warm, window, run = marks[:, MARK_WARM], marks[:, MARK_WINDOW], marks[:, MARK_RUN]
    row: dict[str, np.ndarray] = {}
    for name in WIDE_MARKS:
        row[name] = wides(window[name]) - wides(warm[name])
        row["run_" + name] = wides(run[name])
    for name, field in PLAIN_MARKS.items():
        row[name] = (window[field] - warm[field]).astype(object)
        row["run_" + name] = run[field].astype(object)
    row["step_parts"] = (window["step_parts"] - warm["step_parts"]).astype(object)
    row["prefill_attended_tokens"] = row["prefill_squares"] // 2
    for name, field in (
        ("gpus_per_replica", "gpus"),
        ("max_num_seqs", "max_num_seqs"),
        ("places", "n_replica"),
    ):
        row[name] = np.full(len(marks), int(params[field]), dtype=object)
    row["gpu_ps"] = row["billed_ps"] * row["gpus_per_replica"]
    row["run_gpu_ps"] = row["run_billed_ps"] * row["gpus_per_replica"]
    return row | {name: seen[name].astype(object) for name in POOL_STATE}
