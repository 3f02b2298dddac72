"""What one request's time was spent on, and what its cold start's wait was for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.analysis.cold import Split, cold_starts_of
from sim.errors import InputError, problem
from sim.model.tables.codes import BLAME_STREAM, BLAME_STREAM_COLUMNS, BLAME_TTFT, BLAME_TTFT_COLUMNS
from sim.records.run_dir import RunFiles
from sim.report.text import MISSING, seconds, share
from sim.report.why import LABELS
from sim.report.why_cold import LABELS as STAGE_LABELS
from sim.units import PS_PER_S

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_request(run: RunFiles, asked: str, console: Console) -> None:
    """Prints what the request of that number was and what its time was spent on; InputError where there is none."""
    from rich.text import Text

    requests = run.tables.requests
    if "blame_queue_ps" not in requests.column_names or not requests.num_rows:
        raise InputError(problem("run", str(run.path), "a run with requests and output.records=true"))
    row = row_of(requests, asked)
    found = {name: requests.column(name)[row].as_py() for name in requests.column_names}
    console.print()
    console.print(Text(told(found), style="bold"))
    if found["first_token_ps"] is not None:
        starts = cold_starts_of(run)
        split = starts.split(np.array([row])) if starts is not None else None
        console.print(parts_table(found, split))


def row_of(requests: Any, asked: str) -> int:
    """The row of a request; InputError where there is none of that number."""
    ids = np.asarray(requests.column("request_id").to_numpy())
    row = int(np.searchsorted(ids, int(asked))) if asked.isdecimal() and len(asked) < 18 else len(ids)
    if row >= len(ids) or ids[row] != int(asked):
        raise InputError(problem("request", asked, f"a request_id of the run, {ids[0]} to {ids[-1]}"))
    return row


def told(found: dict[str, Any]) -> str:
    """What became of a request, in a sentence."""
    fate = " ".join(
        filter(None, (found["outcome"].replace("_", " "), (found["reason"] or "").replace("_", " ")))
    )
    where = "" if found["pool"] is None else f" by {found['pool']} {found['replica']}"
    times = [
        f"{name} {seconds(found[f'{name}_s'])}" for name in ("ttft", "e2e") if found[f"{name}_s"] is not None
    ]
    said = ": " + ", ".join(times) if times else ""
    return f"Request {found['request_id']} ({found['class']}) came at {seconds(found['arrival_s'])}, {fate}{where}{said}"


def parts_table(found: dict[str, Any], split: Split | None) -> Table:
    """Its time by cause, the cold start's by stage below it, until the first token and after it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("spent on", no_wrap=True)
    for title in ("to the first token", "after it"):
        table.add_column(title, justify="right")
    until = {cause: found[name] for cause, name in zip(BLAME_TTFT, BLAME_TTFT_COLUMNS, strict=True)}
    after = {cause: found[name] for cause, name in zip(BLAME_STREAM, BLAME_STREAM_COLUMNS, strict=True)}
    for cause in dict.fromkeys((*until, *after)):
        if until.get(cause) or after.get(cause):
            table.add_row(LABELS[cause], _time(until.get(cause)), _time(after.get(cause)))
        if cause == "cold_start" and split is not None and split.total_ps:
            for text, ps in stage_rows(split):
                table.add_row(f"  {text}", _time(ps), "")
    table.add_section()
    whole = [sum(ps or 0 for ps in part.values()) for part in (until, after)]
    table.add_row("all", _time(whole[0]), _time(whole[1] if found["last_token_ps"] is not None else None))
    return table


def stage_rows(split: Split) -> list[tuple[str, int]]:
    """(what, ps) of each part of a cold start's wait, with what a link held back of it."""
    rows = []
    for part, ps in split.parts_ps.items():
        label = STAGE_LABELS.get(part.stage, part.stage.replace("_", " "))
        held_ps = split.held_back_ps.get(part, 0.0)
        rows.append((f"{label}, {share(held_ps / ps)} held back by {part.link}" if held_ps else label, ps))
    return rows


def _time(ps: int | None) -> str:
    return MISSING if ps is None else seconds(ps / PS_PER_S)
