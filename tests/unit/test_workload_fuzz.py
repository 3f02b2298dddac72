"""Every trace reader on damaged files: rows come back that can be used, or one clear line; never anything else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_workload_formats import LITELLM, LMCACHE, QWEN, RAGPULSE, SHAREGPT, WEKA
from test_workload_readers import (
    AZURE_2023,
    AZURE_2024,
    BURSTGPT,
    BURSTGPT_3,
    MOONCAKE,
    SPLITWISE,
    VIDUR,
    VIDUR_LENGTHS,
)

from sim.errors import InputError
from sim.scenario.trace import Trace
from sim.workload.formats import TraceRows
from sim.workload.readers import read_trace

GOOD = {
    "azure_2023.csv": AZURE_2023, "azure_2024.csv": AZURE_2024, "burstgpt.csv": BURSTGPT, "burstgpt_3.csv": BURSTGPT_3,
    "vidur.csv": VIDUR, "lengths.csv": VIDUR_LENGTHS, "splitwise.csv": SPLITWISE, "litellm.csv": LITELLM,
    "plain.csv": "arrival_s,prompt_tokens,output_tokens,session_id\n0,5,5,a\n1,6,6,a\n2,7,7,b\n",
    "mooncake.jsonl": MOONCAKE, "qwen.jsonl": QWEN, "ragpulse.jsonl": RAGPULSE, "lmcache.jsonl": LMCACHE,
    "sharegpt.json": SHAREGPT, "weka.json": json.dumps(WEKA),
}  # fmt: skip
CELLS = [
    "", " ", "x", "-1", "0", "1.5", "nan", "inf", "-inf", "1e400", "9" * 400, "true", "null", "[1]", "{}", '""', "1,2",
    '"', "\\", "\x00", "é", "2024-13-45", "1e300", "-0.0", "99999999999999999999", "0x10", "１",
]  # fmt: skip
TEXTS = (LMCACHE, SHAREGPT)


def read(path: Path, data: bytes, text: str) -> TraceRows | None:
    """What a file is read as; None where it is refused as bad input should be."""
    path.write_bytes(data)
    per_token = 4.0 if text in TEXTS else None
    problems: list[str] = []
    rows = None
    try:
        rows = read_trace(Trace(file=str(path), chars_per_token=per_token), with_hashes=True, writes=True)
    except InputError as error:
        problems = error.problems
        assert problems
    assert len(problems) <= 20
    for line in problems:
        assert len(line) < 3000
        assert path.name in line or "trace." in line, line
    if rows is not None:
        check(rows)
    return rows


def check(rows: TraceRows) -> None:
    """Rows that can be simulated: whole tokens of one or more, times that rise from the origin."""
    n = len(rows.row)
    assert n > 0
    assert rows.prompt_tokens.min() >= 1
    assert rows.output_tokens.min() >= 1
    assert rows.told["rows"] == n
    if rows.arrival_ns is not None:
        assert rows.arrival_ns.min() >= 0
        assert rows.group is not None or np.all(np.diff(rows.arrival_ns) >= 0)
    for column in (rows.session, rows.pause_ns):
        assert column is None or len(column) == n
    assert rows.pause_ns is None or rows.pause_ns.min() >= 0
    if rows.hash_ids is not None:
        assert len(rows.hash_start) == n + 1
        assert rows.hash_start[-1] == len(rows.hash_ids) == len(rows.hash_tokens)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_read_however_it_is_packed(tmp_path: Path, name: str) -> None:
    text = GOOD[name]
    plain = read(tmp_path / name, text.encode(), text)
    assert plain is not None
    for data in (
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.encode() + b"\n\n",
        gzip.compress(text.encode()),
    ):
        again = read(tmp_path / name, data, text)
        assert again is not None
        for mine, theirs in zip(plain[:5], again[:5], strict=True):
            assert (mine is None and theirs is None) or np.array_equal(mine, theirs)


@pytest.mark.parametrize("name", GOOD)
def test_a_file_cut_off_anywhere(tmp_path: Path, name: str) -> None:
    text = GOOD[name].encode()
    for cut in range(0, len(text), max(1, len(text) // 60)):
        read(tmp_path / name, text[:cut], GOOD[name])
    packed = gzip.compress(text)
    for cut in range(0, len(packed), max(1, len(packed) // 20)):
        read(tmp_path / name, packed[:cut], GOOD[name])


@pytest.mark.parametrize("name", GOOD)
def test_any_cell_replaced_by_nonsense(tmp_path: Path, name: str) -> None:
    """A refusal names the line, unless what was put there can be meant."""
    text = GOOD[name]
    rng = np.random.default_rng(len(text))
    if name.endswith(".csv"):
        change: Callable[[str], str] = lambda cell: spoilt_csv(text, rng, cell)  # noqa: E731
    else:
        change = lambda cell: spoilt_json(text, rng, cell)  # noqa: E731
    for cell in CELLS:
        for _ in range(4):
            read(tmp_path / name, change(cell).encode("utf-8", "surrogatepass"), text)


def spoilt_csv(text: str, rng: np.random.Generator, cell: str) -> str:
    """A CSV file with one cell replaced, the header's among them."""
    rows = [line.split(",") for line in text.splitlines()]
    row = rows[int(rng.integers(len(rows)))]
    row[int(rng.integers(len(row)))] = cell
    return "\n".join(",".join(row) for row in rows) + "\n"


