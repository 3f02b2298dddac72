"""What commands cost before and beside the simulation: CPU seconds of whole processes, caches warm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_kit import Figure, Scale

ROOT = Path(__file__).resolve().parents[1]
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sim.cli import script; script()"
IMPORT = "import sys; sys.path.insert(0, sys.argv.pop(1)); import sim"
#: What is started, and how many CPU seconds of user and system time it may take.
COMMANDS: dict[str, tuple[list[str], float]] = {
    "fleetsim --help": (["--help"], 0.15),
    "fleetsim list": (["list"], 0.15),
    "tab completion of a key": (["__complete", "run", "first_run", "pool."], 0.15),
    "fleetsim run first_run": (["run", "first_run"], 0.7),
}


def cpu_s(words: list[str], env: dict[str, str], folder: str) -> float:
    """CPU seconds of a process that is started with these words, in a folder of its own."""
    with open(os.devnull, "wb") as nowhere:
        child = subprocess.Popen(words, stdout=nowhere, stderr=subprocess.PIPE, cwd=folder, env=env)
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 3):
        raise RuntimeError(f"{words[-3:]} ended with {child.returncode}: {said.decode()[-500:]}")
    return used.ru_utime + used.ru_stime


def case_command(scale: Scale) -> list[Figure]:
    """Commands as a user waits for them."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:

        def measured(what: str, words: list[str], goal: float, **more: str) -> Figure:
            words, env = [sys.executable, *words], {**os.environ, **more}
            took = [cpu_s(words, env, folder) for _ in range(scale.repeats + 1)]
            return Figure(what, "CPU s", took[1:], goal, at_least=False)

        for name, (words, goal) in COMMANDS.items():
            figures.append(measured(name, ["-c", MAIN, str(ROOT), *words], goal))
        figures.append(measured("import sim", ["-c", IMPORT, str(ROOT)], 0.2))
        # sources alone, as in a checkout that Python may write no byte code to
        bare = Path(folder) / "bare"
        for part in ("sim", "conf", "scenarios"):
            shutil.copytree(ROOT / part, bare / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("fleetsim list", "fleetsim run first_run"):
            words, goal = COMMANDS[name]
            words = ["-c", MAIN, str(bare), *words]
            figures.append(measured(f"{name}, no byte code", words, goal, PYTHONDONTWRITEBYTECODE="1"))
    return figures
