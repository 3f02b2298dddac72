"""Who may import whom; ARCHITECTURE.md says why."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tree import REPO, imports, modules, room, within

MODEL_MAY = ("__future__", "math", "typing", "numpy", "sim.model", "sim.jit", "sim.rng", "sim.units")
ENGINE_MAY_NOT = ("sim.scenario", "sim.workload", "sim.steptime", "sim.records", "sim.analysis", "sim.report")
HOMES = {  # who alone may know a library
    "hydra": ("sim/scenario/compose.py",),
    "omegaconf": ("sim/scenario/compose.py",),
    "yaml": ("sim/scenario/yaml_file.py",),
    "simpy": ("sim/engine/simpy.py",),
    "numba.cuda": ("sim/engine/cuda.py", "sim/engine/cuda_words.py"),
    "numba": ("sim/jit.py", "sim/engine/"),
    "pydantic": ("sim/scenario/",),
    "pyarrow": ("sim/records/", "sim/workload/readers.py", "sim/api.py"),
    "rich": ("sim/report/", "sim/cli.py"),
    "altair": ("sim/report/",),
    "vl_convert": ("sim/report/",),
    "scipy": ("sim/analysis/", "sim/workload/"),
    "logging": (),
    "ray": (),
}


def test_the_model_imports_nothing_but_numbers() -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path, module in modules().items()
        if room(path) in ("model", "rng")
        for line, name in imports(module)
        if not within(name, MODEL_MAY)
    ]
    assert not found


def test_no_scenario_reaches_an_engine() -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path, module in modules().items()
        if room(path) in ("engine", "arrays")
        for line, name in imports(module)
        if within(name, ENGINE_MAY_NOT)
    ]
    assert not found


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_at_home(library: str) -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path, module in modules().items()
        for line, name in imports(module)
        if within(name, (library,)) and not path.startswith(HOMES[library] or "nowhere")
    ]
    assert not found


def test_rooms_are_in_their_order() -> None:
    """The layers written in pyproject.toml, held by import-linter."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
