"""How long each stage of a pool's cold starts takes: bytes over bandwidths, work per layer, or what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.model.tables.link import THROUGH_NOTHING, THROUGHS
from sim.model.tables.pool import N_QUANTILE
from sim.scenario.coldstart import (
    SHOWN_AS,
    Compute,
    Fixed,
    Kept,
    Peers,
    Transfer,
    in_order,
    path_of,
    waits_for,
)
from sim.scenario.pool import Pool
from sim.steptime.gang import Gang
from sim.steptime.memory import weight_bytes_per_gpu
from sim.steptime.params import flops_per_token, weight_bytes
from sim.steptime.slices import gpu_of
from sim.units import HORIZON_MAX_S
from sim.workload.dists import quantile_table

GB = 1e9
OF_NODES = ("slice", "provision")  # stages of a start that a cluster's nodes stand for, as they are shown
LARGEST_GRAPH = 512
OF_GRAPHS = ("compile", "graphs")  # what an eager engine leaves out


class Subject(NamedTuple):
    """What is started: all that a stage's time can depend on."""

    weight_bytes: float  # of the files
    ranks: int = 1  # GPUs that share them, tp · pp · dp
    dp: int = 1  # groups of GPUs, each with a copy of all but the routed experts
    rank_bytes: float = 0.0  # of weights that one GPU holds; 0: an even share
    layers: int = 1
    flops_per_token: float = 0.0
    pcie_gb_s: float = 32.0  # of one GPU, one direction
    peak_tflops: float = 1000.0  # of one GPU, bf16
    max_num_seqs: int = 256
    image_bytes: float = 0.0  # compressed
    unpacked_bytes: float = 0.0
    is_eager: bool = False  # the runtime compiles and captures nothing

    @property
    def at_once(self) -> float:
        """How many times faster ranks are that each read what they hold than one that reads everything."""
        return self.weight_bytes / self.rank_bytes if self.rank_bytes > 0 else float(self.ranks)


class Artifact(NamedTuple):
    """What a node keeps: the same for all pools whose starts bring the same thing."""

    of: str  # weights, image, …
    whose: str  # the model and its precision, or the cold start and its image
    n_bytes: float


class StageTime(NamedTuple):
    """One stage of a pool's cold starts, as it is packed."""

    name: str
    shown_as: str
    after: tuple[str, ...]
    seconds: np.ndarray  # (N_QUANTILE,) equally likely, sorted
    n_bytes: float | None  # that a transfer moves, for the whole replica
    gb_s: float | None  # at which, for the whole replica
    why: str  # what decides the time
    over: tuple[str, ...] = ()  # what its bytes go over
    moved_bytes: float = (
        0.0  # over that, for the whole replica: more than n_bytes where every rank reads for itself
    )
    setup_s: float = 0.0  # before the first byte
    artifact: Artifact | None = None  # what a node may keep of it
    hit_s: float = 0.0  # how long it takes where the node has that
    through: str = THROUGHS[THROUGH_NOTHING]  # what of its node the bytes go through
    peers: Peers | None = None  # other nodes may serve it


def subject_of(pool: Pool) -> Subject:
    """What a pool's replicas are, as far as their cold starts depend on it."""
    start = pool.coldstart
    gpu = gpu_of(pool)
    gang = Gang(gpu, pool.model, pool.precision, pool.kv_precision, pool.tp, pool.pp, pool.ep, pool.dp)
    return Subject(
        weight_bytes=weight_bytes(pool.model, pool.precision),
        ranks=pool.gpus_per_replica,
        dp=pool.dp,
        rank_bytes=weight_bytes_per_gpu(gang),
        layers=pool.model.layers,
        flops_per_token=flops_per_token(pool.model),
        pcie_gb_s=gpu.pcie_gb_s,
        peak_tflops=gpu.dense_bf16_tflops,
        max_num_seqs=pool.runtime.max_num_seqs,
        image_bytes=(start.image_gb or 0.0) * GB,
        unpacked_bytes=(start.image_unpacked_gb or 0.0) * GB,
        is_eager=pool.runtime.enforce_eager,
    )


# ---- transfers ----------------------------------------------------------------------
def bytes_of(stage: Transfer, subject: Subject) -> float:
    """Bytes that a stage moves for the whole replica."""
    whole = {
        "weights": subject.weight_bytes,
        "image": subject.image_bytes,
        "unpacked_image": subject.unpacked_bytes,
        "other": 0.0,
    }[stage.of]
    return stage.times * whole + stage.plus_gb * GB


