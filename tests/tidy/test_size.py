"""Small functions, small files, and a docstring on whatever others may use."""

from __future__ import annotations

import ast
import statistics

from tree import REPO, functions, length, modules, public

FUNCTION_MAX = 70  # lines
FILE_MAX = 320
LARGER = {
    "sim/model/layout.py": 450,  # every place of both arrays, one table
    "sim/model/replica.py": 600,  # one boundary of a replica: read as a whole or not at all
}


def test_functions_read_at_a_glance() -> None:
    sizes = {(p, f.lineno, f.name): length(f) for p, module in modules().items() for f in functions(module)}
    assert {at: n for at, n in sizes.items() if n > FUNCTION_MAX} == {}
    assert statistics.median(sizes.values()) < 10
    assert sum(n > 40 for n in sizes.values()) < len(sizes) / 100


def test_a_file_is_one_idea() -> None:
    sizes = {path: (REPO / path).read_text(encoding="utf-8").count("\n") for path in modules()}
    assert {path: n for path, n in sizes.items() if n > LARGER.get(path, FILE_MAX)} == {}


def test_exceptions_are_still_needed() -> None:
    sizes = {path: (REPO / path).read_text(encoding="utf-8").count("\n") for path in LARGER}
    assert {path: n for path, n in sizes.items() if n <= FILE_MAX} == {}


def test_modules_say_what_they_are() -> None:
    assert [path for path, module in modules().items() if module.body and not ast.get_docstring(module)] == []


def test_public_names_say_what_they_do() -> None:
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path, module in modules().items()
        for node in public(module)
        if not ast.get_docstring(node)
    ]
    assert found == []
