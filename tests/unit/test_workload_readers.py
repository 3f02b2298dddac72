"""Trace readers: each format as its publisher writes it, and every way a row can be broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from conftest import shared_data

from sim.errors import InputError
from sim.scenario.trace import Columns, Trace
from sim.workload.formats import TraceRows
from sim.workload.readers import read_trace

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.0319601,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 02:00:01.500000+02:00,76,15
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log
19440161.5,,2,ChatGPT,36,29,65,API log
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}
"""
VIDUR = """arrived_at,num_prefill_tokens,num_decode_tokens
0.0,374,44
5.8926549999999995,396,109
"""
VIDUR_LENGTHS = """num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio
74,918,992,0.0806
290,905,1195,0.3204
"""
SPLITWISE = """request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size
0,2,0,1,1,4096,32
1,2,0,3.25,1,2048,8
"""


@pytest.fixture
def read(tmp_path: Path):
    """Write a text as a trace file and read it."""

    def reader(text: str, name: str = "trace.csv", **options: object) -> TraceRows:
        path = tmp_path / name
        path.write_text(text)
        return read_trace(Trace(file=str(path), **options))

    return reader


@pytest.fixture
def problems(read):
    """The problems that reading a text raises, without the folder's name."""

    def collect(text: str, name: str = "trace.csv", **options: object) -> list[str]:
        with pytest.raises(InputError) as caught:
            read(text, name, **options)
        return [line[line.find(name) :] for line in caught.value.problems]

    return collect


@pytest.mark.parametrize(
    ("text", "name", "arrival_ns", "prompt", "output"),
    [
        (AZURE_2023, "a.csv", [0, 52_000_000, 52_000_100], [4808, 3180, 110], [10, 8, 27]),
        (AZURE_2024, "a.csv", [0, 990_070_000, 1_490_070_000], [2162, 2399, 76], [5, 6, 15]),
        (BURSTGPT, "b.csv", [0, 113 * 10**9], [472, 417], [18, 276]),
        (BURSTGPT_3, "b.csv", [0, 51_500_000_000], [906, 36], [446, 29]),
        (MOONCAKE, "m.jsonl", [0, 3 * 10**9], [6758, 7322], [500, 490]),
        (VIDUR, "v.csv", [0, 5_892_655_000], [374, 396], [44, 109]),
        (SPLITWISE, "s.csv", [10**9, 3_250_000_000], [4096, 2048], [32, 8]),
    ],
    ids=["azure 2023", "azure 2024", "burstgpt", "burstgpt 3", "mooncake", "vidur", "splitwise"],
)
def test_each_format_is_known_by_its_columns(
    read, text: str, name: str, arrival_ns: list[int], prompt: list[int], output: list[int]
) -> None:
    rows = read(text, name)
    assert rows.arrival_ns.tolist() == arrival_ns
    assert rows.prompt_tokens.tolist() == prompt
    assert rows.output_tokens.tolist() == output


def test_mooncake_keeps_its_block_ids(read) -> None:
    rows = read(MOONCAKE, "m.jsonl")
    assert rows.hash_ids.tolist() == [0, 1, 2, 0, 14]
    assert rows.hash_start.tolist() == [0, 3, 5]


def test_a_file_of_lengths_has_no_arrivals(read) -> None:
    for rows in (read(VIDUR_LENGTHS), read(VIDUR_LENGTHS, format="vidur")):
        assert rows.arrival_ns is None
        assert rows.prompt_tokens.tolist() == [74, 290]


def test_failed_burstgpt_rows_can_be_kept(read) -> None:
    rows = read(BURSTGPT, failed_rows="keep")
    assert rows.output_tokens.tolist() == [18, 0, 276]
    assert rows.row.tolist() == [0, 1, 2]
    assert read(BURSTGPT).row.tolist() == [0, 2]


def test_rows_keep_their_place_in_the_file_when_the_first_is_dropped(read) -> None:
    rows = read(BURSTGPT.replace("472,18,490", "472,0,472"))
    assert rows.row.tolist() == [2]
    assert rows.arrival_ns.tolist() == [0]


@pytest.mark.parametrize(
    ("unit", "values", "expected_ns"),
    [
        ("s", ["0.5", "1"], [500_000_000, 10**9]),
        ("ms", ["3", "4"], [3_000_000, 4_000_000]),
        ("us", ["7", "8.5"], [7_000, 8_500]),
        ("ns", ["9", "1700000000000000001"], [9, 1_700_000_000_000_000_001]),
        ("timestamp", ["2024-01-01 00:00:00", "2024-01-01T00:00:01.5"], [0, 1_500_000_000]),
    ],
)
def test_any_csv_by_a_column_mapping(read, unit: str, values: list[str], expected_ns: list[int]) -> None:
    text = "t,x,p,o\n" + "".join(f"{value},?,{i + 1},{i}\n" for i, value in enumerate(values))
    columns = Columns(arrival="t", prompt_tokens="p", output_tokens="o")
    rows = read(text, columns=columns, time_unit=unit)
    assert rows.arrival_ns.tolist() == expected_ns
    assert rows.prompt_tokens.tolist() == [1, 2]
    assert rows.output_tokens.tolist() == [0, 1]


