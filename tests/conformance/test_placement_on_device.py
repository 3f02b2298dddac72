"""The rules of placement compile for a GPU, without one, and round there as a processor does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.engine.ptx import why_not

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["8.0", "9.0", "10.0"])
def test_rules_of_placement_compile_for_a_gpu(target: str) -> None:
    if reason := why_not():
        pytest.skip(reason)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    words = [sys.executable, "-m", "tests.conformance.placement_kernels", target]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _, _ in told] == ["quota_kernel", "place_kernel"]
    assert all(int(length) > 10_000 and unrounded == "0" for _, length, unrounded in told)
