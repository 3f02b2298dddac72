"""A cluster of 1,213 nodes that 8,152 recorded workloads fill, ten orders: the allocation that six policies are published
with (Weng et al., USENIX ATC 2023). The trace is read where it is beside the checkout, and never kept in it.

Equal scores go to the node that comes first. The published runs put a random number before each node's name
(syncClusterResourceList of their simulator), so that this order is another in each run: here it is drawn, ten times for
each order of arrivals. With the nodes in the order of the trace Packing and Clustering come out 0.6 points lower.
"""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest
from conftest import shared_data

from sim.compile.jit import entry_point, jit, jit_call
from sim.model.placement.fragmentation import (
    GPU_MILLI,
    fgd_choice,
    pod_fits,
    pod_kind_at,
    take,
    tightest_gpus,
)
from sim.model.placement.gpu_scores import (
    best_fit_score,
    clustering_score,
    dot_product_score,
    lives_as,
    packing_score,
)
from sim.model.tables.placement import N_GPU_MAX, FreeNode, PodKind
from sim.rng import draw

POLICIES = ("Random", "DotProd", "GpuClustering", "GpuPacking", "BestFit", "FGD")
RANDOM, DOT, CLUSTERING, PACKING, BEST_FIT, FGD = range(6)
WITHIN = 0.15  # points of the published means
CPU_MOST, GPU_MOST = 128_000, 8_000  # milli, of the largest node
COVERED = 0.95  # of all workloads by the kinds that FGD knows
DRAWS = 10  # of an order of the nodes, and of the Random policy, for each order of arrivals
NODE_SIZE = FreeNode.SIZE
GPUS = (1 << N_GPU_MAX) - 1


# ---- the cluster fills up ----------------------------------------------------------------------
@jit_call
def choice_of(policy, pod, node, first, n_known, weight_sum):
    """(score << N_GPU_MAX) + GPUs of a workload on a node, −1 where it does not fit."""
    if not pod_fits(pod, node):
        return -1
    if policy == FGD:
        return fgd_choice(pod, node, first, n_known, weight_sum)
    score = 0
    if policy == DOT:
        score = dot_product_score(pod, node, CPU_MOST, GPU_MOST)
    elif policy == CLUSTERING:
        score = clustering_score(pod, node, GPU_MOST)
    elif policy == PACKING:
        score = packing_score(pod, node)
    elif policy == BEST_FIT:
        score = best_fit_score(pod, node, CPU_MOST, GPU_MOST)
    return (score << N_GPU_MAX) + tightest_gpus(pod, node)


@jit_call
def best_node(choices, at, n_node):
    """The first of the nodes with the highest score, −1 = none fits."""
    best = -1
    for i in range(n_node):
        if choices[at + i] >= 0 and (
            best < 0 or choices[at + i] >> N_GPU_MAX > choices[at + best] >> N_GPU_MAX
        ):
            best = i
    return best


@jit_call
def random_node(choices, at, n_node, word):
    """One of the nodes on which a workload fits, −1 = none."""
    n_fit = 0
    for i in range(n_node):
        n_fit += (choices[at + i] >= 0) * 1
    if n_fit == 0:
        return -1
    left = word % n_fit
    for i in range(n_node):
        if choices[at + i] >= 0:
            if left == 0:
                return i
            left -= 1
    return -1


@jit_call
def random_gpus(pod, node, word):
    """The GPUs of a workload: a share goes to any GPU with enough free."""
    if pod.n_gpu != 1 or pod.gpu_milli >= GPU_MILLI:
        return tightest_gpus(pod, node)
    n_fit = 0
    for i in range(node.n_gpu):
        n_fit += (node.gpu_milli[i] >= pod.gpu_milli) * 1
    left = word % n_fit
    for i in range(node.n_gpu):
        if node.gpu_milli[i] >= pod.gpu_milli:
            if left == 0:
                return 1 << i
            left -= 1
    return 0


@jit
def filled(policy, seed, nodes, n_node, kinds, order, known, n_known, weight_sum, choices, tried, changed):
    """Let workloads arrive in an order (numbers of kinds), and none leave; → GPU allocated in the end, in thousandths.

    choices, tried: (kind, node) the choice, and at which arrival it was made; changed: (node,) the last arrival there.
    """
    allocated = 0
    for t in range(len(order)):
        k = order[t]
        pod = pod_kind_at(kinds, k)
        at = k * n_node
        for i in range(n_node):
            if choices[at + i] >= 0 and tried[at + i] <= changed[i]:
                node = FreeNode(nodes.words, i * NODE_SIZE)
                choices[at + i] = choice_of(policy, pod, node, known, n_known, weight_sum)
                tried[at + i] = t
        if policy == RANDOM:
            i = random_node(choices, at, n_node, draw(seed, 1, 0, t))
        else:
            i = best_node(choices, at, n_node)
        if i < 0:
            continue
        node = FreeNode(nodes.words, i * NODE_SIZE)
        gpus = choices[at + i] & GPUS
        if policy == RANDOM:
            gpus = random_gpus(pod, node, draw(seed, 2, 0, t))
        take(pod, node, gpus)
        node.lives |= lives_as(pod)
        changed[i] = t
        allocated += pod.n_gpu * pod.gpu_milli
    return allocated