def copies_of(stage: Transfer, subject: Subject) -> int:
    """How many times the bytes go over what the ranks share."""
    return subject.ranks if stage.ranks == "copies" and stage.of == "weights" else 1


def rates_of(stage: Transfer, subject: Subject) -> list[tuple[float, str]]:
    """(GB/s for the whole replica, what it is a limit of) of everything that can hold a transfer back."""
    at_once = subject.at_once if stage.ranks == "share" and stage.of == "weights" else 1.0
    ranks = f" × {at_once:.3g} ranks" if at_once > 1 else ""
    rates = []
    if stage.bandwidth_gb_s is not None:
        copies = copies_of(stage, subject)
        part = (f" × {stage.use:g}" if stage.use < 1 else "") + (f" / {copies} copies" if copies > 1 else "")
        rates.append(
            (
                stage.use * stage.bandwidth_gb_s / copies,
                f"{' + '.join(path_of(stage)) or 'the link'}: {stage.bandwidth_gb_s:g} GB/s{part}",
            )
        )
    if stage.over == "pcie":
        rates.append(
            (
                at_once * stage.use * subject.pcie_gb_s,
                f"PCIe: {subject.pcie_gb_s:g} GB/s × {stage.use:g}{ranks}",
            )
        )
    if stage.reader_gb_s is not None:
        readers = f"{stage.readers} × " if stage.readers > 1 else ""
        rates.append(
            (
                at_once * stage.readers * stage.reader_gb_s,
                f"its readers: {readers}{stage.reader_gb_s:g} GB/s{ranks}",
            )
        )
    if stage.rank_gb_s is not None:
        rates.append((at_once * stage.rank_gb_s, f"the loader: {stage.rank_gb_s:g} GB/s{ranks}"))
    return rates


def transfer_s(stage: Transfer, subject: Subject) -> tuple[float, float, str]:
    """(seconds of the bytes alone, GB/s, what limits them)."""
    gb_s, limit = min(rates_of(stage, subject))
    return bytes_of(stage, subject) / (gb_s * GB), gb_s, limit


# ---- work of the engine ----------------------------------------------------------------------
def graph_sizes(stage: Compute, max_num_seqs: int) -> tuple[int, ...]:
    """Batch sizes that are captured as CUDA graphs: as said, or vLLM's (1, 2, 4, every 8th to 256, every 16th above,
    up to twice max_num_seqs and at most 512; vllm/config/vllm.py)."""
    if stage.graph_sizes is not None:
        return stage.graph_sizes
    largest = min(2 * max_num_seqs, LARGEST_GRAPH)
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, LARGEST_GRAPH + 1, 16))
    return tuple(size for size in sizes if size <= largest)


def compute_s(stage: Compute, subject: Subject) -> tuple[float, str]:
    """(seconds, what they are made of)."""
    if subject.is_eager and stage.name in OF_GRAPHS:
        return 0.0, "enforce_eager: nothing is compiled or captured"
    sizes = graph_sizes(stage, subject.max_num_seqs) if stage.graph_layer_s > 0 else ()
    graphs = stage.graph_sets * len(sizes)
    per_sequence = (
        subject.flops_per_token * subject.dp / subject.ranks / (stage.matmul_use * subject.peak_tflops * 1e12)
    )
    products = stage.graph_sets * sum(sizes) * per_sequence
    layers = subject.layers * (stage.layer_s + graphs * stage.graph_layer_s)
    parts = [f"{stage.base_s:g} s"] if stage.base_s > 0 else []
    parts += [f"{subject.layers} layers × {stage.layer_s:g} s"] if stage.layer_s > 0 else []
    parts += [f"{graphs} graphs × {subject.layers} layers × {stage.graph_layer_s:g} s"] if graphs else []
    return stage.base_s + layers + products, " + ".join(parts)


