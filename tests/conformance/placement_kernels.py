"""Kernels that call the rules of placement, compiled to PTX in a process of their own: numba keeps what it compiled first.

python -m tests.conformance.placement_kernels 9.0
"""

from __future__ import annotations

import sys

from conformance.kueue_kit import QuotaParams, QuotaState
from sim.compile import cuda as compile_cuda
from sim.compile.jit import need_compiler
from sim.model.placement import fair_preemption, flavors, fragmentation, gpu_scores, mig, scoring
from sim.model.tables.placement import FreeNode, PodKind, SliceProfile


def params_row(m, at):  # type: ignore[no-untyped-def]
    """The tables that a run does not change."""
    return QuotaParams(m)


def state_row(m, at):  # type: ignore[no-untyped-def]
    """The tables that a run changes."""
    return QuotaState(m)


def quota_kernel(params, states, p_at, st_at):  # type: ignore[no-untyped-def]
    """Flavours and victims."""
    p = params_row(params, p_at)
    st = state_row(states, st_at)
    st.asked[0] = flavors.assign_flavors(p, st, 1)
    st.asked[1] = fair_preemption.find_victims(p, st)


def place_kernel(params, states, p_at, st_at):  # type: ignore[no-untyped-def]
    """Slices, fragmentation and scores."""
    st = state_row(states, st_at)
    first, node, pod = SliceProfile(st, 100), FreeNode(st, 200), PodKind(st, 300)
    st.asked[0] = mig.choose_start(st.asked[0], st.asked[1], 0, 0, first, 7, 1)
    st.asked[1] = mig.pack_instances(0, 0, 0, first, st.left, 3, st.pruned)
    st.asked[2] = fragmentation.fgd_choice(pod, node, PodKind(st, 400), 5, 100)
    st.asked[3] = gpu_scores.best_fit_score(pod, node, 128_000, 8_000)
    st.asked[4] = gpu_scores.dot_product_score(pod, node, 128_000, 8_000)
    st.asked[5] = gpu_scores.packing_score(pod, node) + gpu_scores.clustering_score(pod, node, 8_000)
    st.asked[6] = scoring.node_score(2, st.asked, st.left, st.pruned, 3, st.contested, 2)


def main(target: str) -> None:
    """Compile the kernels and tell the length of each, and how many products it adds up without rounding."""
    need_compiler()
    from numba import cuda, types

    compile_cuda.install(cuda, ((params_row, QuotaParams), (state_row, QuotaState)))

    class Device:
        compute_capability = tuple(int(part) for part in target.split("."))

    cuda.dispatcher.get_current_device = lambda: Device
    words = types.Array(types.int64, 1, "C")
    starts = [types.UniTuple(types.int64, len(world.fixed())) for world in (QuotaParams, QuotaState)]
    for kernel in (quota_kernel, place_kernel):
        ptx, _ = cuda.compile(
            kernel,
            types.void(words, words, *starts),
            cc=Device.compute_capability,
            device=False,
            abi="numba",
            output="ptx",
        )
        print(kernel.__name__, len(str(ptx)), str(ptx).count("fma.rn"))


if __name__ == "__main__":
    main(sys.argv[1])
