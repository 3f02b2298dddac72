"""Pools on instances of MIG: the GPU that an instance amounts to, whether the model fits, and the smallest that does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.errors import InputError, nearest, problem
from sim.scenario.check_sharing import has_places, percentage_of
from sim.scenario.geometry import offered
from sim.scenario.hardware import Gpu
from sim.scenario.mig import MigKind, MigProfile
from sim.scenario.sharing import SHARED_BY, is_shared
from sim.scenario.slices import SMALLEST, kind_for, profile_named, slice_gpu
from sim.steptime.gang import Gang
from sim.steptime.memory import (
    GIB,
    ServerLimits,
    blocks_in,
    device_bytes,
    kv_block_bytes,
    kv_room_bytes,
    overhead_bytes,
    state_bytes_per_gpu,
    weight_bytes_per_gpu,
)

if TYPE_CHECKING:
    from sim.scenario.cluster import NodeGroup
    from sim.scenario.pool import Pool
    from sim.scenario.scenario import Scenario
    from sim.steptime.make import PoolLike


def limits_of(pool: PoolLike) -> ServerLimits:
    """The runtime settings that decide memory."""
    runtime = pool.runtime
    return ServerLimits(
        runtime.max_num_seqs,
        runtime.max_num_batched_tokens,
        runtime.block_size,
        runtime.gpu_memory_utilization,
    )


def gpu_of(pool: PoolLike) -> Gpu:
    """What a pool's replicas run on: its GPU, shared or not, or with `slice` an instance of it.

    Raises InputError where the GPU has no such profile; the smallest one that fits is sought among all that it has.
    """
    if pool.slice is None:
        return pool.gpu
    if is_shared(pool.slice):
        return with_threads(pool.gpu, pool.active_thread_percentage)
    kind, profile = profile_of(pool)
    return slice_gpu(pool.gpu, kind, profile)


def with_threads(gpu: Gpu, percentage: int | None) -> Gpu:
    """A GPU of which an MPS client may use so many percent of the multiprocessors: that part of the peaks of matrix
    products, all of the bandwidth. No kernels were measured so.
    """
    if percentage is None or percentage == 100:
        return gpu
    part = percentage / 100
    return replace(
        gpu,
        dense_bf16_tflops=gpu.dense_bf16_tflops * part,
        dense_fp8_tflops=gpu.dense_fp8_tflops and gpu.dense_fp8_tflops * part,
        dense_fp4_tflops=gpu.dense_fp4_tflops and gpu.dense_fp4_tflops * part,
        kernels=None,
    )


def profile_of(pool: PoolLike) -> tuple[MigKind, MigProfile]:
    """How a pool's GPU is cut, and which instance its replicas have. Raises InputError."""
    key, kind = f"pools.{pool.name}.slice", kind_for(pool.gpu)
    if kind is None:
        raise InputError(problem(key, pool.slice, f"null: conf/mig has no profiles of {pool.gpu.name}"))
    if pool.slice == SMALLEST:
        return kind, smallest(pool, kind, kind.profiles)
    profile = profile_named(kind, str(pool.slice))
    if profile is None:
        names = [one.profile for one in kind.profiles]
        how = f"{SMALLEST}, or a profile of {pool.gpu.name}: {', '.join(names)}"
        raise InputError(problem(key, pool.slice, how, nearest(str(pool.slice), names)))
    return kind, profile


def smallest(pool: PoolLike, kind: MigKind, profiles: Sequence[MigProfile]) -> MigProfile:
    """The profile with least memory, then fewest compute slices, on which a replica starts. Raises InputError where none
    will do.

    Weights, states and a step's activations fit, and KV for one sequence of the longest length that the pool serves:
    without, vLLM does not start. Media extensions are for who asks for them by name.
    """
    found = first_enough(pool, kind, longest_served(pool), profiles)
    if found is not None:
        return found
    able = in_order(profiles)
    if not able:
        raise InputError(problem(f"pools.{pool.name}.slice", SMALLEST, "with node groups whose GPUs are cut"))
    raise InputError(too_small(pool, kind, able[-1], is_asked=False))


def in_order(profiles: Sequence[MigProfile]) -> list[MigProfile]:
    """By memory, then compute slices; those with media extensions left out."""
    able = [one for one in profiles if not one.is_media]
    return sorted(able, key=lambda one: (one.usable_memory_gib, one.compute_slices, one.memory_slices))


def first_enough(
    pool: PoolLike, kind: MigKind, tokens: int, profiles: Sequence[MigProfile] | None = None
) -> MigProfile | None:
    """The smallest profile (None: of all that the GPU has) that holds the model and KV for a sequence of so many tokens."""
    able = in_order(kind.profiles if profiles is None else profiles)
    return next(
        (one for one in able if missing_bytes(pool, slice_gpu(pool.gpu, kind, one), tokens) <= 0), None
    )


def with_slices(scenario: Scenario) -> Scenario:
    """The scenario with a profile wherever a pool asks for the smallest that fits, of those that its node groups have; and
    with what its node groups say of sharing where a pool asks for a place of a shared GPU.

    Raises InputError where none fits.
    """
    if not any(pool.slice == SMALLEST or is_shared(pool.slice) for pool in scenario.pools):
        return scenario
    groups = scenario.cluster.node_groups
    pools = tuple(with_share(with_slice(pool, groups), groups) for pool in scenario.pools)
    return replace(scenario, pools=pools)


