"""What placement reads: profiles of MIG instances, nodes by what they have free, kinds of workloads."""

from __future__ import annotations

from sim.schema import Array, Field, Row

N_GPU_MAX = 16  # GPUs of a node at most


class SliceProfile(Row):
    """A MIG profile of a kind of GPU. An instance that starts at s takes the memory slices s … s + memory_slices − 1."""

    memory_slices = Field("memory slices that an instance takes, side by side")
    compute_slices = Field("compute slices that it takes")
    starts = Field("bit s: it may start at memory slice s")
    media = Field("1 = it takes the GPU's one set of media extensions (+me)")
    weight = Field("how often it is asked for, among the profiles of its GPU; read by the fgd policy alone")
    is_whole = Field("1 = no instance but the whole GPU, with MIG off")


class FreeNode(Row):
    """What a node has free."""

    cpu_milli = Field("cores")
    memory_mib = Field("host memory", unit="MiB")
    gpu_kind = Field("the kind of its GPUs")
    n_gpu = Field("its GPUs, free or not")
    lives = Field("who has GPUs there: bit 0 workloads with a share of one, bit k those with k whole ones")
    gpu_milli = Array("what each of them has free", N_GPU_MAX, unit="1/1000 GPU")


class PodKind(Row):
    """A kind of workload, by what one of them asks for on one node."""

    cpu_milli = Field("cores")
    memory_mib = Field("host memory", unit="MiB")
    gpu_milli = Field("of each of its GPUs; 0 = it needs none", unit="1/1000 GPU")
    n_gpu = Field("on so many GPUs")
    gpu_kinds = Field("bit k: GPUs of kind k would do; 0 = any")
    weight = Field("how often it comes, among all kinds")


class Alike(Row):
    """Workloads that ask for the same: of a pool or a job, and of one flavour where they have quota."""

    failed_pass = Field("the last pass that found no slices for one of them")
    cursor = Field("scratch: no node before this one has slices for one of them")
