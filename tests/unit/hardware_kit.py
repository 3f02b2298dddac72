"""Catalogue entries and pools for the tests of hardware and step time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import yaml

from sim.fill.knots import knot_tokens
from sim.scenario.hardware import Gpu, Law, Model
from sim.steptime import StepTable

CONF = Path(__file__).parents[2] / "conf"
DATA = Path(__file__).parent / "data"


def gpu(option: str) -> Gpu:
    return Gpu(**yaml.safe_load((CONF / "gpu" / f"{option}.yaml").read_text()))


def model(option: str) -> Model:
    return Model(**yaml.safe_load((CONF / "model" / f"{option}.yaml").read_text()))


def pool(on: str = "h100", of: str = "llama_3_1_8b", **changes: object) -> SimpleNamespace:
    """A pool with the default runtime; `changes` replace its own or the runtime's fields."""
    runtime: dict[str, object] = {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "block_size": 16,
        "gpu_memory_utilization": 0.9,
        "num_kv_blocks": None,
        "chunked_prefill": True,
        "max_model_len": None,
        "enforce_eager": False,
        "async_scheduling": True,
        "api_server_count": None,
    }
    runtime |= {k: changes.pop(k) for k in list(changes) if k in runtime}
    own = {
        "name": "main",
        "tp": 1,
        "pp": 1,
        "ep": 1,
        "dp": 1,
        "precision": "bf16",
        "kv_precision": "bf16",
        "slice": None,
        "steptime": Law(),
    }
    return SimpleNamespace(
        gpu=gpu(on), model=model(of), runtime=SimpleNamespace(**runtime), **(own | changes)
    )


def step_ps(table: StepTable, n: int, kv: int, chunks: list[tuple[int, int]]) -> int:
    """The formula of a step, in Python ints: chunks are (context, chunk)."""
    pairs = sum(chunk * (2 * context + chunk) for context, chunk in chunks)
    alone = int(table.base_ps[n]) + int(table.slope_ps[n]) * kv
    tokens = sum(chunk for _, chunk in chunks)
    if tokens == 0:
        return alone
    added = work_ps(table, n + tokens) - work_ps(table, n) + (table.mixed_ps if n > 0 else 0)
    return alone + added + ((table.attention_q16 * pairs) >> 17)


def work_ps(table: StepTable, tokens: int) -> int:
    """The time of a step's tokens by number: linear between knots, rounded down."""
    knots = [int(k) for k in knot_tokens()]
    i = max(k for k, knot in enumerate(knots) if knot <= tokens)
    left, right = int(table.work_ps[i]), int(table.work_ps[i + 1])
    return left + (right - left) * (tokens - knots[i]) // (knots[i + 1] - knots[i])
