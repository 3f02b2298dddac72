"""From a pool's description to its step-time table."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from sim.errors import InputError, problem
from sim.fill.knots import knot_tokens
from sim.scenario.hardware import Coefficients, Gpu, Grid, Law, Model
from sim.scenario.sharing import is_shared
from sim.steptime.basis import Basis, basis_of
from sim.steptime.formats import format_of, peak_flops
from sim.steptime.gang import Gang
from sim.steptime.host import Host
from sim.steptime.law import choose_kernels, law_curve
from sim.steptime.memory import kv_blocks
from sim.steptime.params import (
    bytes_per_number,
    flops_per_attended_token,
    flops_per_token,
    kv_bytes_per_token,
    weight_bytes,
)
from sim.steptime.slices import check_fits, check_share_fits, gpu_of, limits_of
from sim.steptime.table import Curve, StepTable, check_fits_clock, linear_work_s, rounded

EAGER_US_PER_LAYER = 500.0  # a layer's launches from Python, A100 hosts: docs/step-time.md
OF_THE_ENGINE = (
    *("sampling_us", "sequence_us", "step_us", "schedule_us", "schedule_sequence_us", "stream_us"),
    *("mixed_step_us", "layer_us", "launch_us_per_layer"),
    *(
        "matmul_use",
        "fp8_matmul_use",
        "attention_use",
        "weight_bandwidth_use",
        "kv_bandwidth_use",
        "link_bandwidth_use",
    ),
)


class RuntimeLike(Protocol):
    """What the step time reads of a runtime."""

    @property
    def max_num_seqs(self) -> int: ...
    @property
    def max_num_batched_tokens(self) -> int: ...
    @property
    def block_size(self) -> int: ...
    @property
    def gpu_memory_utilization(self) -> float: ...
    @property
    def num_kv_blocks(self) -> int | None: ...
    @property
    def chunked_prefill(self) -> bool: ...
    @property
    def max_model_len(self) -> int | None: ...
    @property
    def enforce_eager(self) -> bool: ...
    @property
    def async_scheduling(self) -> bool: ...
    @property
    def api_server_count(self) -> int | None: ...


class PoolLike(Protocol):
    """What the step time reads of a pool."""

    @property
    def name(self) -> str: ...
    @property
    def gpu(self) -> Gpu: ...
    @property
    def model(self) -> Model: ...
    @property
    def runtime(self) -> RuntimeLike: ...
    @property
    def tp(self) -> int: ...
    @property
    def pp(self) -> int: ...
    @property
    def ep(self) -> int: ...
    @property
    def dp(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def kv_precision(self) -> str: ...
    @property
    def slice(self) -> str | None: ...
    @property
    def active_thread_percentage(self) -> int | None: ...
    @property
    def steptime(self) -> Law | Coefficients | Grid: ...


def gang_of(pool: PoolLike) -> Gang:
    """The pool's GPUs and model; raises InputError when they cannot be split as asked."""
    key, model = f"pools.{pool.name}", pool.model
    format_of(pool.precision, f"{key}.precision")
    bytes_per_number(f"{key}.kv_precision", pool.kv_precision)
    if pool.tp < 1 or model.heads % pool.tp:
        raise InputError(problem(f"{key}.tp", pool.tp, f"a divisor of the model's {model.heads} heads"))
    if not 1 <= pool.pp <= model.layers:
        raise InputError(problem(f"{key}.pp", pool.pp, f"1 to the model's {model.layers} layers"))
    check_experts(key, pool)
    gpu = gpu_of(pool)
    return Gang(gpu, model, pool.precision, pool.kv_precision, pool.tp, pool.pp, pool.ep, pool.dp)


def check_experts(key: str, pool: PoolLike) -> None:
    """Raise InputError unless the routed experts can be spread over the GPUs as `ep` says."""
    whole = pool.tp * pool.dp
    if pool.ep == 1:
        return
    if not pool.model.experts:
        raise InputError(problem(f"{key}.ep", pool.ep, f"1, for {pool.model.name} has no routed experts"))
    if pool.ep != whole:
        raise InputError(
            problem(f"{key}.ep", pool.ep, f"1, or tp·dp = {whole}, for experts lie on all GPUs of a stage")
        )
    if pool.model.experts < pool.ep:
        raise InputError(problem(f"{key}.ep", pool.ep, f"1 to the model's {pool.model.experts} experts"))


def law_of(pool: PoolLike) -> Law:
    """The pool's law with its runtime's times where the scenario says none."""
    law, runtime = pool.steptime, pool.runtime
    assert isinstance(law, Law)
    own = {name: getattr(runtime, name, None) for name in OF_THE_ENGINE if getattr(law, name) is None}
    if runtime.enforce_eager and law.launch_us_per_layer is None and own["launch_us_per_layer"] is None:
        own["launch_us_per_layer"] = EAGER_US_PER_LAYER
    return replace(law, **{name: value for name, value in own.items() if value is not None})


def max_model_len(pool: PoolLike) -> int:
    """The longest sequence that the pool serves, tokens; InputError where the runtime asks for more than the model has."""
    asked, most = pool.runtime.max_model_len, pool.model.max_model_len
    if asked is not None and asked > most:
        raise InputError(
            problem(f"pools.{pool.name}.runtime.max_model_len", asked, f"1 to the model's {most} tokens")
        )
    return most if asked is None else asked


