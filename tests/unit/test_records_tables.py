"""The tables of a run: units on every field, nothing lost in a file, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_result import PS, spiky_run, two_pools, without_requests
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.summary import summarize
from sim.records.columns import coded
from sim.records.parquet import read_table, write_table
from sim.records.requests import requests_table
from sim.records.run_dir import RunTables, run_tables
from sim.records.schema import units
from sim.records.summary import flat_summary, summary_table
from sim.records.timeseries import per_interval, timeseries_table


@pytest.fixture(scope="module")
def tables() -> RunTables:
    scenario, result = spiky_run(n=3000, lost=0.05)
    return run_tables(scenario, result, summarize(scenario, result))


@pytest.mark.parametrize("name", RunTables._fields)
def test_every_field_says_its_unit_and_meaning(tables: RunTables, name: str) -> None:
    schema = getattr(tables, name).schema
    assert all(units(schema).values())
    assert all(field.metadata[b"means"] for field in schema)


def test_unit_agrees_with_the_end_of_the_name(tables: RunTables) -> None:
    endings = {"_per_hour": "usd/h", "_per_s": "1/s", "_ps": "ps", "_s": "s"}
    for table in tables:
        for name, unit in units(table.schema).items():
            ending = next((e for e in endings if name.endswith(e)), None)
            assert ending is None or unit == endings[ending], name


@pytest.mark.parametrize("name", RunTables._fields)
def test_table_comes_back_from_its_file_with_its_metadata(
    tables: RunTables, name: str, tmp_path: Path
) -> None:
    table = getattr(tables, name)
    write_table(table, tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.to_pylist() == table.to_pylist()


@pytest.mark.parametrize("name", RunTables._fields)
def test_rewrite_is_byte_identical_however_rows_are_chunked(
    tables: RunTables, name: str, tmp_path: Path
) -> None:
    table = getattr(tables, name)
    half = table.num_rows // 2
    pieces = pa.concat_tables([table.slice(0, half), table.slice(half)])
    for number, one in enumerate((table, table, pieces)):
        write_table(one, tmp_path / f"{number}.parquet")
    first, *others = [(tmp_path / f"{number}.parquet").read_bytes() for number in range(3)]
    assert all(other == first for other in others)


def test_columns_are_packed_as_their_kind_asks(tables: RunTables, tmp_path: Path) -> None:
    write_table(tables.requests, tmp_path / "t.parquet")
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["ttft_s"].encodings
    assert "DELTA_BINARY_PACKED" in columns["request_id"].encodings
    assert "RLE_DICTIONARY" in columns["pool"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_requests_hold_exact_times_and_the_durations_between_them(tables: RunTables) -> None:
    rows = [row for row in tables.requests.to_pylist() if row["outcome"] == "completed"]
    assert len(rows) > 2000
    for row in rows[:500]:
        assert row["arrival_ps"] <= row["routed_ps"] <= row["scheduled_ps"] <= row["first_token_ps"]
        assert row["first_token_ps"] <= row["last_token_ps"]
        assert row["ttft_s"] == (row["first_token_ps"] - row["arrival_ps"]) / PS
        assert row["e2e_s"] == (row["last_token_ps"] - row["arrival_ps"]) / PS
        assert row["arrival_s"] == row["arrival_ps"] / PS
        if row["output_tokens"] > 1:
            gaps = row["output_tokens"] - 1
            assert row["tpot_s"] == ((row["last_token_ps"] - row["first_token_ps"]) // gaps) / PS


def test_what_did_not_happen_is_null_and_says_why(tables: RunTables) -> None:
    lost = [row for row in tables.requests.to_pylist() if row["outcome"] == "rejected"]
    assert lost
    happened = (
        "pool",
        "replica",
        "gpu",
        "routed_ps",
        "scheduled_s",
        "first_token_s",
        "ttft_s",
        "e2e_s",
        "tpot_s",
    )
    for row in lost:
        assert row["reason"] == "gateway_full"
        assert row["model"] == "llama-3.1-8b"
        assert all(row[name] is None for name in happened)


def test_rows_are_written_by_identity_whatever_their_order() -> None:
    scenario, result = spiky_run(n=500)
    shuffled = np.random.default_rng(0).permutation(500)
    mixed = result._replace(requests={k: v[shuffled] for k, v in result.requests.items()})
    assert requests_table(scenario, mixed).equals(requests_table(scenario, result))


def test_no_rows_but_all_columns_without_records() -> None:
    scenario, result = spiky_run(n=100)
    table = requests_table(scenario, without_requests(result))
    assert table.num_rows == 0
    assert table.schema.equals(requests_table(scenario, result).schema)


def test_intervals_of_a_pool_add_up_to_its_last_cumulative_value() -> None:
    scenario, result = two_pools(*spiky_run(n=2000))
    table = timeseries_table(scenario, result)
    rows = table.to_pylist()
    assert [row["pool"] for row in rows[:4]] == ["main", "spare", "main", "spare"]
    for number, pool in enumerate(scenario.pools):
        mine = [row for row in rows if row["pool"] == pool.name]
        last = np.flatnonzero(result.samples["pool_id"] == number)[-1]
        assert sum(row["completions"] for row in mine) == result.samples["completions"][last]
        assert sum(row["interval_s"] for row in mine) == result.samples["time_ps"][last] / PS
        hours = result.samples["gpu_ps"][last] / PS / 3600
        assert sum(row["usd"] for row in mine) == pytest.approx(hours * pool.usd_per_gpu_hour)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**70)), min_size=1, max_size=40))
def test_per_interval_undoes_a_running_sum_even_past_64_bits(steps: list[tuple[int, int]]) -> None:
    pools = np.array([pool for pool, _ in steps])
    added = [min(step, 2**62) for _, step in steps]
    totals = dict.fromkeys(range(4), 0)
    cumulative = []
    for pool, step in zip(pools.tolist(), added, strict=True):
        totals[pool] += step
        cumulative.append(totals[pool])
    assert per_interval(np.array(cumulative, dtype=object), pools).tolist() == added


def test_codes_become_names_and_below_zero_null() -> None:
    array = coded(np.array([1, -1, 0, 2, 1]), ["b", "a", None])
    assert array.to_pylist() == ["a", None, "b", None, "a"]


def test_summary_row_is_the_flat_summary() -> None:
    scenario, result = spiky_run(n=300, lost=0.1)
    summary = summarize(scenario, result, engine="cpu")
    row = summary_table([summary]).to_pylist()[0]
    assert row == flat_summary(summary)
    assert row["ttft_p99_s"] == float("inf")
    assert row["ttft_p50_served_s"] == summary["ttft"]["p50_served_s"]
    assert "engine" not in row


def test_summaries_with_different_keys_share_a_table() -> None:
    table = summary_table([{"a_s": 1.0, "n": 2}, {"a_s": None, "b": True}])
    assert table.to_pylist() == [{"a_s": 1.0, "n": 2, "b": None}, {"a_s": None, "n": None, "b": True}]
