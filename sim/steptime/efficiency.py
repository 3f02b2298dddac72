"""What share of its peaks an architecture reaches, and what a step costs beside its arithmetic.

The values are explained, with the data they were fitted on and their errors, in docs/step-time.md.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.scenario.hardware import Gpu, Roofline


class Efficiency(NamedTuple):
    """Factors of the roofline; shares of the catalogue's peaks, times in microseconds."""

    matmul_use: float
    attention_use: float
    weight_bandwidth_use: float
    kv_bandwidth_use: float
    link_bandwidth_use: float
    layer_us: float
    sequence_us: float
    step_us: float
    allreduce_us: float
    prefill_weight_share: float
    launch_us_per_layer: float


# Fitted to aiconfigurator's grids of vLLM at tp 1: Llama 3.1 8B and Qwen3 32B on A100 and H100 (Qwen3 8B and
# the H200 held out). link_bandwidth_use is fitted to splitwise-sim's measured DGX A100. No data pins down
# attention_use (flat from 0.4 to 0.7) and allreduce_us (p2p_latency of aiconfigurator's systems/*.yaml).
_COMMON = {
    "attention_use": 0.5,
    "link_bandwidth_use": 0.3,
    "step_us": 0.0,
    "allreduce_us": 10.0,
    "prefill_weight_share": 0.52,
    "launch_us_per_layer": 0.0,
}
AMPERE = Efficiency(
    matmul_use=0.85, weight_bandwidth_use=0.75, kv_bandwidth_use=0.78, layer_us=59, sequence_us=22, **_COMMON
)
HOPPER = Efficiency(
    matmul_use=0.73, weight_bandwidth_use=0.78, kv_bandwidth_use=0.90, layer_us=16, sequence_us=12, **_COMMON
)
EFFICIENCY = {
    "turing": AMPERE._replace(matmul_use=0.6),  # assumption: no data here; two generations of kernels behind
    "ampere": AMPERE,
    "hopper": HOPPER,
    "ada": AMPERE,  # assumption: no data here
    "blackwell": HOPPER,  # assumption: no data here
    "cdna3": HOPPER._replace(
        matmul_use=0.5
    ),  # assumption: no data here; its matrix units are known to reach less
    "cdna4": HOPPER._replace(matmul_use=0.5),  # assumption: no data here, as cdna3
}


def efficiency_for(gpu: Gpu, spec: Roofline) -> Efficiency:
    """The architecture's factors, with what the scenario says instead."""
    default = EFFICIENCY[gpu.architecture]
    said = {name: getattr(spec, name) for name in Efficiency._fields}
    return default._replace(**{name: value for name, value in said.items() if value is not None})
