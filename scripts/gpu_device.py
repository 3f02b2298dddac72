"""The device's side of `scripts/gpu`: what it is, what its kernels take, and scenarios in batches.

Needs numpy, numba and numba-cuda, nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gpu_cases import completed, digest_of
from gpu_cases import sweep as scenarios
from gpu_host import Sweep
from gpu_report import OutOfTimeError

PACKAGES = ("numba", "numba-cuda", "llvmlite", "numpy", "cuda-bindings", "nvidia-cuda-nvcc", "nvidia-nvvm")
SCHEDULERS, LANES = (
    4,
    32,
)  # a multiprocessor has four schedulers, each with one instruction of 32 threads a clock
ATTRIBUTES = {
    "multiprocessors": "MULTIPROCESSOR_COUNT",
    "clock_khz": "CLOCK_RATE",
    "memory_clock_khz": "MEMORY_CLOCK_RATE",
    "memory_bus_bits": "GLOBAL_MEMORY_BUS_WIDTH",
    "l2_bytes": "L2_CACHE_SIZE",
    "threads_per_multiprocessor": "MAX_THREADS_PER_MULTIPROCESSOR",
    "registers_per_multiprocessor": "MAX_REGISTERS_PER_MULTIPROCESSOR",
}
HOST_SHARE = 0.3  # of the host's free memory, for the arrays of one chunk


# ---- what it runs on -----------------------------------------------------------------------------------------------
def machine(simulated: bool) -> dict[str, Any]:
    """The GPU, the CPU and the versions that the figures belong to."""
    from sim.engine import cpu, cuda

    found: dict[str, Any] = {
        "simulated": simulated,
        "sources": _try(cpu.source_hash),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "cores": n_core(),
        "cpu": _cpu(),
    }
    if simulated:
        return found | {"gpu": "simulated"}
    module = cuda.load_cuda()
    device = module.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    free, memory = module.current_context().get_memory_info()
    limits = {key: _attribute(device, attribute) for key, attribute in ATTRIBUTES.items()}
    limits |= {"memory_bytes": int(memory), "memory_bytes_free": int(free), **rates_of(limits)}
    capability = [int(part) for part in device.compute_capability]
    return found | {
        "gpu": name,
        "capability": capability,
        "cuda": _try(lambda: _runtime(module)),
        "limits": limits,
    }


def rates_of(limits: dict[str, Any]) -> dict[str, float | None]:
    """What a device can do in a second at its top clocks, as its own attributes say; None where it does not say them."""
    clock, n = limits["clock_khz"], limits["multiprocessors"]
    memory, bits = limits["memory_clock_khz"], limits["memory_bus_bits"]
    return {
        "memory_bytes_per_s": 2 * memory * 1000 * bits / 8 if memory and bits else None,
        "thread_instructions_per_s": SCHEDULERS * LANES * n * clock * 1000 if clock and n else None,
    }


def n_core() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _attribute(device: Any, name: str) -> int | None:
    try:
        return int(getattr(device, name))
    except Exception:  # a driver that does not know it
        return None


def _runtime(module: Any) -> str:
    return ".".join(map(str, module.runtime.get_version()))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(named, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


# ---- its kernels ---------------------------------------------------------------------------------------------------
def compile_kernels(sweep: Sweep) -> dict[str, float]:
    """Run two scenarios, for which every kernel is compiled; seconds that took."""
    from sim.engine import cuda

    clock = time.monotonic()
    for _ in cuda.run_each(list(scenarios(0, 2, *sweep))):
        pass
    return {"kernels_s": round(time.monotonic() - clock, 3)}


def kernel_facts(limits: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a thread of each compiled kernel takes, and how many fit on a multiprocessor at once."""
    from sim.engine import cuda

    kernels = cuda.kernels()
    return {
        name: _facts(next(iter(kernel.overloads.values())), limits)
        for name, kernel in zip(kernels._fields, kernels, strict=True)
        if kernel.overloads
    }


def _facts(kernel: Any, limits: dict[str, Any]) -> dict[str, Any]:
    from sim.engine import cuda, ptx

    library = getattr(kernel, "_codelibrary", None)
    facts = {
        "registers": _try(lambda: int(kernel.regs_per_thread)),
        "stack_and_spills_bytes": _try(lambda: int(kernel.local_mem_per_thread)),
        "shared_bytes_a_block": _try(lambda: int(kernel.shared_mem_per_block)),
        "instructions": _try(lambda: ptx.n_instructions(_code(library))),
        "memory_instructions_in_ptx": _try(
            lambda: len(re.findall(r"\b(?:ld|st)\.global", library.get_asm_str()))
        ),
        "threads_a_block": cuda.THREADS,
        "blocks_a_multiprocessor": _try(
            lambda: int(
                cuda.cuda.current_context().get_active_blocks_per_multiprocessor(
                    library.get_cufunc(), cuda.THREADS, 0
                )
            )
        ),
    }
    blocks, threads = facts["blocks_a_multiprocessor"], limits.get("threads_per_multiprocessor")
    facts["occupancy"] = blocks * cuda.THREADS / threads if blocks and threads else None
    return facts


def _code(library: Any) -> bytes:
    cubin = library.get_cubin()
    return bytes(getattr(cubin, "code", cubin))


def _try(ask: Callable[[], Any]) -> Any:
    """What can be asked of this version of numba-cuda, else None."""
    try:
        return ask()
    except Exception:
        return None


# ---- scenarios -----------------------------------------------------------------------------------------------------
class Clock:
    """Looks at the time whenever the engine reports progress; raises OutOfTimeError past `until`."""

    def __init__(self, until: float, what: str) -> None:
        self.until, self.what = until, what

    def __call__(self, done: float, of: float, what: str) -> None:
        if time.monotonic() > self.until:
            raise OutOfTimeError(f"{self.what}: {done / of:.0%} done when its time was up")


