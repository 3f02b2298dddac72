"""Prove and time the CUDA engine on this machine's GPU; writes FOLDER/<gpu>.json. docs/kernels.md explains the figures.

Everything is measured in this one run: equality with the host over thousands of scenarios, sweeps of several sizes on
the GPU and on all cores of this machine, and what a request costs beside the device's limits. The file is written whole
after every step, and steps for which no time is left are named in it. `--simulate` rehearses the whole script on numba's
simulator of a device; its figures mean nothing.

Needs Python 3.11 or newer, numpy, numba and numba-cuda, and no network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from gpu_host import Host, Sweep  # noqa: E402
from gpu_ncu import Profiled, find_ncu, wait_for_go  # noqa: E402
from gpu_report import Report  # noqa: E402

REFERENCE = ROOT / "results" / "reference" / "gpu"


class Scale(NamedTuple):
    """How much is run, and how long it may take."""

    budget_s: float
    replicas: tuple[int, ...]  # of a scenario in a timed sweep; the first is measured before everything else
    requests: int  # a scenario
    n_trace: int  # different ones
    checked: int  # scenarios of each timed sweep that are compared with the host
    sizes: tuple[int, ...]  # scenarios in a timed sweep, rising
    fleets: int  # random ones of many shapes
    variants: int  # of each of them
    fleets_s: float  # they take at most
    host_s: float  # the host's speed is measured for at least
    profiled: int  # scenarios under ncu


QUICK = Scale(225, (4,), 400, 256, 4096, (4096, 16_384, 65_536, 262_144), 512, 8, 40, 4, 8192)
FULL = Scale(
    520, (4, 1, 16), 400, 256, 4096, (4096, 16_384, 65_536, 262_144, 524_288), 512, 8, 150, 6, 16_384
)
TINY = Scale(600, (1,), 6, 3, 3, (3,), 1, 2, 60, 0, 2)
LEAST_COUNT_S = 2.0  # to look for what processes beside this one have found
NCU_LEAST_S = 25.0
MEASURE_LEAST_S = 3.0
AGAIN = 1.5  # of the time that a size would take at the rate of the one before: how much has to be left


# ---- the steps -----------------------------------------------------------------------------------------------------
class Run:
    """Every step of one run, in order."""

    def __init__(self, report: Report, scale: Scale, simulated: bool) -> None:
        self.report, self.scale, self.found = report, scale, report.found
        self.simulated = simulated
        self.words: dict[int, subprocess.Popen[str]] = {}
        self.parts: dict[int, dict[str, Any]] = {}
        self.digests: dict[int, list[str]] = {}  # what the host's scenarios end as
        self.profiled: Profiled | None = None
        self.host: Host | None = None

    def sweep(self, replicas: int) -> Sweep:
        """The timed scenarios with so many replicas."""
        return Sweep(replicas, self.scale.requests, self.scale.n_trace)

    def all(self, folder: Path) -> None:
        """Everything, what matters most first."""
        import gpu_device

        report, scale, found = self.report, self.scale, self.found
        first, *others = scale.replicas
        found |= {"scale": scale._asdict(), "machine": {}, "equality": {}, "sweeps": []}
        machine = report.step("machine", lambda: gpu_device.machine(self.simulated))
        found["machine"] = machine or {
            "simulated": self.simulated,
            "gpu": "unknown",
            "cores": gpu_device.n_core(),
        }
        host_code = self._start(folder)
        made = report.step("compile kernels", lambda: gpu_device.compile_kernels(self.sweep(first)))
        found["compile"] = made or {}
        if not self.simulated:
            limits = found["machine"].get("limits", {})
            found["kernels"] = report.step("kernels", lambda: gpu_device.kernel_facts(limits)) or {}
        report.step("compile host", lambda: finished(host_code, report.left_s))
        self.host = Host(found["machine"]["cores"])
        self.measure(first, scale.sizes[:-1] or scale.sizes)
        report.step("random fleets", self.fleets, MEASURE_LEAST_S)
        if scale.sizes[:-1]:
            self.measure(first, scale.sizes[-1:])
        report.step("ncu", self.ncu, NCU_LEAST_S) if self.profiled else None
        for replicas in others:
            self.measure(replicas, scale.sizes)

    def _start(self, folder: Path) -> subprocess.Popen[str]:
        """What other cores can do meanwhile: compile for the host, count words, compile under ncu."""
        scale = self.scale
        for replicas in scale.replicas:
            self.words[replicas] = python("gpu_words.py", str(replicas), str(scale.requests), jit=False)
        ncu = find_ncu()
        self.found["ncu"] = {"found": ncu is not None}
        if ncu is not None:
            (folder / "ncu").mkdir()
            numbers = (os.getpid(), scale.replicas[0], scale.requests, scale.n_trace, scale.profiled)
            words = [str(number) for number in numbers]
            self.profiled = Profiled(ncu, Path(__file__), words, folder / "ncu")
        return python("gpu_words.py", "--compile")

    def measure(self, replicas: int, sizes: Sequence[int]) -> None:
        """The host, then the device at rising sizes, with so many replicas."""
        report, scale = self.report, self.scale
        if replicas not in self.parts:
            name = f"host, {replicas} replicas"
            self.parts[replicas] = {"replicas": replicas, "cost_of_a_request": {}, "cpu": {}, "gpu": []}
            self.found["sweeps"].append(self.parts[replicas])
            report.step(name, lambda: self.on_host(replicas), MEASURE_LEAST_S + scale.host_s)
            report.step(f"words, {replicas} replicas", lambda: self.cost(replicas), LEAST_COUNT_S)
        for size in sizes:
            rows = self.parts[replicas]["gpu"]
            least_s = MEASURE_LEAST_S if not rows else AGAIN * seconds_of(rows[-1], size)
            report.step(
                f"{size} scenarios, {replicas} replicas", lambda n=size: self.on_device(replicas, n), least_s
            )

    def on_host(self, replicas: int) -> None:
        """What the first scenarios end as, and how fast all cores of the host run them."""
        assert self.host is not None
        part, sweep, n = self.parts[replicas], self.sweep(replicas), self.scale.checked
        self.host.warm_up(sweep)
        self.digests[replicas] = self.host.digests(sweep, n)
        part["cpu"] = self.host.speed(sweep, n, self.scale.host_s)

    def cost(self, replicas: int) -> None:
        """What a request touches, from the process that counted it."""
        import gpu_device

        words = json.loads(finished(self.words[replicas], self.report.left_s))
        loop = self.found.get("kernels", {}).get("advance", {})
        self.parts[replicas]["cost_of_a_request"] = gpu_device.cost_of_a_request(words, loop)

    def on_device(self, replicas: int, n: int) -> None:
        """So many scenarios on the device, beside the host's answers and its speed."""
        import gpu_device

        part = self.parts[replicas]
        row = gpu_device.run_sweep(self.sweep(replicas), n, self.scale.checked, self.report.until(1e9))
        ours, theirs = row.pop("_digests"), self.digests.get(replicas, [])
        row["scenarios_compared"] = min(len(ours), len(theirs))
        row["scenarios_that_differ"] = gpu_device.differing(ours, theirs)
        rate, host = row["requests_per_s"], part["cpu"].get("requests_per_s")
        row["times_cpu"] = rate / host if host else None
        if not self.simulated:
            limits = self.found["machine"].get("limits", {})
            row["share_of_limits"] = gpu_device.shares_of_limits(rate, part["cost_of_a_request"], limits)
        part["gpu"].append(row)
        self._count_equality()

    def fleets(self) -> None:
        """Random fleets of many shapes, as many as there is time for."""
        import gpu_device

        until = self.report.until(self.scale.fleets_s)
        made = gpu_device.check_fleets(self.scale.fleets, self.scale.variants, until, say)
        self.found["fleets"] = made
        self._count_equality()

    def _count_equality(self) -> None:
        rows = [(part, row) for part in self.parts.values() for row in part["gpu"]]
        most = {part["replicas"]: 0 for part in self.parts.values()}
        for part, row in rows:  # larger sweeps begin with the scenarios of the smaller ones
            most[part["replicas"]] = max(most[part["replicas"]], row["scenarios_compared"])
        fleets = self.found.get("fleets", {"scenarios": 0, "fleets_that_differ": []})
        self.found["equality"] = {
            "scenarios": sum(most.values()) + fleets["scenarios"],
            "of_sweeps": sum(most.values()),
            "of_random_fleets": fleets["scenarios"],
            "sweeps_that_differ": sum(1 for _, row in rows if row["scenarios_that_differ"]),
            "fleets_that_differ": len(fleets["fleets_that_differ"]),
        }

    def ncu(self) -> None:
        """What Nsight Compute counted of the event loop."""
        assert self.profiled is not None
        self.found["ncu"] |= self.profiled.result(self.report.until(self.report.left_s))

    def close(self) -> None:
        """End every process that was started."""
        if self.host is not None:
            self.host.close()
        if self.profiled is not None:
            self.profiled.close()
        for process in self.words.values():
            process.kill()


