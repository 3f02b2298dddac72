"""The step-time law: a gang's kernels, its experts, its layers' overheads and its engine's CPU time → a curve."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from sim.errors import InputError, problem
from sim.fill.knots import knot_tokens
from sim.scenario.hardware import Law
from sim.steptime.efficiency import Efficiency, efficiency_for, prompt_launch_us
from sim.steptime.experts import load_of
from sim.steptime.formats import format_of, is_dequantised, peak_flops
from sim.steptime.from_kernels import kernels_of
from sim.steptime.gang import Gang
from sim.steptime.host import Host, with_host_s
from sim.steptime.params import count_parameters, state_bytes
from sim.steptime.roofline import Line, Roofline, dequantised_rate, link_rate
from sim.steptime.table import Curve

CAPTURED_SIZES = (1, 2, 4, *range(8, 513, 8))  # vLLM's default CUDA-graph batch sizes
VOCABULARY = 100_000  # entries that `sampling_us` is for
TOKENS_MAX = 2**24  # kernels are asked for no more tokens: the curve goes on straight
#: what a scenario can say that only the roofline uses
SHARES = (
    "product_us",
    "matmul_use",
    "fp8_matmul_use",
    "attention_use",
    "weight_bandwidth_use",
    "kv_bandwidth_use",
    "link_bandwidth_use",
    "allreduce_us",
)


class Kernels(Protocol):
    """What the law asks of a source of kernel times; see `Roofline`."""

    source: str

    def dense_s(self, z: np.ndarray) -> np.ndarray: ...
    def head_s(self, n: np.ndarray) -> np.ndarray: ...
    def decode_attention(self, n: np.ndarray) -> Line: ...
    def prompt_attention_s(self) -> float: ...
    def allreduce_s(self, z: np.ndarray) -> np.ndarray: ...


class Chosen(NamedTuple):
    """A gang's kernels and the constants that belong to them."""

    kernels: Kernels
    eff: Efficiency


def choose_kernels(gang: Gang, law: Law) -> Chosen:
    """Measured kernels where there are and the scenario sets no share of the roofline; else the roofline.

    Raises InputError where `kernels` is asked for and the GPU has no tables, or beside a share that they replace.
    """
    shares = [name for name in SHARES if getattr(law, name) is not None]
    if law.kind == "kernels" and shares:
        raise InputError(
            f"steptime.{shares[0]}: not with steptime.kind: kernels, whose tables stand in its place"
        )
    if law.kind == "kernels" and gang.gpu.kernels is None:
        allowed = f"auto or roofline, for {gang.gpu.name} has no tables of measured kernels"
        raise InputError(problem("steptime.kind", law.kind, allowed))
    if law.kind == "kernels" or (law.kind == "auto" and not shares):
        eff = efficiency_for(gang.gpu, law, with_kernels=True)
        tables = kernels_of(gang, eff)
        if tables is not None:
            return Chosen(tables, eff)
    eff = efficiency_for(gang.gpu, law)
    return Chosen(Roofline(gang, eff), eff)


def law_curve(gang: Gang, law: Law, max_num_seqs: int, host: Host | None = None) -> Curve:
    """The step-time curve of a gang, in seconds, for batches up to `max_num_seqs`; `host` None: as vLLM sets it up."""
    kernels, eff = choose_kernels(gang, law)
    host = host or Host(api_servers=gang.dp)
    n = np.arange(1, max_num_seqs + 1, dtype=float)
    sizes = padded(n) if law.cuda_graph_padding else n
    group = np.ceil(sizes / gang.dp)
    line = kernels.decode_attention(group)
    gpu_s = (
        work_s(gang, kernels, eff, sizes)
        + kernels.head_s(group)
        + line.base_s
        + state_s(gang, eff, group)
        + sampling_s(gang, eff, group)
    )
    gpu_s = np.maximum(gpu_s + fixed_s(gang, eff), floor_s(gang, eff))
    fixed_prompt_s = fixed_s(gang, eff) + float(kernels.head_s(np.ones(1))[0])
    mixed_s = mixed_us(gang, eff) * 1e-6
    prompt_s = np.array([max(fixed_prompt_s, floor_s(gang, eff)) + mixed_s])
    none = np.zeros(1)
    return Curve(
        base_s=np.concatenate(
            [with_host_s(prompt_s, none, none, host, eff), with_host_s(gpu_s, group, sizes, host, eff)]
        ),
        slope_s=np.concatenate([[0.0], line.slope_s / gang.dp]),
        work_s=work_at_knots(gang, kernels, eff),
        mixed_s=mixed_s,
        attention_s_per_token2=kernels.prompt_attention_s(),
        source=f"{kernels.source}: {gang.gpu.name}, {gang.model.name}, {gang.precision}, {parallelism(gang)}",
    )


