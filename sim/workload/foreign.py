"""Files that people have at hand and that are no traces: what each is, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

MEASURED = (
    "a measurement and no recording of traffic; give traffic.arrivals its rate and traffic.prompt_tokens and"
    " output_tokens its lengths, and compare what `run` then says with it"
)
BENCHMARK = MEASURED.replace(
    "traffic;", "traffic; `fleetsim calibrate` fits step times to it; to simulate its load"
)
RATE = (
    "rates and no requests; give its mean to traffic.arrivals.rate_per_s and its course to traffic.curves.day, or record"
    " a row a request"
)

MAGIC = {
    b"version https://git-lfs": "a Git LFS pointer and not the file that it points to; run `git lfs pull` where it comes"
    " from, or download the file itself",
    b"PK\x03\x04": "a zip archive (or a spreadsheet); unpack it, or export it as CSV",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it (`unzstd`), gzip alone is read as it is",
    b"BZh": "packed with bzip2; unpack it (`bunzip2`), gzip alone is read as it is",
    b"\xfd7zXZ": "packed with xz; unpack it (`unxz`), gzip alone is read as it is",
    b"\x80\x04\x95": "a Python pickle, which is never loaded; write it as CSV or Parquet",
    b"SQLite format 3": "an SQLite database; export its table as CSV",
    b"ARROW1": "an Arrow or Feather file; write it as Parquet",
    b"%PDF": "a PDF; give a trace",
}

JSON_SIGNS: tuple[tuple[set[str], str], ...] = (
    ({"request_throughput", "mean_ttft_ms"}, f"a result of `vllm bench serve` (or SGLang's bench_serving): {BENCHMARK}"),
    ({"num_prompts", "total_input_tokens"}, f"a result of `vllm bench serve`: {BENCHMARK}"),
    ({"elapsed_time", "num_requests", "total_num_tokens"}, f"a result of `vllm bench throughput`: {MEASURED}"),
    ({"avg_latency", "latencies"}, f"a result of `vllm bench latency`: {MEASURED}"),
    ({"benchmarks"}, f"a guidellm report: {BENCHMARK}"),
    ({"metadata", "metrics"}, f"an AIPerf export (profile_export.jsonl): {MEASURED}"),
    ({"input_config", "request_throughput"}, f"an AIPerf export (profile_export_aiperf.json): {BENCHMARK}"),
    ({"time_to_first_token", "request_throughput"}, f"an AIPerf export: {MEASURED}"),
    ({"service_kind", "experiments"}, f"a genai-perf export: {MEASURED}"),
    ({"root_group", "metrics"}, f"a k6 summary: {MEASURED}"),
    ({"metric", "type", "data"}, f"k6's JSON output, HTTP timings without tokens: {MEASURED}"),
    ({"resourceSpans"}, "an OpenTelemetry export; write a row a request with its time and tokens, as CSV or JSON lines"),
    ({"custom_id", "method", "body"}, "an OpenAI batch file: requests in texts, without times or answers; count their"
     " tokens and give them as columns prompt_tokens and output_tokens"),
)  # fmt: skip
HEADER_SIGNS: tuple[tuple[set[str], str], ...] = (
    ({"metric_name", "metric_value"}, f"k6's CSV output, HTTP timings without tokens: {MEASURED}"),
    ({"Request Count", "Failure Count"}, f"Locust's statistics, HTTP timings without tokens: {MEASURED}"),
    ({"timeStamp", "elapsed", "label"}, f"a JMeter log, HTTP timings without tokens: {MEASURED}"),
    ({"Metric", "avg", "p99"}, f"an AIPerf or genai-perf export (CSV): {MEASURED}"),
    (
        {"response-time", "status-code", "offset"},
        f"hey's CSV output, HTTP timings without tokens: {MEASURED}",
    ),
)
SERVEGEN_LENGTHS = (
    "ServeGen's length distributions of one client (chunk-*-dataset.json): no requests; use traffic=api_large_model,"
    " api_mid_model or reasoning, which were fitted to ServeGen, or give quantiles to traffic.prompt_tokens"
)
SERVEGEN_RATES = (
    "ServeGen's rates of one client in windows of ten minutes (chunk-*-trace.csv): no requests; use"
    " traffic=api_large_model, api_mid_model or reasoning, which were fitted to ServeGen, or arrivals of kind clients"
)
TIME_NAMES = {"time", "timestamp", "date", "datetime", "ts"}
TOKENS = re.compile(r"token|prompt|input|output|length|context|generated", re.IGNORECASE)
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
FAMILIES = {"", "Gamma", "Weibull", "Expon", "Exponential", "Pareto", "Lognorm"}


def known_bytes(head: bytes) -> str | None:
    """What a file is by its first bytes, where that can be no trace."""
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            return what
    text = head.lstrip()[:100].lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page; download the file itself (its `raw` link)"
    if text.startswith((b"<?xml", b"<")):
        return "XML; give CSV, Parquet or JSON lines"
    if head and not head.strip(b"\x00"):
        return "nothing but zero bytes; download it again"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text in UTF-16 (or no text); save it as UTF-8"
    return None


def known_json(value: Any) -> str | None:
    """What a JSON value is by its keys, where that can be no trace."""
    if isinstance(value, list):
        value = next((entry for entry in value if isinstance(entry, dict)), None)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("data"), dict) and "resultType" in value["data"]:
        return f"an answer of Prometheus: {RATE}"
    inner = next(iter(value.values()), None)
    if all(str(key).isdecimal() for key in value) and isinstance(inner, dict) and "input_tokens" in inner:
        return SERVEGEN_LENGTHS
    return by_signs(JSON_SIGNS, value)


def known_header(header: list[str]) -> str | None:
    """What a CSV file is by its first line, where that can be no trace."""
    found = by_signs(HEADER_SIGNS, header)
    if found is not None:
        return found
    if len(header) == 6 and _all(header, lambda cell: bool(NUMBER.fullmatch(cell)) or cell in FAMILIES):
        return SERVEGEN_RATES
    if header and _all(header, lambda cell: bool(NUMBER.fullmatch(cell))):
        return "without a header line: its first line is numbers; name the columns in a first line"
    named = [name for name in header if name]
    if len(named) > 1 and named[0].lower() in TIME_NAMES and not any(TOKENS.search(name) for name in named):
        return f"a rate over time (as Prometheus and Grafana export it): {RATE}"
    return None


def by_signs(signs: tuple[tuple[set[str], str], ...], names: Iterable[str]) -> str | None:
    """The first thing whose signs are all among the names."""
    names = set(names)
    return next((what for sign, what in signs if sign <= names), None)


def _all(cells: list[str], good: Callable[[str], bool]) -> bool:
    return all(good(cell) for cell in cells) and any(cells)
