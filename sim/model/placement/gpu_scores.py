"""Scores of nodes with GPUs for a workload that fits there, other than FGD's: from 0 to 100, more is better.

They are those that Weng et al. (USENIX ATC 2023) compare FGD with, as hkust-adsl/kubernetes-scheduler-simulator has them.
`cpu_most` and `gpu_most` are what the largest node of the cluster has, in thousandths; their product is at most 2³¹.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.placement.fragmentation import GPU_MILLI, free_gpu, tightest_gpus

SCORE_MAX = 100


@jit
def rounded_up(value, by):
    """A quotient of whole numbers, rounded up."""
    return -(-value // by)


@jit_call
def best_fit_score(pod, node, cpu_most, gpu_most):
    """More where less is left: cores and GPU that stay free, as shares of the largest node's, each for half."""
    cpu_left = node.cpu_milli - pod.cpu_milli
    gpu_left = free_gpu(node) - pod.n_gpu * pod.gpu_milli
    half = SCORE_MAX // 2
    return SCORE_MAX - rounded_up(half * (cpu_left * gpu_most + gpu_left * cpu_most), cpu_most * gpu_most)


@jit_call
def dot_product_score(pod, node, cpu_most, gpu_most):
    """More where what is asked for and what is free are smaller and less alike: 100 less half their dot product, cores and
    GPU as shares of the largest node's (Tetris, Grandl et al., SIGCOMM 2014, reversed).
    """
    half = SCORE_MAX // 2
    cpu_square, gpu_square = cpu_most * cpu_most, gpu_most * gpu_most
    cpu = half * node.cpu_milli * pod.cpu_milli
    gpu = half * free_gpu(node) * pod.n_gpu * pod.gpu_milli
    whole = cpu // cpu_square + gpu // gpu_square
    rest = cpu % cpu_square * gpu_square + gpu % gpu_square * cpu_square
    return SCORE_MAX - whole - rounded_up(rest, cpu_square * gpu_square)


@jit_call
def packing_score(pod, node):
    """Shared GPUs before idle ones of a node in use, before an idle node: three bands, in each less free is better."""
    if pod.n_gpu == 0:
        return 0
    n_idle = 0
    for i in range(node.n_gpu):
        n_idle += (node.gpu_milli[i] == GPU_MILLI) * 1
    if n_idle == node.n_gpu:
        return max(SCORE_MAX // 3 - n_idle, n_idle)
    gpus = tightest_gpus(pod, node)
    n_new = 0
    free_percent = 0
    for i in range(node.n_gpu):
        if (gpus >> i) & 1 == 1:
            n_new += (node.gpu_milli[i] == GPU_MILLI) * 1
            free_percent += node.gpu_milli[i] * 100 // GPU_MILLI
    if n_new > 0:
        return max(SCORE_MAX // 2 - n_new, SCORE_MAX // 3)
    return max(SCORE_MAX - free_percent // 10, SCORE_MAX // 2)


@jit
def lives_as(pod):
    """The bit of FreeNode.lives that a workload sets where it runs, 0 where it has no GPU."""
    if pod.n_gpu == 0:
        return 0
    return 1 if pod.gpu_milli < GPU_MILLI else 1 << pod.n_gpu


@jit_call
def clustering_score(pod, node, gpu_most):
    """Nodes where workloads with as many GPUs live alone, then among others, then idle ones, then the rest; in each of
    the four bands less free is better.
    """
    own = lives_as(pod)
    if own == 0:
        return 0
    quarter = SCORE_MAX // 4
    score = quarter * (gpu_most - free_gpu(node)) // gpu_most
    if node.lives == own:
        return score + 3 * quarter
    if node.lives & own != 0:
        return score + 2 * quarter
    return score + quarter if node.lives == 0 else score