def test_the_origin_can_be_said(read) -> None:
    assert read(SPLITWISE, origin="first_row").arrival_ns.tolist() == [0, 2_250_000_000]
    assert read(BURSTGPT, origin="zero").arrival_ns.tolist() == [5 * 10**9, 118 * 10**9]


def test_parquet_by_a_column_mapping(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "trace.parquet"
    stamps = pa.array(np.array(["2024-01-01T00:00:00", "2024-01-01T00:00:02"], dtype="datetime64[us]"))
    parquet.write_table(pa.table({"at": stamps, "p": [5, 6], "o": [7.0, 0.0]}), path)
    columns = Columns(arrival="at", prompt_tokens="p", output_tokens="o")
    rows = read_trace(Trace(file=str(path), columns=columns, time_unit="timestamp"))
    assert rows.arrival_ns.tolist() == [0, 2 * 10**9]
    assert rows.output_tokens.tolist() == [7, 0]


def test_a_null_in_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "trace.parquet"
    parquet.write_table(
        pa.table({"arrival_s": [0.0, 1.0], "prompt_tokens": [5, None], "output_tokens": [7, 8]}), path
    )
    with pytest.raises(InputError, match=r"line 2: prompt_tokens: null"):
        read_trace(Trace(file=str(path)))


def test_gzip_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(VIDUR.encode()))
    assert read_trace(Trace(file=str(path))).prompt_tokens.tolist() == [374, 396]


def test_byte_order_mark_windows_line_ends_and_blank_lines_are_harmless(read) -> None:
    text = "\ufeff" + VIDUR.replace("\n", "\r\n") + "\r\n6.5,1,1\r\n\r\n"
    assert read(text).prompt_tokens.tolist() == [374, 396, 1]


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        ("abc", "arrived_at"),
        ("nan", "arrived_at"),
        ("inf", "arrived_at"),
        ("-1", "arrived_at"),
        ("", "arrived_at"),
    ],
)
def test_a_broken_time_is_named(problems, cell: str, column: str) -> None:
    (line,) = problems(f"{VIDUR}{cell},10,10\n")
    assert line.startswith(f"trace.csv: line 4: {column}: ")
    assert "allowed: a time of 0 or more, in s" in line


@pytest.mark.parametrize("cell", ["x", "nan", "-5", "1.5", "", "3000000000", "1e400"])
def test_a_broken_token_count_is_named(problems, cell: str) -> None:
    (line,) = problems(f"{VIDUR}7.0,{cell},10\n")
    assert line.startswith("trace.csv: line 4: num_prefill_tokens: ")
    assert "allowed: a whole number of tokens" in line


def test_whole_numbers_may_be_written_as_floats_or_with_spaces(read) -> None:
    rows = read(VIDUR + "7.0, 472.0 ,1e2\n")
    assert (rows.prompt_tokens[-1], rows.output_tokens[-1]) == (472, 100)


@pytest.mark.parametrize("cell", ["yesterday", "2024-13-01 00:00:00+00:00", "2024-05-10 00:00:03", ""])
def test_a_broken_timestamp_is_named(problems, cell: str) -> None:
    (line,) = problems(f"{AZURE_2024}{cell},10,10\n")
    assert line.startswith("trace.csv: line 5: TIMESTAMP: ")
    assert "date and time" in line


def test_all_broken_rows_are_said_at_once(problems) -> None:
    found = problems(VIDUR + "6,x,1\n7,1,-1\n8,1\n9,1,1,1\n,,\n11,1,1\nzzz,nan,1.5\n")
    assert [line.split(": ")[1] for line in found] == [
        "line 4", "line 5", "line 6", "line 7", "line 8", "line 8", "line 8", "line 10", "line 10", "line 10",
    ]  # fmt: skip
    assert any("3 columns, not 2" in line for line in found)


def test_only_so_many_broken_rows_are_named(problems) -> None:
    assert len(problems(VIDUR + "x,x,x\n" * 1000)) == 20


