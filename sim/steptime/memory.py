"""How many KV-cache blocks fit beside a model's weights, or by how many GiB the model does not fit."""

from __future__ import annotations

from typing import NamedTuple

from sim.errors import InputError
from sim.scenario.hardware import Gpu, Model
from sim.steptime.gang import Gang
from sim.steptime.params import (
    kv_bytes_per_token,
    kv_shards,
    routed_bytes,
    state_bytes,
    weight_bytes,
    window_kv_bytes_per_token,
)

GIB = 2**30
RUNTIME_GIB = 0.7  # CUDA context and libraries of one process; vLLM logs have 0.1 to 1.8
LINKS_GIB = 1.8  # NCCL and custom all-reduce buffers when tp or pp > 1; measured: vLLM pull request 10511
TP_CHOICES = (1, 2, 4, 8)


class ServerLimits(NamedTuple):
    """The runtime settings that decide memory."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    gpu_memory_utilization: float


def device_bytes(gpu: Gpu) -> float:
    """Memory the runtime can see on one GPU."""
    return gpu.device_memory_gib * GIB if gpu.device_memory_gib else gpu.memory_gb * 1e9


def activation_bytes(model: Model, limits: ServerLimits, tp: int) -> float:
    """Largest activations of a step on one rank: hidden states, the MLP's three widths, fp32 logits."""
    chosen = (model.experts_active or 0) * model.expert_ffn + model.shared_expert_ffn
    widest = max(model.ffn, chosen, model.hidden)
    per_token = 2 * (4 * model.hidden + 3 * widest / tp)
    logits = 2 * 4 * model.vocab * limits.max_num_seqs / tp
    return per_token * limits.max_num_batched_tokens + (logits if model.kind == "llm" else 0.0)


def overhead_bytes(gang: Gang, limits: ServerLimits) -> float:
    """What one GPU holds beside weights and KV."""
    links = LINKS_GIB if gang.n_gpus > 1 else 0.0
    return (RUNTIME_GIB + links) * GIB + activation_bytes(gang.model, limits, gang.tp)


def kv_room_bytes(gang: Gang, limits: ServerLimits) -> float:
    """Bytes left for KV on one GPU; negative when the weights and the recurrent states do not fit.

    Recurrent layers keep a state for each of max_num_seqs sequences, split over the ranks.
    """
    usable = device_bytes(gang.gpu) * limits.gpu_memory_utilization
    return (
        usable - weight_bytes_per_gpu(gang) - state_bytes_per_gpu(gang, limits) - overhead_bytes(gang, limits)
    )


def weight_bytes_per_gpu(gang: Gang) -> float:
    """Bytes of weights on one GPU: routed experts are split over the data-parallel groups too, all else is copied."""
    routed = routed_bytes(gang.model, gang.precision)
    copied = weight_bytes(gang.model, gang.precision) - routed
    return (copied + routed / gang.dp) / (gang.tp * gang.pp)


def state_bytes_per_gpu(gang: Gang, limits: ServerLimits) -> float:
    """Bytes of recurrent states on one GPU."""
    return limits.max_num_seqs * state_bytes(gang.model) / gang.n_gpus


def kv_block_bytes(gang: Gang, block_size: int) -> float:
    """Bytes one block takes on one GPU of the gang while its tokens are inside every window."""
    copies = kv_shards(gang.model, gang.tp) * gang.pp
    return kv_bytes_per_token(gang.model, gang.kv_precision) * block_size / copies


def blocks_in(gang: Gang, limits: ServerLimits, room: float) -> int:
    """Blocks that surely fit into `room` bytes of one GPU; the model must keep KV.

    A layer with a window keeps at most the window of a sequence, and there are at most max_num_seqs sequences.
    What they keep together in such layers is therefore bounded; past that bound a token takes room in the
    other layers alone. Lengths decide how much more would fit, and they are not known here.
    """
    whole = kv_block_bytes(gang, limits.block_size)
    share = window_kv_bytes_per_token(gang.model, gang.kv_precision)
    windowed = whole * share / kv_bytes_per_token(gang.model, gang.kv_precision)
    most = -(-limits.max_num_seqs // gang.dp) * (
        -(-(gang.model.sliding_window or 0) // limits.block_size) + 1
    )
    if not windowed or room <= most * whole:
        return int(room // whole)
    if whole == windowed:  # no layer sees further: a sequence never takes more
        return limits.max_num_seqs * -(-gang.model.max_model_len // limits.block_size)
    return int((room - most * windowed) // (whole - windowed))


def kv_blocks(key: str, gang: Gang, limits: ServerLimits) -> int:
    """Blocks the gang holds; a block's shares lie on all GPUs of a data-parallel group, so one GPU's count is the group's.

    Raises InputError, with the missing GiB and the smallest tp that fits, when not one block fits.
    """
    room = kv_room_bytes(gang, limits)
    block = kv_block_bytes(gang, limits.block_size)
    if room < max(block, 1.0):
        raise InputError(_does_not_fit(key, gang, limits, max(block, 1.0) - room))
    if block == 0:  # nothing is cached: never the limit
        return limits.max_num_seqs * -(-gang.model.max_model_len // limits.block_size)
    return gang.dp * blocks_in(gang, limits, room)


def smallest_tp(gang: Gang, limits: ServerLimits) -> int | None:
    """The smallest tp inside a node that leaves room for KV, or None."""
    for tp in TP_CHOICES:
        wider = gang._replace(tp=tp)
        if gang.model.heads % tp:
            continue
        if kv_room_bytes(wider, limits) >= max(1.0, kv_block_bytes(wider, limits.block_size)):
            return tp
    return None


def most_sequences(gang: Gang, limits: ServerLimits) -> int:
    """For how many sequences the recurrent states and a block of KV fit; 0: for none, or the model has no such states."""
    one = state_bytes(gang.model) / gang.n_gpus
    if not one:
        return 0
    room = kv_room_bytes(gang, limits) + state_bytes_per_gpu(gang, limits)
    return max(0, int((room - kv_block_bytes(gang, limits.block_size)) // one))


def _does_not_fit(key: str, gang: Gang, limits: ServerLimits, short_bytes: float) -> str:
    """One line: what is needed, what there is, by how much it is short, what would help."""
    weights = weight_bytes_per_gpu(gang) / GIB
    usable = device_bytes(gang.gpu) * limits.gpu_memory_utilization / GIB
    beside = overhead_bytes(gang, limits) / GIB
    tp = smallest_tp(gang, limits)
    advice = f"the smallest tp that fits is {tp}" if tp else "no tp up to 8 fits: raise pp or lower precision"
    states = state_bytes_per_gpu(gang, limits) / GIB
    of_states = f", {states:.1f} GiB for the states of {limits.max_num_seqs} sequences (max_num_seqs)"
    fewer = most_sequences(gang, limits)
    if fewer:
        advice += f"; or runtime.max_num_seqs={fewer}"
    return (
        f"{key}: {gang.model.name} in {gang.precision} (tp {gang.tp}, pp {gang.pp}) does not fit "
        f"{gang.gpu.name} by {short_bytes / GIB:.1f} GiB: each GPU needs {weights:.1f} GiB for weights"
        f"{of_states if states else ''} and {beside:.1f} GiB to run a step, {usable:.1f} GiB are usable; {advice}"
    )
