"""Weight formats: how many bits a weight takes, which weights are quantised, and which matrix units multiply them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sim.errors import InputError, nearest, problem
from sim.scenario.hardware import Gpu, Model

Units = Literal["fp32", "bf16", "fp8", "fp4"]


class WeightFormat(NamedTuple):
    """One value of a pool's `precision`."""

    bits: float  # of a quantised weight, its share of the scales included
    others_bits: float  # of embeddings, output layer and router, and of what else is not quantised
    units: Units  # the matrix units that multiply it where the GPU has them
    experts_only: bool = False  # a mixture's routed experts alone are quantised
    is_fp8: bool = False


FORMATS = {
    "fp32": WeightFormat(32, 32, "fp32"),
    "bf16": WeightFormat(16, 16, "bf16"),
    "fp16": WeightFormat(16, 16, "bf16"),
    "fp8": WeightFormat(
        8, 16, "fp8", is_fp8=True
    ),  # weights and activations; scales are a tensor's, a row's or a 128 × 128 block's
    "fp8_weights": WeightFormat(8, 16, "bf16", is_fp8=True),  # weights alone: W8A16
    "int8": WeightFormat(8, 16, "bf16"),  # weights alone
    "int4": WeightFormat(4.25, 16, "bf16"),  # AWQ, GPTQ: weights alone, a 16-bit scale and a zero for 128
    "nvfp4": WeightFormat(4.5, 16, "fp4"),  # an 8-bit scale for 16 weights
    "mxfp4": WeightFormat(
        4.25, 16, "bf16", experts_only=True
    ),  # an 8-bit scale for 32; gpt-oss: activations in bf16
}


def format_of(precision: str, key: str = "precision") -> WeightFormat:
    """The format of that name; raises InputError that names `key`."""
    if precision not in FORMATS:
        raise InputError(problem(key, precision, ", ".join(FORMATS), nearest(precision, FORMATS)))
    return FORMATS[precision]


def peak_flops(gpu: Gpu, precision: str) -> float:
    """Dense FLOP/s of one GPU for weights of a format: that of the units which multiply them."""
    units = units_of(gpu, precision)
    if units == "fp32":
        return gpu.dense_bf16_tflops * 1e12 * 0.5
    tflops = {"bf16": gpu.dense_bf16_tflops, "fp8": gpu.dense_fp8_tflops, "fp4": gpu.dense_fp4_tflops}[units]
    assert tflops is not None, "units_of names units that the GPU has"
    return tflops * 1e12


def units_of(gpu: Gpu, precision: str) -> Units:
    """The matrix units that multiply a format on a GPU: its own, or bf16 where the GPU has none of them."""
    units = format_of(precision).units
    lacks = (units == "fp8" and gpu.dense_fp8_tflops is None) or (
        units == "fp4" and gpu.dense_fp4_tflops is None
    )
    return "bf16" if lacks else units


def is_dequantised(gpu: Gpu, precision: str) -> bool:
    """Whether a matrix product unpacks its weights to bf16 first, which costs time at large batches."""
    return format_of(precision).bits < 16 and units_of(gpu, precision) == "bf16"


def layer_bits(precision: str, model: Model) -> float:
    """Bits of a weight in attention, dense MLPs, shared experts and recurrent mixers."""
    kind = format_of(precision)
    return kind.others_bits if kind.experts_only and model.experts else kind.bits