def seconds_of(row: dict[str, Any], size: int) -> float:
    """How long a sweep takes at the speed of another one."""
    return (row["engine_s"] + row["packing_s"]) * size / row["scenarios"]


def python(script: str, *words: str, jit: bool = True) -> subprocess.Popen[str]:
    """A script beside this one in a process of its own."""
    environment = {**os.environ, "FLEETSIM_PARENT": str(os.getpid())}
    if not jit:
        environment["NUMBA_DISABLE_JIT"] = "1"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(ROOT / "scripts" / script), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], most_s: float) -> str:
    """What a process has printed; RuntimeError with its last line where it failed or takes too long."""
    try:
        printed, said = process.communicate(timeout=max(0.1, most_s))
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError("was not done when its time was up") from None
    if process.returncode != 0:
        raise RuntimeError((said.strip().splitlines() or ["no reason was given"])[-1])
    return printed


def run_profiled(folder: Path, parent: int, replicas: int, requests: int, n_trace: int, n: int) -> int:
    """The process under ncu: compile, wait to be told, run, and say how many requests that were."""
    import gpu_device

    from sim.engine import cuda

    sweep = Sweep(replicas, requests, n_trace)
    gpu_device.compile_kernels(sweep)
    wait_for_go(folder, parent)
    runs = list(gpu_device.scenarios(0, n, *sweep))
    start = getattr(cuda.load_cuda(), "profile_start", None)
    if start is not None:
        start()
    completed = sum(gpu_device.completed(state) for _, state in cuda.run_each(runs))
    told = {"scenarios": n, "requests": completed}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
    return 0


