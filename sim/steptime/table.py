"""The step-time table of one pool, and how a curve in seconds becomes whole picoseconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.fill.knots import knot_tokens
from sim.steptime.basis import Basis
from sim.units import PS_PER_S

LIMIT_PS = 2**62  # no single step may pass it: a sum of two still fits in int64


class StepTable(NamedTuple):
    """One pool's step time; every value is an int.

    decode step: base[n] + slope[n]·kv; with c prompt tokens it takes longer by work(n + c) − work(n), by mixed where
    n > 0, and by attention_q16·Σ chunk·(2·context + chunk) >> 17.
    """

    base_ps: np.ndarray  # (max_num_seqs+1,) int64; [0] is the fixed part of a step with prompts alone
    slope_ps: np.ndarray  # (max_num_seqs+1,) int64 ps per KV token attended; [0] is 0
    work_ps: (
        np.ndarray
    )  # (N_WORK,) int64 ps of a step's tokens by number, at the knots of `sim.fill.knots.knot_tokens`
    mixed_ps: int  # that prompts add to a step in which sequences decode
    attention_q16: int  # ps per (token attending, token attended) pair, times 2**16
    n_kv_blocks: int  # blocks that fit beside the weights, of the whole gang
    flops_per_token: float = 0.0  # matrix products, one token through the model
    flops_per_attended_token: float = 0.0  # one token attending to one token, all layers
    weight_bytes: float = 0.0  # of the whole model
    kv_bytes_per_token: float = 0.0  # of the whole model, one copy
    peak_flops: float = 0.0  # of the whole gang, per second
    peak_bytes_per_s: float = 0.0  # of the whole gang
    source: str = ""
    basis: Basis | None = None  # what the times rest on


class Curve(NamedTuple):
    """A step-time curve in seconds, before rounding.

    decode = base[n] + slope[n]·kv; prompts = base[0] + work(Σ length) + attention·Σ length².
    """

    base_s: np.ndarray  # (max_num_seqs+1,) float
    slope_s: np.ndarray  # (max_num_seqs+1,) float, per KV token attended
    work_s: (
        np.ndarray
    )  # (N_WORK,) float, of a step's tokens by number, at the knots of `sim.fill.knots.knot_tokens`
    attention_s_per_token2: float  # a whole prompt of T tokens costs this times T²
    mixed_s: float = 0.0  # that prompts add to a step in which sequences decode
    source: str = ""


def linear_work_s(seconds: float) -> np.ndarray:
    """`Curve.work_s` of an engine whose tokens take `seconds` each, (N_WORK,)."""
    return seconds * knot_tokens().astype(float)


def work_s_at(curve: Curve, tokens: np.ndarray | float) -> np.ndarray:
    """Seconds of a step's tokens by number, linear between knots."""
    return np.asarray(np.interp(tokens, knot_tokens(), curve.work_s))


def decode_s(curve: Curve, n: np.ndarray | int, kv_tokens: np.ndarray | int) -> np.ndarray:
    """Seconds of a decode step of `n` sequences that attend `kv_tokens` tokens together."""
    return curve.base_s[n] + curve.slope_s[n] * kv_tokens


def prompt_s(curve: Curve, n: np.ndarray | int, length: np.ndarray | int) -> np.ndarray:
    """Seconds of a step that computes `n` whole prompts of `length` tokens each."""
    tokens = np.asarray(n) * np.asarray(length, dtype=float)
    return (
        curve.base_s[0]
        + work_s_at(curve, tokens)
        + curve.attention_s_per_token2 * np.asarray(length) * tokens
    )


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
        work_ps=np.maximum.accumulate(np.maximum(_whole_ps(curve.work_s), 0)),
        mixed_ps=max(0, round(curve.mixed_s * PS_PER_S)),
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
    knots = knot_tokens()
    last = int(
        np.searchsorted(knots, chunk_tokens + len(table.base_ps))
    )  # the knot at or after the most tokens
    rise, width = int(table.work_ps[last] - table.work_ps[last - 1]), int(knots[last] - knots[last - 1])
    return decode_ps + int(table.work_ps[last]) + int(table.mixed_ps) + attention_ps + rise * width


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
        work_s=linear_work_s(prefill_us_per_token * 1e-6),
        attention_s_per_token2=0.0,
        source="flat table",
    )
    return rounded(curve, n_kv_blocks)
