"""A study's results as Arrow tables: what is done of it, in the order of the plan, whole or not."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import InputError, nearest, problem
from sim.model.base.histogram import bucket_edges_ps
from sim.records.schema import schema
from sim.records.study_dir import HISTOGRAMS as HISTOGRAMS_DIR
from sim.records.study_dir import RUNS, StudyDir
from sim.records.study_tables import HISTOGRAMS
from sim.statistics.percentiles import pooled_percentile
from sim.units import PS_PER_S

LATEST = "latest"
ROOT = "results"
SHOWN_POINTS = 20  # in a notebook


class Results:
    """The folder of a study, opened for reading: only shards that are done count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        folder = StudyDir(path)
        record = folder.record()
        if record is None or not _is_record(record):
            raise InputError(problem("result", str(path), "the folder of a study, which holds study.json"))
        self.study: dict[str, Any] = record
        self.stopped = (
            folder.stopped()
        )  # of a study that ran until its question was decided: seeds, what was decided
        compared = folder.compared()
        self.compared = (
            compared if _is_compared(compared) else None
        )  # traffic and baseline of each point, what is known of arrivals; None of a large study, or one not whole
        marks = [folder.mark(str(shard)) for shard in self._asked()]
        self._files = [name for mark in marks if mark is not None for name in mark["files"]]
        self.n_shard, self.n_done = len(marks), sum(mark is not None for mark in marks)

    def _asked(self) -> list[Any]:
        """The shards up to the round in which the study stopped; all where it did not stop by itself."""
        shards: list[Any] = self.study["shards"]
        if self.stopped is None:
            return shards
        ends = {entry["seeds"]: entry["shards"] for entry in self.study.get("rounds") or []}
        return shards[: ends.get(self.stopped.get("seeds"), len(shards))]

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of `runs`, in the order of the points and seeds, without reading the others; those that there are
        not are left out.
        """
        partition = [str(key) for key in self.study["partition"] if key in names]
        parts = []
        for name in self._files_of(RUNS):
            table = _read(self.path / name, tuple(dict.fromkeys(("point", "seed", *names))))
            parts.append(_with_folders(table, name, partition))
        if not parts:
            raise InputError(f"result: {self.path}: no shard of this study is done yet")
        whole = pa.concat_tables(parts, promote_options="permissive")
        return whole.sort_by([("point", "ascending"), ("seed", "ascending")])

    @functools.cached_property
    def runs(self) -> pa.Table:
        """One row per run: point, variant, seed, every varied key, digest and every measure; units in the metadata."""
        keys = [str(entry["key"]) for entry in self.study["keys"]]
        partition = [str(key) for key in self.study["partition"]]
        parts = [_with_folders(_read(self.path / name), name, partition) for name in self._files_of(RUNS)]
        if not parts:
            raise InputError(f"result: {self.path}: no shard of this study is done yet")
        whole = pa.concat_tables(parts, promote_options="permissive")
        first = ["point", "variant", "seed", *keys]
        names = [*first, *(name for name in whole.column_names if name not in first)]
        return whole.select(names).sort_by([("point", "ascending"), ("seed", "ascending")])

    @functools.cached_property
    def histograms(self) -> pa.Table:
        """Histograms of latencies as rows, to be added up over whatever is asked; empty where the study keeps none."""
        parts = [_read(self.path / name) for name in self._files_of(HISTOGRAMS_DIR)]
        return pa.concat_tables(parts) if parts else schema(HISTOGRAMS).empty_table()

    @property
    def units(self) -> dict[str, str]:
        """Column of `runs` → its unit."""
        return {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in self.runs.schema}

    def percentile(
        self, measure: str, percent: float, by: Sequence[str] = (), interval: bool = False
    ) -> pa.Table:
        """A percentile of all requests together for each value of some varied keys: `percentile("ttft", 99.9, ["gpu"])`.

        Nearest rank over the histograms, within 1 %; seconds, infinite where the rank falls on requests that were never
        served. With `interval` also the ends of its 95 % interval over seeds, for which the study keeps `histograms: run`.
        Raises InputError for a measure, percentage or key that is not there.
        """
        table = self.histograms
        known = sorted(set(table["measure"].unique().to_pylist()))
        if measure not in known:
            raise InputError(problem("measure", measure, ", ".join(known), nearest(measure, known)))
        if not 0 < percent <= 100:
            raise InputError(problem("percent", percent, "above 0, at most 100"))
        rows = table.filter(pa.compute.equal(table["measure"].cast(pa.string()), measure))
        labels, group_of = self._groups(by)
        group = group_of[rows["point"].to_numpy()]
        bucket, count = rows["bucket"].to_numpy(), rows["count"].to_numpy()
        found = [_percentile_s(bucket[group == i], count[group == i], percent) for i in range(len(labels))]
        columns = [pa.array([label[i] for label in labels]) for i in range(len(by))]
        name = f"{measure}_p{percent:g}"
        columns += [pa.array(found, type=pa.float64())]
        names = [*by, f"{name}_s"]
        if interval:
            seeds = rows["seed"].to_pylist()
            if None in seeds:
                raise InputError(
                    "interval: seeds are added up in this study; histograms: run keeps them apart"
                )
            ends = [
                _interval_s(np.array(seeds)[group == i], bucket[group == i], count[group == i], percent)
                for i in range(len(labels))
            ]
            columns += [pa.array([end[i] for end in ends], type=pa.float64()) for i in range(2)]
            names += [f"{name}_low_s", f"{name}_high_s"]
        return pa.table(columns, names=names)

    def _repr_html_(self) -> str:
        """What a notebook shows: how much is done, and means of a few measures for the first points."""
        from sim.measures.cards import card
        from sim.measures.shown import COMPARED, compared

        columns = [column for column in map(compared, COMPARED) if column.key in self.runs.column_names]
        keys = [column.key for column in columns]
        table = self.runs.slice(0, 0) if not self.n_done else self.columns(["variant", *keys])
        means = table.group_by(["point", "variant"], use_threads=False).aggregate(
            [("seed", "count"), *((key, "mean") for key in keys)]
        )
        rows = [
            (row["variant"], row["seed_count"], *(row[f"{key}_mean"] for key in keys))
            for row in means.slice(0, SHOWN_POINTS).to_pylist()
        ]
        more = means.num_rows - len(rows)
        notes = [f"{table.num_rows:,} runs, {self.n_done:,} of {self.n_shard:,} shards done, in {self.path}"]
        notes += (
            [f"the first {len(rows)} of {means.num_rows:,} points; means over seeds"]
            if more
            else ["means over seeds"]
        )
        heads = ("variant", "runs", *(f"{column.label} ({column.unit})" for column in columns))
        return card(str(self.study.get("name") or self.path.name), notes, heads, rows)

    def sql(self, query: str) -> pa.Table:
        """The answer of DuckDB to a query over `runs` and `histograms`. Raises InputError where it has none."""
        try:
            import duckdb
        except ImportError:
            raise InputError("sql: DuckDB is not installed: pip install 'fleetsim[sql]'") from None
        if not query.strip(" \t\n;"):
            raise InputError(problem("sql", query, "a query, as 'select * from runs'"))
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as link:
            link.register("runs", self.runs)
            link.register("histograms", self.histograms)
            try:
                answer = link.sql(query)
                found = answer.to_arrow_table() if answer is not None else pa.table({})
            except duckdb.Error as error:
                raise InputError(f"sql: {' '.join(str(error).split())}") from None
        assert isinstance(found, pa.Table)
        return found

    def _files_of(self, folder: str) -> list[str]:
        return [name for name in self._files if name.startswith(f"{folder}/")]

    def _groups(self, by: Sequence[str]) -> tuple[list[tuple[Any, ...]], np.ndarray]:
        """(the values of each group, the group of each point)."""
        keys = [str(entry["key"]) for entry in self.study["keys"]]
        for key in by:
            if key not in keys:
                raise InputError(
                    problem("by", key, ", ".join(keys) or "nothing is varied", nearest(key, keys))
                )
        points, first = np.unique(self.runs["point"].to_numpy(), return_index=True)
        rows = self.runs.select(list(by)).take(pa.array(first)).to_pylist() if by else [{}] * len(points)
        labels: dict[tuple[Any, ...], int] = {}
        group = np.full(int(points.max(initial=0)) + 1, -1)
        for point, row in zip(points.tolist(), rows, strict=True):
            group[point] = labels.setdefault(tuple(row[key] for key in by), len(labels))
        return list(labels), group


def open_study(path: Path | str) -> Results:
    """A study's results by its folder, or `latest` of those below ./results. Raises InputError where it is none."""
    if str(path) == LATEST:
        found = sorted(Path(ROOT).glob("*/study.json"), key=lambda p: (p.stat().st_mtime, str(p)))
        if not found:
            raise InputError(problem("result", LATEST, f"the folder of a study; there is none in {ROOT}"))
        return Results(found[-1].parent)
    if not Path(path).is_dir():
        raise InputError(problem("result", str(path), "the folder of a study, or latest"))
    return Results(Path(path))