class Launches:
    """How many launches a batch took, and how long they were: each ends with a copy to the host, which waits for it."""

    def __init__(self) -> None:
        self.n, self.seconds, self.filled_s = 0, 0.0, 0.0


@contextlib.contextmanager
def timed_launches() -> Iterator[Launches]:
    """While this lasts, the engine's batches are timed: how long they take to put on the device, and their launches."""
    from sim.engine import cuda

    resident, seen = cuda.Resident, Launches()

    class Timed(resident):  # type: ignore[misc, valid-type]
        def __init__(self, *words: Any) -> None:
            clock = time.monotonic()
            super().__init__(*words)
            cuda.cuda.synchronize()
            seen.filled_s += time.monotonic() - clock

        def launch(self) -> Any:
            clock = time.monotonic()
            found = super().launch()
            seen.seconds += time.monotonic() - clock
            seen.n += 1
            return found

    cuda.Resident = Timed  # type: ignore[misc]
    try:
        yield seen
    finally:
        cuda.Resident = resident  # type: ignore[misc]


def run_sweep(sweep: Sweep, n: int, checked: int, until: float) -> dict[str, Any]:
    """The first n scenarios on the device. `_digests` has those of the first `checked`, made when the clock has stopped.

    `engine_s` is from packed arrays to final states on the host. Of it, `upload_s` is putting batches on the device,
    `launches_s` its launches; the rest is the host's: sorting runs into batches, and fetching results. Packing is apart.
    """
    from sim.engine.rows import row_words

    packing_s = engine_s = 0.0
    requests = words = 0
    kept: list[tuple[int, Any]] = []
    size = chunk_size(sweep, n)
    with timed_launches() as launches:
        for first in range(0, n, size):
            clock = time.monotonic()
            runs = list(scenarios(first, min(n, first + size), *sweep))
            packing_s += time.monotonic() - clock
            words = row_words(runs[0])
            clock = time.monotonic()
            for i, state in results(runs, until, f"{n} scenarios"):
                requests += completed(state)
                if first + i < checked:
                    kept.append((first + i, state))
            engine_s += time.monotonic() - clock
    return {
        "scenarios": n,
        "requests": requests,
        "engine_s": engine_s,
        "upload_s": launches.filled_s,
        "launches_s": launches.seconds,
        "launches": launches.n,
        "packing_s": packing_s,
        "requests_per_s": requests / engine_s,
        "requests_per_s_in_launches": requests / launches.seconds,
        "requests_per_s_with_packing": requests / (engine_s + packing_s),
        "bytes_per_scenario": 8 * words,
        "chunks": -(-n // size),
        "_digests": [digest_of(state) for _, state in sorted(kept, key=lambda one: one[0])],
    }


def results(runs: Sequence[Any], until: float, what: str) -> Iterator[tuple[int, Any]]:
    """Final states as the engine hands them over; OutOfTimeError where they come too late."""
    from sim.engine import cuda

    for i, state in cuda.run_each(runs, None, Clock(until, what)):
        if time.monotonic() > until:
            raise OutOfTimeError(f"{what}: its results were being fetched when its time was up")
        yield i, state


def chunk_size(sweep: Sweep, n: int) -> int:
    """Scenarios whose arrays the host can hold beside their copies."""
    one = next(iter(scenarios(0, 1, *sweep)))
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = 1 << 32
    return max(1, min(n, int(free * HOST_SHARE) // (2 * one.m.nbytes)))


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Which of the scenarios that both have ended differently."""
    return [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]


def check_fleets(n_fleet: int, variants: int, until: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Random fleets of many shapes, so many variants each: every byte of the final states and the digest, device against
    host. Stops where its time is up, with those that were compared.
    """
    from tests.parity.cuda_sim import alike, differences, launch

    wrong: list[int] = []
    done = scenarios_done = 0
    try:
        for seed in range(n_fleet):
            made = alike(seed, variants)
            if differences(made, launch(made, Clock(until, "fleets"))):
                wrong.append(seed)
            done, scenarios_done = done + 1, scenarios_done + len(made)
            say(f"{scenarios_done} scenarios of {done} fleets, {len(wrong)} fleets differ")
            if time.monotonic() > until:
                break
    except OutOfTimeError:
        pass
    return {"fleets": done, "scenarios": scenarios_done, "fleets_that_differ": wrong}


# ---- what a request costs ------------------------------------------------------------------------------------------
def cost_of_a_request(words: dict[str, float], kernel: dict[str, Any]) -> dict[str, Any]:
    """What counted words come to: bytes, whole sectors at most, and an estimate of instructions.

    Instructions are words touched × (machine instructions / memory instructions in the kernel's code). Each thread works
    on a row of its own, so a word touched moves up to a sector of 32 bytes.
    """
    n = sum(words.values())
    cost: dict[str, Any] = {"words": words, "bytes_touched": 8 * n, "sector_bytes_at_most": 32 * n}
    code, memory = kernel.get("instructions"), kernel.get("memory_instructions_in_ptx")
    if code and memory:
        cost["instructions_estimate"] = n * code / memory
    return cost


def shares_of_limits(rate: float, cost: dict[str, Any], limits: dict[str, Any]) -> dict[str, float]:
    """How much of the device a rate of requests takes, as far as it can be estimated."""
    pairs = {
        "memory": ("sector_bytes_at_most", "memory_bytes_per_s"),
        "instructions": ("instructions_estimate", "thread_instructions_per_s"),
    }
    return {
        name: rate * cost[need] / limits[most]
        for name, (need, most) in pairs.items()
        if cost.get(need) and limits.get(most)
    }
