"""`scripts/gpu` runs to its end: rehearsed on numba's simulator, whose figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.engine import cuda, ptx

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu.py"


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script, as a machine with or without a GPU runs it."""
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_a_rehearsal_compares_times_and_writes_everything(tmp_path: Path) -> None:
    if (reason := ptx.why_not()) is not None:
        pytest.skip(reason)
    path = tmp_path / "found" / "simulated.json"
    done = run("--simulate", "--out", str(path))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(path.read_text())
    assert found["complete"]
    assert found["machine"]["simulated"]
    assert found["equality"] == {"scenarios": 2, "fleets": 1, "fleets_that_differ": []}
    (part,) = found["sweeps"]
    assert part["gpu"][0]["requests"] == part["cpu"]["requests"] == 18
    assert part["gpu"][0]["scenarios_that_differ"] == []
    assert part["cost_of_a_request"]["words"]["state_writes"] > 10
    assert "share_of_limits" not in part["gpu"][0]
    assert not list(path.parent.glob("*.tmp"))


def test_a_rehearsal_leaves_the_reference_figures_alone() -> None:
    done = run("--simulate")
    assert done.returncode == 2
    assert "--out" in done.stderr


def test_without_a_gpu_the_script_says_so_in_one_line(tmp_path: Path) -> None:
    if cuda.why_not() is None:
        pytest.skip("there is a GPU")
    done = run("--out", str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "engine: 'cuda' cannot be used" in done.stderr
    assert not list(tmp_path.iterdir())