def as_json(table: pa.Table) -> str:
    """A table as JSON text, an object a line: what is infinite is "inf"."""
    from sim.records.config import to_json

    return "".join(f"{to_json(row, indent=None)}\n" for row in table.to_pylist())


def _is_record(record: dict[str, Any]) -> bool:
    """Whether a study.json has what its readers rely on."""
    shards, keys, partition = (record.get(name) for name in ("shards", "keys", "partition"))
    rounds = record.get("rounds") or []
    return (
        all(isinstance(found, list) for found in (shards, keys, partition, rounds))
        and all(isinstance(shard, str) for shard in shards or ())
        and all(isinstance(entry, dict) and isinstance(entry.get("key"), str) for entry in keys or ())
        and all(isinstance(entry, dict) and {"seeds", "shards"} <= entry.keys() for entry in rounds)
    )


def _is_compared(record: dict[str, Any] | None) -> bool:
    """Whether a compared.json has what its readers rely on."""
    if record is None:
        return False
    traffic, bases, controls = (record.get(name) for name in ("traffic", "baselines", "controls"))
    if not isinstance(traffic, list) or not isinstance(bases, list) or len(traffic) != len(bases):
        return False
    good = all(base is None or (type(base) is int and 0 <= base < len(bases)) for base in bases)
    known = controls is None or (
        isinstance(controls, dict)
        and {str(one) for one in traffic} <= controls.keys()
        and all(
            isinstance(one, dict)
            and ("why_not" in one or {"arrivals", "mean", "error", "lists"} <= one.keys())
            for one in controls.values()
        )
    )
    return good and known


