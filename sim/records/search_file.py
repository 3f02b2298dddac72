"""What a search has run, kept in a file: taken up again, it runs nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.records.config import from_json, to_json
from sim.records.files import whole_file


def read_search(path: Path, depends: Mapping[str, str], n_limit: int) -> tuple[list[dict[str, Any]], str]:
    """(the runs that were kept, why those of the file do not count): none where there is no file, where it cannot be read
    as runs under so many limits, and where they depend on something that has changed since.
    """
    if not path.is_file():
        return [], ""
    try:
        found = from_json(path.read_text(encoding="utf-8"))
        runs, before = found["runs"], found["depends"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return [], f"{path} cannot be read"
    if not (
        isinstance(before, dict) and isinstance(runs, list) and all(is_run(run, n_limit) for run in runs)
    ):
        return [], f"{path} cannot be read"
    if before != dict(depends):
        changed = [name for name in depends if before.get(name) != depends[name]]
        return [], f"{', '.join(changed) or 'something'} has changed since {path} was written"
    return runs, ""


def is_run(value: Any, n_limit: int) -> bool:
    """Whether what was read is a run: {words, seed, row, observed} as they are written."""
    if not isinstance(value, dict):
        return False
    words, seed, row, observed = (value.get(key) for key in ("words", "seed", "row", "observed"))
    return (
        isinstance(words, list)
        and all(isinstance(word, str) for word in words)
        and type(seed) is int
        and isinstance(row, dict)
        and isinstance(observed, list)
        and len(observed) == n_limit
        and all(x is None or type(x) in (int, float) for x in (*row.values(), *observed))
    )


def write_search(path: Path, depends: Mapping[str, str], runs: list[dict[str, Any]]) -> None:
    """Keep runs: the file is there whole, with these or those of before. Raises InputError where it cannot be written."""
    with whole_file(path) as tmp:
        tmp.write_text(
            to_json({"depends": dict(depends), "runs": runs}, indent=None) + "\n", encoding="utf-8"
        )
