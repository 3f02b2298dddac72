"""The step-time table of one pool, and how a curve in seconds becomes whole picoseconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.units import PS_PER_S

LIMIT_PS = 2**62  # no single step may pass it: a sum of two still fits in int64


class StepTable(NamedTuple):
    """One pool's step time; every value is an int.

    step_ps = base[n] + slope[n]·kv + prefill·Σchunk + (attention_q16·Σ chunk·(2·context + chunk) >> 17)
    """

    base_ps: np.ndarray  # (max_num_seqs+1,) int64; [0] is the fixed part of a step with prompts alone
    slope_ps: np.ndarray  # (max_num_seqs+1,) int64 ps per KV token attended; [0] is 0
    prefill_ps_per_token: int
    attention_q16: int  # ps per (token attending, token attended) pair, times 2**16
    n_kv_blocks: int  # blocks that fit beside the weights, of the whole gang
    flops_per_token: float = 0.0  # matrix products, one token through the model
    flops_per_attended_token: float = 0.0  # one token attending to one token, all layers
    weight_bytes: float = 0.0  # of the whole model
    kv_bytes_per_token: float = 0.0  # of the whole model, one copy
    peak_flops: float = 0.0  # of the whole gang, per second
    peak_bytes_per_s: float = 0.0  # of the whole gang
    source: str = ""


class Curve(NamedTuple):
    """A step-time curve in seconds, before rounding.

    decode = base[n] + slope[n]·kv; prompts = base[0] + prefill·Σ length + attention·Σ length².
    """

    base_s: np.ndarray  # (max_num_seqs+1,) float
    slope_s: np.ndarray  # (max_num_seqs+1,) float, per KV token attended
    prefill_s_per_token: float
    attention_s_per_token2: float  # a whole prompt of T tokens costs this times T²
    source: str = ""


def decode_s(curve: Curve, n: np.ndarray | int, kv_tokens: np.ndarray | int) -> np.ndarray:
    """Seconds of a decode step of `n` sequences that attend `kv_tokens` tokens together."""
    return curve.base_s[n] + curve.slope_s[n] * kv_tokens


def prompt_s(curve: Curve, n: np.ndarray | int, length: np.ndarray | int) -> np.ndarray:
    """Seconds of a step that computes `n` whole prompts of `length` tokens each."""
    tokens = np.asarray(n) * np.asarray(length, dtype=float)
    per_token = curve.prefill_s_per_token + curve.attention_s_per_token2 * np.asarray(length)
    return curve.base_s[0] + per_token * tokens


def _whole_ps(seconds: np.ndarray) -> np.ndarray:
    """Seconds as int64 picoseconds, no more than LIMIT_PS (which `check_fits_clock` refuses)."""
    return np.rint(np.minimum(seconds, LIMIT_PS / PS_PER_S) * PS_PER_S).astype(np.int64)


def rounded(curve: Curve, n_kv_blocks: int) -> StepTable:
    """The curve in whole picoseconds: base at least 1 ps and not falling from n = 1 on, slope[0] zero."""
    base_s = np.append(curve.base_s[:1], np.maximum.accumulate(curve.base_s[1:]))
    base_ps, slope_ps = _whole_ps(base_s), _whole_ps(curve.slope_s)
    slope_ps[0] = 0
    return StepTable(
        base_ps=np.maximum(base_ps, 1),
        slope_ps=np.maximum(slope_ps, 0),
        prefill_ps_per_token=max(0, round(curve.prefill_s_per_token * PS_PER_S)),
        attention_q16=max(0, round(curve.attention_s_per_token2 * PS_PER_S * 2**17)),
        n_kv_blocks=int(n_kv_blocks),
        source=curve.source,
    )


def longest_step_ps(table: StepTable, chunk_tokens: int, context_tokens: int, kv_tokens: int) -> int:
    """The longest a step can be, as a Python int that cannot overflow.

    chunk_tokens: prompt tokens in one step; context_tokens: the longest sequence; kv_tokens: the whole cache.
    """
    pairs = chunk_tokens * 2 * context_tokens
    attention_ps = int(table.attention_q16) * pairs  # before the shift: this is what must fit
    decode_ps = int(table.base_ps.max()) + int(table.slope_ps.max()) * kv_tokens
    return decode_ps + int(table.prefill_ps_per_token) * chunk_tokens + attention_ps


def check_fits_clock(
    key: str, table: StepTable, chunk_tokens: int, context_tokens: int, kv_tokens: int
) -> None:
    """Raise InputError if a step of this pool could pass the clock's range."""
    longest = longest_step_ps(table, chunk_tokens, context_tokens, kv_tokens)
    if longest >= LIMIT_PS:
        raise InputError(
            f"{key}: a step of {chunk_tokens} prompt tokens in sequences of {context_tokens} could pass the "
            "clock's range; lower model.max_model_len or runtime.max_num_batched_tokens"
        )


def simple_table(
    max_num_seqs: int, base_us: float, slope_ns: float, prefill_us_per_token: float, n_kv_blocks: int
) -> StepTable:
    """A flat table for tests and benchmarks: one base and slope for all batch sizes, no attention term."""
    size = max_num_seqs + 1
    curve = Curve(
        base_s=np.full(size, base_us * 1e-6),
        slope_s=np.full(size, slope_ns * 1e-9),
        prefill_s_per_token=prefill_us_per_token * 1e-6,
        attention_s_per_token2=0.0,
        source="flat table",
    )
    return rounded(curve, n_kv_blocks)