def spoilt_json(text: str, rng: np.random.Generator, cell: str) -> str:
    """A JSON file with one value replaced by a cell, as it stands: what comes out may be no JSON."""
    ends = [i for i, c in enumerate(text) if c == ":"]
    at = ends[int(rng.integers(len(ends)))] + 1
    end = min(i for i in (text.find(c, at) % (len(text) + 1) for c in ",]}\n") if i >= at)
    return text[:at] + cell + text[end:]


@pytest.mark.parametrize("name", GOOD)
def test_lines_shuffled_repeated_and_lost(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    lines = GOOD[name].splitlines(keepends=True)
    for _ in range(20):
        order = rng.integers(0, len(lines), int(rng.integers(1, 2 * len(lines) + 1)))
        read(tmp_path / name, "".join(lines[i] for i in order).encode(), GOOD[name])


@pytest.mark.parametrize("name", GOOD)
def test_bytes_changed_at_random(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        data = bytearray(GOOD[name].encode())
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        read(tmp_path / name, bytes(data), GOOD[name])


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet", "t"])
@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"\n" * 1000, b" ",
        b"\x00" * 100, b"{}", b"[]", b"[[]]", b"null", b"{", b"[", b'"a"', b"1", b"{}\n{}\n",
        b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"PAR1", b"PAR1" + b"\xff" * 50 + b"PAR1",
        b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\xff" * 30, b"a" * 300_000, b"a," * 100_000, bytes(range(256)) * 40,
        b'{"requests": []}', b'[{"requests": []}, null, 1]',
        b'[1, {"requests": [{"t": 0}]}]', b'{"requests": [1, null, {}]}', b'[{"conversations": [1]}]',
        b'[{"conversations": []}]',
        b'{"timestamp": ' + b"9" * 5000 + b', "input_length": 1, "output_length": 1}',
        b'{"timestamp": ' + b"9" * 400 + b', "input_length": 1, "output_length": 1}',
        b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [' + b"9" * 400 + b"]}",
        b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": {"sys_prompt": [-1, "x"]}}',
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_bytes_that_are_nothing(tmp_path: Path, name: str, data: bytes) -> None:
    read(tmp_path / name, data, "")


def test_parquet_of_any_types(tmp_path: Path) -> None:
    import datetime
    from decimal import Decimal

    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "uint64": pa.array([2**64 - 1, 1], pa.uint64()), "list": pa.array([[1], [2]]), "text": pa.array(["1", "x"]),
        "bool": pa.array([True, False]), "time": pa.array([datetime.datetime(2024, 1, 1)] * 2), "null": pa.nulls(2),
        "decimal": pa.array([Decimal("1.0"), Decimal("2.5")]), "binary": pa.array([b"1", b"2"]),
        "dict": pa.array([1, 2]).dictionary_encode(),
        "nan": pa.array([1.0, float("nan")]), "struct": pa.array([{"a": 1}, {"a": 2}]), "int": pa.array([1, 2]),
        "large": pa.array(["1", "2"], pa.large_string()), "date": pa.array([datetime.date(2024, 1, 1)] * 2),
        "names": pa.array(["a", "b"]).dictionary_encode(),
    }  # fmt: skip
    path = tmp_path / "t.parquet"
    for kind, column in columns.items():
        for name in ("arrival_s", "prompt_tokens", "output_tokens", "session_id", "hash_ids"):
            table = {
                "arrival_s": pa.array([0, 1]),
                "prompt_tokens": pa.array([5, 5]),
                "output_tokens": pa.array([5, 5]),
            }
            parquet.write_table(pa.table({**table, name: column}), path)
            read(path, path.read_bytes(), kind)
    parquet.write_table(pa.table({"arrival_s": pa.array([], pa.float64())}), path)
    assert read(path, path.read_bytes(), "") is None
    whole = tmp_path / "whole.parquet"
    parquet.write_table(
        pa.table({"arrival_s": [0.0] * 99, "prompt_tokens": [5] * 99, "output_tokens": [5] * 99}), whole
    )
    data = whole.read_bytes()
    for cut in range(0, len(data), 40):
        read(path, data[:cut], "")
    rng = np.random.default_rng(3)
    for _ in range(100):
        spoilt = bytearray(data)
        spoilt[int(rng.integers(len(data)))] = int(rng.integers(256))
        read(path, bytes(spoilt), "")
