"""A sweep as text on a terminal: means over the seeds, their intervals, paired differences and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sim.analysis.control import HELPS, Control
from sim.analysis.replicate import Estimate, Replicated, Replication
from sim.measures.shown import Compared
from sim.report.text import points, quantity, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_sweep(sweep: Any, console: Console, found: Replication | None = None) -> None:
    """Prints a line of means with their 95 % intervals for each measure and variant, the verdicts, and where the rows are.

    `found` is what the rows come to, where the sweep's own `statistics()` would hold them against other baselines.
    """
    from rich.text import Text

    found = found if found is not None else sweep.statistics()
    console.print()
    console.print(Text(sweep.scenario.question or sweep.scenario.name, style="bold"))
    n = len(sweep.rows)
    took = f" · {sweep.wall_s:.1f} s · {n / sweep.wall_s:,.0f} runs/s" if sweep.wall_s > 0 else ""
    console.print(f"{n:,} runs, {len(sweep.seeds):,} seeds each{took}")
    for row in found.rows:
        console.print(variant_table(found, row))
        if row.slo_share is not None:
            console.print(Text(limits_line(row)))
        console.print()
    if found.n_judged:
        console.print(Text(verdicts_line(found), style="dim"))
    if sweep.path is not None:
        console.print(Text(f"files in {sweep.path}", style="dim"), soft_wrap=True)


def variant_table(found: Replication, row: Replicated) -> Table:
    """A line a measure: the mean, and against the baseline the difference and the verdict, each with its interval."""
    from rich.table import Table

    against = "" if row.baseline is None else f"against {row.baseline}"
    table = Table(title=row.name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for header in ("measure", "mean", "95 %", *((against, "95 %", "verdict") if against else ())):
        table.add_column(header, justify="left" if header in ("measure", "verdict") else "right")
    for i, measure in enumerate(found.measures):
        table.add_row(measure.label, *_cells(measure, row, i, row.baseline is None))
    return table


def print_verdicts(found: Replication, console: Console, columns: Sequence[str]) -> None:
    """Prints a line for each variant: the means of some measures, and the verdicts against its baseline."""
    from rich.table import Table
    from rich.text import Text

    judged = [i for i, one in enumerate(found.measures) if one.key in columns]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for i in judged:
        table.add_column(found.measures[i].label, justify="right")
        table.add_column("")
    for row in found.rows:
        cells = [row.name]
        for i in judged:
            one = row.judged[i] if row.judged else None
            value = row.values[i].mean
            cells += ["–" if value is None else quantity(value, found.measures[i].unit)]
            cells += [("baseline" if row.baseline is None else "") if one is None else one.verdict]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    console.print(Text(verdicts_line(found), style="dim"))


def control_line(control: Control) -> str:
    """What a control variate took away of the variance of each measure's mean, the middle of the points, and where none
    did, why.
    """
    if not control.shares:
        return f"control: means are as they are: {control.why_not}"
    middle = {label: sorted(shares)[len(shares) // 2] for label, shares in control.shares.items()}
    told = ", ".join(f"{label} {share:.0%}" for label, share in middle.items() if share > 0)
    line = (
        f"control: of the variance of the means arrivals took away {told or 'nothing'} "
        f"(middle of the points; the mean of arrivals is known from {control.n_list} lists; means are replaced where "
        f"{HELPS:.0%} or more is gone)"
    )
    return f"{line}; others are as they are: {control.why_not}" if control.why_not else line


def verdicts_line(found: Replication) -> str:
    """How sure the verdicts of a table are."""
    sure = f"{found.n_judged} comparisons judged together: the chance that any better or worse is false is at most 5 %"
    if found.looks is None:
        return f"{sure} (Holm)"
    return f"{sure}, whenever it stopped (confidence sequences, Holm)"


def _cells(measure: Compared, row: Replicated, i: int, is_base: bool) -> list[str]:
    cells = list(_estimate(measure, row.values[i]))
    if not is_base:
        difference = row.differences[i]
        cells += list(_estimate(measure, difference, signed=True)) if difference is not None else ["", ""]
        judged = row.judged[i] if row.judged else None
        cells.append("" if judged is None else judged.verdict)
    return cells


def _estimate(measure: Compared, value: Estimate, signed: bool = False) -> tuple[str, str]:
    if value.mean is None:
        return "–", f"{value.n_left_out} seeds left out: ∞" if value.n_left_out else ""
    if math.isinf(value.mean):
        return "∞", f"in {value.n_infinite} seeds"
    interval = interval_text(value.low, value.high, measure.unit, signed)
    if value.n_left_out:
        interval = f"{interval} ({value.n_left_out} seeds left out: ∞)".strip()
    return amount(value.mean, measure.unit, signed), interval


def interval_text(low: float | None, high: float | None, unit: str, signed: bool = False) -> str:
    """`96.3 … 100 %`, `980 ms … 1.02 s`; nothing where the ends are not known. Where they are the same: ±0, or of a
    difference, which is then the same in every seed (a percentile is read from buckets), `every seed`.
    """
    if low is None or high is None:
        return ""
    if low == high:
        return "every seed" if signed and low != 0 else "±0"
    below, above = amount(low, unit, signed), amount(high, unit, signed)
    _, blank, said = above.partition(" ")
    return f"{below.removesuffix(blank + said) if said else below} … {above}"


def amount(value: float, unit: str, signed: bool = False) -> str:
    """A value or, with its sign, a difference; of fractions in points, for it is no part of a fraction."""
    sign = "+" if signed and value > 0 else "−" if value < 0 else ""
    return sign + (points(abs(value)) if signed and unit == "share" else quantity(abs(value), unit))


def limits_line(row: Replicated) -> str:
    """In how many of its seeds a variant kept every limit, with a 95 % interval."""
    line = f"every limit held in {share(row.slo_share)} of the runs"
    if row.slo_interval is None:
        return line
    return f"{line} (95 %: {interval_text(*row.slo_interval, 'share')})"


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
