"""What an instance of MIG is: a smaller GPU, with its part of the memory, the multiprocessors and the bandwidths."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sim.scenario.catalogue import option_files
from sim.scenario.hardware import Gpu
from sim.scenario.mig import MigKind, MigProfile, mig_kind

SMALLEST = "smallest_that_fits"
GIB = 2**30


class Parts(NamedTuple):
    """Which part of a GPU an instance has of each of these, (0, 1]."""

    memory: float  # of the memory slices: of the bandwidth, and of what the GPU costs
    compute: float  # of the multiprocessors, or of the compute slices where the former are not known
    copy: float  # of the copy engines: of PCIe


def kind_for(gpu: Gpu) -> MigKind | None:
    """How a GPU can be cut, found by its name; None where conf/mig does not say."""
    return next((kind for key in option_files("mig") if (kind := mig_kind(key)).gpu == gpu.name), None)


def profile_named(kind: MigKind, name: str) -> MigProfile | None:
    """The profile of that name; None where the GPU has none."""
    return next((profile for profile in kind.profiles if profile.profile == name), None)


def parts_of(kind: MigKind, profile: MigProfile) -> Parts:
    """The parts that an instance of a profile has."""
    compute = profile.compute_slices / kind.compute_slices
    if profile.sm_count is not None and kind.gpu_sm_count is not None:
        compute = profile.sm_count / kind.gpu_sm_count
    engines = max(other.copy_engines for other in kind.profiles)
    return Parts(profile.memory_slices / kind.memory_slices, compute, profile.copy_engines / engines)


def slice_gpu(gpu: Gpu, kind: MigKind, profile: MigProfile) -> Gpu:
    """An instance as a GPU of its own, for the law of step times and for memory.

    It has the memory that the driver reports of it, its memory slices' part of the bandwidth, its multiprocessors' part of
    every peak and its copy engines' part of PCIe. Instances have no NVLink, and no kernels were measured on them.
    """
    parts = parts_of(kind, profile)
    return replace(
        gpu,
        name=f"{gpu.name} ({profile.profile})",
        memory_gb=profile.usable_memory_gib * GIB / 1e9,
        device_memory_gib=profile.usable_memory_gib,
        memory_bw_gb_s=gpu.memory_bw_gb_s * parts.memory,
        pcie_gb_s=gpu.pcie_gb_s * parts.copy,
        usd_per_hour=gpu.usd_per_hour * parts.memory,
        dense_bf16_tflops=gpu.dense_bf16_tflops * parts.compute,
        dense_fp8_tflops=gpu.dense_fp8_tflops and gpu.dense_fp8_tflops * parts.compute,
        dense_fp4_tflops=gpu.dense_fp4_tflops and gpu.dense_fp4_tflops * parts.compute,
        tdp_w=gpu.tdp_w * parts.compute,
        nvlink_gb_s=None,
        mig_capable=False,
        kernels=None,
    )
