"""Measured operating points of real engines as scenarios: what scripts/accuracy.py simulates.

Two public collections, read from where they lie and not part of this repository:

- ML.ENERGY Benchmark v3 (github.com/ml-energy/leaderboard, December 2025): vLLM 0.11.1 on H100 and B200, saturated.
- points of public benchmark pages and issues (2024 to 2026), a row a point, the source named in the row.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ML_ENERGY = "latency/ml_energy/measured.csv"
PUBLIC = "latency/public_benchmarks/points.csv"
#: The prompts of each task are not published: their mean (from the gap between mean and median step) and spread are
#: assumed, and so is E[L²]/2E[L]², the age of a running sequence in mean answers.
TASKS = {"lm-arena-chat": (250, 1.6, 1.0), "gpqa": (250, 0.5, 0.75), "sourcegraph-fim": (2400, 1.0, 1.0)}
PRECISION = {"bfloat16": "bf16", "fp8": "fp8", "mxfp4": "mxfp4"}
GPU = {"H100": "h100", "B200": "b200"}
#: prefix of the published name → option of the catalogue; the longest that fits counts
MODEL = {
    "Qwen/Qwen3-8B": "qwen3_8b",
    "Qwen/Qwen3-14B": "qwen3_14b",
    "Qwen/Qwen3-32B": "qwen3_32b",
    "Qwen/Qwen3-30B-A3B": "qwen3_30b_a3b",
    "Qwen/Qwen3-Coder-30B-A3B": "qwen3_coder_30b_a3b",
    "Qwen/Qwen3-235B-A22B": "qwen3_235b_a22b",
    "Qwen/Qwen3-Coder-480B-A35B": "qwen3_coder_480b_a35b",
    "meta-llama/Llama-3.1-8B": "llama_3_1_8b",
    "meta-llama/Llama-3.1-70B": "llama_3_1_70b",
    "meta-llama/Llama-3.3-70B": "llama_3_1_70b",
    "meta-llama/Llama-3.1-405B": "llama_3_1_405b",
    "meta-llama/Llama-4-Scout": "llama_4_scout",
    "meta-llama/Llama-4-Maverick": "llama_4_maverick",
    "google/gemma-3-12b": "gemma_3_12b",
    "google/gemma-3-27b": "gemma_3_27b",
    "openai/gpt-oss-20b": "gpt_oss_20b",
    "openai/gpt-oss-120b": "gpt_oss_120b",
    "nvidia/NVIDIA-Nemotron-Nano-9B": "nemotron_nano_9b_v2",
    "nvidia/NVIDIA-Nemotron-Nano-12B": "nemotron_nano_12b_v2",
    "deepseek-ai/DeepSeek-V3.1": "deepseek_v3_1",
    "deepseek-ai/DeepSeek-R1": "deepseek_r1",
}
MOE = ("a3b", "a22b", "a35b", "scout", "maverick", "gpt_oss", "deepseek", "mixtral")
N_REQUESTS_MIN = 512
ROUNDS = 3  # requests for each place in the batch


class Case(NamedTuple):
    """A measured point and the scenario that stands for it."""

    name: str
    group: str  # what its error is reported under
    is_well_behaved: bool
    overrides: list[str]
    n_requests: int
    n_running: int
    measured: dict[str, float]  # measure → value: itl_p50_ms, itl_p90_ms, tokens_per_s, ttft_ms, tpot_ms


def option_of(name: str) -> str | None:
    """The catalogue's option for a published name, None where it has none."""
    fits = [prefix for prefix in MODEL if name.startswith(prefix)]
    return MODEL[max(fits, key=len)] if fits else None


def ml_energy_cases(data: Path) -> Iterator[Case]:
    """The rows of the ML.ENERGY collection."""
    with open(data / ML_ENERGY, newline="") as stream:
        for row in csv.DictReader(stream):
            case = ml_energy_case(row)
            if case:
                yield case


