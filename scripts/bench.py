"""How fast the simulator is on this machine: prints medians and ratios, and keeps a history of them.

Single-threaded work is timed by this process's CPU time, threads and whole commands by the wall clock. Works
that a ratio compares run in turn, and the ratio is taken turn by turn: a busy machine slows both sides alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from bench_cases import CASES  # noqa: E402
from bench_kit import Figure, Scale  # noqa: E402

QUICK = Scale(size=0.1, repeats=3, slow=False)


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    versions = {"python": platform.python_version()}
    for name in ("numba", "llvmlite", "numpy", "simpy", "fleetsim"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "source tree"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {
        "cpu": cpu_model(),
        "cores": cores,
        "system": platform.platform(),
        "load": load,
        "versions": versions,
    }


def number(value: float) -> str:
    """Three significant figures, thousands apart."""
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def line(figure: Figure) -> str:
    """A figure as one line: median, range, goal."""
    spread = f"{number(min(figure.values))} … {number(max(figure.values))}" if len(figure.values) > 1 else ""
    goal = ""
    if figure.goal is not None:
        goal = f"{'✓' if figure.met else '✗'} {'≥' if figure.at_least else '≤'} {number(figure.goal)}"
    text = (
        f"  {figure.what:<36}{number(figure.median):>12} {figure.unit:<16}{spread:<26}{goal:<14}{figure.note}"
    )
    return text.rstrip()


def record(case: str, figure: Figure) -> dict[str, Any]:
    """A figure for the history."""
    return {
        "case": case,
        "what": figure.what,
        "unit": figure.unit,
        "median": figure.median,
        "min": min(figure.values),
        "max": max(figure.values),
        "n": len(figure.values),
        "goal": figure.goal,
        "met": figure.met,
        "note": figure.note,
    }


def run_cases(names: Sequence[str], scale: Scale) -> list[dict[str, Any]]:
    """Measure the cases, printing as they come."""
    kept = []
    for name in names:
        work = CASES[name]
        print(f"\n{name}: {(work.__doc__ or '').strip()}", flush=True)
        for figure in work(scale):
            print(line(figure), flush=True)
            kept.append(record(name, figure))
    return kept


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, three repetitions, no cold compile"
    )
    parser.add_argument("--repeats", type=int, metavar="N", help="repetitions of each work (7)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="append the figures to FILE, one line a call"
    )
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="NAME", help=", ".join(CASES))
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line asks for."""
    asked = arguments(words)
    scale = QUICK if asked.quick else Scale()
    if asked.repeats is not None:
        scale = scale._replace(repeats=max(1, asked.repeats))
    about = machine()
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load']}\n{about['system']}\n{versions}")
    print(
        f"median, then min … max of {scale.repeats} repetitions; ✓ and ✗: whether the median reaches its goal"
    )
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    figures = run_cases(asked.only or list(CASES), scale)
    about["load_after"] = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []
    if asked.json is not None:
        with asked.json.open("a", encoding="utf-8") as file:
            json.dump({"when": when, "quick": asked.quick, "machine": about, "figures": figures}, file)
            file.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
