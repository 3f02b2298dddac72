"""Operating points from the results of benchmark clients: vllm bench serve, guidellm, AIPerf; else Prometheus answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sim.errors import InputError
from sim.steptime.points import FORMS, Point, Points, make_point

#: a key of another tool's file → what the file is
FOREIGN = {
    "conversations": "ShareGPT's conversations",
    "hash_ids": "a trace of requests",
    "traceEvents": "a profiler's trace",
    "model_type": "a model's config.json",
    "results": "another benchmark's result",
}


def from_json(documents: Sequence[tuple[str, Any]]) -> Points:
    """Points of JSON documents, each with its file's name; raises InputError for what is none of the known forms."""
    from sim.steptime.counters import from_prometheus

    points: list[Point] = []
    problems: list[str] = []
    series: list[tuple[str, Any]] = []
    for name, found in _single(documents):
        reader = _reader_of(found)
        if reader is None and _is_prometheus(found):
            series.append((name, found))
            continue
        try:
            if reader is None:
                raise ValueError(f"{_what_it_is(found)}; allowed: {FORMS}")
            points += reader(name, found)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InputError(dict.fromkeys(problems))
    if not series:
        return Points("", tuple(points))
    counted = from_prometheus(series)
    return Points("", (*points, *counted.points), counted.notes)