def work_s(gang: Gang, kernels: Kernels, eff: Efficiency, tokens: np.ndarray) -> np.ndarray:
    """Seconds of the parts of a step that grow with its tokens: matrix products, experts and all-reduces."""
    group = np.ceil(tokens / gang.dp)
    return kernels.dense_s(group) + experts_s(gang, eff, tokens) + kernels.allreduce_s(group)


def work_at_knots(gang: Gang, kernels: Kernels, eff: Efficiency) -> np.ndarray:
    """`work_s` at each of `knot_tokens()`, (N_WORK,): never falling, and 0 where there are no tokens."""
    knots = knot_tokens().astype(float)
    asked = np.minimum(knots, TOKENS_MAX)
    seconds = (
        work_s(gang, kernels, eff, np.maximum(asked, 1.0)) * np.maximum(knots, 1.0) / np.maximum(asked, 1.0)
    )
    seconds[0] = 0.0
    return np.asarray(np.maximum.accumulate(seconds))


def experts_s(gang: Gang, eff: Efficiency, tokens: np.ndarray) -> np.ndarray:
    """Seconds of the routed experts of all layers on the busiest GPU: the longer of reading them and multiplying."""
    model = gang.model
    if not model.experts or not model.experts_active:
        return np.zeros(np.shape(tokens))
    expert = count_parameters(model).routed_expert  # in all its layers together
    spread = gang.tp * gang.dp
    load = load_of(model, gang.ep, eff.router_skew, tokens)
    touched = load.touched / (1 if gang.ep > 1 else spread)
    read_s = touched * expert * format_of(gang.precision).bits / 8
    read_s = read_s / (gang.gpu.memory_bw_gb_s * 1e9 * eff.expert_bandwidth_use)
    flops = 2.0 * model.experts_active * expert * tokens * load.busiest / spread
    rate = peak_flops(gang.gpu, gang.precision) * eff.expert_matmul_use
    if is_dequantised(gang.gpu, gang.precision):
        rate = min(gang.gpu.dense_bf16_tflops * 1e12 * eff.expert_matmul_use, dequantised_rate(gang, eff))
    return np.maximum(read_s, flops / rate)


def state_s(gang: Gang, eff: Efficiency, n: np.ndarray) -> np.ndarray:
    """Seconds to read and write the recurrent states of n sequences."""
    rate = gang.gpu.memory_bw_gb_s * 1e9 * eff.state_bandwidth_use * gang.tp
    return 2.0 * state_bytes(gang.model) * n / rate


def sampling_s(gang: Gang, eff: Efficiency, n: np.ndarray) -> np.ndarray:
    """Seconds to draw the next tokens of n sequences: each rank sorts the logits of the whole vocabulary."""
    return eff.sampling_us * 1e-6 * gang.model.vocab / VOCABULARY * n


def fixed_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds of the GPU in a step whatever it computes: per layer, and the hops between pipeline stages."""
    hop_s = eff.allreduce_us * 1e-6 + gang.model.hidden * 2 / link_rate(gang, eff)
    return eff.layer_us * gang.model.layers * 1e-6 + (gang.pp - 1) * hop_s


def mixed_us(gang: Gang, eff: Efficiency) -> float:
    """Microseconds that prompts add to a step beside their arithmetic: launches beyond those of an eager step."""
    if eff.mixed_step_us is not None:
        return eff.mixed_step_us
    return max(0.0, prompt_launch_us(gang.model) - eff.launch_us_per_layer * gang.model.layers)


def floor_s(gang: Gang, eff: Efficiency) -> float:
    """Seconds that the CPU takes to launch a step's kernels one by one, without CUDA graphs."""
    return eff.launch_us_per_layer * 1e-6 * gang.model.layers


def padded(n: np.ndarray) -> np.ndarray:
    """Batch sizes as CUDA graphs run them: rounded up to the next captured size; past the last one as they are."""
    sizes = np.array(CAPTURED_SIZES, dtype=float)
    index = np.minimum(np.searchsorted(sizes, n), len(sizes) - 1)
    return np.where(n <= sizes[-1], sizes[index], n)


def parallelism(gang: Gang) -> str:
    """tp, pp, ep and dp, as far as they are not 1."""
    parts = [f"{name} {getattr(gang, name)}" for name in ("tp", "pp", "ep", "dp") if getattr(gang, name) > 1]
    return ", ".join(parts) or "tp 1"
