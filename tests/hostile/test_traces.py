"""Recorded traffic that is damaged: every format, every cell, through the readers that a run uses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from sim.errors import InputError
from sim.scenario.trace import Columns, Trace
from sim.workload.readers import read_trace

from .drive import faults, fleetsim, told, written

LINE_MAX = 900  # a line may name every format there is
HUGE = "1" + "0" * 400
CELLS = (
    "",
    "abc",
    "nan",
    "inf",
    "-1",
    "1e300",
    HUGE,
    "1.5",
    "\x1b[31m",
    "true",
    "null",
    '"',
    "\u202e1",
    "1_0",
    "0x10",
    "[1]",
    "{}",
)
JSON_CELLS: tuple[Any, ...] = (
    None, True, "", "abc", -1, 1.5, 1e300, float("nan"), float("inf"), 10**400, [1], {}, {"a": 1},
    "\x1b[31m", [[1]], 2**63, -(10**400),
)  # fmt: skip

#: CSV formats: (columns, first row), all of them small and whole
CSV: dict[str, tuple[list[str], list[str]]] = {
    "azure": (["TIMESTAMP", "ContextTokens", "GeneratedTokens"], ["2023-11-16 18:15:46.680", "300", "40"]),
    "burstgpt": (
        ["Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type"],
        ["5", "ChatGPT", "472", "18", "490", "Conversation log"],
    ),
    "vidur": (["arrived_at", "num_prefill_tokens", "num_decode_tokens"], ["0.5", "30", "40"]),
    "splitwise": (["request_id", "arrival_timestamp", "prompt_size", "token_size"], ["0", "0.5", "30", "40"]),
    "csv": (["arrival_s", "prompt_tokens", "output_tokens"], ["0.5", "30", "40"]),
}
#: JSON lines: one whole row
JSONL: dict[str, dict[str, Any]] = {
    "mooncake": {"timestamp": 27000, "input_length": 1000, "output_length": 52, "hash_ids": [46, 47]},
    "qwen_bailian": {
        "chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 30, "output_length": 16, "type": "text",
        "turn": 1, "hash_ids": [1089, 1090],
    },
}  # fmt: skip
#: what is damaged and may all the same be read, as a stated unit or a dropped row says so
TOKENS = ("ContextTokens", "GeneratedTokens", "Request tokens", "Response tokens", "num_prefill_tokens",
          "num_decode_tokens", "prompt_size", "token_size", "prompt_tokens", "output_tokens", "input_length",
          "output_length")  # fmt: skip


def read(path: Path, format: str = "auto", **more: Any) -> tuple[str, Any]:
    """("read", rows) or ("refused", the lines); whatever else is raised fails the test that asks."""
    try:
        return "read", read_trace(Trace(file=str(path), format=format, **more), with_hashes=True)  # type: ignore[arg-type]
    except InputError as error:
        return "refused", error.problems


def problems_of(
    what: str, path: Path, format: str = "auto", is_nonsense: bool = False, **more: Any
) -> Iterator[str]:
    """What is wrong with how a damaged trace was answered."""
    try:
        how, said = read(path, format, **more)
    except Exception as error:
        yield f"{what}: {type(error).__name__}: {str(error)[:200]}"
        return
    if how == "refused":
        yield from (f"{what}: a line of {len(line)} characters" for line in said if len(line) > LINE_MAX)
        if not said:
            yield f"{what}: refused without a word"
        return
    if is_nonsense:
        yield f"{what}: accepted"
    if (said.prompt_tokens < 1).any() or (said.output_tokens < 0).any():
        yield f"{what}: tokens below what there can be"


def csv_text(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join(",".join(row) for row in [columns, *rows]) + "\n"


def later(row: list[str]) -> list[str]:
    """The same row a little later, where its time is a number or a date."""
    return [
        cell.replace("46.680", "47.680").replace("0.5", "1.5") if i < 2 else cell
        for i, cell in enumerate(row)
    ]


@pytest.mark.parametrize("name", list(CSV))
def test_whole_traces_are_read(name: str, tmp_path: Path) -> None:
    columns, row = CSV[name]
    path = tmp_path / "t.csv"
    written(path, csv_text(columns, [row, later(row)]))
    assert read(path, name)[0] == "read"


@pytest.mark.parametrize("name", list(CSV))
def test_every_cell_of_a_csv(name: str, tmp_path: Path) -> None:
    columns, row = CSV[name]
    path, found = tmp_path / "t.csv", []
    for at, column in enumerate(columns):
        for cell in CELLS:
            broken = [*row[:at], cell, *row[at + 1 :]]
            for rows in ([broken, later(row)], [row, broken]):
                written(path, csv_text(columns, rows))
                nonsense = column in TOKENS and cell not in ("1_0", "0x10")  # numbers all the same
                for format in (name, "auto"):
                    found += problems_of(f"{name}.{column} = {cell[:20]!r}", path, format, nonsense)
    assert not found, told(found)


@pytest.mark.parametrize("name", list(CSV))
def test_every_shape_of_a_csv(name: str, tmp_path: Path) -> None:
    columns, row = CSV[name]
    good = csv_text(columns, [row, later(row)])
    found = []
    shapes: dict[str, str | bytes] = {
        "nothing": "",
        "a header alone": csv_text(columns, []),
        "no header": csv_text(row, [row]),
        "rows too short": csv_text(columns, [row[:-1]]),
        "rows too long": csv_text(columns, [[*row, "1"]]),
        "a byte order mark": "\ufeff" + good,
        "carriage returns": good.replace("\n", "\r\n"),
        "UTF-16": good.encode("utf-16"),
        "no UTF-8": good.encode() + b"\xff\xfe,1,2\n",
        "zero bytes": good.encode() + bytes(500),
        "semicolons": good.replace(",", ";"),
        "tabs": good.replace(",", "\t"),
        "an open quote": good + '"' + good,
        "half a gzip": gzip.compress(good.encode())[:30],
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "a page": "<!DOCTYPE html><html><body>404</body></html>\n",
        "a pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "JSON": json.dumps([dict(zip(columns, row, strict=True))]),
        "an escape in the header": good.replace(columns[0], "\x1b[31m"),
        "a very long line": good + ",".join(["9" * 100_000] * len(columns)) + "\n",
    }
    for at, column in enumerate(columns):
        shapes[f"without {column}"] = csv_text(
            [*columns[:at], *columns[at + 1 :]], [[*row[:at], *row[at + 1 :]]]
        )
        shapes[f"{column} twice"] = csv_text([*columns, column], [[*row, row[at]]])
        shapes[f"{column} with another name"] = good.replace(column, column + "x")
    may = ("a byte order mark", "carriage returns")
    for what, text in shapes.items():
        for ending in (".csv", ".csv.gz", ".jsonl", ".json", ".parquet", ""):
            path = tmp_path / f"t{ending}"
            written(path, text)
            is_nonsense = what.endswith("twice") and what.split()[0] in TOKENS
            for format in (name, "auto"):
                found += problems_of(f"{name}{ending} as {format}: {what}", path, format, is_nonsense)
    assert may
    assert not found, told(found)


@pytest.mark.parametrize("name", list(JSONL))
def test_every_value_of_json_lines(name: str, tmp_path: Path) -> None:
    path, found = tmp_path / "t.jsonl", []
    for key in JSONL[name]:
        for value in JSON_CELLS:
            for rows in (
                [{**JSONL[name], key: value}, JSONL[name]],
                [JSONL[name], {**JSONL[name], key: value}],
            ):
                written(path, "".join(json.dumps(row) + "\n" for row in rows))
                for format in (name, "auto"):
                    found += problems_of(f"{name}.{key} = {str(value)[:20]}", path, format, key in TOKENS)
    assert not found, told(found)


DEEP = 3_000


@pytest.mark.parametrize("name", [*JSONL, "ragpulse", "lmcache", "litellm", "weka", "sharegpt", "auto"])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".json.gz", ".csv"])
def test_every_shape_of_json(name: str, ending: str, tmp_path: Path) -> None:
    row = json.dumps(JSONL.get(name, JSONL["mooncake"]))
    shapes: dict[str, str | bytes] = {
        "nothing": "",
        "brackets": "[" * DEEP + "]" * DEEP,
        "braces": '{"a":' * DEEP + "1" + "}" * DEEP,
        "an open bracket": "[" * DEEP,
        "deep in a row": row[:-1] + ', "x": ' + "[" * DEEP + "]" * DEEP + "}\n",
        "many digits": row[:-1] + f', "x": {HUGE}}}\n',
        "very many digits": row[:-1] + f', "x": {"9" * 6000}}}\n',
        "an exponent": row[:-1] + ', "x": 1e99999}\n',
        "half a row": row[: len(row) // 2],
        "a list": f"[{row}]",
        "a number": "7\n",
        "null": "null\n",
        "a text": '"abc"\n',
        "lists": "[1]\n[2]\n",
        "an empty object": "{}\n",
        "an empty list": "[]\n",
        "an empty conversation": '[{"conversations": []}]',
        "conversations of nothing": '[{"conversations": [null, 3, {}]}]',
        "requests of nothing": '{"requests": [null, 3, {}]}',
        "requests that are none": '{"requests": 7}',
        "a surrogate": '{"timestamp": "\\ud800"}\n',
        "no UTF-8": row.encode() + b"\n\xff\xfe\n",
        "zero bytes": bytes(300),
    }
    found = []
    for what, text in shapes.items():
        path = tmp_path / f"t{ending}"
        data = text if isinstance(text, bytes) else text.encode()
        written(path, gzip.compress(data) if ending.endswith(".gz") else data)
        found += problems_of(f"{name}{ending}: {what}", path, name)
    assert not found, told(found)


def table_of(n: int, **columns: Any) -> pa.Table:
    whole = {
        "arrival_s": pa.array([float(i) for i in range(n)]),
        "prompt_tokens": [30] * n,
        "output_tokens": [40] * n,
    }
    return pa.table({**whole, **columns})


TYPES: dict[str, Callable[[], pa.Array]] = {
    "lists": lambda: pa.array([[1], [2]]),
    "large lists": lambda: pa.array([[1], [2]], pa.large_list(pa.int64())),
    "fixed lists": lambda: pa.array([[1], [2]], pa.list_(pa.int64(), 1)),
    "structs": lambda: pa.array([{"a": 1}, {"a": 2}]),
    "maps": lambda: pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64())),
    "uint64": lambda: pa.array([2**63, 2**64 - 1], pa.uint64()),
    "small uint64": lambda: pa.array([5, 6], pa.uint64()),
    "negative": lambda: pa.array([-1, -2], pa.int8()),
    "halves": lambda: pa.array([1.5, 2.5]),
    "no numbers": lambda: pa.array([float("nan"), float("inf")]),
    "huge": lambda: pa.array([1e300, 1e308]),
    "nulls": lambda: pa.array([None, None], pa.int64()),
    "null": lambda: pa.nulls(2),
    "a null among them": lambda: pa.array([1, None]),
    "booleans": lambda: pa.array([True, False]),
    "bytes": lambda: pa.array([b"\xff", b"\x00"]),
    "fixed bytes": lambda: pa.array([b"ab", b"cd"], pa.binary(2)),
    "texts": lambda: pa.array(["abc", "\x1b[31m"]),
    "dates": lambda: pa.array([1, 2], pa.date32()),
    "times": lambda: pa.array([1, 2], pa.time64("ns")),
    "timestamps": lambda: pa.array([1, 2], pa.timestamp("ns", tz="Europe/Berlin")),
    "durations": lambda: pa.array([1, 2], pa.duration("ns")),
    "decimals": lambda: pa.array([1, 2], pa.decimal128(38, 0)),
    "wide decimals": lambda: pa.array([10**70, 10**71], pa.decimal256(76, 0)),
    "a dictionary": lambda: pa.array(["a", "b"]).dictionary_encode(),
    "a dictionary of numbers": lambda: pa.array([5, 6]).dictionary_encode(),
}  # fmt: skip
MAY_BE_TOKENS = ("small uint64", "decimals", "a dictionary of numbers", "durations")


@pytest.mark.parametrize("what", list(TYPES))
def test_every_type_of_a_parquet_column(what: str, tmp_path: Path) -> None:
    path, found = tmp_path / "t.parquet", []
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "session_id", "hash_ids"):
        parquet.write_table(table_of(2, **{column: TYPES[what]()}), path)
        is_nonsense = column in TOKENS and what not in MAY_BE_TOKENS
        columns = Columns(arrival="arrival_s", prompt_tokens="prompt_tokens", output_tokens="output_tokens")
        for more in ({}, {"columns": columns}, {"time_unit": "timestamp"}, {"sort": True}):
            found += problems_of(f"{column}: {what}", path, "parquet", is_nonsense, **more)
    assert not found, told(found)


def test_a_parquet_file_that_is_damaged(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    parquet.write_table(table_of(50), whole)
    data, found = whole.read_bytes(), []
    path = tmp_path / "t.parquet"
    for cut in range(0, len(data), 61):
        for text in (data[:cut], data[:cut] + b"\xff" * 8 + data[cut + 8 :], data[cut:]):
            path.write_bytes(text)
            found += [
                line for line in problems_of(f"cut at {cut}", path, "parquet") if "tokens below" not in line
            ]
    parquet.write_table(
        pa.table(
            [pa.array([1]), pa.array([2]), pa.array([3])], ["prompt_tokens", "prompt_tokens", "output_tokens"]
        ),
        path,
    )
    found += problems_of("a column twice", path, "parquet", is_nonsense=True)
    assert not found, told(found)


def test_the_command_says_it_too(tmp_path: Path) -> None:
    found = []
    for name, text in {
        "a.csv": "arrival_s,prompt_tokens,output_tokens\n0,-1,\x1b[31m\n",
        "b.jsonl": "[" * DEEP,
        "c.json": HUGE,
        "d.parquet": "PAR1",
        "\u202e.csv": "a,b\n",
    }.items():
        path = written(tmp_path / name, text)
        answer = fleetsim(
            "run", "first_run", f'traffic.trace.file="{path}"', f"output.dir={tmp_path / 'out'}"
        )
        found += faults(answer, codes=(2,))
    for path in ("", "/", "/dev/null", "no.csv", "\x1b.csv", "x" * 5000):
        found += faults(fleetsim("run", "first_run", f'traffic.trace.file="{path}"'), codes=(2,))
    assert not found, told(found)