def _single(documents: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each result of documents that may be lists of them."""
    for name, document in documents:
        if isinstance(document, list) and document and all(_reader_of(entry) for entry in document):
            yield from ((f"{name}, entry {i}", entry) for i, entry in enumerate(document, start=1))
        else:
            yield name, document


def _reader_of(found: Any) -> Callable[[str, dict[str, Any]], list[Point]] | None:
    """Who reads a document, by what it holds."""
    if not isinstance(found, dict):
        return None
    if "total_output_tokens" in found and (
        "median_itl_ms" in found or "mean_tpot_ms" in found or "itls" in found
    ):
        return of_vllm_bench
    if isinstance(found.get("benchmarks"), list):
        return of_guidellm
    if isinstance(found.get("inter_token_latency"), dict) or isinstance(
        found.get("output_token_throughput"), dict
    ):
        return of_aiperf
    return None


def _is_prometheus(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("data"), dict) and "result" in found["data"]


def _what_it_is(found: Any) -> str:
    """What a document that nobody reads seems to be."""
    first = found[0] if isinstance(found, list) and found else found
    keys = list(first) if isinstance(first, dict) else []
    known = next((what for key, what in FOREIGN.items() if key in keys), None)
    if known:
        return f"this is {known}, no operating point"
    shown = ", ".join(map(str, keys[:6])) or type(found).__name__
    return f"this JSON ({shown[:80]}) holds no operating point"


def _get(found: Any, *path: str) -> float | None:
    """The number at a path of keys; None where there is none."""
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        value = float(found)
    except OverflowError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _known(**values: float | None) -> dict[str, float]:
    """What is there."""
    return {key: value for key, value in values.items() if value is not None}


def _per(total: float | None, count: float | None) -> float | None:
    return total / count if total is not None and count is not None else None


# ---- vllm bench serve ----------------------------------------------------------------------------


def of_vllm_bench(name: str, found: dict[str, Any]) -> list[Point]:
    """The result that `vllm bench serve --save-result` writes: one point."""
    count = _get(found, "completed")
    if count is None:
        raise ValueError("no request was completed")
    gaps = _gaps_ms(found.get("itls"))
    raw = _known(
        concurrency=_get(found, "max_concurrency"),
        itl_p50=_get(found, "median_itl_ms") or (float(np.median(gaps)) if len(gaps) else None),
        itl_mean=_get(found, "mean_itl_ms")
        or (float(gaps.mean()) if len(gaps) else _get(found, "mean_tpot_ms")),
        itl_p90=_get(found, "p90_itl_ms") or (float(np.quantile(gaps, 0.9)) if len(gaps) else None),
        output_tokens_per_s=_get(found, "output_throughput")
        or _per(_get(found, "total_output_tokens"), _get(found, "duration")),
        prompt_tokens=_per(_get(found, "total_input_tokens"), count),
        output_tokens=_per(_get(found, "total_output_tokens"), count),
        ttft=_get(found, "mean_ttft_ms"),
    )
    return [make_point(name, raw, output_spread=_spread(found.get("output_lens")))]


def _gaps_ms(lists: Any) -> np.ndarray:
    """All gaps between tokens, ms; empty where they were not kept."""
    if not isinstance(lists, list):
        return np.zeros(0)
    flat = [gap for gaps in lists if isinstance(gaps, list) for gap in gaps]
    numbers = [float(g) for g in flat if isinstance(g, int | float) and not isinstance(g, bool)]
    return 1e3 * np.array([g for g in numbers if math.isfinite(g) and g > 0])


def _spread(lengths: Any) -> float | None:
    """Standard deviation over mean of lengths; None where they were not kept."""
    if not isinstance(lengths, list):
        return None
    values = np.array(
        [float(v) for v in lengths if isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < 1e9]
    )
    return float(values.std() / values.mean()) if len(values) > 1 else None


# ---- guidellm ------------------------------------------------------------------------------------


def of_guidellm(name: str, found: dict[str, Any]) -> list[Point]:
    """guidellm's benchmarks.json: a point for each benchmark. Its gaps are means of requests, not single gaps."""
    if not found["benchmarks"]:
        raise ValueError("no benchmarks in it")
    points = []
    for i, entry in enumerate(found["benchmarks"], start=1):
        metrics = entry.get("metrics") if isinstance(entry, dict) else None
        if not isinstance(metrics, dict):
            raise ValueError(
                f"benchmark {i} has no metrics; write the whole report, as guidellm's --output-path x.json"
            )

        def value(metric: str, what: str, of: dict[str, Any] = metrics) -> float | None:
            return _get(of, metric, "successful", what) or _get(of, metric, what)

        raw = _known(
            concurrency=_get(entry, "config", "strategy", "streams")
            or _get(entry, "args", "strategy", "streams"),
            itl_mean=value("inter_token_latency_ms", "mean"),
            output_tokens_per_s=value("output_tokens_per_second", "mean"),
            prompt_tokens=value("prompt_token_count", "mean"),
            output_tokens=value("output_token_count", "mean"),
            ttft=value("time_to_first_token_ms", "mean"),
        )
        if "concurrency" not in raw:
            raw |= _known(concurrency=value("request_concurrency", "mean"))
        deviation, mean = value("output_token_count", "std_dev"), value("output_token_count", "mean")
        try:
            points.append(make_point(f"{name}, benchmark {i}", raw, output_spread=_per(deviation, mean)))
        except ValueError as error:
            raise ValueError(f"benchmark {i}: {error}") from None
    return points


# ---- AIPerf --------------------------------------------------------------------------------------

AIPERF_UNITS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "ns": 1e-6}


def of_aiperf(name: str, found: dict[str, Any]) -> list[Point]:
    """profile_export_aiperf.json: one point. Its inter-token latencies are means of requests, not single gaps."""

    def time_ms(metric: str) -> float | None:
        value, block = _get(found, metric, "avg"), found.get(metric)
        if value is None or not isinstance(block, dict):
            return None
        unit = str(block.get("unit", "ms")).lower()
        if unit not in AIPERF_UNITS:
            raise ValueError(f"{metric}: unit {unit[:20]!r} is not one of {', '.join(AIPERF_UNITS)}")
        return value * AIPERF_UNITS[unit]

    raw = _known(
        concurrency=_get(found, "input_config", "loadgen", "concurrency")
        or _get(found, "effective_concurrency", "avg"),
        itl_mean=time_ms("inter_token_latency"),
        output_tokens_per_s=_get(found, "output_token_throughput", "avg"),
        prompt_tokens=_get(found, "input_sequence_length", "avg"),
        output_tokens=_get(found, "output_sequence_length", "avg"),
        ttft=time_ms("time_to_first_token"),
    )
    spread = _per(_get(found, "output_sequence_length", "std"), _get(found, "output_sequence_length", "avg"))
    return [make_point(name, raw, output_spread=spread)]