# ---- stages of a pool ----------------------------------------------------------------------
def stage_time(stage: Any, subject: Subject) -> tuple[np.ndarray, float | None, float | None, str]:
    """((N_QUANTILE,) seconds, bytes, GB/s, what decides) of one stage."""
    if isinstance(stage, Fixed):
        return np.maximum(quantile_table(stage.duration, N_QUANTILE), 0.0), None, None, "as measured"
    spread = np.maximum(quantile_table(stage.spread, N_QUANTILE), 0.0)
    if isinstance(stage, Transfer):
        seconds, gb_s, limit = transfer_s(stage, subject)
        return stage.setup_s + spread * seconds, bytes_of(stage, subject), gb_s, limit
    seconds, parts = compute_s(stage, subject)
    return spread * seconds, None, None, parts


def stage_times(pool: Pool, has_nodes: bool = False) -> list[StageTime]:
    """The stages of a pool's cold starts, each behind all it waits for. Raises InputError where one takes too long.

    Where nodes are simulated (`has_nodes`), what is shown as slice or provision takes no time: nodes stand for it, and a
    replica has waited for one before it starts.
    """
    stages, subject = pool.coldstart.stages, subject_of(pool)
    times = []
    for place in in_order(stages):
        stage = stages[place]
        seconds, n_bytes, gb_s, why = stage_time(stage, subject)
        if has_nodes and SHOWN_AS[stage.name] in OF_NODES:
            seconds, why = np.zeros_like(seconds), "the cluster's nodes stand in its place"
        if seconds.max() > HORIZON_MAX_S:
            raise InputError(
                f"pools.{pool.name}.coldstart.stages.{stage.name}: a duration of {seconds.max():g} s; "
                f"allowed: at most {HORIZON_MAX_S} s"
            )
        made = StageTime(
            stage.name, SHOWN_AS[stage.name], waits_for(stages, place), seconds, n_bytes, gb_s, why
        )
        if isinstance(stage, Transfer):
            moved = copies_of(stage, subject) * bytes_of(stage, subject)
            made = made._replace(over=path_of(stage), moved_bytes=moved, setup_s=stage.setup_s)
            if stage.cached and has_nodes and n_bytes:
                hit_s = n_bytes / (stage.cached_gb_s * GB) if stage.cached_gb_s else 0.0
                made = made._replace(
                    artifact=artifact_of(pool, stage, n_bytes), hit_s=hit_s, peers=stage.peers
                )
            if has_nodes and n_bytes and stage.over != "pcie":
                made = made._replace(through=stage.through)
        if stage.kept is not None and has_nodes and seconds.max() > 0:
            made = made._replace(artifact=kept_of(pool, stage, subject), hit_s=hit_s_of(stage.kept, subject))
        times.append(made)
    return times


def kept_bytes(kept: Kept, subject: Subject) -> float:
    """The bytes in a node's cache of what a stage leaves there."""
    return kept.times * subject.weight_bytes + kept.plus_gb * GB


def hit_s_of(kept: Kept, subject: Subject) -> float:
    """How long a start takes for a stage of which its node has kept what there is."""
    rates = [kept.gb_s] if kept.gb_s else []
    rates += [subject.at_once * kept.rank_gb_s] if kept.rank_gb_s else []
    return kept.setup_s + (kept_bytes(kept, subject) / (min(rates) * GB) if rates else 0.0)


def kept_of(pool: Pool, stage: Any, subject: Subject) -> Artifact:
    """What a stage of a pool's starts leaves on its node: it is for replicas of this pool alone."""
    return Artifact(f"{stage.name} kept", f"pool {pool.name}", kept_bytes(stage.kept, subject))


def artifact_of(pool: Pool, stage: Transfer, n_bytes: float) -> Artifact:
    """What a stage of a pool's starts brings to its node."""
    whose = f"{pool.model.name}, {pool.precision}" if stage.of == "weights" else pool.coldstart.name
    return Artifact(stage.of if stage.of != "other" else stage.name, whose, n_bytes)


def artifacts_of(pools: Sequence[Pool]) -> list[Artifact]:
    """All that nodes may keep, each once, in the order of the pools and their stages."""
    brought = (stage.artifact for pool in pools for stage in stage_times(pool, has_nodes=True))
    return list(dict.fromkeys(one for one in brought if one is not None))


def typical_s(times: list[StageTime]) -> float:
    """The seconds of a cold start in which every stage takes its median: the longest way through them."""
    ends: dict[str, float] = {}
    for stage in times:
        begin = max((ends[name] for name in stage.after), default=0.0)
        ends[stage.name] = begin + float(np.median(stage.seconds))
    return max(ends.values(), default=0.0)
