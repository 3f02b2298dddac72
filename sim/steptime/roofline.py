"""Step time from first principles: bytes over bandwidth, FLOPs over peak, links and fixed costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.scenario.hardware import Gpu, Model, Roofline
from sim.steptime.efficiency import Efficiency, efficiency_for
from sim.steptime.params import (
    bytes_per_number,
    count_parameters,
    distinct_experts,
    flops_per_attended_token,
    flops_per_token,
    kv_bytes_per_token,
    kv_shards,
    prompt_flops_per_token,
)
from sim.steptime.table import Curve

CAPTURED_SIZES = (1, 2, 4, *range(8, 513, 8))  # vLLM's default CUDA-graph batch sizes
ALLREDUCES_PER_LAYER = 2  # after attention and after the MLP
ACTIVATION_BYTES = 2  # bf16 hidden states cross the links


class Gang(NamedTuple):
    """The GPUs of one replica and how the model lies on them."""

    gpu: Gpu
    model: Model
    precision: str = "bf16"
    kv_precision: str = "bf16"
    tp: int = 1
    pp: int = 1


def peak_flops(gpu: Gpu, precision: str) -> float:
    """Dense FLOP/s of one GPU; fp8 counts where the GPU has it, other small weights are unpacked to bf16."""
    if precision == "fp8" and gpu.dense_fp8_tflops is not None:
        return gpu.dense_fp8_tflops * 1e12
    return gpu.dense_bf16_tflops * 1e12 * (0.5 if precision == "fp32" else 1.0)


def link_bytes_per_s(gpu: Gpu) -> float:
    """One direction, inside a node."""
    return (gpu.nvlink_gb_s or gpu.pcie_gb_s) * 1e9


def weight_read_s(gang: Gang, eff: Efficiency, n: np.ndarray) -> np.ndarray:
    """Seconds to read what a step of `n` tokens touches; shape of `n`.

    Experts are read as far as n tokens are expected to touch them. The stages of a pipeline read one after
    another, so pp does not divide it.
    """
    counts = count_parameters(gang.model)
    routed = counts.routed_expert * (gang.model.experts_active or 0)
    always = counts.multiplied - routed
    touched = always + counts.routed_expert * distinct_experts(gang.model, n)
    size = bytes_per_number("precision", gang.precision)
    return touched * size / (gang.tp * gang.gpu.memory_bw_gb_s * 1e9 * eff.weight_bandwidth_use)


def compute_s(gang: Gang, eff: Efficiency, flops: float | np.ndarray) -> float | np.ndarray:
    """Seconds of matrix products on the tensor-parallel ranks of one stage after another."""
    return flops / (gang.tp * peak_flops(gang.gpu, gang.precision) * eff.matmul_use)


def link_s_per_token(gang: Gang, eff: Efficiency) -> float:
    """Seconds of link time one token adds: ring all-reduces in every layer, and the hop to the next stage."""
    hidden_bytes = gang.model.hidden * ACTIVATION_BYTES
    ring_bytes = 2 * (gang.tp - 1) / gang.tp * hidden_bytes * ALLREDUCES_PER_LAYER * gang.model.layers
    hop_bytes = (gang.pp - 1) * hidden_bytes
    return (ring_bytes + hop_bytes) / (link_bytes_per_s(gang.gpu) * eff.link_bandwidth_use)


def fixed_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds of a step whatever it computes: per step, per layer, all-reduce and pipeline latencies."""
    layers = gang.model.layers
    hops = (layers * ALLREDUCES_PER_LAYER if gang.tp > 1 else 0) + (gang.pp - 1)
    return (eff.step_us + eff.layer_us * layers + eff.allreduce_us * hops) * 1e-6


def padded(n: np.ndarray) -> np.ndarray:
    """Batch sizes as CUDA graphs run them: the next captured size, or the size itself past the last."""
    sizes = np.array(CAPTURED_SIZES)
    index = np.minimum(np.searchsorted(sizes, n), len(sizes) - 1)
    return np.where(n <= sizes[-1], sizes[index], n)


def decode_base_s(gang: Gang, eff: Efficiency, n: np.ndarray) -> np.ndarray:
    """Seconds of a decode step of `n` ≥ 1 sequences, without what grows with their KV; shape of `n`."""
    read_s = weight_read_s(gang, eff, n)
    work_s = np.maximum(read_s, compute_s(gang, eff, flops_per_token(gang.model) * n))
    on_gpu_s = fixed_s(gang, eff) + work_s + link_s_per_token(gang, eff) * n + eff.sequence_us * 1e-6 * n
    return np.maximum(on_gpu_s, eff.launch_us_per_layer * 1e-6 * gang.model.layers)


def prompt_base_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds of a step of prompts alone that do not grow with them.

    A long prompt hides the weight read behind its arithmetic, a short one does not: a share is kept.
    """
    all_experts = np.array([np.inf if gang.model.experts else 1.0])
    read_s = float(weight_read_s(gang, eff, all_experts)[0])
    on_gpu_s = fixed_s(gang, eff) + eff.prefill_weight_share * read_s
    return max(on_gpu_s, eff.launch_us_per_layer * 1e-6 * gang.model.layers)


def kv_read_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds to read one token's KV in all layers; each rank reads its share, under MLA all of it."""
    per_rank = kv_bytes_per_token(gang.model, gang.kv_precision) / kv_shards(gang.model, gang.tp)
    return per_rank / (gang.gpu.memory_bw_gb_s * 1e9 * eff.kv_bandwidth_use)


def attention_s_per_token2(gang: Gang, eff: Efficiency) -> float:
    """Seconds per T² of a whole prompt of T tokens: a causal prompt attends T²/2 pairs."""
    peak = peak_flops(gang.gpu, "bf16") * gang.tp * eff.attention_use
    return flops_per_attended_token(gang.model) / 2 / peak


def roofline_curve(gang: Gang, spec: Roofline, max_num_seqs: int) -> Curve:
    """The step-time curve of a gang, in seconds, for batches up to `max_num_seqs`."""
    eff = efficiency_for(gang.gpu, spec)
    n = np.arange(1, max_num_seqs + 1)
    sizes = padded(n) if spec.cuda_graph_padding else n
    base_s = np.concatenate([[prompt_base_s(gang, eff)], decode_base_s(gang, eff, sizes)])
    prefill_s = compute_s(gang, eff, prompt_flops_per_token(gang.model)) + link_s_per_token(gang, eff)
    return Curve(
        base_s=base_s,
        slope_s=np.concatenate([[0.0], np.full(max_num_seqs, kv_read_s(gang, eff))]),
        prefill_s_per_token=float(prefill_s),
        attention_s_per_token2=attention_s_per_token2(gang, eff),
        source=f"roofline: {gang.gpu.name}, {gang.model.name}, {gang.precision}, tp {gang.tp}, pp {gang.pp}",
    )