def ml_energy_case(row: dict[str, str]) -> Case | None:
    """One saturated steady state: a batch of requests of which `max_num_seqs` run at once."""
    option = option_of(row["model"])
    if option is None:
        return None
    gpus, ep, dp, seqs = (int(row[k]) for k in ("num_gpus", "ep", "dp", "max_num_seqs"))
    prompt, sigma, age = TASKS[row["task"]]
    n_requests = max(N_REQUESTS_MIN, ROUNDS * seqs)
    output = float(row["avg_output_tokens"])
    spread = math.log(max(1.05, 2 * age))
    overrides = [
        f"model={option}",
        f"gpu={GPU[row['gpu']]}",
        f"pool.tp={gpus // dp}",
        f"pool.dp={dp}",
        f"pool.ep={gpus if ep > 1 else 1}",
        f"pool.precision={PRECISION[row['precision']]}",
        f"runtime.max_num_seqs={seqs}",
        "runtime.max_num_batched_tokens=8192",
        *alone(),
        f"traffic.arrivals={{kind: batch, requests: {n_requests}, at_s: 0}}",
        f"traffic.prompt_tokens={lognormal(prompt, sigma**2, 16000)}",
        f"traffic.output_tokens={lognormal(output, spread, 32768)}",
    ]
    p50, p90, rate = (float(row[k]) for k in ("itl_p50_ms", "itl_p90_ms", "output_tokens_per_s"))
    mean = 1e3 * float(row["avg_batch"]) / rate
    starved = row["gpu"] == "B200" and gpus == 1
    ramps = mean / p50 < 0.93 or mean / p50 > 1.45 or float(row["avg_batch"]) > 1100
    kind = "MoE" if any(word in option for word in MOE) else "dense"
    return Case(
        name=f"{row['task']} {row['model']} {row['gpu']}x{gpus} {row['precision']} {seqs}",
        group=f"{row['gpu']} {kind}",
        is_well_behaved=not (starved or ramps or dp > 1),
        overrides=overrides,
        n_requests=n_requests,
        n_running=seqs,
        measured={"itl_p50_ms": p50, "itl_p90_ms": p90, "step_ms": mean, "tokens_per_s": rate},
    )


def alone() -> list[str]:
    """One replica that is there from the start, and nothing but the engine in the way."""
    return [
        "pool.min_replicas=1",
        "pool.max_replicas=1",
        "autoscaler=fixed",
        "coldstart=none",
        "slo=none",
        "duration_s=10",
        "warmup_s=0",
        "drain_s=100000",
    ]


def lognormal(mean: float, variance_log: float, largest: int) -> str:
    """Lengths of a mean and a variance of their logarithm."""
    mu = math.log(mean) - variance_log / 2
    return f"{{kind: lognormal, mu: {mu:.4f}, sigma: {math.sqrt(variance_log):.4f}, min: 1, max: {largest}}}"


# ---- public benchmark pages ----------------------------------------------------------
PUBLIC_GPU = {
    "A100-40": "a100_40",
    "A100-80": "a100_80",
    "H100": "h100",
    "H200": "h200",
    "B200": "b200",
    "MI300X": "mi300x",
    "L4": "l4",
    "L40S": "l40s",
}
PUBLIC_MODEL = {
    "Qwen3-8B": "qwen3_8b",
    "Qwen3-14B": "qwen3_14b",
    "Qwen3-32B": "qwen3_32b",
    "Qwen3-30B-A3B": "qwen3_30b_a3b",
    "DeepSeek-R1": "deepseek_r1",
    "Llama-3.1-8B": "llama_3_1_8b",
    "Llama-3.1-70B": "llama_3_1_70b",
    "Llama-3.1-405B": "llama_3_1_405b",
    "Llama-4-Scout": "llama_4_scout",
    "Llama-3.2-11B text (8B stands in)": "llama_3_1_8b",
}
WEIGHTS = {"bf16": "bf16", "fp8": "fp8", "fp8 (weights only)": "fp8_weights", "AWQ int4": "int4"}
SHAREGPT = (
    (250, 1.2, 1024),
    (215, 1.1, 1024),
)  # mean, spread of the logarithm, longest: of prompts, of answers
MEASURES = {"output_tokens_per_s": "tokens_per_s", "ttft_mean_ms": "ttft_ms", "tpot_mean_ms": "tpot_ms"}