def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A file of the study, or those of some columns that it has."""
    try:
        with pq.ParquetFile(path) as file:
            if columns is None:
                return file.read()
            there = set(file.schema_arrow.names)
            return file.read([name for name in columns if name in there])
    except (OSError, pa.ArrowInvalid) as error:
        line = problem("result", str(path), "a file that is whole; `fleetsim sweep` makes it again")
        raise InputError(f"{line}; reading says: {str(error).splitlines()[0]}") from None


def _with_folders(table: pa.Table, name: str, keys: Sequence[str]) -> pa.Table:
    """The table of a file of runs with the columns that the names of its folders say."""
    said = dict(part.split("=", 1) for part in name.split("/")[1:-1])
    values = {unquote(key): unquote(value) for key, value in said.items()}
    for key in keys:
        metadata = {"unit": "name", "means": f"{key}, as varied"}
        column = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(table.num_rows, dtype=np.int32)), pa.array([values[key]], type=pa.string())
        )
        table = table.append_column(pa.field(key, column.type, metadata=metadata), column)
    return table


def _interval_s(
    seed: np.ndarray, bucket: np.ndarray, count: np.ndarray, percent: float
) -> tuple[float | None, float | None]:
    """The ends of a percentile's 95 % interval over seeds; None of one seed or of nothing."""
    seeds, of_seed = np.unique(seed, return_inverse=True)
    buckets, of_bucket = np.unique(bucket, return_inverse=True)
    if not count.sum():
        return None, None
    counts = np.zeros((len(seeds), len(buckets)), dtype=np.int64)
    np.add.at(counts, (of_seed, of_bucket), count)
    found = pooled_percentile(counts, np.array([_middle_s(int(b)) for b in buckets]), percent / 100)
    return found.low, found.high


def _percentile_s(bucket: np.ndarray, count: np.ndarray, percent: float) -> float | None:
    """Nearest rank, as the percentiles of a summary: the middle of the bucket that holds it; None of nothing."""
    order = np.argsort(bucket, kind="stable")
    up_to = np.cumsum(count[order])
    if not len(up_to):
        return None
    total = int(up_to[-1])
    rank = max(1, min(total, math.ceil(round(percent * total * 1000) / 100_000)))
    return _middle_s(int(bucket[order][np.searchsorted(up_to, rank)]))


def _middle_s(b: int) -> float:
    """What stands for the values of a bucket; infinite for those that were never served."""
    edges = bucket_edges_ps()
    if b >= len(edges) - 1:
        return math.inf
    return float((edges[b] + edges[b + 1] - 1) / 2 / PS_PER_S if b > 0 else edges[b] / PS_PER_S)
