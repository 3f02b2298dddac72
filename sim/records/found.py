"""Which kept result is meant: a run, a sweep or a study, by path, by name, or the latest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sim.errors import InputError, nearest, problem
from sim.records.run_dir import SUMMARY_JSON, find_run
from sim.records.study_dir import STUDY_FILE
from sim.records.sweep_dir import PLAN_FILE

RUN, SWEEP, STUDY = "run", "sweep", "study"
MARKERS = {SUMMARY_JSON: RUN, PLAN_FILE: SWEEP, STUDY_FILE: STUDY}  # the file that makes a folder one
LATEST = "latest"


def find_result(text: str, root: Path | str = "results") -> tuple[str, Path]:
    """(RUN, SWEEP or STUDY; its folder) of a path, a name below `root`, a scenario that was run, or "latest".

    Raises InputError with the nearest name where there is none.
    """
    for candidate in (Path(text), Path(root) / text, Path(root) / f"study-{text}"):
        kind = kind_of(candidate)
        if kind is not None:
            return kind, candidate
    there = list(_below(Path(root)))
    if text == LATEST and there:
        _, kind, path = max(there)
        return kind, path
    try:
        return RUN, find_run(text, root)
    except InputError:
        allowed = f"the folder of a run, a sweep or a study, its name under {root}/, a scenario that was run, or latest"
        names = [path.name for _, _, path in there]
        raise InputError(problem("result", text, allowed, nearest(text, names))) from None


def kind_of(folder: Path) -> str | None:
    """What a folder holds; None where that is no result."""
    return next((kind for name, kind in MARKERS.items() if (folder / name).is_file()), None)


def _below(root: Path) -> Iterator[tuple[int, str, Path]]:
    for name, kind in MARKERS.items():
        for path in root.glob(f"*/{name}"):
            yield path.stat().st_mtime_ns, kind, path.parent