def with_slice(pool: Pool, groups: Sequence[NodeGroup]) -> Pool:
    """One pool."""
    kind = kind_for(pool.gpu)
    if pool.slice != SMALLEST or kind is None:
        return pool
    mine = [group for group in groups if not pool.node_groups or group.name in pool.node_groups]
    there = {one for group in mine if group.gpu.name == pool.gpu.name for one in offered(group)}
    return replace(pool, slice=smallest(pool, kind, tuple(there)).profile)


def with_share(pool: Pool, groups: Sequence[NodeGroup]) -> Pool:
    """One pool, which may ask for a place of a shared GPU: how many share it, and what MPS lets it use."""
    if not is_shared(pool.slice):
        return pool
    mine = [group for group in groups if not pool.node_groups or group.name in pool.node_groups]
    shared = [group for group in mine if group.gpu.name == pool.gpu.name and has_places(group, pool.slice)]
    if not shared:
        return pool
    percentage = pool.active_thread_percentage
    return replace(
        pool,
        slice=f"{SHARED_BY}{shared[0].places}",
        active_thread_percentage=percentage_of(shared[0]) if percentage is None else percentage,
    )


def longest_served(pool: PoolLike) -> int:
    """Tokens of the longest sequence that the pool serves."""
    return min(pool.runtime.max_model_len or pool.model.max_model_len, pool.model.max_model_len)


def gang_on(pool: PoolLike, gpu: Gpu) -> Gang:
    """One GPU or instance with the whole model on it."""
    return Gang(gpu, pool.model, pool.precision, pool.kv_precision)


def missing_bytes(pool: PoolLike, gpu: Gpu, longest: int | None = None) -> float:
    """Bytes by which an instance is too small for the model with KV for one sequence of `longest` tokens (None: the longest
    that the pool serves); at most 0 where it fits.
    """
    gang, limits = gang_on(pool, gpu), limits_of(pool)
    room, block = kv_room_bytes(gang, limits), kv_block_bytes(gang, limits.block_size)
    n_blocks = math.ceil((longest_served(pool) if longest is None else longest) / limits.block_size)
    if pool.runtime.num_kv_blocks is not None:
        n_blocks = pool.runtime.num_kv_blocks
    if block > 0 and room >= block and blocks_in(gang, limits, room) >= n_blocks:
        return 0.0
    return max(1.0, n_blocks * block) - room


def check_fits(pool: PoolLike) -> None:
    """Raise InputError where the model does not fit the pool's instance with a block of KV."""
    kind, profile = profile_of(pool)
    if missing_bytes(pool, slice_gpu(pool.gpu, kind, profile), pool.runtime.block_size) > 0:
        raise InputError(too_small(pool, kind, profile, is_asked=True))


def check_share_fits(pool: PoolLike) -> None:
    """Raise InputError where what a replica sets aside of a shared GPU's memory does not hold the model and some KV."""
    gang, limits = gang_on(pool, pool.gpu), limits_of(pool)
    missing = missing_bytes(pool, pool.gpu, limits.block_size)
    if missing <= 0:
        return
    whole, own = device_bytes(pool.gpu), limits.gpu_memory_utilization
    least = own + missing / whole
    allowed = f"at least {math.ceil(least * 100) / 100:g}" if least <= 1 else "no share of this GPU"
    needs = weight_bytes_per_gpu(gang) + state_bytes_per_gpu(gang, limits) + overhead_bytes(gang, limits)
    raise InputError(
        problem(
            f"pools.{pool.name}.runtime.gpu_memory_utilization",
            own,
            f"{allowed} for {pool.model.name} in {pool.precision} on a shared {pool.gpu.name}:"
            f" {own * whole / GIB:.1f} GiB are too little by {missing / GIB:.1f} GiB for weights and a step"
            f" ({needs / GIB:.1f} GiB) and a block of KV",
        )
    )


def too_small(pool: PoolLike, kind: MigKind, profile: MigProfile, is_asked: bool) -> str:
    """One line: what is needed, what the instance has, by how much it is short, and the smallest profile that would do.

    With `is_asked` the profile was asked for by name, and a block of KV is enough.
    """
    gpu = slice_gpu(pool.gpu, kind, profile)
    gang, limits = gang_on(pool, gpu), limits_of(pool)
    whole = longest_served(pool)
    tokens = min(limits.block_size, whole) if is_asked else whole
    asked = "" if is_asked else f"{SMALLEST}: none is large enough; the largest there is, "
    states = state_bytes_per_gpu(gang, limits) / GIB
    return (
        f"pools.{pool.name}.slice: {asked}{profile.profile} is too small for {pool.model.name} in {pool.precision} by"
        f" {missing_bytes(pool, gpu, tokens) / GIB:.1f} GiB: it needs"
        f" {weight_bytes_per_gpu(gang) / GIB:.1f} GiB for weights,"
        f"{f' {states:.1f} GiB for the states of {limits.max_num_seqs} sequences,' if states else ''}"
        f" {overhead_bytes(gang, limits) / GIB:.1f} GiB to run a step and KV for {tokens:,} tokens,"
        f" {device_bytes(gpu) * limits.gpu_memory_utilization / GIB:.1f} GiB are usable; {advice_of(pool, kind, tokens)}"
    )


def advice_of(pool: PoolLike, kind: MigKind, tokens: int) -> str:
    """The smallest profile with KV for so many tokens, and the smallest with KV for the longest sequence that is served."""
    whole = longest_served(pool)
    least, full = (first_enough(pool, kind, n) for n in (tokens, whole))
    if least is None:
        return f"no instance of {pool.gpu.name} would do: take whole GPUs, or a lower precision"
    text = f"the smallest that would do is {least.profile}"
    if full is not None and full != least:
        text += f" (with KV for {whole:,} tokens {full.profile})"
    return text