def public_cases(data: Path) -> Iterator[Case]:
    """The points of public benchmark pages."""
    with open(data / PUBLIC, newline="") as stream:
        for row in csv.DictReader(stream):
            if row["model"] in PUBLIC_MODEL and row["gpu"] in PUBLIC_GPU and row["weights"] in WEIGHTS:
                yield public_case(row)


def public_case(row: dict[str, str]) -> Case:
    """One measured point: so many requests, all at once or so many at a time.

    Benchmark clients ask for greedy decoding or draw from the whole distribution (vllm bench serve: temperature 0; vLLM's
    offline benchmarks: top_p 1): nothing is sorted, which ML.ENERGY's clients leave to the model's own settings.
    """
    n_requests = int(row["requests"])
    running = n_requests if row["concurrency"] == "all" else int(row["concurrency"])
    (prompt, s_prompt, longest), (output, s_output, _) = SHAREGPT
    lengths = [
        f"traffic.prompt_tokens={lognormal(prompt, s_prompt**2, longest)}",
        f"traffic.output_tokens={lognormal(output, s_output**2, longest)}",
    ]
    if row["prompt_tokens"]:
        lengths = [f"traffic.{side}_tokens={row[f'{side}_tokens']}" for side in ("prompt", "output")]
    arrivals = f"{{kind: concurrency, max: {running}, requests: {n_requests}}}"
    if running == n_requests:
        arrivals = f"{{kind: batch, requests: {n_requests}, at_s: 0}}"
    overrides = [
        f"model={PUBLIC_MODEL[row['model']]}",
        f"gpu={PUBLIC_GPU[row['gpu']]}",
        f"pool.tp={row['tp']}",
        f"pool.precision={WEIGHTS[row['weights']]}",
        f"pool.kv_precision={row['kv'] or 'bf16'}",
        f"runtime={runtime_of(row)}",
        "runtime.sampling_us=0",
        *([f"runtime.max_num_seqs={row['max_num_seqs']}"] if row["max_num_seqs"] else []),
        *(["runtime.enforce_eager=true"] if "eager" in row["engine"] else []),
        *(["runtime.max_num_batched_tokens=131072"] if "131072" in row["note"] else []),
        *alone(),
        *([] if running == n_requests else ["duration_s=20000"]),
        f"traffic.arrivals={arrivals}",
        *lengths,
    ]
    measured = {ours: float(row[theirs]) for theirs, ours in MEASURES.items() if row[theirs]}
    if "decode alone" in row["note"]:
        measured = {"tpot_ms": 1e3 * running / measured["tokens_per_s"]}
    if row["duration_s"] and not row["output_tokens_per_s"]:
        measured["duration_s"] = float(row["duration_s"])
    engine = row["engine"].split(",")[0].split(" (")[0].split(" 0.")[0]
    return Case(
        name=public_name(row, running == n_requests),
        group=engine,
        is_well_behaved="cached" not in row["note"] and "stands in" not in row["model"],
        overrides=overrides,
        n_requests=n_requests,
        n_running=running,
        measured=measured,
    )


def public_name(row: dict[str, str], is_batch: bool) -> str:
    """Where a point is from and what it is."""
    source = re.sub(r" issue \d+$", "'s issues", row["source"])
    lengths = f"{row['prompt_tokens']}/{row['output_tokens']}" if row["prompt_tokens"] else "ShareGPT"
    load = f"{row['requests']} given at once" if is_batch else f"{row['concurrency']} at a time"
    return f"{source}: {row['model']} {row['weights']} on {row['num_gpus']} {row['gpu']}, {lengths}, {load}"


def runtime_of(row: dict[str, str]) -> str:
    """The preset of a point's engine; vLLM's defaults depend on the GPU."""
    if row["engine"].startswith("TensorRT"):
        return "tensorrt_llm"
    if row["engine"].startswith("SGLang"):
        return "sglang"
    return (
        "vllm_api_server" if row["gpu"] in ("A100-40", "A100-80", "L4", "L40S") else "vllm_api_server_large"
    )
