"""The CUDA kernels as PTX, for a machine without a GPU, and what the assembler says of them.

One process compiles for one compute capability: numba keeps what it compiled for the first.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from sim.engine import cuda as engine
from sim.model import layout as a

KERNELS = engine.Kernels._fields
TARGETS = ("8.0", "9.0", "10.0")


class Usage(NamedTuple):
    """What one thread of a kernel takes, as ptxas counts it, and how long the machine code is."""

    registers: int
    spill_store_bytes: int
    spill_load_bytes: int
    stack_bytes: int
    instructions: int


def why_not() -> str | None:
    """Why no kernel can be compiled here, in a few words; None when they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'fleetsim[cuda]')"
    try:
        engine.load_cuda().cudadrv.nvvm.NVVM()
    except Exception as error:
        return f"the compiler library libnvvm cannot be used ({type(error).__name__})"
    return None


def signature(kernel: str) -> Any:
    """The argument types that `sim.engine.cuda` launches a kernel with."""
    from numba import types

    i64, words, matrix = types.int64, types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
    p_at = types.UniTuple(i64, len(a.Params._fields) - 2)
    st_at = types.UniTuple(i64, len(a.State._fields) - 1)
    fixed = (matrix, words, words, matrix, words, p_at, st_at)
    return types.void(
        *{
            "fill": (matrix, words),
            "advance": (*fixed, i64),
            "control": fixed,
            "look": (matrix, words, matrix),
            "take": (matrix, i64, matrix),
        }[kernel]
    )


def compile_ptx(kernel: str, target: str) -> str:
    """The PTX of one kernel for a compute capability such as "9.0"."""
    capability = tuple(int(part) for part in target.split("."))
    cuda = engine.load_cuda()

    class Device:
        compute_capability = capability

    cuda.dispatcher.get_current_device = lambda: (
        Device
    )  # rules called by a kernel ask the driver which device it is
    python = getattr(engine, kernel + "_kernel")
    ptx, _ = cuda.compile(python, signature(kernel), cc=capability, device=False, abi="numba", output="ptx")
    return str(ptx)


# ---- the assembler -----------------------------------------------------------------------------------------------
def find_ptxas() -> str | None:
    """The assembler: on PATH, or in the wheel nvidia-cuda-nvcc."""
    found = shutil.which("ptxas")
    if found is None and (wheels := importlib.util.find_spec("nvidia")) is not None:
        places = [
            path
            for folder in wheels.submodule_search_locations or []
            for path in Path(folder).glob("**/bin/ptxas")
        ]
        found = str(places[0]) if places else None
    return found


def assemble(ptx: str, target: str, ptxas: str, max_registers: int | None = None) -> Usage:
    """What the assembler makes of a kernel. Raises RuntimeError where it refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        limit = [] if max_registers is None else [f"-maxrregcount={max_registers}"]
        words = [ptxas, "-v", f"-arch=sm_{target.replace('.', '')}", *limit, str(source), "-o", str(binary)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ptxas: {done.stderr.strip()}")
        return usage_of(done.stderr, n_instructions(binary.read_bytes()))


def usage_of(said: str, instructions: int) -> Usage:
    """The numbers in what `ptxas -v` says, functions that are called included."""
    frames = [
        tuple(int(n) for n in found)
        for found in re.findall(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said
        )
    ]
    registers = max(int(n) for n in re.findall(r"Used (\d+) registers", said))
    stack, stores, loads = (sum(column) for column in zip(*frames, strict=True))
    return Usage(registers, stores, loads, stack, instructions)


def n_instructions(cubin: bytes) -> int:
    """Machine instructions in an ELF file's code sections, 16 bytes each (since sm_70)."""
    word = lambda at, size: int.from_bytes(cubin[at : at + size], "little")  # noqa: E731
    table, size, count = word(0x28, 8), word(0x3A, 2), word(0x3C, 2)
    sections = [table + i * size for i in range(count)]
    names = word(sections[word(0x3E, 2)] + 0x18, 8)
    code = [s for s in sections if cubin[names + word(s, 4) :].startswith(b".text.")]
    return sum(word(s + 0x20, 8) for s in code) // 16
