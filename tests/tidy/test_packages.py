"""Packages: layers, who may write files, what an entry point loads."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPO / "sim").rglob("*.py"))

MAY_WRITE = (
    "sim/records/",
    "sim/report/",
    "sim/cache.py",  # what a machine can make again: no result
    "sim/engine/cpu.py",  # the folder of compiled code: no result
    "sim/engine/ptx.py",  # a temporary file for the assembler
)
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
CODE_FROM_TEXT = {"eval", "exec", "compile", "pickle.loads", "pickle.load", "marshal.loads"}
LIBRARIES = {"numpy", "numba", "hydra", "pydantic", "pyarrow", "scipy", "altair", "rich"}


def name_of(path: Path) -> str:
    """The file's name in the repository: `sim/model/kv.py`."""
    return path.relative_to(REPO).as_posix()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a file, by what is called as it is written: `path.write_text`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def writes(name: str, call: ast.Call) -> bool:
    """Whether a call makes, changes or removes a file."""
    if name in OS_WRITERS or name.split(".")[-1] in WRITERS:
        return True
    if name.split(".")[-1] != "open":
        return False
    words = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return any(set(mode) <= set("rwxabt+") and set(mode) & set("wxa+") for mode in modes)


def test_layers_of_the_project_file_hold() -> None:
    """The contracts of [tool.importlinter] in pyproject.toml."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_records_and_reports_write_files() -> None:
    writers = {
        name_of(path)
        for path in SOURCES
        for name, call in calls(path)
        if writes(name, call)
        and not (name == "unlink" and name_of(path).startswith("sim/model/"))  # of a list
    }
    assert {path for path in writers if not path.startswith(MAY_WRITE)} == set()
    assert {path for path in writers if path.startswith("sim/records/")}, "the search finds nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open(path, 'w')", True),
        ("path.open(mode='ab')", True),
        ("folder.mkdir()", True),
        ("os.replace(a, b)", True),
        ("open(path)", False),
        ("path.open('rb')", False),
        ("text.replace('a', 'w')", False),
    ],
)
def test_writing_is_recognized(text: str, expected: bool) -> None:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert writes(ast.unparse(call.func), call) == expected


def test_no_code_is_made_from_text() -> None:
    assert [name_of(path) for path in SOURCES for name, _ in calls(path) if name in CODE_FROM_TEXT] == []


@pytest.mark.parametrize("module", ["sim", "sim.cli"])
def test_entry_points_load_no_library(module: str, tmp_path: Path) -> None:
    """`import sim` and `fleetsim --help` answer at once."""
    code = f"import sys, {module}; print(*sorted({LIBRARIES!r} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
