"""The source tree as the tests of this folder look at it: modules, functions, imports, calls."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SIM = REPO / "sim"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tracked() -> list[Path]:
    """Every file that belongs to the project: tracked by git, or all there is where there is no git."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    if found.returncode == 0:
        names = [name for name in found.stdout.decode().split("\0") if name]
        return [REPO / name for name in names if (REPO / name).is_file()]
    folders = ("sim", "conf", "scenarios", "tests", "scripts", "docs", ".ci")
    return [path for folder in folders for path in sorted((REPO / folder).rglob("*")) if is_source(path)]


def is_source(path: Path) -> bool:
    """Whether a path is a file that somebody wrote."""
    return path.is_file() and "__pycache__" not in path.parts


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its path in the repository (`sim/model/kv.py`), parsed."""
    paths = sorted(path for path in SIM.rglob("*.py") if "_data" not in path.parts)
    return {path.relative_to(REPO).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def room(path: str) -> str:
    """The room of a module: `model` of sim/model/kv.py, `cli` of sim/cli.py."""
    return path.split("/")[1].removesuffix(".py")


def functions(module: ast.Module) -> Iterator[Function]:
    """Every function and method."""
    return (node for node in ast.walk(module) if isinstance(node, Function))


def public(module: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Functions, classes and methods that others may use: not nested in a function, no leading underscore.

    What a Protocol declares is named and typed; the protocol itself says what it is about.
    """
    for node in module.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef) and not is_protocol(node):
            inner = [part for part in node.body if isinstance(part, Function)]
            yield from (part for part in inner if not part.name.startswith("_"))


def is_protocol(node: ast.ClassDef) -> bool:
    """Whether a class is a typing.Protocol."""
    return any(ast.unparse(base).split(".")[-1] == "Protocol" for base in node.bases)


def length(function: Function) -> int:
    """Lines of a function without its decorators, docstring and comments before it."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    head = function.body[0].lineno - function.lineno
    return head + (function.end_lineno or 0) - body[0].lineno + 1


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported: at the top, in functions, and by import_module("x")."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and call_name(node).split(".")[-1] == "import_module" and node.args:
            if isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value)


def calls(module: ast.Module) -> Iterator[ast.Call]:
    """Every call."""
    return (node for node in ast.walk(module) if isinstance(node, ast.Call))


def call_name(call: ast.Call) -> str:
    """What is called, as it is written: `print`, `path.write_text`."""
    return ast.unparse(call.func)


def within(name: str, roots: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the roots or below one."""
    return any(name == root or name.startswith(root + ".") for root in roots)
