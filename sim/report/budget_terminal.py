"""Error budgets and burn-rate alerts as text on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.analysis.budget import Alert, Budget
from sim.report.text import number, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def print_budget(found: Budget, console: Console) -> None:
    """Prints how much of the budget is gone, and which alerts went off when."""
    from rich.text import Text

    console.print()
    console.print(Text(budget_sentence(found), style="bold"))
    if found.is_assumed:
        console.print(
            Text(
                f"the objective of {share(found.objective)} is assumed: the scenario limits no slo_attainment"
            )
        )
    console.print(alerts_table(found))
    note = "before the run all is taken to have been well, at its mean rate"
    if not all(alert.is_whole for alert in found.alerts):
        note = f"* longer than the run; {note}"
    console.print(Text(note, style="dim"))


def budget_sentence(found: Budget) -> str:
    """How many requests were bad, and what part of the budget that is."""
    if not found.n or found.share_of_run is None or found.share_of_period is None:
        return "No request was judged."
    whose = f" of class {found.klass}" if found.klass is not None else ""
    return (
        f"{number(found.n_bad)} of {number(found.n)} requests{whose} were bad: {part_text(found.share_of_run)} the error "
        f"budget of these requests at {share(found.objective)}, {part_text(found.share_of_period)} that of "
        f"{span_text(found.period_s)} at this rate"
    )


def part_text(part: float) -> str:
    """`45 % of`, `25.1 times`."""
    return f"{number(100 * part)} % of" if part <= 1 else f"{number(part)} times"


def alerts_table(found: Budget) -> Table:
    """A line for each rule: its windows and factor, the highest burn rate, when it was on."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("alert", "windows", "burn rate above", "highest", "on"):
        table.add_column(name, justify="left" if name in ("alert", "on") else "right")
    for alert in found.alerts:
        rule = alert.rule
        mark = "" if alert.is_whole else "*"
        cells = (
            rule.severity,
            f"{span_text(rule.long_s)}{mark} and {span_text(rule.short_s)}",
            number(rule.factor),
            number(alert.max_burn),
            on_text(alert),
        )
        table.add_row(*(Text(cell) for cell in cells), style="bold" if alert.spans_s else "")
    return table


def on_text(alert: Alert) -> str:
    """When an alert was on."""
    if not alert.spans_s:
        return "never"
    spans = [f"{number(a)} … {number(b)} s" for a, b in alert.spans_s[:4]]
    more = f", {len(alert.spans_s) - 4} more" if len(alert.spans_s) > 4 else ""
    return ", ".join(spans) + more


def span_text(seconds: float) -> str:
    """30 d, 6 h, 5 min."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size or unit == "s")
    return f"{seconds / size:g} {unit}"
