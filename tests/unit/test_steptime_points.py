"""Operating points: read from CSVs, benchmark results and counters, or refused in a line that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import shared_data

from sim.errors import InputError
from sim.steptime.points import Point, is_steps_file, read_points

HEADER = "running,itl_p50_ms,output_tokens_per_s\n"
BENCH: dict[str, Any] = {
    "backend": "vllm",
    "max_concurrency": 64,
    "duration": 100.0,
    "completed": 320,
    "total_input_tokens": 320 * 512,
    "total_output_tokens": 320 * 128,
    "output_throughput": 409.6,
    "mean_ttft_ms": 127.0,
    "median_tpot_ms": 10.5,
    "mean_tpot_ms": 11.0,
    "mean_itl_ms": 11.0,
    "median_itl_ms": 10.0,
    "p99_itl_ms": 40.0,
}


def written(folder: Path, text: str | dict[str, Any] | list[Any], name: str = "points.csv") -> Path:
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def points(path: Path) -> tuple[Point, ...]:
    return read_points([path]).points


def test_a_row_is_a_point_and_its_mean_step_follows_from_its_rate(tmp_path: Path) -> None:
    found = points(written(tmp_path, HEADER + "64,17.5,3200\n\n128,21,\n"))
    assert [(p.running, p.p50_ms, p.mean_ms) for p in found] == [(64, 17.5, 20.0), (128, 21.0, None)]
    assert found[1].where == "points.csv, line 4"


@pytest.mark.parametrize(
    ("header", "row", "running", "p50", "mean"),
    [
        ("concurrency,median_itl_s,mean_ttft_ms,output_tokens", "64,0.01,330,34", 32.0, 10.0, None),
        ("Max Concurrency,tpot_ms", "8,12", 8.0, None, 12.0),
        ("vllm:num_requests_running,ITL-p50-us", "8,12000", 8.0, 12.0, None),
        ("avg_batch,itl_p50_ms,itl_p90_ms,other", "8,12,13,x", 8.0, 12.0, None),
        ("concurrency,output_throughput", "50,1000", 50.0, None, 50.0),
    ],
)
def test_columns_are_known_by_their_names_in_any_unit(
    tmp_path: Path, header: str, row: str, running: float, p50: float | None, mean: float | None
) -> None:
    (found,) = points(written(tmp_path, f"{header}\n{row}\n"))
    assert found.running == pytest.approx(running)
    assert (found.p50_ms, found.mean_ms) == (p50 and pytest.approx(p50), mean and pytest.approx(mean))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            HEADER + "64,0.0175,3200\n",
            "line 2: itl_p50_ms: 0.0175 is no number of ms that can be, 0.2 to 60000; is it in",
        ),
        (HEADER + "64,-1,3200\n", "line 2: itl_p50_ms: '-1' must be a finite number above 0"),
        (HEADER + "64,nan,3200\n", "line 2: itl_p50_ms: 'nan' must be a finite number above 0"),
        (HEADER + "64,1e400,3200\n", "line 2: itl_p50_ms: '1e400' must be a finite number above 0"),
        (HEADER + "64,12 %,3200\n", "line 2: itl_p50_ms: '12 %' is not a number"),
        (HEADER + "64,,\n", "line 2: neither itl_p50_ms nor itl_mean_ms nor output_tokens_per_s is given"),
        (HEADER + ",12,3200\n1e9,12,10\n", "line 3: running: 1e+09 is no number of sequences that can be"),
        (HEADER + "64,17.5,3\n", "these do not belong together"),
        (HEADER, "holds no rows"),
        ("", "holds no rows"),
        ("running,running,itl_p50_ms\n1,2,3\n", "column 'running' is there twice"),
        ("running,avg_batch,itl_p50_ms\n1,2,3\n", "two columns say running: running, avg_batch"),
        ("running,itl_p50\n8,12\n", "column 'itl_p50': say its unit, as itl_p50_ms or itl_p50_s"),
        ("runing,itl_p50_ms\n8,12\n", "no column running or concurrency; did you mean 'running' by runing?"),
        ("running,latency\n8,12\n", "no column itl_p50_ms or output_tokens_per_s"),
        ("running,itl_p50_ms,itl_p90_ms\n8,12,11\n", "itl_p90_ms: 11 is below the median, 12"),
    ],
)
def test_a_csv_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_points([path])
    assert said in "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 1


def test_a_result_of_vllm_bench_serve_is_a_point(tmp_path: Path) -> None:
    (found,) = points(written(tmp_path, BENCH, "a.json"))
    # of 128 tokens 127 have a gap of 11 ms; the first took 127 ms: 1,397 of 1,524 ms decoding
    assert found.running == pytest.approx(64 * 1397 / 1524)
    assert (found.p50_ms, found.mean_ms) == (10.0, 11.0)
    assert (found.prompt_tokens, found.output_tokens) == (512, 128)
    assert found.output_spread is None


def test_gaps_that_were_kept_give_their_percentiles(tmp_path: Path) -> None:
    kept = {k: v for k, v in BENCH.items() if "itl" not in k}
    kept |= {"itls": [[0.01] * 9, [0.02]], "output_lens": [10, 30]}
    (found,) = points(written(tmp_path, kept, "a.json"))
    assert (found.p50_ms, found.mean_ms) == (pytest.approx(10), pytest.approx(11))
    assert found.p90_ms == pytest.approx(11)
    assert found.output_spread == pytest.approx(0.5)


def test_results_one_a_line_or_in_a_list_are_as_many_points(tmp_path: Path) -> None:
    other = BENCH | {"max_concurrency": 8}
    lines = json.dumps(BENCH) + "\n" + json.dumps(other) + "\n"
    for text in (lines, json.dumps([BENCH, other])):
        assert len(points(written(tmp_path, text, "a.jsonl"))) == 2
    both = [written(tmp_path, BENCH, "a.json"), written(tmp_path, other, "b.json")]
    assert read_points(both).source == "a.json, b.json"
    assert len(read_points(both).points) == 2


def test_a_guidellm_report_has_a_point_for_each_benchmark(tmp_path: Path) -> None:
    def of(value: float) -> dict[str, Any]:
        return {"successful": {"mean": value, "median": value * 0.9, "std_dev": value / 2}}

    metrics = {
        "inter_token_latency_ms": of(12.0),
        "time_to_first_token_ms": of(100.0),
        "output_tokens_per_second": of(900.0),
        "prompt_token_count": of(512.0),
        "output_token_count": of(101.0),
        "request_concurrency": of(16.0),
    }
    streams = {"config": {"strategy": {"type_": "concurrent", "streams": 32}}, "metrics": metrics}
    found = points(written(tmp_path, {"benchmarks": [{"metrics": metrics}, streams]}, "g.json"))
    assert [p.running for p in found] == [pytest.approx(16 * 1200 / 1300), pytest.approx(32 * 1200 / 1300)]
    assert (found[0].p50_ms, found[0].mean_ms, found[0].output_spread) == (None, 12.0, 0.5)


def test_an_aiperf_export_is_a_point(tmp_path: Path) -> None:
    export = {
        "request_throughput": {"unit": "requests/sec", "avg": 3.0},
        "inter_token_latency": {"unit": "ms", "avg": 12.0, "p50": 11.0, "p90": 20.0},
        "time_to_first_token": {"unit": "s", "avg": 0.1},
        "output_token_throughput": {"unit": "tokens/sec", "avg": 900.0},
        "output_sequence_length": {"unit": "tokens", "avg": 101.0, "std": 20.2},
        "input_sequence_length": {"unit": "tokens", "avg": 512.0},
        "input_config": {"loadgen": {"concurrency": 16}},
    }
    (found,) = points(written(tmp_path, export, "p.json"))
    assert found.running == pytest.approx(16 * 1200 / 1300)
    assert (found.p50_ms, found.mean_ms, found.output_spread) == (None, 12.0, pytest.approx(0.2))
    wrong = export | {"inter_token_latency": {"unit": "furlongs", "avg": 12.0}}
    with pytest.raises(InputError, match="inter_token_latency: unit 'furlongs' is not one of ms"):
        points(written(tmp_path, wrong, "p.json"))


def counters(
    n_minutes: int, running: float, step_s: float, start: float = 0.0
) -> list[tuple[float, float, float, float]]:
    """(time, running, written, prompts) every 15 s."""
    rows = []
    for i in range(4 * n_minutes + 1):
        t = 15.0 * i
        rows.append((1.7e9 + t, running, start + t * running / step_s, 2 * (start + t * running / step_s)))
    return rows


def test_counters_are_windows_of_a_minute_and_points_by_running_sequences(tmp_path: Path) -> None:
    text = "timestamp,vllm:num_requests_running,vllm:generation_tokens_total,prompt_tokens_total,pod\n"
    for pod, running, step_s in (("a", 8, 0.01), ("b", 64, 0.02), ("c", 0.1, 0.01)):
        text += "".join(f"{t},{n},{w},{p},{pod}\n" for t, n, w, p in counters(5, running, step_s))
    found = read_points([written(tmp_path, text)])
    assert [(p.running, p.mean_ms) for p in found.points] == [(8, pytest.approx(10)), (64, pytest.approx(20))]
    assert found.points[0].prompts_per_output == pytest.approx(2.0)
    assert found.notes == ("points.csv: 5 windows idle",)


def test_a_counter_that_restarts_costs_its_window_alone(tmp_path: Path) -> None:
    rows = counters(3, 8, 0.01) + [(t + 300, n, w, p) for t, n, w, p in counters(3, 8, 0.01)]
    text = "time,num_requests_running,generation_tokens_total\n" + "".join(
        f"{t},{n},{w}\n" for t, n, w, _ in rows
    )
    found = read_points([written(tmp_path, text)])
    assert found.points[0].mean_ms == pytest.approx(10.0)
    assert found.notes == ("points.csv: 1 windows with a counter that restarted",)


def prometheus(metrics: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """The answer to a range query."""
    result = [
        {"metric": {"__name__": name, "instance": "x:8000"}, "values": [[t, str(v)] for t, v in values]}
        for name, values in metrics.items()
    ]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def test_prometheus_answers_are_read_from_one_file_or_several(tmp_path: Path) -> None:
    rows = counters(4, 16, 0.0125)
    running = {"vllm:num_requests_running": [(t, n) for t, n, _, _ in rows]}
    written_tokens = {"vllm:generation_tokens_total": [(t, w) for t, _, w, _ in rows]}
    both = [
        written(tmp_path, prometheus(running), "n.json"),
        written(tmp_path, prometheus(written_tokens), "w.json"),
    ]
    for files in ([written(tmp_path, prometheus(running | written_tokens), "all.json")], both):
        (found,) = read_points(files).points
        assert (found.running, found.mean_ms) == (16, pytest.approx(12.5))
    with pytest.raises(InputError, match="no series is named generation_tokens_total"):
        read_points(both[:1])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([{"id": "a", "conversations": []}], "this is ShareGPT's conversations, no operating point"),
        ({"model_type": "llama", "hidden_size": 1}, "this is a model's config.json, no operating point"),
        ({"hello": 1}, "this JSON (hello) holds no operating point"),
        ([1, 2], "this JSON (list) holds no operating point"),
        ({"benchmarks": [{"requests": []}]}, "benchmark 1 has no metrics"),
        ({"benchmarks": []}, "no benchmarks in it"),
        (BENCH | {"completed": 0}, "no request was completed"),
        (BENCH | {"median_itl_ms": 0.01}, "itl_p50_ms: 0.01 is no number of ms that can be"),
        (
            BENCH
            | {
                "median_itl_ms": "12 %",
                "mean_itl_ms": None,
                "mean_tpot_ms": None,
                "output_throughput": None,
                "duration": 0,
            },
            "neither",
        ),
        ({"data": {"result": []}}, "no series is named num_requests_running or generation_tokens_total"),
        ({"data": {"result": [{"value": [1, "2"]}]}}, "no range of values in it"),
        ({"data": {"result": 3}}, "no range of values in it"),
    ],
)
def test_other_json_is_named_as_what_it_is(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_points([written(tmp_path, document, "x.json")])
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("text", ["{", "[1, 2", "{}{}", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_broken_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        read_points([written(tmp_path, text, "x.json")])


def test_a_file_of_steps_is_told_from_points_and_counters(tmp_path: Path) -> None:
    steps = "mode,batch_size,isl,latency_ms\n"
    assert is_steps_file(written(tmp_path, steps))
    assert is_steps_file(written(tmp_path, "mode,batch_size,isl,latency\n"))
    assert is_steps_file(written(tmp_path, "a,b\n"))
    assert not is_steps_file(written(tmp_path, HEADER))
    assert not is_steps_file(written(tmp_path, "timestamp,num_requests_running,generation_tokens_total\n"))
    assert not is_steps_file(written(tmp_path, "{}", "a.json"))


@pytest.mark.parametrize(
    "name", ["guidellm.json", "sharegpt.json", "prom_rate.csv", "k6.csv", "lfs_pointer.csv"]
)
def test_recorded_files_of_other_tools_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        read_points([shared_data(f"hostile/traces/{name}")])


def test_a_recorded_benchmark_is_read() -> None:
    (found,) = read_points([shared_data("hostile/traces/vllm_bench.json")]).points
    assert (found.p50_ms, found.prompt_tokens, found.output_tokens) == (pytest.approx(7.0), 200, 30)
