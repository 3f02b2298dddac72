"""The CUDA kernels as PTX, for a machine without a GPU, and what the assembler says of them.

One process compiles for one compute capability: numba keeps what it compiled for the first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.engine import cuda as engine
from sim.model import layout as a

KERNELS = ("advance", "control", "look")
TARGETS = ("8.0", "9.0", "10.0")


class Usage(NamedTuple):
    """What one thread of a kernel takes, as ptxas counts it."""

    registers: int
    spill_store_bytes: int
    spill_load_bytes: int
    stack_bytes: int


def signature(kernel: str) -> Any:
    """The argument types that `sim.engine.cuda` launches a kernel with."""
    from numba import types

    words, matrix = types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
    if kernel == "look":
        return types.void(matrix, matrix)
    p_at = types.UniTuple(types.int64, len(a.Params._fields) - 2)
    st_at = types.UniTuple(types.int64, len(a.State._fields) - 1)
    return types.void(matrix, words, matrix, matrix, p_at, st_at)


def compile_ptx(kernel: str, target: str) -> str:
    """The PTX of one kernel for a compute capability such as "9.0"."""
    major, minor = (int(part) for part in target.split("."))
    cuda = engine.load_cuda()

    class Device:
        compute_capability = (major, minor)

    cuda.dispatcher.get_current_device = lambda: (
        Device
    )  # rules called by a kernel ask the driver which device it is
    python = getattr(engine, kernel + "_kernel")
    ptx, _ = cuda.compile(
        python, signature(kernel), cc=(major, minor), device=False, abi="numba", output="ptx"
    )
    return str(ptx)
