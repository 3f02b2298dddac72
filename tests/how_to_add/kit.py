"""A copy of the package to which a recipe of ARCHITECTURE.md ("How to add") is applied, edit by edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Ten seconds of light chat on two replicas in plain Python: some fifty requests.
TINY = """# @package _global_
defaults:
  - override /traffic: chat
  - override /autoscaler: fixed
  - override /coldstart: none
duration_s: 20
seed: 7
pool:
  min_replicas: 2
  max_replicas: 2
traffic:
  arrivals: {kind: poisson, rate_per_s: 2}
  prompt_tokens: {kind: constant, value: 300}
  output_tokens: {kind: constant, value: 20}
"""


class Copy:
    """The package's files (`sim`, `conf`, `scenarios`) in a folder of their own, and which of them were touched."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.touched: set[str] = set()
        for name in ("sim", "conf", "scenarios"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))

    def new(self, path: str, text: str) -> None:
        """Add a file."""
        assert not (self.root / path).exists(), f"{path} is there already"
        (self.root / path).write_text(text)
        self.touched.add(path)

    def put(self, path: str, *, after: str = "", before: str = "", text: str) -> None:
        """Put lines behind the line that ends with, or before the one that begins with, a text found once."""
        known = (self.root / path).read_text()
        mark = after or before
        assert known.count(mark) == 1, f"{path} has {mark!r} {known.count(mark)} times"
        made = f"{after}\n{text.rstrip()}" if after else f"{text.rstrip()}\n{before}"
        (self.root / path).write_text(known.replace(mark, made))
        self.touched.add(path)

    def swap(self, path: str, old: str, new: str) -> None:
        """Put a text in the place of one that is found once."""
        known = (self.root / path).read_text()
        assert known.count(old) == 1, f"{path} has {old!r} {known.count(old)} times"
        (self.root / path).write_text(known.replace(old, new))
        self.touched.add(path)

    def ask(self, code: str, *overrides: str) -> Any:
        """Run the tiny scenario in a process without a compiler as `run`, then `code`; what it says by `tell(…)`."""
        scenario = self.root / "tiny.yaml"
        scenario.write_text(TINY)
        head = (
            "import json, sim\n"
            "def tell(x): print('told', json.dumps(x, default=int))\n"
            f"def run(*more): return sim.run({str(scenario)!r}, [*{list(overrides)!r}, *more])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", head + code],
            env={**os.environ, "PYTHONPATH": str(self.root), "NUMBA_DISABLE_JIT": "1"},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = [line for line in done.stdout.splitlines() if line.startswith("told ")]
        return json.loads(told[-1].removeprefix("told "))