# ---- what is told --------------------------------------------------------------------------------------------------
def say(line: str) -> None:
    """A line on the terminal that the next one replaces."""
    print(f"\r\033[K{line}" if sys.stderr.isatty() else line, end="\n", file=sys.stderr, flush=True)


def summary(found: dict[str, Any]) -> str:
    """What a person wants to know first."""
    equal, gpu = found["equality"], found["machine"].get("gpu")
    if not equal:
        return f"{gpu}: nothing could be compared"
    lines = [
        f"{gpu}: {equal['scenarios']:,} scenarios compared with the host; {equal['sweeps_that_differ']} sweeps and "
        f"{equal['fleets_that_differ']} random fleets differ"
    ]
    versions = {"Python": found["machine"].get("python"), **found["machine"].get("versions", {})}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    loop = found.get("kernels", {}).get("advance")
    if loop and loop["occupancy"] is not None:
        lines.append(f"event loop: {loop['registers']} registers, occupancy {loop['occupancy']:.0%}")
    for part in found["sweeps"]:
        lines += sweep_lines(part)
    if "limited_by" in found.get("ncu", {}):
        lines.append(f"limited by {found['ncu']['limited_by']}")
    for step in found["steps"]:
        lines += [
            f"{step['step']}: {key}: {step[key]}" for key in ("skipped", "stopped", "failed") if key in step
        ]
    return "\n".join(lines)


def sweep_lines(part: dict[str, Any]) -> Iterator[str]:
    """The host, then each size, of the sweeps with so many replicas."""
    cpu, cost = part["cpu"], part["cost_of_a_request"]
    if cost:
        moved = (
            f"{cost['bytes_touched']:,.0f} bytes touched, {cost['sector_bytes_at_most']:,.0f} moved at most"
        )
        yield f"{part['replicas']} replicas, a request: {moved}"
    if cpu:
        speed = f"{cpu['requests_per_s']:,.0f} requests/s on {cpu['processes']} cores"
        yield f"{part['replicas']} replicas, {speed}"
    for row in part["gpu"]:
        against = "" if row["times_cpu"] is None else f", {row['times_cpu']:.2f} times the host"
        wrong = f"{len(row['scenarios_that_differ'])} of {row['scenarios_compared']} compared differ"
        yield f"  {row['scenarios']:>9,} scenarios: {row['requests_per_s']:,.0f} requests/s{against}, {wrong}"
        if row.get("share_of_limits"):
            shares = ", ".join(f"{name} {share:.1%}" for name, share in row["share_of_limits"].items())
            yield f"            of the device's limits, estimated: {shares}"


