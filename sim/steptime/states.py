"""What the modelled step time says of an operating point: its step without prompts, at the median and on average."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.steptime.points import Point
from sim.steptime.table import Curve, work_s_at

STARVED_MEDIAN = 1.08  # a median so far above the mean step: most tokens come in bursts
STARVED_P90 = 1.25  # a 90th percentile so far above the median where few steps carry prompts: the CPU is late
FEW_PROMPTS = 0.1  # share of steps that carry prompts
N_DRAW = 2001


class Lengths(NamedTuple):
    """What requests are like where the points do not say it: drawn prompt and output lengths, (draw,) each ≥ 1."""

    prompt: np.ndarray
    output: np.ndarray


class PoolLaw(NamedTuple):
    """The modelled step time of a pool, and the part of it that is the engine's CPU."""

    label: str
    curve: Curve
    host_ms: np.ndarray  # (max_num_seqs+1,) of a decode step
    max_num_batched_tokens: int


class State(NamedTuple):
    """A point as the law sees it: a step without prompts, the median one and the one with the mean of prompts."""

    point: Point
    n: float  # sequences that decode
    gpu_ms: tuple[float, float, float]
    fixed_ms: tuple[float, float, float]  # the engine's CPU
    with_prompts: float  # share of steps that carry prompts


def state_of(point: Point, law: PoolLaw, lengths: Lengths) -> State:
    """A point's step as the law has it: without prompts, at the median and at the mean of prompts in a step."""
    prompt, output = lengths_of(point, lengths)
    n = min(max(point.running, 1.0), len(law.curve.base_s) - 1.0)
    age = float(np.mean(output**2) / (2 * np.mean(output)))  # of a running sequence, tokens already written
    kv = n * (float(np.mean(prompt)) + age)
    per_step = n / float(np.mean(output))  # prompts that begin in a step
    dice = np.random.Generator(np.random.Philox(key=11))
    count = dice.poisson(per_step, N_DRAW)
    drawn = prompt[dice.integers(0, len(prompt), int(count.sum()))]
    ends = np.cumsum(count)
    total = np.append(0.0, np.cumsum(drawn))
    tokens = total[ends] - total[ends - count]
    squares = np.append(0.0, np.cumsum(drawn**2))
    pairs = squares[ends] - squares[ends - count]
    share = float(1.0 - np.exp(-per_step))
    room = max(1.0, law.max_num_batched_tokens - n)
    median = np.argsort(tokens, kind="stable")[N_DRAW // 2]
    ramp = float(
        np.clip((share - 0.42) / 0.16, 0.0, 1.0)
    )  # around a half of the steps either may be the median
    mean_tokens = per_step * float(np.mean(prompt)) / share
    mean_pairs = mean_tokens * float(np.mean(prompt**2) / np.mean(prompt))
    decode = step_ms(law, n, kv)
    mixed = step_ms(law, n, kv, min(mean_tokens, room), mean_pairs)
    middle = step_ms(law, n, kv, min(float(tokens[median]), room), float(pairs[median]), ramp)
    host = float(np.interp(n, np.arange(len(law.host_ms)), law.host_ms))
    gpu = (decode - host, middle - host, (1 - share) * decode + share * mixed - host)
    return State(point, n, gpu, (host, host, host), share)


def step_ms(
    law: PoolLaw, n: float, kv: float, tokens: float = 0.0, pairs: float = 0.0, mixed: float = 1.0
) -> float:
    """A step of n sequences that attend kv tokens beside `tokens` of prompts; `mixed`: the share of `mixed_s`."""
    curve, at = law.curve, np.arange(len(law.curve.base_s))
    seconds = np.interp(n, at, curve.base_s) + np.interp(n, at, curve.slope_s) * kv
    if tokens > 0:
        work = work_s_at(curve, np.array([n, n + tokens]))
        seconds += work[1] - work[0] + mixed * curve.mixed_s + curve.attention_s_per_token2 * pairs
    return float(1e3 * seconds)


def lengths_of(point: Point, lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
    """(prompt, output) lengths at a point: its own means where it has them, in the scenario's proportions."""
    prompt, output = lengths.prompt, lengths.output
    if point.prompt_tokens is not None:
        prompt = prompt * (point.prompt_tokens / prompt.mean())
    if point.output_tokens is not None:
        output = output * (point.output_tokens / output.mean())
    elif point.prompts_per_output:
        output = output * (prompt.mean() / point.prompts_per_output / output.mean())
    if point.output_spread is not None:
        mean, spread = output.mean(), output.std()
        scale = point.output_spread * mean / spread if spread > 0 else 0.0
        output = np.maximum(mean + (output - mean) * scale, 1.0)
    return prompt, np.maximum(output, 1.0)


def starved(state: State) -> str:
    """Why no step time explains a point, for it is no steady state; empty where it is one."""
    point = state.point
    if point.p50_ms and point.mean_ms and point.p50_ms > STARVED_MEDIAN * point.mean_ms:
        return (
            f"its median gap of {point.p50_ms:.4g} ms is above {STARVED_MEDIAN:g} times its mean step of "
            f"{point.mean_ms:.4g} ms: tokens come in bursts or the load was ramping"
        )
    if (
        point.p50_ms
        and point.p90_ms
        and state.with_prompts < FEW_PROMPTS
        and point.p90_ms > STARVED_P90 * point.p50_ms
    ):
        return (
            f"its 90th percentile of {point.p90_ms:.4g} ms is above {STARVED_P90:g} times its median of "
            f"{point.p50_ms:.4g} ms, though {100 * state.with_prompts:.1f} % of the steps carry prompts: the engine "
            "waits for its CPU"
        )
    return ""
