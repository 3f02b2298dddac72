"""A step's kernels by their measured times on the GPU (conf/kernels), where they were measured.

What has no table, such as weights that are unpacked before they are multiplied, is taken from the roofline.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.steptime.efficiency import Efficiency
from sim.steptime.formats import is_dequantised, units_of
from sim.steptime.gang import Gang
from sim.steptime.kernels import KernelTables, NoTable, kernels_for
from sim.steptime.params import attention_layers, kv_shards, mlp_layers, moe_layers
from sim.steptime.roofline import ACTIVATION_BYTES, ALLREDUCES_PER_LAYER, Line, Roofline, is_experts_only

Shape = tuple[float, float, int]  # outputs, inputs, how many layers have it


class FromKernels:
    """The kernels of one gang from tables; has the functions of `Roofline`."""

    def __init__(self, gang: Gang, eff: Efficiency, tables: KernelTables) -> None:
        self.gang, self.tables = gang, tables
        self.roofline = Roofline(gang, eff)
        self.source = tables.source
        self.products = product_precision(gang, tables)

    def dense_s(self, z: np.ndarray) -> np.ndarray:
        """Seconds of all matrix products but experts and output layer, z tokens."""
        if self.products is None:
            return self.roofline.dense_s(z)
        total = np.zeros(np.shape(z))
        for outputs, inputs, times in shapes(self.gang):
            total = total + times * self.tables.matmul_s(self.products, z, outputs, inputs)
        model = self.gang.model
        if model.experts:
            total = total + moe_layers(model) * self.tables.matmul_s(
                "bf16", z, max(model.experts, 128), model.hidden
            )
        return total

    def head_s(self, n: np.ndarray) -> np.ndarray:
        """Seconds of the output layer, n emitted tokens."""
        model = self.gang.model
        return self.tables.matmul_s("bf16", n, max(model.vocab, 1) / self.gang.tp, model.hidden)

    def decode_attention(self, n: np.ndarray) -> Line:
        """Attention of n decoding sequences, all layers."""
        model = self.gang.model
        if model.attention == "none":
            return Line(np.zeros(np.shape(n)), np.zeros(np.shape(n)))
        try:
            return self._decode_mla(n) if model.attention == "mla" else self._decode_heads(n)
        except NoTable:
            return self.roofline.decode_attention(n)

    def _decode_heads(self, n: np.ndarray) -> Line:
        gang, model = self.gang, self.gang.model
        heads, kv = max(1, model.heads // gang.tp), max(1, model.kv_heads // gang.tp)
        base, slope = np.zeros(np.shape(n)), np.zeros(np.shape(n))
        whole = attention_layers(model) - model.window_layers
        for window, times in ((0, whole), (model.sliding_window or 0, model.window_layers)):
            if times:
                line = self.tables.decode_attention_line(
                    n, heads, kv, model.head_dim, window, gang.kv_precision
                )
                base, slope = base + times * line[0], slope + times * line[1]
        return Line(base, slope)

    def _decode_mla(self, n: np.ndarray) -> Line:
        """The tables' MLA block holds its projections, which `dense_s` counts: they are taken off again."""
        gang, model = self.gang, self.gang.model
        products = self.products or "bf16"
        line = self.tables.mla_decode_line(n, max(1, model.heads // gang.tp), products, gang.kv_precision)
        inside = sum(
            (self.tables.matmul_s(products, n, outputs, inputs) for outputs, inputs, _ in mla_shapes(gang)),
            np.zeros(np.shape(n)),
        )
        return Line(model.layers * np.maximum(0.0, line[0] - inside), model.layers * line[1])

    def prompt_attention_s(self) -> float:
        """Seconds per T² of a whole prompt of T tokens."""
        gang, model = self.gang, self.gang.model
        heads, kv = max(1, model.heads // gang.tp), max(1, model.kv_heads // gang.tp)
        if not attention_layers(model) or model.attention == "none":
            return 0.0
        try:
            if model.attention == "mla":
                pair_s = self.tables.mla_context_pair_s(heads, self.products or "bf16", gang.kv_precision)
            else:
                pair_s = self.tables.context_attention_pair_s(heads, kv, model.head_dim, gang.kv_precision)
        except NoTable:
            return self.roofline.prompt_attention_s()
        by_peak = self.roofline.prompt_attention_s()
        unwindowed = Roofline(
            gang._replace(model=replace(model, window_layers=0)), self.roofline.eff
        ).prompt_attention_s()
        return pair_s / 2 * attention_layers(model) * by_peak / unwindowed

    def allreduce_s(self, z: np.ndarray) -> np.ndarray:
        """Seconds of the all-reduces of a step of z tokens a group."""
        gang, model = self.gang, self.gang.model
        wide = gang.tp * gang.dp if model.experts else gang.tp
        attention, moe = model.layers * ALLREDUCES_PER_LAYER - moe_layers(model), moe_layers(model)
        try:
            total = np.zeros(np.shape(z))
            for n_gpus, times, tokens in ((gang.tp, attention, z), (wide, moe, z * (wide // gang.tp))):
                total = total + times * self.tables.allreduce_s(
                    n_gpus, tokens * model.hidden * ACTIVATION_BYTES
                )
            return total
        except NoTable:
            return self.roofline.allreduce_s(z)


def kernels_of(gang: Gang, eff: Efficiency) -> FromKernels | None:
    """The gang's kernels from tables; None where its GPU names none."""
    tables = kernels_for(gang.gpu.kernels)
    return FromKernels(gang, eff, tables) if tables else None


def product_precision(gang: Gang, tables: KernelTables) -> str | None:
    """Which table of matrix products serves the gang's weights; None: none does."""
    if is_experts_only(gang) or gang.precision in ("bf16", "fp16"):
        return "bf16"
    if gang.precision == "fp32" or is_dequantised(gang.gpu, gang.precision):
        return None
    units = units_of(gang.gpu, gang.precision)
    names = {"fp8": ("fp8_block", "fp8") if gang.model.experts else ("fp8", "fp8_block"), "fp4": ("nvfp4",)}
    return next((name for name in names.get(units, ("bf16",)) if tables.has_matmul(name)), None)


def shapes(gang: Gang) -> list[Shape]:
    """The dense products of one GPU: (outputs, inputs, layers); the router apart."""
    model, tp = gang.model, gang.tp
    found: list[Shape] = []
    if model.attention == "mla":
        found += mla_shapes(gang)
    elif model.attention != "none":
        width = (model.heads + 2 * max(model.kv_heads, kv_shards(model, tp))) * model.head_dim / tp
        layers = attention_layers(model)
        found += [(width, model.hidden, layers), (model.hidden, model.heads * model.head_dim / tp, layers)]
    for ffn, layers in ((model.ffn, mlp_layers(model)), (model.shared_expert_ffn, moe_layers(model))):
        if ffn and layers:
            found += [
                ((model.ffn_matrices - 1) * ffn / tp, model.hidden, layers),
                (model.hidden, ffn / tp, layers),
            ]
    if model.recurrent_layers:
        inner = model.mamba_heads * model.mamba_head_dim
        inputs = 2 * inner + 2 * model.mamba_groups * model.ssm_state + model.mamba_heads
        found += [
            (inputs / tp, model.hidden, model.recurrent_layers),
            (model.hidden, inner / tp, model.recurrent_layers),
        ]
    return found


def mla_shapes(gang: Gang) -> list[Shape]:
    """The projections of MLA on one GPU: down for queries and for keys and values, up by heads, and out."""
    model, heads = gang.model, gang.model.heads / gang.tp
    rank, rope = model.kv_lora_rank or 0, model.rope_dim or 0
    query_in = model.q_lora_rank or model.hidden
    down = model.q_lora_rank + rank + rope
    return [
        (down, model.hidden, model.layers),
        (heads * (model.nope_dim + rope), query_in, model.layers),
        (heads * (model.nope_dim + model.v_head_dim), rank, model.layers),
        (model.hidden, heads * model.v_head_dim, model.layers),
    ]
