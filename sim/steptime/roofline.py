"""A step's kernels by their shares of the GPU's peaks: bytes over bandwidth, FLOPs over peak."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.steptime.efficiency import Efficiency
from sim.steptime.formats import format_of, is_dequantised, peak_flops, units_of
from sim.steptime.gang import Gang
from sim.steptime.params import (
    attention_layers,
    count_parameters,
    flops_per_attended_token,
    kv_bytes_per_layer,
    kv_shards,
    layer_bytes,
    mlp_layers,
    moe_layers,
)

LINE_CONTEXTS = (256.0, 4096.0)  # tokens; a straight line through these two stands for windowed attention
ALLREDUCES_PER_LAYER = 2  # after attention and after the MLP
MLA_PRODUCTS = 4  # down, up for queries, up for keys and values, out
QUANTISE_US = (
    3.0  # measured kernels: an fp8 product of any size takes so much longer to start than a bf16 one
)
ACTIVATION_BYTES = 2  # bf16 hidden states cross the links


class Line(NamedTuple):
    """Attention of a decode step: base + slope · KV tokens of all sequences, seconds."""

    base_s: np.ndarray
    slope_s: np.ndarray


class Roofline:
    """The kernels that each GPU of a gang runs; z: tokens, n: sequences, both of one data-parallel group."""

    source = "roofline"

    def __init__(self, gang: Gang, eff: Efficiency) -> None:
        self.gang, self.eff = gang, eff

    def dense_s(self, z: np.ndarray) -> np.ndarray:
        """Seconds of all matrix products but experts and output layer, z tokens."""
        gang, eff = self.gang, self.eff
        counts = count_parameters(gang.model)
        router_bytes = counts.router * format_of(gang.precision).others_bits / 8
        read = layer_bytes(gang.model, gang.precision) / gang.tp + router_bytes
        layers = counts.attention + counts.mlp + counts.shared_expert + counts.recurrent
        flops = 2.0 * (layers / gang.tp + counts.router) * z
        return n_products(gang) * product_s(gang, eff) + np.maximum(
            read / self._weight_rate(), flops / matmul_rate(gang, eff)
        )

    def head_s(self, n: np.ndarray) -> np.ndarray:
        """Seconds of the output layer, n emitted tokens."""
        gang = self.gang
        weights = count_parameters(gang.model).output_layer / gang.tp
        read = weights * format_of(gang.precision).others_bits / 8
        rate = gang.gpu.dense_bf16_tflops * 1e12 * self.eff.matmul_use
        return self.eff.product_us * 1e-6 + np.maximum(read / self._weight_rate(), 2.0 * weights * n / rate)

    def decode_attention(self, n: np.ndarray) -> Line:
        """Attention of n decoding sequences, all layers."""
        gang, model = self.gang, self.gang.model
        rate = gang.gpu.memory_bw_gb_s * 1e9 * self.eff.kv_bandwidth_use
        layer_s = kv_bytes_per_layer(model, gang.kv_precision) / kv_shards(model, gang.tp) / rate
        constant, share = window_line(model.sliding_window)
        whole = attention_layers(model) - model.window_layers
        slope = layer_s * (whole + share * model.window_layers)
        return Line(n * layer_s * constant * model.window_layers, np.full(np.shape(n), slope))

    def prompt_attention_s(self) -> float:
        """Seconds per T² of a whole prompt of T tokens: a causal prompt attends T²/2 pairs."""
        gang, model = self.gang, self.gang.model
        if not attention_layers(model):
            return 0.0
        whole = 1.0 - model.window_layers / attention_layers(model) * (
            1.0 - window_line(model.sliding_window)[1]
        )
        rate = gang.gpu.dense_bf16_tflops * 1e12 * gang.tp * self.eff.attention_use
        return flops_per_attended_token(model) / 2 * whole / rate

    def allreduce_s(self, z: np.ndarray) -> np.ndarray:
        """Seconds of the all-reduces of a step of z tokens a group: ring transfers and their latency."""
        gang, eff = self.gang, self.eff
        wide = gang.tp * gang.dp if gang.model.experts else gang.tp
        attention, moe = (
            gang.model.layers * ALLREDUCES_PER_LAYER - moe_layers(gang.model),
            moe_layers(gang.model),
        )
        total = np.zeros(np.shape(z))
        for n_gpus, times, tokens in ((gang.tp, attention, z), (wide, moe, z * (wide // gang.tp))):
            if n_gpus > 1:
                sent = 2 * (n_gpus - 1) / n_gpus * tokens * gang.model.hidden * ACTIVATION_BYTES
                total = total + times * (eff.allreduce_us * 1e-6 + sent / link_rate(gang, eff))
        return total

    def _weight_rate(self) -> float:
        return self.gang.gpu.memory_bw_gb_s * 1e9 * self.eff.weight_bandwidth_use


def matmul_rate(gang: Gang, eff: Efficiency) -> float:
    """FLOP/s of a GPU's matrix products with the gang's weights."""
    if is_dequantised(gang.gpu, gang.precision) and not is_experts_only(gang):
        return dequantised_rate(gang, eff)
    precision = "bf16" if is_experts_only(gang) else gang.precision
    is_small = units_of(gang.gpu, precision) in ("fp8", "fp4")
    return peak_flops(gang.gpu, precision) * (eff.fp8_matmul_use if is_small else eff.matmul_use)


def n_products(gang: Gang) -> int:
    """How many matrix products a step has beside the output layer and the routed experts."""
    model = gang.model
    of_attention = MLA_PRODUCTS if model.attention == "mla" else 2 if model.attention != "none" else 0
    return (
        of_attention * attention_layers(model)
        + 2 * mlp_layers(model)
        + (3 if model.shared_expert_ffn else 1) * moe_layers(model)
        + 2 * model.recurrent_layers
    )


def product_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds that a matrix product takes beside its bytes or FLOPs; activations are quantised in a kernel of their own."""
    is_small = not is_experts_only(gang) and units_of(gang.gpu, gang.precision) in ("fp8", "fp4")
    return (eff.product_us + (QUANTISE_US if is_small else 0.0)) * 1e-6


def dequantised_rate(gang: Gang, eff: Efficiency) -> float:
    """FLOP/s of a GPU's products that unpack the gang's weights to bf16 first."""
    is_fp8 = format_of(gang.precision).is_fp8
    return (
        gang.gpu.dense_bf16_tflops
        * 1e12
        * (eff.dequantised_fp8_use if is_fp8 else eff.dequantised_matmul_use)
    )


def is_experts_only(gang: Gang) -> bool:
    """Whether the gang's format leaves everything but routed experts in 16 bits."""
    return format_of(gang.precision).experts_only and bool(gang.model.experts)


def link_rate(gang: Gang, eff: Efficiency) -> float:
    """Bytes per second of an all-reduce's transfers, one direction: NVLink inside a node or, without it, PCIe."""
    return (gang.gpu.nvlink_gb_s or gang.gpu.pcie_gb_s) * 1e9 * eff.link_bandwidth_use


def window_line(window: int | None) -> tuple[float, float]:
    """(tokens, share): a layer with a window attends about tokens + share · context, exact at LINE_CONTEXTS."""
    low, high = LINE_CONTEXTS
    if window is None:
        return 0.0, 1.0
    share = (min(high, window) - min(low, window)) / (high - low)
    return min(low, window) - share * low, share
