"""The CUDA kernels as PTX, for a machine without a GPU, and what the assembler says of them.

One process compiles for one compute capability: numba keeps what it compiled for the first.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from sim.compile import cuda as compile_cuda
from sim.engine import cuda as engine
from sim.model.tables.run import Params, State

KERNELS = engine.Kernels._fields
TARGETS = ("8.0", "9.0", "10.0")
#: Where the event loop calls what only some runs need: attempts and their timers, prefix caches, routers that choose.
FEATURES = frozenset(
    [
        "take_request",
        "on_timer",
        "complete_attempt",
        "cancel_hedge_peer",
        "reap_abandoned",
        "release_if_room",
        "release",
        "hold",
        "held_from",
        "find_prefix",
        "admit_prefix",
        "chunk_prefix",
        "will_leave",
        "leave_finished",
        "note_cached",
        "n_listed_pools",
        "choose_fitting",
        "choose_among",
        "insert_waiting",
        "oldest_routed_ps",
    ]
)
SIZED, REGISTER_COUNT = (
    4,
    0x2F,
)  # in the notes of a cubin: one with data of its own; one with a function's registers


class Usage(NamedTuple):
    """What one thread of a kernel takes, as ptxas counts it, and how long the machine code is."""

    registers: int  # of the kernel and of what it calls: the most that any of them needs
    spill_store_bytes: (
        int  # of the kernel itself; a rule that is called keeps its caller's registers on the stack
    )
    spill_load_bytes: int
    stack_bytes: int  # of the deepest chain of calls
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
    p_at = types.UniTuple(i64, len(Params.fixed()))
    st_at = types.UniTuple(i64, len(State.fixed()))
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


def compile_ptx(kernel: str, target: str, plain: bool = False) -> str:
    """The PTX of one kernel for a compute capability such as "9.0"; `plain` leaves FEATURES out, to see what they take."""
    compile_cuda.LEFT_OUT = set(FEATURES) if plain else set()
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


def assemble(ptx: str, target: str, ptxas: str, max_registers: int | None = engine.REGISTERS) -> Usage:
    """What the assembler makes of a kernel. Raises RuntimeError where it refuses it.

    It is told that more may be linked (-c), as the linker does that numba uses: functions then keep to the calling
    convention. Without that it would give every function of a chain of calls registers of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        limit = [] if max_registers is None else [f"-maxrregcount={max_registers}"]
        words = [
            ptxas,
            "-c",
            "-v",
            f"-arch=sm_{target.replace('.', '')}",
            *limit,
            str(source),
            "-o",
            str(binary),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ptxas: {done.stderr.strip()}")
        return usage_of(done.stderr, ptx, binary.read_bytes())


def usage_of(said: str, ptx: str, cubin: bytes) -> Usage:
    """The numbers in what `ptxas -v` says, and in what it made."""
    pattern = (
        r"properties for (\S+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    )
    frames = {name: [int(n) for n in numbers] for name, *numbers in re.findall(pattern, said)}
    calls = calls_of(ptx)
    entry = re.search(r"\.entry (\S+?)\(", ptx)[1]  # type: ignore[index]

    @functools.cache
    def deepest(name: str) -> int:
        return frames.get(name, [0])[0] + max(map(deepest, calls.get(name, ())), default=0)

    _, stores, loads = frames[entry]
    return Usage(max(n_registers(cubin)), stores, loads, deepest(entry), n_instructions(cubin))


def calls_of(ptx: str) -> dict[str, set[str]]:
    """Function of a PTX text → the functions that it calls."""
    parts = re.split(r"^(?:\.visible |\.weak )?\.(?:entry|func)\s+(?:\([^)]*\)\s*)?(\w+)", ptx, flags=re.M)
    found = zip(parts[1::2], parts[2::2], strict=True)
    return {
        name: set(re.findall(r"\bcall(?:\.uni)?\s+(?:\(\w+\),\s*)?(\w+),?", body)) for name, body in found
    }


# ---- ELF ---------------------------------------------------------------------------------------------------------
def _word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def sections(elf: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of an ELF file's sections."""
    table, size, count = _word(elf, 0x28, 8), _word(elf, 0x3A, 2), _word(elf, 0x3C, 2)
    heads = [table + i * size for i in range(count)]
    names = _word(elf, heads[_word(elf, 0x3E, 2)] + 0x18, 8)
    found = []
    for head in heads:
        name, at, n = names + _word(elf, head, 4), _word(elf, head + 0x18, 8), _word(elf, head + 0x20, 8)
        found.append((elf[name : elf.index(b"\0", name)], elf[at : at + n]))
    return found


def n_instructions(cubin: bytes) -> int:
    """Machine instructions in a cubin's code, 16 bytes each (since sm_70)."""
    return sum(len(code) for name, code in sections(cubin) if name.startswith(b".text.")) // 16


def n_registers(cubin: bytes) -> list[int]:
    """Registers of each function of a cubin, from its notes to the linker: (format, attribute, size or value), data."""
    found = []
    for name, notes in sections(cubin):
        at = 0
        while name == b".nv.info" and at < len(notes):
            kind, attribute = notes[at], notes[at + 1]
            if (kind, attribute) == (SIZED, REGISTER_COUNT):
                found.append(_word(notes, at + 8, 4))
            at += 4 + (_word(notes, at + 2, 2) if kind == SIZED else 0)
    return found