# ---- the trace ----------------------------------------------------------------------
class Trace:
    """The recorded cluster and its workloads as rows."""

    def __init__(self) -> None:
        folder = shared_data("cluster/openb")
        with (folder / "nodes.csv").open() as file:
            nodes = list(csv.DictReader(file))
        with (folder / "pods.csv").open() as file:
            pods = list(csv.DictReader(file))
        asked = [tuple(int(p[c]) for c in ("cpu_milli", "memory_mib", "gpu_milli", "num_gpu")) for p in pods]
        assert not any(pod["gpu_spec"] for pod in pods)
        self.kinds = sorted(set(asked))
        self.kind_of = [self.kinds.index(one) for one in asked]
        self.nodes = np.concatenate([self.node(one) for one in nodes])
        self.n_node = len(nodes)
        self.gpu_milli = 1000 * sum(int(one["gpu"]) for one in nodes)
        counts = Counter((cpu, gpu, n_gpu) for cpu, _, gpu, n_gpu in asked)
        by_count = sorted(counts.items(), key=lambda one: (one[1], *one[0]), reverse=True)
        self.known, covered = [], 0
        while covered < COVERED * len(pods):
            (cpu, gpu, n_gpu), n = by_count[len(self.known)]
            self.known.append(((cpu, 0, gpu, n_gpu), n))
            covered += n
        self.weight_sum = covered
        lines = (folder / "arrival_orders.csv").read_text().splitlines()
        rows = [line.split(",") for line in lines if not line.startswith("#")]
        self.orders = {
            int(seed): np.array([self.kind_of[int(x)] for x in order.split()], np.int64)
            for seed, order in rows
        }

    @staticmethod
    def node(about: dict[str, str]) -> np.ndarray:
        row = FreeNode(FreeNode.blank(), 0)
        row.cpu_milli, row.memory_mib = int(about["cpu_milli"]), int(about["memory_mib"])
        row.n_gpu = int(about["gpu"])
        row.gpu_milli[: row.n_gpu] = GPU_MILLI
        return row.m

    @staticmethod
    def rows(kinds: list[tuple[tuple[int, ...], int]]) -> PodKind:
        made = []
        for (cpu, memory, gpu, n_gpu), weight in kinds:
            row = PodKind(PodKind.blank(), 0)
            row.cpu_milli, row.memory_mib, row.gpu_milli, row.n_gpu, row.weight = (
                cpu,
                memory,
                gpu,
                n_gpu,
                weight,
            )
            made.append(row.m)
        return PodKind(np.concatenate(made), 0)

    def shuffled(self, seed: int) -> np.ndarray:
        """The nodes in an order of a seed."""
        rows = self.nodes.reshape(self.n_node, NODE_SIZE)
        return rows[np.random.default_rng(seed).permutation(self.n_node)].reshape(-1)

    def allocated_percent(self, run, policy: int, order: np.ndarray, seed: int) -> float:
        """The share of the cluster's GPU that is allocated when all have arrived."""
        cells = len(self.kinds) * self.n_node
        milli = run(
            policy,
            seed,
            FreeNode(self.shuffled(seed), 0),
            self.n_node,
            self.rows([(kind, 0) for kind in self.kinds]),
            order,
            self.rows(self.known),
            len(self.known),
            self.weight_sum,
            np.zeros(cells, np.int64),
            np.full(cells, -1, np.int64),
            np.full(self.n_node, 0, np.int64),
        )
        return 100 * milli / self.gpu_milli


@pytest.mark.slow
@pytest.mark.parametrize("policy", range(len(POLICIES)), ids=POLICIES)
def test_the_published_allocation(policy: int) -> None:
    trace, run = Trace(), entry_point(filled)
    name = POLICIES[policy]
    recorded = json.loads(shared_data("cluster/fgd_openb.json").read_text())["final_by_workload_and_policy"]
    (published,) = (
        one for one in recorded if one["workload"] == "openb_pod_list_default" and one["policy"] == name
    )
    assert (trace.n_node, len(trace.kind_of), len(trace.orders)) == (1213, 8152, 10)
    found = [
        trace.allocated_percent(run, policy, order, 1000 * one + seed)
        for seed, order in trace.orders.items()
        for one in range(DRAWS)
    ]
    print(
        f"{name}: {np.mean(found):.2f} % allocated, published {published['allocation_pct_at_130_mean']:.2f} %"
    )
    assert abs(np.mean(found) - published["allocation_pct_at_130_mean"]) < WITHIN
