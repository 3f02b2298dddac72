"""What share of its peaks a GPU reaches, and what a step costs beside its kernels.

The values are explained, with the measurements they come from and their errors, in docs/step-time.md.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.scenario.hardware import Gpu, Law


class Efficiency(NamedTuple):
    """Factors of the law; shares of the catalogue's peaks, times in microseconds."""

    matmul_use: float  # of the peak, by matrix products
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
    sequence_us: float  # the engine's CPU, a decoding sequence and step: what never overlaps with the GPU
    step_us: float  # … a step
    schedule_us: float  # the engine's CPU for scheduling a step, beside the GPU where that is asynchronous
    schedule_sequence_us: float  # … for each decoding sequence of it
    stream_us: float  # an API server's CPU for handing out a token
    mixed_step_us: float  # a step that carries prompts
    router_skew: float  # popularity of experts: rank^-skew
    launch_us_per_layer: float  # without CUDA graphs no step is shorter than this a layer


# Shares read off measured kernels (the tables of conf/kernels) and constants fitted to 221 operating points of vLLM
# 0.11.1 on H100 and B200: docs/step-time.md. What no measurement pins down says so.
_ENGINE = {
    "sequence_us": 42.4,
    "step_us": 0.0,
    "schedule_us": 1000.0,  # assumption, and so is the next: a step of vLLM 0.8 to 0.10 against one of 0.11
    "schedule_sequence_us": 7.0,
    "stream_us": 0.0,
    "mixed_step_us": 4000.0,
    "router_skew": 1.0,
    "launch_us_per_layer": 0.0,
    "state_bandwidth_use": 0.8,
}
HOPPER = Efficiency(
    matmul_use=0.85,
    dequantised_matmul_use=0.39,  # assumption, and so is the next: as on Ampere
    dequantised_fp8_use=0.35,
    attention_use=0.5,
    weight_bandwidth_use=0.78,
    kv_bandwidth_use=0.85,
    link_bandwidth_use=0.30,
    allreduce_us=8.0,
    layer_us=43.9,
    expert_bandwidth_use=0.561,
    expert_matmul_use=0.4,  # hardly identified by the data
    **_ENGINE,
)
BLACKWELL = HOPPER._replace(
    matmul_use=0.80,
    weight_bandwidth_use=0.70,
    kv_bandwidth_use=0.85,
    link_bandwidth_use=0.25,
    allreduce_us=7.0,
    layer_us=64.2,
    expert_bandwidth_use=0.402,
    expert_matmul_use=0.3,  # hardly identified by the data
)
AMPERE = HOPPER._replace(
    matmul_use=0.86,
    weight_bandwidth_use=0.72,
    kv_bandwidth_use=0.77,
    link_bandwidth_use=0.27,
    allreduce_us=10.0,
)
ADA = HOPPER._replace(
    matmul_use=0.64,
    weight_bandwidth_use=0.81,
    kv_bandwidth_use=0.78,
    link_bandwidth_use=0.25,
    allreduce_us=18.0,
)
# assumptions: no measured kernels here. CDNA3's matrix units are known to reach a smaller share of their peak.
CDNA3 = HOPPER._replace(
    matmul_use=0.5, weight_bandwidth_use=0.65, kv_bandwidth_use=0.65, expert_bandwidth_use=0.4
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
# What the constants become where the tables of conf/kernels give the kernels' times (fitted together with them).
WITH_KERNELS = {
    "sequence_us": 38.1,
    "mixed_step_us": 4000.0,
}
LAYER_US_WITH_KERNELS = {"hopper": 35.1, "blackwell": 36.8}
EXPERT_BANDWIDTH_WITH_KERNELS = {"hopper": 0.584, "blackwell": 0.434}


def efficiency_for(gpu: Gpu, law: Law, with_kernels: bool = False) -> Efficiency:
    """The architecture's factors, with what the scenario says instead."""
    default = EFFICIENCY[gpu.architecture]
    if with_kernels:
        near = "blackwell" if gpu.architecture == "blackwell" else "hopper"  # Ampere, Ada: assumed as Hopper
        default = default._replace(
            **WITH_KERNELS,
            layer_us=LAYER_US_WITH_KERNELS[near],
            expert_bandwidth_use=EXPERT_BANDWIDTH_WITH_KERNELS[near],
        )
    own = {name: getattr(law, name) for name in Efficiency._fields}
    return default._replace(**{name: value for name, value in own.items() if value is not None})
