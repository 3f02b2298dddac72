"""Machine code that was kept runs as the code that numba has just made, and without numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sim import cache
from sim.compile import jit as decorators
from sim.compile.object_code import ObjectCode, loaded, object_code, packed, unpacked

REPO = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(decorators.is_off(), reason="nothing is compiled where the JIT is off")

LOADED = """
import sys
from pathlib import Path
from sim import cache
from sim.compile.object_code import loaded, unpacked
add = loaded(unpacked(cache.read(Path(sys.argv[1]))))
print(add(40, 2), add(-(2**63), 0), any(name.startswith("numba") for name in sys.modules))
"""


def made() -> ObjectCode:
    """The object file of a sum with a call of the C library in it."""
    import numba

    def add(a, b):  # type: ignore[no-untyped-def]
        return a + b + np.int64(np.floor(np.log(1.0)))

    function = numba.njit(error_model="numpy", nogil=True, _nrt=False)(add)
    function.compile((numba.types.int64, numba.types.int64))
    return object_code(function)


def test_kept_code_runs_in_another_process_without_numba(tmp_path: Path) -> None:
    cache.keep(tmp_path / "add.o", packed(made()))
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path / "add.o")],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["42", str(-(2**63)), "False"]


def test_packing_keeps_everything() -> None:
    code = made()
    assert unpacked(packed(code)) == code
    assert code.n_argument == 2


def test_code_that_needs_what_is_not_there_is_not_loaded() -> None:
    code = made()
    assert loaded(code._replace(outside=[*code.outside, "no_such_function_anywhere"])) is None
    assert loaded(code._replace(name="no_such_function_in_it")) is None


def test_names_of_rules_stand_for_dispatchers_once_something_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every module that has imported a rule, in rules' closures, and in modules that are imported later."""
    monkeypatch.setattr(decorators, "_waiting", {})
    module = ModuleType("somewhere_else")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    @decorators.jit
    def inner(a):  # type: ignore[no-untyped-def]
        return a + 1

    @decorators.jit_call
    def outer(a):  # type: ignore[no-untyped-def]
        return inner(a) * 2

    module.rule = outer  # type: ignore[attr-defined]
    assert outer(1) == 4, "as it is written"
    enter = decorators.entry_point(outer)
    assert hasattr(module.rule, "py_func")
    assert decorators.plain(module.rule) is outer
    assert enter(1) == 4

    @decorators.jit
    def later(a):  # type: ignore[no-untyped-def]
        return a

    assert hasattr(later, "py_func")


@pytest.mark.parametrize("first", ["loop", "act"])
def test_the_first_entry_point_compiled_brings_the_other(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim.engine import cpu

    compiled: list[str] = []

    def compile_(name: str):  # type: ignore[no-untyped-def]
        compiled.append(name)
        cache.keep(cpu.object_file(name), packed(made()))
        return len

    monkeypatch.setenv("FLEETSIM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cpu, "newly_compiled", compile_)
    cpu.machine_code(first)
    assert compiled == [first, *(name for name in ("loop", "act") if name != first)]
    for name in ("loop", "act"):
        cpu.machine_code(name)
    assert len(compiled) == 2


def test_where_nothing_can_be_kept_only_what_is_asked_for_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim.engine import cpu

    compiled: list[str] = []
    monkeypatch.setenv("FLEETSIM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "is_writable", lambda: False)
    monkeypatch.setattr(cpu, "newly_compiled", compiled.append)
    cpu.machine_code("loop")
    assert compiled == ["loop"]
