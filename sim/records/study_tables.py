"""What a shard of a study leaves: a row per run, and histograms of latencies that can be added up."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sim.measures.flat import column_means, column_unit, is_whole
from sim.model.base.histogram import bucket_edges_ps
from sim.records.parquet import write_table
from sim.records.schema import NAME, Column, schema
from sim.scenario.describe import unit_at
from sim.units import PS_PER_S

KINDS = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": NAME}
CONSTANT = (
    "schema_version",
    "scenario",
    "question",
    "seed",
    "digest",
)  # in study.json, or columns of their own


class Varied(NamedTuple):
    """A key that a study varies, as the runs of a shard have it."""

    key: str
    kind: str  # int, float, bool or text
    values: list[Any]  # of each run; None where it does not have the key


def runs_table(
    points: np.ndarray,
    seeds: np.ndarray,
    labels: Sequence[str],
    varied: Sequence[Varied],
    digests: Sequence[str],
    measures: Mapping[str, Sequence[Any]],
) -> pa.Table:
    """One row per run: `point`, `variant`, `seed`, every varied key, `digest`, and every measure with its unit.

    A measure that is called as a varied key is left out: it is that setting.
    """
    columns = [
        Column("point", pa.int32(), "id", "number of the point in the study"),
        Column("variant", NAME, "name", "the point's values under as much of their keys as tells them apart"),
        Column("seed", pa.int64(), "id", "seed of the run"),
    ]
    values: list[Any] = [points.astype(np.int32), _coded(labels), seeds.astype(np.int64)]
    for one in varied:
        unit = {"text": "name", "bool": "bool"}.get(one.kind) or unit_at(one.key) or "1"
        columns.append(Column(one.key, KINDS[one.kind], unit, f"{one.key}, as varied"))
        values.append(_varied(one))
    columns.append(Column("digest", pa.string(), "name", "64 bits in hex that stand for the run"))
    values.append(list(digests))
    taken = {one.key for one in varied}
    for name, found in measures.items():
        if name not in CONSTANT and name not in taken:
            columns.append(measure_column(name))
            values.append(found)
    arrays = [
        v if isinstance(v, pa.Array) else pa.array(v, type=c.type)
        for c, v in zip(columns, values, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema(columns))


@functools.cache
def measure_column(name: str) -> Column:
    """The column of a measure: the same in every shard, whatever its runs came to."""
    if name == "slo_ok":
        return Column(name, pa.bool_(), "bool", "whether every limit held; null without limits")
    return Column(name, pa.int64() if is_whole(name) else pa.float64(), column_unit(name), column_means(name))


def _varied(one: Varied) -> pa.Array:
    if one.kind == "text":
        return _coded([None if v is None else v if isinstance(v, str) else _text(v) for v in one.values])
    if one.kind == "float":
        return pa.array([None if v is None else float(v) for v in one.values], type=pa.float64())
    return pa.array(one.values, type=KINDS[one.kind])


def _text(value: Any) -> str:
    from sim.records.config import to_json

    return to_json(value, indent=None)


def _coded(texts: Sequence[str | None]) -> pa.Array:
    return pa.array(texts, type=pa.string()).dictionary_encode().cast(NAME)


HISTOGRAMS = [
    Column("point", pa.int32(), "id", "number of the point in the study"),
    Column("seed", pa.int64(), "id", "seed of the run; null where the seeds of a shard are added up"),
    Column("measure", NAME, "name", "ttft, attempt_ttft, itl, tpot, e2e, queue_wait or itl_max"),
    Column(
        "bucket", pa.int32(), "id", "number of the bucket; durations of one are within 1.6 % of each other"
    ),
    Column("low_s", pa.float64(), "s", "the smallest duration that this bucket holds"),
    Column(
        "high_s",
        pa.float64(),
        "s",
        "the smallest duration above it; null: there is none, of what was never served",
    ),
    Column("count", pa.int64(), "1", "how many durations: to be added up over rows"),
]


class Bins(NamedTuple):
    """Filled buckets of histograms, side by side; the bucket after the last is that of what was never served."""

    cell: np.ndarray  # which histogram
    measure: np.ndarray
    bucket: np.ndarray
    number: np.ndarray  # how many durations


def bins_of(cell: int, counts: np.ndarray, lost: np.ndarray) -> Bins:
    """The filled buckets of one cell: `counts` (measure, bucket), and `lost` (measure,) that were never served."""
    whole = np.concatenate([counts, lost[:, np.newaxis]], axis=1)
    measure, bucket = np.nonzero(whole)
    return Bins(np.full(len(measure), cell), measure, bucket, whole[measure, bucket])


@functools.cache
def _edges_s() -> np.ndarray:
    return np.append(bucket_edges_ps()[:-1] / PS_PER_S, [np.inf, np.inf])


def histograms_table(
    points: Sequence[int], seeds: Sequence[int | None], measures: Sequence[str], parts: Sequence[Bins]
) -> pa.Table:
    """Histograms as rows: `points` and `seeds` of each cell, its filled buckets in `parts`."""
    cell, measure, bucket, number = (np.concatenate(column) for column in zip(*parts, strict=True))
    edges_s = _edges_s()
    low_s, high_s = edges_s[bucket], edges_s[bucket + 1]
    names = pa.DictionaryArray.from_arrays(
        pa.array(measure.astype(np.int32)), pa.array(measures, type=pa.string())
    )
    arrays = [
        pa.array(np.asarray(points, dtype=np.int32)[cell]),
        pa.array(list(seeds), type=pa.int64()).take(pa.array(cell)),
        names.cast(NAME),
        pa.array(bucket.astype(np.int32)),
        pa.array(low_s),
        pa.array(high_s, mask=np.isinf(high_s)),
        pa.array(number.astype(np.int64)),
    ]
    return pa.Table.from_arrays(arrays, schema=schema(HISTOGRAMS))


def bytes_of(runs: pa.Table, histograms: pa.Table | None) -> tuple[float, float]:
    """(bytes on the disk for each run, bytes for each file whatever is in it), told from the tables of a few runs."""
    whole, single = _file_bytes(runs), _file_bytes(runs.slice(0, 1))
    per_run = (whole - single) / (runs.num_rows - 1) if runs.num_rows > 1 else 8.0 * runs.num_columns
    more = _file_bytes(histograms) / max(1, runs.num_rows) if histograms is not None else 0.0
    return per_run + more, single - per_run


def _file_bytes(table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    write_table(table, sink)
    return int(sink.getvalue().size)
