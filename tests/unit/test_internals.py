"""`scripts/check` says in one line when a method that the compiler's patches stand on is not what it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts_kit import script

ROOT = Path(__file__).parents[2]


internals = script("internals")


def test_every_method_that_is_replaced_is_watched() -> None:
    text = "".join(path.read_text() for path in (ROOT / "sim/compile").glob("*.py"))
    for place in internals.KNOWN:
        assert place.rpartition(".")[2] in text, f"{place} is watched, and nothing uses it"
    watched = {place.rpartition(".")[2] for place in internals.KNOWN}
    replaced = {"finalize", "add_linking_library", "_optimize_final_module", "insert_user_function"}
    replaced |= {"get_executable", "get_call_template", "compile_device"}
    assert replaced <= watched


def test_nothing_has_changed() -> None:
    """In a process of its own: here kernels may have been compiled, for which methods stay replaced."""
    command = [sys.executable, str(ROOT / "scripts" / "internals.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_method_and_one_that_is_gone_are_a_line_each() -> None:
    other = {
        "numba.core.cpu:CPUContext.get_executable": ("000000000000",),
        "numba.core.dispatcher:Dispatcher.nothing": ("000000000000",),
        "numba.core.cpu:CPUContext.insert_user_function": internals.KNOWN[
            "numba.core.cpu:CPUContext.insert_user_function"
        ],
    }
    lines = list(internals.changed(other))
    assert len(lines) == 2
    assert all("\n" not in line and "linking.py" in line for line in lines)
    assert "CPUContext.get_executable is " in lines[0]
    assert "Dispatcher.nothing is gone" in lines[1]
