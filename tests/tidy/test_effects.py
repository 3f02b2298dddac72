"""Nothing prints, exits or writes files but the rooms that may, and an import does nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tree import REPO, call_name, calls, modules, room

MAY_WRITE = {
    "records",
    "report",
    "sim/engine/cpu.py",  # the folder of compiled code, no result
    "sim/engine/ptx.py",  # a temporary file for the assembler
}
WRITERS = {
    "write_text",
    "write_bytes",
    "mkdir",
    "makedirs",
    "unlink",
    "rmtree",
    "mkdtemp",
    "write_table",
    "touch",
}
OS_WRITERS = {"os.replace", "os.rename", "os.remove", "shutil.move", "shutil.copy", "np.save", "np.savez"}
EXITS = {"sys.exit", "exit", "quit", "os._exit"}
SLOW = ["scipy.stats", "altair", "duckdb", "numba.cuda", "pyarrow.dataset", "pandas", "matplotlib"]


def found(names_of: dict[str, ast.Module], is_bad: object) -> list[str]:
    """Calls that are bad, by place."""
    return [
        f"{path}:{call.lineno} {call_name(call)}"
        for path, module in names_of.items()
        for call in calls(module)
        if is_bad(call)  # type: ignore[operator]
    ]


def writes(call: ast.Call) -> bool:
    """Whether a call makes, changes or removes a file."""
    name = call_name(call)
    if name in OS_WRITERS or name.split(".")[-1] in WRITERS:
        return True
    if name.split(".")[-1] != "open":
        return False
    modes = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(set(text) <= set("rwxabt+") and set(text) & set("wxa+") for text in texts)


def test_only_records_and_reports_write_files() -> None:
    others = {
        path: m for path, m in modules().items() if room(path) not in MAY_WRITE and path not in MAY_WRITE
    }
    assert found(others, writes) == []


def test_the_rooms_that_write_are_seen_writing() -> None:
    writers = {room(path) for path, module in modules().items() if found({path: module}, writes)}
    assert {"records", "report"} <= writers


def test_nothing_prints_or_exits_below_the_command_line() -> None:
    below = {path: module for path, module in modules().items() if room(path) != "cli"}
    assert found(below, lambda call: call_name(call) in EXITS | {"print", "input", "breakpoint"}) == []
    assert found(below, lambda call: call_name(call).startswith(("sys.stdout", "sys.stderr"))) == []


def test_no_code_from_text() -> None:
    assert found(modules(), lambda call: call_name(call) in {"eval", "exec", "compile", "pickle.loads"}) == []


IMPORT_ALL = """
import json, os, sys
before = dict(os.environ)
import importlib
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
slow = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps({"slow": slow, "changed": dict(os.environ) != before}))
"""


def import_in_a_fresh_process(names: list[str], folder: Path) -> dict[str, object]:
    """Import modules where nothing but `folder` is home, and tell what that did."""
    env = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": "", "PYTHONPATH": str(REPO)}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "FLEETSIM_CACHE_DIR": ""}
    words = [sys.executable, "-c", IMPORT_ALL, json.dumps(names), json.dumps(SLOW)]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def dotted(path: str) -> str:
    """The module's name: `sim.model.kv`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_imports_do_nothing(tmp_path: Path) -> None:
    done = import_in_a_fresh_process([dotted(path) for path in modules()], tmp_path)
    assert done == {"slow": [], "changed": False}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sim", "sim.cli"])
def test_doors_open_fast(name: str, tmp_path: Path) -> None:
    """`import sim` and `fleetsim --help` load no library at all."""
    code = f"import sys, {name}; print(sorted({{'numpy', 'numba', 'hydra', 'pydantic', 'pyarrow'}} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
