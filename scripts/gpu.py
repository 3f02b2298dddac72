"""Prove and time the CUDA engine on this machine's GPU; writes FOLDER/<gpu>.json. docs/kernels.md explains the figures.

Everything is measured in this one run: equality with the CPU engine over thousands of scenarios, sweeps of several
sizes on the GPU and on this machine's CPU cores, and what a request costs in memory accesses and instructions beside
the device's limits. `--simulate` rehearses the whole script on numba's simulator of a device; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]


class Scale(NamedTuple):
    """How much is run."""

    fleets: int  # random fleets of many shapes, each with 8 variants of its traffic
    sizes: tuple[int, ...]  # scenarios in a timed sweep
    replicas: tuple[int, ...]
    requests: int  # a scenario
    on_cpu: int  # scenarios of the sweep that the CPU is timed with
    chunk: int  # scenarios that are packed and handed over at a time
    checked: int  # scenarios of each sweep whose digest is compared with the CPU's


FULL = Scale(512, (65_536, 131_072, 262_144, 524_288), (1, 4, 16), 400, 4096, 262_144, 256)
QUICK = Scale(32, (65_536, 524_288), (4,), 400, 2048, 262_144, 64)
TINY = Scale(1, (3,), (1,), 6, 3, 2, 3)
VARIANTS = 8


# ---- what it runs on -----------------------------------------------------------------------------------------------
def machine(simulated: bool) -> dict[str, Any]:
    """The GPU, the CPU and the versions that the figures belong to."""
    from sim.engine import cuda

    versions = {name: _version(name) for name in ("numba", "numba-cuda", "nvidia-nvvm", "numpy")}
    found: dict[str, Any] = {
        "simulated": simulated,
        "python": platform.python_version(),
        "versions": versions,
        "cores": len(os.sched_getaffinity(0)),
        "cpu": platform.processor() or platform.machine(),
    }
    if simulated:
        return found | {"gpu": "simulated"}
    device = cuda.load_cuda().get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    _, memory = cuda.cuda.current_context().get_memory_info()
    limits = {
        "multiprocessors": int(device.MULTIPROCESSOR_COUNT),
        "clock_hz": int(device.CLOCK_RATE) * 1000,
        "memory_bytes": int(memory),
        "memory_bytes_per_s": 2
        * int(device.MEMORY_CLOCK_RATE)
        * 1000
        * int(device.GLOBAL_MEMORY_BUS_WIDTH)
        // 8,
        "registers_per_multiprocessor": int(device.MAX_REGISTERS_PER_MULTIPROCESSOR),
    }
    # four schedulers a multiprocessor, each with one instruction of 32 threads a clock
    limits["thread_instructions_per_s"] = 128 * limits["multiprocessors"] * limits["clock_hz"]
    return found | {"gpu": name, "capability": list(device.compute_capability), "limits": limits}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---- equality ------------------------------------------------------------------------------------------------------
def check_fleets(n_fleet: int) -> dict[str, Any]:
    """Random fleets of many shapes, VARIANTS each: every byte of the final states, GPU against CPU."""
    from tests.parity.cuda_sim import alike, differences, launch

    wrong: list[int] = []
    n = 0
    for seed in range(n_fleet):
        made = alike(seed, VARIANTS if n_fleet > 1 else 2)
        n += len(made)
        if differences(made, launch(made)):
            wrong.append(seed)
        _say(f"equality: {n} scenarios, {len(wrong)} fleets differ", seed + 1 == n_fleet)
    return {"scenarios": n, "fleets": n_fleet, "fleets_that_differ": wrong}


# ---- the sweep -----------------------------------------------------------------------------------------------------
def time_gpu(size: int, replicas: int, scale: Scale) -> dict[str, Any]:
    """A sweep on the GPU: packing apart from the engine, and the engine's own batches, launches and results."""
    from gpu_cases import sweep

    from sim.engine import cuda
    from sim.engine.rows import row_words

    packing_s = engine_s = 0.0
    requests = batches = 0
    digests: list[tuple[int, str]] = []
    runs_left: Iterator[Any] = sweep(size, replicas, scale.requests)
    begun = first = 0
    words = 0
    while True:
        clock = time.perf_counter()
        runs = list(islice(runs_left, scale.chunk))
        packing_s += time.perf_counter() - clock
        if not runs:
            break
        words = row_words(runs[0])
        clock = time.perf_counter()
        every = max(1, size // scale.checked)
        for i, state in cuda.run_each(runs):
            requests += int(state.m[_completed(state)])
            if (first + i) % every == 0:
                digests.append((first + i, hashlib.sha256(state.m.tobytes()).hexdigest()))
        engine_s += time.perf_counter() - clock
        first += len(runs)
        batches += 1
        begun += len(runs)
        _say(f"GPU: {replicas} replicas, {begun}/{size} scenarios", begun == size)
    return {
        "scenarios": size,
        "replicas": replicas,
        "requests": requests,
        "engine_s": engine_s,
        "packing_s": packing_s,
        "requests_per_s": requests / engine_s,
        "bytes_per_scenario": 8 * words,
        "chunks": batches,
        "_digests": digests,
    }


def _completed(state: Any) -> int:

    return int(state.counts + C_ALL_COMPLETED)


def time_cpu(replicas: int, scale: Scale, threads: int) -> dict[str, Any]:
    """The first scenarios of the same sweep on this machine's cores."""
    from gpu_cases import sweep

    from sim.engine.host import run_plan

    runs = list(sweep(scale.on_cpu, replicas, scale.requests))
    run_plan(runs[0])
    clock = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        requests = sum(pool.map(lambda p: int((st := run_plan(p)).m[_completed(st)]), runs, chunksize=16))
    spent_s = time.perf_counter() - clock
    return {
        "threads": threads,
        "scenarios": len(runs),
        "requests": requests,
        "requests_per_s": requests / spent_s,
    }


def check_sweep(digests: Sequence[tuple[int, str]], size: int, replicas: int, scale: Scale) -> list[int]:
    """Which of a sweep's checked scenarios do not end on the CPU as they did on the GPU."""
    from gpu_cases import sweep

    from sim.engine.host import run_plan

    told = dict(digests)
    wrong = []
    for i, p in enumerate(sweep(size, replicas, scale.requests)):
        if i in told:
            st = run_plan(p)
            if hashlib.sha256(st.m[: st.slot].tobytes()).hexdigest() != told[i]:
                wrong.append(i)
    return wrong


# ---- what a request costs ------------------------------------------------------------------------------------------
def cost_of_a_request(replicas: int, requests: int, target: str | None) -> dict[str, Any]:
    """Words touched per request, counted in plain Python; the kernel's size and registers; an instruction estimate.

    Instructions are estimated: words touched × (machine instructions / memory instructions of the kernel's code).
    Each thread works on a row of its own, so a word touched moves up to a sector of 32 bytes.
    """
    from gpu_cases import touched_elsewhere

    from sim.engine import ptx

    words = touched_elsewhere(replicas, requests)
    n = sum(words.values())
    cost: dict[str, Any] = {"words": words, "bytes_touched": 8 * n, "sector_bytes_at_most": 32 * n}
    ptxas = ptx.find_ptxas()
    if target is not None:
        source = ptx.compile_ptx("advance", target)
        cost["memory_instructions_in_code"] = len(re.findall(r"\b(?:ld|st)\.global", source))
        if ptxas is not None:
            usage = ptx.assemble(source, target, ptxas)
            cost["advance"] = usage._asdict()
            cost["instructions_estimate"] = n * usage.instructions / cost["memory_instructions_in_code"]
    return cost


def shares_of_limits(rate: float, cost: dict[str, Any], limits: dict[str, Any]) -> dict[str, float]:
    """How much of the device a rate of requests takes."""
    shares = {"memory": rate * cost["sector_bytes_at_most"] / limits["memory_bytes_per_s"]}
    if "instructions_estimate" in cost:
        shares["instructions"] = rate * cost["instructions_estimate"] / limits["thread_instructions_per_s"]
    return shares


# ---- all of it -----------------------------------------------------------------------------------------------------
def measure(scale: Scale, simulated: bool, path: Path | None) -> dict[str, Any]:
    """Every figure; written to `path` after each part, so that an interrupt leaves what is finished."""
    found: dict[str, Any] = {"machine": machine(simulated), "scale": scale._asdict(), "complete": False}
    capability = found["machine"].get("capability")
    target = None if capability is None else f"{capability[0]}.{capability[1]}"
    found["equality"] = check_fleets(scale.fleets)
    path = path or ROOT / "results" / "reference" / "gpu" / f"{_slug(found['machine']['gpu'])}.json"
    found["sweeps"] = []
    for replicas in scale.replicas:
        cost = cost_of_a_request(replicas, scale.requests, target)
        cpu = time_cpu(replicas, scale, found["machine"]["cores"])
        part: dict[str, Any] = {"replicas": replicas, "cost_of_a_request": cost, "cpu": cpu, "gpu": []}
        found["sweeps"].append(part)
        time_gpu(min(scale.sizes[0], scale.chunk), replicas, scale)  # compiles, and wakes the device up
        for size in scale.sizes:
            row = time_gpu(size, replicas, scale)
            row["scenarios_that_differ"] = check_sweep(row.pop("_digests"), size, replicas, scale)
            row["times_cpu"] = row["requests_per_s"] / cpu["requests_per_s"]
            if not simulated:
                row["share_of_limits"] = shares_of_limits(
                    row["requests_per_s"], cost, found["machine"]["limits"]
                )
            part["gpu"].append(row)
            write(path, found)
    found["complete"] = True
    write(path, found)
    return found


def write(path: Path, found: dict[str, Any]) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp")
    half.write_text(json.dumps(found, indent=1) + "\n")
    half.replace(path)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _say(line: str, last: bool) -> None:
    print(f"\r{line}", end="\n" if last else "", file=sys.stderr, flush=True)


def summary(found: dict[str, Any]) -> str:
    """What a person wants to know first."""
    equal = found["equality"]
    lines = [
        f"{found['machine']['gpu']}: {equal['scenarios']} scenarios, {len(equal['fleets_that_differ'])} fleets differ"
    ]
    for part in found["sweeps"]:
        cpu = part["cpu"]
        lines.append(
            f"{part['replicas']} replicas; CPU, {cpu['threads']} threads: {cpu['requests_per_s']:,.0f} requests/s"
        )
        for row in part["gpu"]:
            speed = f"{row['requests_per_s']:,.0f} requests/s, {row['times_cpu']:.1f}× the CPU"
            wrong = f"{len(row['scenarios_that_differ'])} of those checked differ"
            lines.append(f"  {row['scenarios']:>9,} scenarios: {speed}, {wrong}")
    return "\n".join(lines)


def is_equal(found: dict[str, Any]) -> bool:
    """Whether GPU and CPU agreed wherever they were compared."""
    rows = [row for part in found["sweeps"] for row in part["gpu"]]
    return not found["equality"]["fleets_that_differ"] and not any(
        row["scenarios_that_differ"] for row in rows
    )


def main() -> int:
    """Measure, write, tell; 1 where GPU and CPU differ or there is no GPU."""
    parser = argparse.ArgumentParser(prog="scripts/gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer fleets and sizes")
    parser.add_argument("--simulate", action="store_true", help="rehearse on numba's simulator; needs --out")
    parser.add_argument(
        "--out", type=Path, help="the file to write (default: results/reference/gpu/<gpu>.json)"
    )
    asked = parser.parse_args()
    if asked.simulate and asked.out is None:
        parser.error("--simulate needs --out: what it measures is no figure to keep")
    if asked.simulate and os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
        os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], environment)
    from sim.engine import cuda
    from sim.errors import InputError

    if asked.simulate:
        cuda.THREADS = 2
    else:
        try:
            cuda.need_device()
        except InputError as error:
            print(f"scripts/gpu: {error}", file=sys.stderr)
            return 1
    scale = TINY if asked.simulate else QUICK if asked.quick else FULL
    try:
        found = measure(scale, asked.simulate, asked.out)
    except KeyboardInterrupt:
        print("\nscripts/gpu: interrupted; what was finished has been written", file=sys.stderr)
        return 130
    print(summary(found))
    return 0 if is_equal(found) else 1


if __name__ == "__main__":
    sys.exit(main())
