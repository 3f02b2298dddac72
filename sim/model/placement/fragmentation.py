"""Fragmentation of a node: what it has free and nobody could use, and where a workload makes it least (FGD).

A kind of workload sees as fragments all free GPU of a node on which it does not fit, and else what is free on GPUs that
have less than it needs of one. Weighted by how often each kind comes, and summed, that is the node's fragmentation. FGD
places a workload where this sum grows least. `first` is the row of the first of n kinds, which lie side by side.
Source: Weng et al., Beware of Fragmentation, USENIX ATC 2023, and its simulator hkust-adsl/kubernetes-scheduler-simulator.
"""

from __future__ import annotations

import math

from sim.compile.jit import jit, jit_call
from sim.model.tables.placement import N_GPU_MAX, PodKind

GPU_MILLI = 1000  # a whole GPU
POD_KIND_SIZE = PodKind.SIZE
LOGIT_BITS = 30
#: How large x is where the logistic function of x is 50 %, 51 % … 99 %, in 2^-30.
LOGIT = tuple(round(math.log((50 + i) / (50 - i)) * 2**LOGIT_BITS) for i in range(50))


# ---- whether a workload fits ----------------------------------------------------------------------
@jit
def pod_kind_at(first, i):
    """A kind of workload of those whose first is given."""
    return PodKind(first.words, i * POD_KIND_SIZE)


@jit_call
def gpus_for(pod, node):
    """How many GPUs of a node have as much free as the workload needs of one."""
    n = 0
    for i in range(node.n_gpu):
        n += (node.gpu_milli[i] >= pod.gpu_milli) * 1
    return n


@jit
def kind_is_right(pod, node):
    """Whether the node's GPUs are of a kind that would do."""
    return pod.gpu_kinds == 0 or (pod.gpu_kinds >> node.gpu_kind) & 1 == 1


@jit_call
def pod_fits(pod, node):
    """Whether a workload fits on a node: cores, host memory, kind of GPU, and enough GPUs with enough free."""
    if pod.cpu_milli > node.cpu_milli or pod.memory_mib > node.memory_mib:
        return False
    if pod.n_gpu == 0:
        return True
    return kind_is_right(pod, node) and gpus_for(pod, node) >= pod.n_gpu


# ---- fragmentation ----------------------------------------------------------------------
@jit
def free_gpu(node):
    """What all GPUs of a node have free, in thousandths."""
    total = 0
    for i in range(node.n_gpu):
        total += node.gpu_milli[i]
    return total


@jit
def scraps(node, gpu_milli):
    """What is free on those GPUs of a node that have less than `gpu_milli` free, in thousandths."""
    total = 0
    for i in range(node.n_gpu):
        if node.gpu_milli[i] < gpu_milli:
            total += node.gpu_milli[i]
    return total


@jit_call
def fragments_for(pod, node):
    """Free GPU of a node, in thousandths, that a kind of workload cannot use; host memory is not looked at."""
    is_hosted = (
        pod.gpu_milli > 0
        and kind_is_right(pod, node)
        and pod.cpu_milli <= node.cpu_milli
        and gpus_for(pod, node) >= max(pod.n_gpu, 1)
    )
    return scraps(node, pod.gpu_milli) if is_hosted else free_gpu(node)


@jit_call
def node_fragments(first, n, node):
    """A node's fragmentation: each kind's fragments times its weight, summed."""
    total = 0
    if free_gpu(node) == 0:
        return 0
    for i in range(n):
        pod = pod_kind_at(first, i)
        total += pod.weight * fragments_for(pod, node)
    return total


# ---- choosing GPUs ----------------------------------------------------------------------
@jit_call
def tightest_gpus(pod, node):
    """The GPUs, a bit each, for a workload that fits: those with least free that suffices, the first of equals."""
    gpus = 0
    for _ in range(pod.n_gpu):
        best = -1
        for i in range(node.n_gpu):
            free = node.gpu_milli[i]
            is_enough = free >= pod.gpu_milli and (gpus >> i) & 1 == 0
            if is_enough and (best < 0 or free < node.gpu_milli[best]):
                best = i
        gpus |= 1 << best
    return gpus


@jit_call
def take(pod, node, gpus):
    """A workload takes what it needs of a node and of these of its GPUs, a bit each."""
    node.cpu_milli -= pod.cpu_milli
    node.memory_mib -= pod.memory_mib
    for i in range(node.n_gpu):
        node.gpu_milli[i] -= pod.gpu_milli * ((gpus >> i) & 1)


@jit_call
def give_back(pod, node, gpus):
    """A workload leaves a node and these of its GPUs, a bit each."""
    node.cpu_milli += pod.cpu_milli
    node.memory_mib += pod.memory_mib
    for i in range(node.n_gpu):
        node.gpu_milli[i] += pod.gpu_milli * ((gpus >> i) & 1)


# ---- the score ----------------------------------------------------------------------
@jit_call
def fgd_score(before, after, weight_sum):
    """From 0 to 99, above 50 where fragmentation falls: the logistic function of the change in whole GPUs, in per cent.

    before, after: as `node_fragments` gives them; weight_sum: of all kinds' weights.
    """
    change = before - after
    size = change if change >= 0 else -change
    i = 0
    if change >= 0:
        while i < 49 and reaches(size, i + 1, weight_sum):
            i += 1
        return 50 + i
    while i < 50 and not is_within(size, i, weight_sum):
        i += 1
    return 50 - i


@jit
def reaches(size, i, weight_sum):
    """Whether a change of fragmentation is at least where the logistic function is 50 + i per cent."""
    return (size << LOGIT_BITS) >= LOGIT[i] * (weight_sum * GPU_MILLI)


@jit
def is_within(size, i, weight_sum):
    """Whether a change of fragmentation is at most that."""
    return (size << LOGIT_BITS) <= LOGIT[i] * (weight_sum * GPU_MILLI)


@jit
def choice_score(choice):
    """The score of a choice."""
    return choice >> N_GPU_MAX


@jit
def choice_gpus(choice):
    """The GPUs of a choice, a bit each."""
    return choice & ((1 << N_GPU_MAX) - 1)


@jit_call
def fgd_choice(pod, node, first, n, weight_sum):
    """The best that FGD can do for a workload that fits on a node: (score << N_GPU_MAX) + the GPUs it takes, a bit each.

    A share of one GPU goes where its score is highest, the first of equals; whole GPUs are those that are idle.
    """
    before = node_fragments(first, n, node)
    if pod.n_gpu != 1 or pod.gpu_milli >= GPU_MILLI:
        gpus = tightest_gpus(pod, node)
        return (score_after(pod, node, gpus, first, n, before, weight_sum) << N_GPU_MAX) + gpus
    best = -1
    best_gpu = -1
    for i in range(node.n_gpu):
        if node.gpu_milli[i] < pod.gpu_milli or is_repeated(node, i):
            continue
        score = score_after(pod, node, 1 << i, first, n, before, weight_sum)
        if score > best:
            best = score
            best_gpu = i
    return (best << N_GPU_MAX) + (1 << best_gpu)


@jit
def is_repeated(node, i):
    """Whether an earlier GPU of the node has as much free."""
    found = False
    for j in range(i):
        found = found or node.gpu_milli[j] == node.gpu_milli[i]
    return found


@jit_call
def score_after(pod, node, gpus, first, n, before, weight_sum):
    """The score of a workload on these GPUs of a node; the node is left as it was."""
    take(pod, node, gpus)
    after = node_fragments(first, n, node)
    give_back(pod, node, gpus)
    return fgd_score(before, after, weight_sum)
