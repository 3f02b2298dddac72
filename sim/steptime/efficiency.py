"""What share of its peaks a GPU reaches, and what a step costs beside its kernels.

The values are explained, with the measurements they come from and their errors, in docs/step-time.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.scenario.hardware import Gpu, Law, Model
from sim.steptime.params import attention_layers, moe_layers


class Efficiency(NamedTuple):
    """Factors of the law; shares of the catalogue's peaks, times in microseconds."""

    product_us: float  # a matrix product's own start and end
    matmul_use: float  # of the bf16 peak, by matrix products
    fp8_matmul_use: float  # of the fp8 or fp4 peak
    dequantised_matmul_use: float  # of the bf16 peak, by products that unpack integer or fp4 weights
    dequantised_fp8_use: float  # … fp8 weights
    attention_use: float  # of the bf16 peak, by attention among prompt tokens
    weight_bandwidth_use: float
    kv_bandwidth_use: float
    link_bandwidth_use: float
    allreduce_us: float  # latency of one all-reduce of a small message
    layer_us: float  # a layer and step: norms, rotary embeddings, gaps between kernels
    expert_bandwidth_use: float  # by reads of routed experts
    expert_matmul_use: float  # of the peak, by products with routed experts
    state_bandwidth_use: float  # by reading and writing recurrent states
    sampling_us: (
        float  # a decoding sequence and step, per 100,000 entries of the vocabulary: sorting, drawing
    )
    sequence_us: float  # the engine's CPU, a decoding sequence and step: what never overlaps with the GPU
    step_us: float  # … a step
    schedule_us: float  # the engine's CPU for scheduling a step, beside the GPU where that is asynchronous
    schedule_sequence_us: float  # … for each decoding sequence of it
    stream_us: float  # an API server's CPU for handing out a token
    mixed_step_us: float | None  # a step that carries prompts; None: as `prompt_launch_us` counts it
    router_skew: float  # popularity of experts: rank^-skew
    launch_us_per_layer: float  # without CUDA graphs no step is shorter than this a layer


# Shares read off measured kernels (the tables of conf/kernels) and constants fitted to 221 operating points of vLLM
# 0.11.1 on H100 and B200: docs/step-time.md. What no measurement pins down says so.
_ENGINE: dict[str, Any] = {
    "sampling_us": 13.1,
    "sequence_us": 20.0,
    "step_us": 0.0,
    "schedule_us": 1000.0,  # assumption, and so is the next: a step of vLLM 0.8 to 0.10 against one of 0.11
    "schedule_sequence_us": 7.0,
    "stream_us": 0.0,
    "mixed_step_us": None,
    "router_skew": 1.0,
    "launch_us_per_layer": 0.0,
    "state_bandwidth_use": 0.8,
}
HOPPER = Efficiency(
    product_us=3.2,
    matmul_use=0.81,
    fp8_matmul_use=0.5,
    dequantised_matmul_use=0.39,  # assumption, and so is the next: as on Ampere
    dequantised_fp8_use=0.35,
    attention_use=0.5,
    weight_bandwidth_use=0.84,
    kv_bandwidth_use=0.85,
    link_bandwidth_use=0.30,
    allreduce_us=8.0,
    layer_us=42.7,
    expert_bandwidth_use=0.598,
    expert_matmul_use=0.4,  # hardly identified by the data
    **_ENGINE,
)
BLACKWELL = HOPPER._replace(
    product_us=2.5,
    matmul_use=0.72,
    fp8_matmul_use=0.45,
    weight_bandwidth_use=0.79,
    kv_bandwidth_use=0.85,
    link_bandwidth_use=0.25,
    allreduce_us=7.0,
    layer_us=67.0,
    expert_bandwidth_use=0.451,
    expert_matmul_use=0.3,  # hardly identified by the data
)
AMPERE = HOPPER._replace(
    product_us=4.9,
    matmul_use=0.77,
    weight_bandwidth_use=0.76,
    kv_bandwidth_use=0.77,
    link_bandwidth_use=0.27,
    allreduce_us=10.0,
)
ADA = HOPPER._replace(
    product_us=1.8,
    matmul_use=0.62,
    fp8_matmul_use=0.45,
    weight_bandwidth_use=0.85,
    kv_bandwidth_use=0.78,
    link_bandwidth_use=0.25,
    allreduce_us=18.0,
)
# assumptions: no measured kernels here. CDNA3's matrix units are known to reach a smaller share of their peak.
CDNA3 = HOPPER._replace(
    product_us=4.0,
    layer_us=31.2,
    matmul_use=0.5,
    weight_bandwidth_use=0.65,
    kv_bandwidth_use=0.65,
    expert_bandwidth_use=0.4,
)
EFFICIENCY = {
    "turing": ADA._replace(weight_bandwidth_use=0.7, kv_bandwidth_use=0.6),
    "ampere": AMPERE,
    "ada": ADA,
    "hopper": HOPPER,
    "blackwell": BLACKWELL,
    "cdna3": CDNA3,
    "cdna4": CDNA3,
}
# What prompts add to a step beside their arithmetic: no CUDA graph holds it, the CPU launches its kernels one by one.
# Fitted to the gap between mean and median steps of the same points.
PROMPT_LAYER_US = 70.0  # a layer
PROMPT_EXPERTS_US = 58.0  # … more with routed experts: routing, sorting, adding up
PROMPT_MLA_US = 424.0  # … more under MLA: keys and values are unpacked for prompts, apart from decodes
PROMPT_RECURRENT_US = 1092.0  # a recurrent layer more: the scan of a prompt; one model's points alone
# With tables of conf/kernels, whose attention and all-reduce have their starts in them, less lies between the kernels.
LAYER_US_WITH_KERNELS = {"hopper": 31.2, "blackwell": 37.2}


def prompt_launch_us(model: Model) -> float:
    """Microseconds to launch the kernels that prompts add to a step, by the kinds of the model's layers."""
    with_mla = attention_layers(model) if model.attention == "mla" else 0
    return (
        PROMPT_LAYER_US * model.layers
        + PROMPT_EXPERTS_US * moe_layers(model)
        + PROMPT_MLA_US * with_mla
        + PROMPT_RECURRENT_US * model.recurrent_layers
    )


def efficiency_for(gpu: Gpu, law: Law, with_kernels: bool = False) -> Efficiency:
    """The factors of the GPU's architecture; those that the scenario sets replace them."""
    default = EFFICIENCY[gpu.architecture]
    if with_kernels:
        near = "blackwell" if gpu.architecture == "blackwell" else "hopper"  # Ampere, Ada: assumed as Hopper
        default = default._replace(layer_us=LAYER_US_WITH_KERNELS[near])
    own = {name: getattr(law, name) for name in Efficiency._fields}
    return default._replace(**{name: value for name, value in own.items() if value is not None})
