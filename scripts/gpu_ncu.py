"""Nsight Compute beside `scripts/gpu`, where it is there: what the event loop's launches do with the device.

A process of its own is compiled for under ncu while other things are measured, and runs its scenarios when it is told to.
Needs the standard library alone (the process it starts needs what scripts/gpu needs).
"""

from __future__ import annotations

import csv
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SECTIONS = (
    "SpeedOfLight",
    "MemoryWorkloadAnalysis",
    "Occupancy",
    "SchedulerStats",
    "WarpStateStats",
    "InstructionStats",
    "LaunchStats",
)
LAUNCHES_MAX = 8  # of the event loop that are profiled
PLACES = ("/usr/local/cuda*/bin/ncu", "/opt/nvidia/nsight-compute/*/ncu")
#: name in the report → ncu's; sums are added up over launches, the others averaged by the time that launches took
SUMS = {
    "seconds": "gpu__time_duration.sum",
    "dram_bytes_read": "dram__bytes_read.sum",
    "dram_bytes_written": "dram__bytes_write.sum",
    "warp_instructions": "smsp__inst_executed.sum",
}
MEANS = {
    "achieved_occupancy_percent": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "issue_slots_busy_percent": "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "compute_percent": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "memory_percent": "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram_percent": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "l2_hit_percent": "lts__t_sector_hit_rate.pct",
    "threads_a_warp_instruction": "smsp__thread_inst_executed_per_inst_executed.ratio",
}
STALL = "smsp__average_warps_issue_stalled_"
STALL_END = "_per_issue_active.ratio"
SCALE = {
    "nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3, "second": 1.0, "s": 1.0,
    "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "Tbyte": 1e12,
}  # fmt: skip
BUSY_PERCENT = 60.0  # from here on a unit is what limits a kernel; below, waiting does


def find_ncu() -> str | None:
    """Nsight Compute's command line: FLEETSIM_NCU, on PATH, or where the toolkit puts it; none on a simulated device."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return os.environ.get("FLEETSIM_NCU")
    found = os.environ.get("FLEETSIM_NCU") or shutil.which("ncu")
    others = [path for place in PLACES for path in sorted(glob.glob(place), reverse=True)]
    return found or next((path for path in others if os.access(path, os.X_OK)), None)


class Profiled:
    """A process under ncu that waits to be told to run."""

    def __init__(self, ncu: str, script: Path, words: list[str], folder: Path) -> None:
        self.folder = folder
        self.log = folder / "ncu.csv"
        self.told, self.go = folder / "told.json", folder / "go"
        command = [ncu, "--csv", "--page", "raw", "--profile-from-start", "off"]
        command += ["--kernel-name", "regex:advance", "--launch-count", str(LAUNCHES_MAX)]
        command += [word for section in SECTIONS for word in ("--section", section)]
        command += [
            "--log-file",
            str(self.log),
            sys.executable,
            str(script),
            "--profiled",
            str(folder),
            *words,
        ]
        self.said = (folder / "said.txt").open("w+b")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, start_new_session=True
        )

    def result(self, until: float) -> dict[str, Any]:
        """Let it run, and read what ncu counted; raises RuntimeError with what was said where that was nothing."""
        self.go.touch()
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.close()
            raise RuntimeError("ncu was not done when its time was up") from None
        log = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        launches = launches_of(log.splitlines())
        if not launches or not self.told.exists():
            raise RuntimeError(f"ncu counted nothing: {self._last_words(log)}")
        return summed(launches, json.loads(self.told.read_text(encoding="utf-8")))

    def close(self) -> None:
        """End it and what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.said.close()

    def _last_words(self, log: str) -> str:
        self.said.seek(0)
        said = log + self.said.read().decode("utf-8", errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if "==ERROR==" in line]
        return (errors or lines or ["nothing was said"])[-1][:300]


def wait_for_go(folder: Path, parent: int) -> None:
    """In the profiled process: until it is told to run. Ends where `parent` is not there any more to tell it."""
    while not (folder / "go").exists():
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(0.05)


# ---- what ncu writes -----------------------------------------------------------------------------------------------
def launches_of(lines: Iterable[str]) -> list[dict[str, float]]:
    """Every profiled launch as ncu's metric → value in seconds, bytes, percent or numbers.

    `--csv --page raw`: a line of names, a line of units, then a line for each launch; lines that begin with == are talk.
    """
    rows = list(csv.reader(line for line in lines if line.startswith('"')))
    if len(rows) < 3:
        return []
    names, units = rows[0], rows[1]
    found = []
    for row in rows[2:]:
        values = {
            name: number * SCALE.get(unit, 1.0)
            for name, unit, text in zip(names, units, row, strict=False)
            if "__" in name and (number := _number(text)) is not None
        }
        found.append(values)
    return found


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def summed(launches: list[dict[str, float]], told: dict[str, Any]) -> dict[str, Any]:
    """The launches together, and what they come to for a request; `told` is what the process says of its scenarios."""
    found: dict[str, Any] = {"launches": len(launches), **told}
    for name, metric in SUMS.items():
        values = [launch[metric] for launch in launches if metric in launch]
        found[name] = sum(values) if values else None
    weights = [launch.get(SUMS["seconds"], 1.0) for launch in launches]
    for name, metric in MEANS.items():
        pairs = [(launch[metric], w) for launch, w in zip(launches, weights, strict=True) if metric in launch]
        total = sum(w for _, w in pairs)
        found[name] = sum(value * w for value, w in pairs) / total if total else None
    found["stalls"] = stalls(launches, weights)
    if told.get("requests") and found["dram_bytes_read"] is not None:
        moved = found["dram_bytes_read"] + (found["dram_bytes_written"] or 0.0)
        found["dram_bytes_per_request"] = moved / told["requests"]
    found["limited_by"] = limited_by(found)
    return found


def stalls(launches: list[dict[str, float]], weights: list[float]) -> dict[str, float]:
    """Why warps wait, in warps that wait so for each instruction issued, most first."""
    names = {
        name for launch in launches for name in launch if name.startswith(STALL) and name.endswith(STALL_END)
    }
    total = sum(weights)
    means = {
        name[len(STALL) : -len(STALL_END)]: sum(
            launch.get(name, 0.0) * w for launch, w in zip(launches, weights, strict=True)
        )
        / total
        for name in names
    }
    return dict(sorted(means.items(), key=lambda one: -one[1]))


def limited_by(found: dict[str, Any]) -> str:
    """In words, what the counters say that the loop waits for."""
    dram, issue = found["dram_percent"], found["issue_slots_busy_percent"]
    if dram is not None and dram >= BUSY_PERCENT and dram >= (issue or 0.0):
        return f"memory bandwidth: {dram:.0f} % of its peak"
    if issue is not None and issue >= BUSY_PERCENT:
        return f"instructions: {issue:.0f} % of the issue slots"
    if found["stalls"]:
        why, warps = next(iter(found["stalls"].items()))
        return f"latency: no unit is busy; most warps wait for {why.replace('_', ' ')} ({warps:.1f} for each instruction)"
    return "not known: ncu told neither throughputs nor stalls"