def is_equal(found: dict[str, Any]) -> bool:
    """Whether device and host agreed wherever they were compared, and they were."""
    equal = found["equality"]
    return (
        bool(equal)
        and equal["scenarios"] > 0
        and not (equal["sweeps_that_differ"] or equal["fleets_that_differ"])
    )


def slug(name: str) -> str:
    """A file's name for a GPU."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


# ---- the command ---------------------------------------------------------------------------------------------------
def asked() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 4 minutes; without it, within 9")
    parser.add_argument("--simulate", action="store_true", help="rehearse on numba's simulator; needs --out")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="another limit on the time")
    parser.add_argument(
        "--out",
        type=Path,
        help="the file to write (default: results/reference/gpu/<gpu>.json, or <gpu>-quick.json)",
    )
    parser.add_argument("--profiled", nargs=6, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.simulate and words.out is None:
        parser.error("--simulate needs --out: what it measures is no figure to keep")
    return words


def why_not(simulated: bool) -> str | None:
    """Why this machine cannot run the script, in one line."""
    try:
        from sim.engine import cuda
    except ImportError as error:
        return f"{error}; needed: numpy, numba and numba-cuda (FLEETSIM_PYTHON names a Python that has them)"
    from sim.errors import InputError

    if simulated:
        cuda.THREADS = 2
        return None
    try:
        cuda.need_device()
    except InputError as error:
        return str(error)
    return None


def stop(number: int, frame: Any) -> None:
    """A signal to end, as an interrupt; where a library swallows that, the report ends the run before its next step."""
    name = signal.Signals(number).name
    Report.told.append(name)
    raise KeyboardInterrupt(name)


def keep_code_in(folder: Path) -> None:
    """Where compiled code cannot be kept in its usual place, keep it in `folder`: the processes of this run share it."""
    from sim.engine.cpu import cache_dir

    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError:
        os.environ["FLEETSIM_CACHE_DIR"] = str(folder / "code")


def measure(scale: Scale, simulated: bool, path: Path) -> tuple[dict[str, Any], str | None]:
    """Every figure in `path`, and what stopped it before its end."""
    report = Report(path, scale.budget_s, {})
    run = Run(report, scale, simulated)
    watch = report.watch(run.close)
    stopped = None
    with tempfile.TemporaryDirectory() as folder:
        keep_code_in(Path(folder))
        try:
            run.all(Path(folder))
        except KeyboardInterrupt as error:
            stopped = str(error) or "SIGINT"
        finally:
            watch.cancel()
            run.close()
            report.close(stopped)
    return report.found, stopped


def main() -> int:
    """Measure, write, tell; 1 where device and host differ or there is no GPU."""
    words = asked()
    if words.simulate and os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
        os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], environment)
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    if (reason := why_not(simulated)) is not None:
        print(f"scripts/gpu: {reason}", file=sys.stderr)
        return 1
    if words.profiled is not None:
        folder, *numbers = words.profiled
        return run_profiled(Path(folder), *map(int, numbers))
    scale = TINY if simulated else QUICK if words.quick else FULL
    if words.budget is not None:
        scale = scale._replace(budget_s=words.budget)
    path = words.out or REFERENCE / f"{slug(gpu_name())}{'-quick' if words.quick else ''}.json"
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, stop)
    found, stopped = measure(scale, simulated, path)
    print(summary(found))
    print(f"written: {path}", file=sys.stderr)
    if stopped is not None:
        print(f"scripts/gpu: stopped ({stopped}); what was finished has been written", file=sys.stderr)
        return 130
    return 0 if is_equal(found) else 1


def gpu_name() -> str:
    """The device's name, for its file."""
    from sim.engine import cuda

    name = cuda.load_cuda().get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


if __name__ == "__main__":
    sys.exit(main())
