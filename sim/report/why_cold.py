"""What a cold start's wait was for: a table by stage, and the links that held transfers back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sim.analysis.blame import Blame
from sim.analysis.cold import UNTOLD, UNWANTED, Part, Split, cold_starts_of
from sim.report.markup import Cell, Html
from sim.report.markup import Table as PageTable
from sim.report.markup import table as page_table
from sim.report.series import STAGE_LABELS
from sim.report.text import number, seconds, share
from sim.units import PS_PER_S

if TYPE_CHECKING:
    from rich.table import Table

LABELS = {UNWANTED: "nobody asked yet", **STAGE_LABELS, UNTOLD: "not in the records"}
ALL = "all"


class ColdWait(NamedTuple):
    """The cold-start wait of the misses, of those that met, and of both together."""

    missed: Split
    met: Split

    @property
    def both(self) -> Split:
        """The class as a whole."""
        one, other = self.missed, self.met
        parts = _added(one.parts_ps, other.parts_ps)
        held = _added(one.held_back_ps, other.held_back_ps)
        return Split(one.n + other.n, one.total_ps + other.total_ps, parts, held)


def _added(one: Mapping[Part, Any], other: Mapping[Part, Any]) -> dict[Part, Any]:
    return {
        part: one.get(part, 0) + other.get(part, 0) for part in (*one, *(p for p in other if p not in one))
    }


def cold_wait(run: Any, blame: Blame) -> ColdWait | None:
    """What the answered requests of a run waited for while replicas started; None where its records do not tell, or nobody
    waited.
    """
    found = cold_starts_of(run)
    if found is None:
        return None
    wait = ColdWait(found.split(blame.missed_rows), found.split(blame.met_rows))
    return wait if wait.both.total_ps else None


def rows_of(wait: ColdWait) -> list[tuple[str, list[tuple[float, float | None]]]]:
    """(label, (share, mean seconds) of the misses, of those that met, of all) of each stage, then of the whole."""
    splits = (wait.missed, wait.met, wait.both)
    stages = [split.stages() for split in splits]
    seen = [stage for stage in LABELS if any(stage in found for found in stages)]
    seen += [stage for stage in stages[2] if stage not in seen]
    rows = []
    for stage in seen:
        told = [_told(split, found.get(stage, 0)) for split, found in zip(splits, stages, strict=True)]
        rows.append((LABELS.get(stage, stage.replace("_", " ")), told))
    return [*rows, (ALL, [_told(split, split.total_ps) for split in splits])]


def _told(split: Split, ps: int) -> tuple[float, float | None]:
    part = ps / split.total_ps if split.total_ps else 0.0
    return part, ps / split.n / PS_PER_S if split.n else None


def link_lines(wait: ColdWait) -> list[str]:
    """A line for each stage that a link held back: how much of it, of all requests together."""
    both = wait.both
    stages = both.stages()
    lines = []
    for part, held_ps in sorted(both.held_back_ps.items(), key=lambda item: -item[1]):
        whole_ps = stages[part.stage]
        label = LABELS.get(part.stage, part.stage)
        lines.append(
            f"{label}: {share(held_ps / whole_ps)} of it held back by {part.link}"
            f" ({seconds(held_ps / both.n / PS_PER_S)} of {seconds(whole_ps / both.n / PS_PER_S)} a request)"
        )
    return lines


def wait_table(wait: ColdWait, blame: Blame) -> Table:
    """The table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("of the cold start", no_wrap=True)
    for title in titles(blame):
        table.add_column(title, justify="right")
    for label, told in rows_of(wait):
        if label == ALL:
            table.add_section()
        cells = (text for part, mean_s in told for text in (_percent(part), number(_ms(mean_s))))
        table.add_row(label, *cells)
    return table


def titles(blame: Blame) -> list[str]:
    """What the columns are of."""
    who = ("missed", "met") if blame.promises else ("slowest", "others")
    return [title for name in (*who, ALL) for title in (name, "mean ms")]


def _percent(part: float) -> str:
    return "100 %" if part == 1.0 else f"{part * 100:.1f} %"


def _ms(mean_s: float | None) -> float | None:
    return None if mean_s is None else mean_s * 1e3


def wait_page_table(wait: ColdWait, blame: Blame) -> Html:
    """The table for a page."""
    rows: list[list[Cell | str]] = []
    for label, told in rows_of(wait):
        cells: list[Cell | str] = []
        for part, mean_s in told:
            cells += [Cell(_percent(part), part), Cell(number(_ms(mean_s)), mean_s)]
        rows.append([label, *cells])
    return page_table(PageTable(("of the cold start", *titles(blame)), rows), caption="cold start by stage")
