"""`scripts/check` says in one line when a method that the compiler's patches stand on is not what it was."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="internals")
def _internals() -> ModuleType:
    spec = importlib.util.spec_from_file_location("internals", ROOT / "scripts" / "internals.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_that_is_replaced_is_watched(internals: ModuleType) -> None:
    text = "".join(path.read_text() for path in (ROOT / "sim/compile").glob("*.py"))
    for place in internals.KNOWN:
        assert place.rpartition(".")[2] in text, f"{place} is watched, and nothing uses it"
    watched = {place.rpartition(".")[2] for place in internals.KNOWN}
    replaced = {"finalize", "add_linking_library", "_optimize_final_module", "insert_user_function"}
    replaced |= {"get_executable", "get_call_template", "compile_device"}
    assert replaced <= watched


def test_a_changed_method_and_one_that_is_gone_are_a_line_each(
    internals: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.core.cpu import CPUContext
    from numba.core.dispatcher import _DispatcherBase

    assert list(internals.changed(internals.KNOWN)) == []

    def get_executable(self, library, fndesc, env):  # type: ignore[no-untyped-def]
        return None

    monkeypatch.setattr(CPUContext, "get_executable", get_executable)
    monkeypatch.delattr(_DispatcherBase, "get_call_template")
    lines = list(internals.changed(internals.KNOWN))
    assert len(lines) == 2
    assert all("\n" not in line and "linking.py" in line for line in lines)
    assert "CPUContext.get_executable is " in lines[0]
    assert "Dispatcher.get_call_template is gone" in lines[1]