def test_an_unsorted_row_is_named_and_sorting_helps(problems, read) -> None:
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n1,1,1\n3,3,3\n2,2,2\n4,4,4\n"
    (line,) = problems(text)
    assert line.startswith("trace.csv: line 4: arrived_at: '1 s before the row above'")
    rows = read(text, sort=True)
    assert rows.prompt_tokens.tolist() == [1, 2, 3, 4]
    assert rows.row.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("not json", "line 3: row: 'not json' is not valid; allowed: a JSON object"),
        ("[1]", "line 3: row: '[1]'"),
        ('{"timestamp": 1, "input_length": 1}', "line 3: output_length: 'missing'"),
        ('{"timestamp": "1", "input_length": 1, "output_length": 1}', "line 3: timestamp: '1'"),
        ('{"timestamp": 4000, "input_length": true, "output_length": 1}', "line 3: input_length: true"),
        ('{"timestamp": 4000, "input_length": NaN, "output_length": 1}', "line 3: input_length: nan"),
        (
            '{"timestamp": 2000, "input_length": 1, "output_length": 1}',
            "line 3: timestamp: '1 s before the row above'",
        ),
    ],
)
def test_a_broken_json_line_is_named(problems, row: str, said: str) -> None:
    assert any(said in line for line in problems(f"{MOONCAKE}{row}\n", "m.jsonl"))


def test_a_missing_column_is_named_with_the_nearest(problems) -> None:
    columns = Columns(arrival="arived_at", prompt_tokens="num_prefill_tokens", output_tokens="nothing")
    found = problems(VIDUR, columns=columns)
    assert len(found) == 2
    assert "'arived_at'" in found[0]
    assert "did you mean 'arrived_at'?" in found[0]


def test_unknown_columns_say_what_is_known(problems) -> None:
    (line,) = problems("a,b,c\n1,2,3\n")
    assert "azure: TIMESTAMP, ContextTokens, GeneratedTokens" in line
    assert "columns" in line


def test_a_stated_format_must_fit(problems) -> None:
    assert all("TIMESTAMP" in p or "Tokens" in p for p in problems(VIDUR, format="azure"))


@pytest.mark.parametrize("text", ["", "arrived_at,num_prefill_tokens,num_decode_tokens\n"])
def test_an_empty_file_is_said(problems, text: str) -> None:
    assert problems(text)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(
        InputError, match=r"trace.file: 'nowhere.csv' is not valid; allowed: a file that exists"
    ):
        read_trace(Trace(file="nowhere.csv"))


@pytest.mark.parametrize("name", ["trace.parquet", "trace.csv"])
def test_bytes_that_are_no_trace_are_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe\x00\x01" * 100)
    with pytest.raises(InputError):
        read_trace(Trace(file=str(path)))


def test_reading_stops_after_the_window(read, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken row far behind the window is never reached: big files need not be read whole."""
    monkeypatch.setattr("sim.workload.readers.BLOCK_BYTES", 4096)
    text = VIDUR + "".join(f"{6 + i},1,1\n" for i in range(5000)) + "broken,1,1\n"
    assert read(text, end_s=10.0).arrival_ns[-1] >= 10 * 10**9 - 10**9
    with pytest.raises(InputError, match="line 5004"):
        read(text)


@pytest.mark.parametrize(
    ("path", "n", "last_s", "prompt_mean"),
    [
        ("azure_llm_2023/original/AzureLLMInferenceTrace_conv.head.csv", 13_828, 2334.016884, 1202.9),
        ("azure_llm_2023/original/AzureLLMInferenceTrace_code.head.csv", 7_148, 2290.56286, 2027.8),
        ("mooncake/original/conversation_trace.head.jsonl", 7_689, 2357.999, 12_449.0),
        ("mooncake/original/synthetic_trace.jsonl", 3_993, 1022.025, None),
        ("lengths/original/vidur_arxiv_summarization.head.csv", 18_838, None, 2580.3),
        ("lengths/original/sarathi_sharegpt_8k.head.csv", 20_487, None, None),
        ("burstgpt_derived/sample_rows_v1.csv", 3, 113.0, None),
        ("burstgpt_derived/sample_rows_v3.csv", 4, 144.0, None),
    ],
)
def test_published_originals(path: str, n: int, last_s: float | None, prompt_mean: float | None) -> None:
    rows = read_trace(Trace(file=str(shared_data(f"traces/{path}"))))
    assert len(rows.row) == n
    if last_s is not None:
        assert rows.arrival_ns[-1] / 1e9 == pytest.approx(last_s)
    if prompt_mean is not None:
        assert rows.prompt_tokens.mean() == pytest.approx(prompt_mean, rel=1e-4)


def test_the_original_and_its_parquet_copy_are_one_trace() -> None:
    """Arrivals agree to the 100 ns that the original is written in."""
    original = read_trace(
        Trace(file=str(shared_data("traces/azure_llm_2023/original/AzureLLMInferenceTrace_conv.head.csv")))
    )
    copy = read_trace(Trace(file=str(shared_data("traces/azure_llm_2023/conv.parquet"))))
    assert np.array_equal(original.prompt_tokens, copy.prompt_tokens)
    assert np.array_equal(original.output_tokens, copy.output_tokens)
    assert np.abs(original.arrival_ns - copy.arrival_ns).max() <= 1000
