"""Several runs side by side as a table: a line for each run or each measure, those with the same traffic together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.analysis.compare import Comparison, Row
from sim.measures.shown import Compared
from sim.report.text import change, number, quantity, usd

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

COLUMN_WIDTH = 12  # of a measure or a run, in characters


def comparison_table(comparison: Comparison, width: int) -> Table:
    """A line for each run, or where that is too wide for the terminal, a line for each measure.

    Differences against the baseline stand below the values.
    """
    if width < COLUMN_WIDTH * (len(comparison.measures) + 2) and len(comparison.rows) < len(
        comparison.measures
    ):
        return table_by_measure(comparison)
    return table_by_run(comparison)


def table_by_measure(comparison: Comparison) -> Table:
    """One line a measure, one column a run."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, leading=0)
    table.add_column("")
    columns = [_comparison_cells(comparison, row) for row in comparison.rows]
    for name, *_ in columns:
        table.add_column(name, justify="right", overflow="fold")
    titles = [f"{m.label}{'' if m.unit in ('share', 's') else f', {m.unit}'}" for m in comparison.measures]
    if any(row.slo_ok is not None for row in comparison.rows):
        titles.append("limits")
    for at, title in enumerate(titles):
        table.add_row(title, *(column[1 + at] for column in columns))
    return table


def table_by_run(comparison: Comparison) -> Table:
    """One line a run, one column a measure."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, leading=0)
    table.add_column("run", overflow="fold")
    for measure in comparison.measures:
        table.add_column(_column_title(measure), justify="right")
    if any(row.slo_ok is not None for row in comparison.rows):
        table.add_column("limits", justify="center")
    for at, row in enumerate(comparison.rows):
        table.add_row(
            *_comparison_cells(comparison, row),
            end_section=at + 1 < len(comparison.rows) and comparison.rows[at + 1].cell != row.cell,
        )
    return table


def against(comparison: Comparison) -> str:
    """What differences are held against."""
    n_cell = len({row.cell for row in comparison.rows})
    if n_cell == 1:
        return "differences are against the baseline"
    if not any(row.is_baseline for row in comparison.rows):
        return "each run has traffic of its own: no differences, and no best"
    return (
        f"differences, and the best, are among runs with the same traffic, of which there are {n_cell} kinds"
    )


def _column_title(measure: Compared) -> str:
    return f"{measure.label}\n{measure.unit if measure.unit not in ('share', 's') else ''}".rstrip("\n")


def _comparison_cells(comparison: Comparison, row: Row) -> list[Text]:
    """Cells of one run: its name, each value with its difference below, the verdict."""
    from rich.text import Text

    cells = [Text(f"{row.name}\n(baseline)" if row.is_baseline else row.name)]
    for at, measure in enumerate(comparison.measures):
        value, is_best = row.values[at], row.best[at]
        cell = Text(
            _value(value, measure.unit) + ("*" if is_best else ""), style="bold green" if is_best else ""
        )
        below = "" if row.is_baseline else f"\n{change(row.change[at], measure.unit)}"
        cell.append(below.rstrip("\n") and below, style="not bold dim")
        cells.append(cell)
    if any(r.slo_ok is not None for r in comparison.rows):
        missed = Text("✗", style="bold red")
        cells.append(Text("✓", style="green") if row.slo_ok else missed)
    return cells


def _value(value: float | None, unit: str) -> str:
    """A value whose unit the column's title says, except for shares and seconds, which say it themselves."""
    if unit in ("usd", "usd/h"):
        return usd(value).removesuffix(" usd")
    return quantity(value, unit) if unit in ("share", "s") else number(value)
