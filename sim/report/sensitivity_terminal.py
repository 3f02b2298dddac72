"""What a measure depends on, as text on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sim.report.answer_terminal import WORLD_NAMES
from sim.report.sweep_terminal import amount
from sim.report.text import share

if TYPE_CHECKING:
    from rich.console import Console


def print_sensitivity(found: Any, console: Console) -> None:
    """Prints the Sobol indices of a measure, the largest total first."""
    from rich.table import Table
    from rich.text import Text

    of, first = found.measure, found.indices[0]
    console.print()
    mean, deviation = amount(found.mean, of.unit), amount(found.deviation, of.unit)
    head = f"{of.label} is {mean} in the mean with a standard deviation of {deviation}"
    if not found.deviation:
        head = f"{of.label} is {mean} at every point: nothing that was varied changes it"
    elif first.total > 0:
        head += f"; most of it depends on {name_of(first.name, found)}"
    console.print(Text(head, style="bold"))
    table = Table(box=None, pad_edge=False)
    for name in ("", "alone", "95 %", "with interactions", "95 %"):
        table.add_column(name, justify="right" if name else "left")
    for one in found.indices:
        cells = (
            name_of(one.name, found),
            part(one.first),
            f"{part(one.first_low)} … {part(one.first_high)}",
            part(one.total),
            f"{part(one.total_low)} … {part(one.total_high)}",
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    how = f"shares of the variance (Sobol indices); {found.n_sample} samples, {found.n_seed} seeds"
    console.print(Text(f"{how}; {found.n_run} runs in {found.wall_s:.1f} s", style="dim"))


def name_of(name: str, found: Any) -> str:
    """A key, or what is off and how far."""
    return f"{WORLD_NAMES[name]} ±{share(found.off[name])}" if name in WORLD_NAMES else name


def part(value: float) -> str:
    """An index in percent; a little below 0 or above 100 is what an estimate may be, – where the draws tell none."""
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"