def coefficients_curve(spec: Coefficients, max_num_seqs: int) -> Curve:
    """The linear curve of published coefficients."""
    n = np.arange(max_num_seqs + 1)
    base_ms = spec.d0_ms + spec.d1_ms * n
    base_ms[0] = spec.p0_ms
    slope_ms = np.where(n > 0, spec.d2_ms, 0.0)
    work_s = linear_work_s(spec.p1_ms * 1e-3)
    mixed_s = spec.mixed_ms * 1e-3
    return Curve(base_ms * 1e-3, slope_ms * 1e-3, work_s, spec.p2_ms * 1e-3, mixed_s, spec.source)


def grid_curve(spec: Grid, max_num_seqs: int) -> Curve:
    """The measured curve: linear between batch sizes, flat below the first, going on past the last."""
    n = np.arange(max_num_seqs + 1)
    base_ms = extended(n, spec.batch_size, spec.base_ms)
    slope_ms = np.interp(n, spec.batch_size, spec.slope_ms)
    base_ms[0] = spec.p0_ms
    slope_ms[0] = 0.0
    work_s = linear_work_s(spec.p1_ms * 1e-3)
    if spec.prompt_tokens:
        work_s = extended(knot_tokens(), (0, *spec.prompt_tokens), (0.0, *spec.prompt_ms)) * 1e-3
    mixed_s = spec.mixed_ms * 1e-3
    return Curve(base_ms * 1e-3, slope_ms * 1e-3, work_s, spec.p2_ms * 1e-3, mixed_s, spec.source)


def extended(n: np.ndarray, sizes: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    """Linear interpolation that goes on past the last size at the pace of the last two (never downwards)."""
    inside = np.interp(n, sizes, values)
    if len(sizes) == 1:
        return inside
    pace = max(0.0, (values[-1] - values[-2]) / (sizes[-1] - sizes[-2]))
    return inside + pace * np.maximum(0, n - sizes[-1])


def host_of(pool: PoolLike) -> Host:
    """How the processes of the pool's engine are set up; vLLM starts an API server for each data-parallel group."""
    return Host(pool.runtime.async_scheduling, pool.runtime.api_server_count or pool.dp)


def curve_of(
    gang: Gang | None, spec: Law | Coefficients | Grid, max_num_seqs: int, host: Host | None = None
) -> Curve:
    """The curve of whichever kind was asked for; only the law needs a gang and reads the host."""
    if isinstance(spec, Law):
        assert gang is not None, "the law needs its gang"
        return law_curve(gang, spec, max_num_seqs, host)
    if isinstance(spec, Coefficients):
        return coefficients_curve(spec, max_num_seqs)
    return grid_curve(spec, max_num_seqs)


def pool_curve(pool: PoolLike, max_num_seqs: int) -> Curve:
    """A pool's curve, in seconds, with its runtime's times; raises InputError when the model cannot be split as asked."""
    spec = law_of(pool) if isinstance(pool.steptime, Law) else pool.steptime
    curve = curve_of(gang_of(pool), spec, max_num_seqs, host_of(pool))
    return slowed(curve, getattr(pool, "step_time_factor", 1.0))


def slowed(curve: Curve, factor: float) -> Curve:
    """A curve whose every time is longer by a factor."""
    if factor == 1:
        return curve
    base_s, slope_s, work_s, attention_s, mixed_s, source = curve
    note = f"{source}; times {factor:g} (step_time_factor)"
    return Curve(
        base_s * factor, slope_s * factor, work_s * factor, attention_s * factor, mixed_s * factor, note
    )


def pool_basis(pool: PoolLike) -> Basis:
    """What a pool's step times rest on."""
    gang, spec = gang_of(pool), pool.steptime
    source = choose_kernels(gang, law_of(pool)).kernels.source if isinstance(spec, Law) else ""
    part = None if pool.slice is None else "shared GPUs" if is_shared(pool.slice) else "instances of MIG"
    return basis_of(gang, spec, source, pool.runtime.enforce_eager, part)


def make_step_table(pool: PoolLike) -> StepTable:
    """The step-time table of a pool.

    Raises InputError when the model does not fit the GPU, cannot be split, or a step could pass the clock.
    """
    key, runtime = f"pools.{pool.name}", pool.runtime
    gang = gang_of(pool)
    longest = max_model_len(pool)
    if is_shared(pool.slice):
        check_share_fits(pool)
    elif pool.slice is not None:
        check_fits(pool)
    blocks = runtime.num_kv_blocks or kv_blocks(key, gang, limits_of(pool))
    table = rounded(pool_curve(pool, runtime.max_num_seqs), blocks)._replace(
        basis=pool_basis(pool),
        flops_per_token=flops_per_token(gang.model),
        flops_per_attended_token=flops_per_attended_token(gang.model),
        weight_bytes=weight_bytes(gang.model, gang.precision),
        kv_bytes_per_token=kv_bytes_per_token(gang.model, gang.kv_precision),
        peak_flops=peak_flops(gang.gpu, gang.precision) * gang.n_gpus,
        peak_bytes_per_s=gang.gpu.memory_bw_gb_s * 1e9 * gang.n_gpus,
    )
    chunk = runtime.max_num_batched_tokens
    if not runtime.chunked_prefill:
        chunk = max(chunk, longest)
    check_fits_clock(key, table, chunk, longest, blocks * runtime.block_size)
    return table
