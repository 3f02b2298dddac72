"""A sweep as text on a terminal: means over the seeds, their intervals, and paired differences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sim.analysis.replicate import Estimate, Replicated
from sim.measures.shown import Compared
from sim.report.text import points, quantity, share

if TYPE_CHECKING:
    from rich.console import Console


def print_sweep(sweep: Any, console: Console) -> None:
    """Prints a line of means ± half a 95 % interval for each measure and variant, and where the rows are."""
    from rich.table import Table
    from rich.text import Text

    found = sweep.statistics()
    console.print()
    console.print(Text(sweep.scenario.question or sweep.scenario.name, style="bold"))
    n = len(sweep.rows)
    took = f" · {sweep.wall_s:.1f} s · {n / sweep.wall_s:,.0f} runs/s" if sweep.wall_s > 0 else ""
    console.print(f"{n:,} runs, {len(sweep.seeds):,} seeds each{took}")
    for row in found.rows:
        against = "" if row.baseline is None else f"against {row.baseline}"
        table = Table(title=row.name, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for header in (
            "measure",
            "mean",
            "95 %",
            *((against, "± 95 %") if against else ()),
        ):
            table.add_column(header, justify="left" if header == "measure" else "right")
        for i, measure in enumerate(found.measures):
            table.add_row(measure.label, *_cells(measure, row, i, row.baseline is None))
        console.print(table)
        if row.slo_share is not None:
            console.print(Text(limits_line(row)))
        console.print()
    if sweep.path is not None:
        console.print(Text(f"files in {sweep.path}", style="dim"), soft_wrap=True)


def _cells(measure: Compared, row: Replicated, i: int, is_base: bool) -> list[str]:
    cells = list(_estimate(measure, row.values[i]))
    if not is_base:
        difference = row.differences[i]
        cells += list(_estimate(measure, difference, signed=True)) if difference is not None else ["", ""]
    return cells


def _estimate(measure: Compared, value: Estimate, signed: bool = False) -> tuple[str, str]:
    if value.mean is None:
        return "–", f"{value.n_left_out} seeds left out: ∞" if value.n_left_out else ""
    if math.isinf(value.mean):
        return "∞", f"in {value.n_infinite} seeds"
    sign = "+" if signed and value.mean > 0 else "−" if value.mean < 0 else ""
    mean = distance(abs(value.mean), measure.unit) if signed else quantity(abs(value.mean), measure.unit)
    interval = "" if value.half is None else distance(value.half, measure.unit)
    if not signed and measure.unit == "share" and not is_symmetric(value):
        interval = f"{share(value.low)} … {share(value.high)}"
    if value.n_left_out:
        interval = f"{interval} ({value.n_left_out} seeds left out: ∞)".strip()
    return sign + mean, interval


def is_symmetric(value: Estimate) -> bool:
    """Whether an interval reaches as far down as up."""
    if value.mean is None or value.low is None or value.high is None:
        return True
    return math.isclose(value.mean - value.low, value.high - value.mean, rel_tol=1e-6, abs_tol=1e-12)


def limits_line(row: Replicated) -> str:
    """In how many of its seeds a variant kept every limit, with a 95 % interval."""
    line = f"every limit held in {share(row.slo_share)} of the runs"
    if row.slo_interval is None:
        return line
    low, high = row.slo_interval
    return f"{line} (95 %: {share(low)} … {share(high)})"


def distance(value: float, unit: str) -> str:
    """A difference or half an interval; of fractions in points, for it is no part of a fraction."""
    return points(value) if unit == "share" else quantity(value, unit)


def print_rows(names: list[str], rows: list[dict[str, Any]], n_row: int, console: Console) -> None:
    """Prints rows of any table; says how many more there are."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        is_text = any(isinstance(row[name], str) for row in rows)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(row[name]) for name in names))
    console.print(table)
    if n_row > len(rows):
        console.print(f"… {n_row:,} rows; --json has all of them")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "∞" if value == math.inf else f"{value:.6g}"
    return "–" if value is None else str(value)
