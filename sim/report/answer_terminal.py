"""Answers as text on a terminal: the answer in a sentence, what was tried, what has to be said beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.report.sweep_terminal import amount, interval_text
from sim.report.text import number, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN_ROWS = 60
WORLD_NAMES = {"step_time": "step times", "cold_start": "cold starts", "load": "traffic"}
HANGS_ON = 0.15  # a difference of shares that is told
MARKS = {"kept": "✓", "near": "~", "broken": "✗"}


def print_whatif(answer: Any, console: Console) -> None:
    """Prints what `whatif` found."""
    from rich.text import Text

    console.print()
    console.print(Text(whatif_sentence(answer), style="bold"))
    if len(answer.lines) == 1:
        console.print(tried_table(answer.lines[0], answer))
    else:
        console.print(best_table(answer))
    for other, judged in answer.rivals[:10]:
        console.print(Text(rival_line(other, judged, answer)))
    for note in answer.notes:
        console.print(Text(f"note: {note}"))
    console.print(Text(how_line(answer), style="dim"))


def whatif_sentence(answer: Any) -> str:
    """The answer in a sentence."""
    what, kept = answer.minimise.label, " and ".join(answer.limits)
    if answer.best is None:
        return f"No setting keeps {kept}."
    cost = with_interval(answer.best.cost, answer.minimise.unit)
    if answer.best.cost.mean is None:
        return f"{varied(answer.best.values)} keeps {kept}; {what} has no value there"
    sure = "" if answer.is_sure else " in the mean"
    return f"{varied(answer.best.values)}: {what} {cost}, the least that keeps {kept}{sure}"


def rival_line(other: Any, judged: Any, answer: Any) -> str:
    """How the best of another row stands to the answer."""
    unit = answer.minimise.unit
    if judged.mean is None:
        return f"{varied(other.values)}: {judged.verdict}"
    more = amount(judged.mean, unit, signed=True)
    interval = interval_text(judged.low, judged.high, unit, signed=True)
    verdict = {"worse": "dearer", "better": "cheaper", "same": "the same", "unclear": "not surely dearer"}[
        judged.verdict
    ]
    return f"{varied(other.values)}: {more} ({interval}), {verdict}"


def how_line(answer: Any) -> str:
    """How the answer came about."""
    n = len(answer.tried)
    how = "all of them tried" if n == answer.n_setting else f"{n} of them tried, by bisection"
    return f"{answer.n_setting} settings, {how}; {answer.n_run} runs in {answer.wall_s:.1f} s"


def tried_table(line: Any, answer: Any) -> Table:
    """What was tried along a row: cost and limits with their intervals, ✓ kept, ✗ broken, ~ near."""
    shown = [({answer.searched: one.values[answer.searched]}, one) for one in line.tried]
    return settings_table(shown, answer, varied(line.fixed) if line.fixed else None)


def best_table(answer: Any) -> Table:
    """The best of each row."""
    from rich.text import Text

    table = settings_table([(one.values, one) for one in answer.row_bests], answer, None)
    for line in answer.lines:
        if line.best is None:
            table.add_row(*(Text(str(line.fixed.get(key, "none"))) for key in answer.keys), Text("–"))
    return table


def settings_table(shown: Sequence[tuple[Mapping[str, Any], Any]], answer: Any, title: str | None) -> Table:
    """Settings with their cost and limits, each over its interval."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for key in shown[0][0] if shown else answer.keys:
        table.add_column(Text(key), justify="right")
    for name in ("seeds", answer.minimise.label, *answer.limits, "runs that keep all"):
        table.add_column(Text(name), justify="right")
    for values, one in shown[:SHOWN_ROWS]:
        cells = [str(value) for value in values.values()]
        cells += [str(one.n_seed), over_interval(one.cost, answer.minimise.unit)]
        cells += [over_interval(limit.observed, limit.unit, MARKS[limit.status]) for limit in one.limits]
        cells.append(over_interval(one.share, "share"))
        table.add_row(*(Text(cell) for cell in cells), style="bold" if one is answer.best else "")
    return table


def over_interval(of: Any, unit: str, mark: str = "") -> str:
    """A mean, and its interval on the next line."""
    shown, _, interval = with_interval(of, unit).partition(" (")
    return f"{shown} {mark}".strip() + (f"\n{interval.rstrip(')')}" if interval else "")


def with_interval(of: Any, unit: str) -> str:
    """`22.8 usd/h (22.4 … 23.2)`."""
    if of.mean is None:
        return "–"
    if math.isinf(of.mean):
        return "∞" if of.mean > 0 else "–"
    shown = amount(of.mean, unit)
    interval = interval_text(of.low, of.high, unit)
    return f"{shown} ({interval})" if interval and interval != "±0" else shown


def varied(values: Mapping[str, Any]) -> str:
    """Keys and values in a few words."""
    return ", ".join(f"{key}={value}" for key, value in values.items()) or "as it stands"


def print_capacity(found: Any, console: Console) -> None:
    """Prints what `capacity` found."""
    from rich.text import Text

    console.print()
    console.print(Text(capacity_sentence(found), style="bold"))
    shown = [({"traffic": f"× {one.setting.load:.3g}"}, one) for one in found.tried]
    console.print(settings_table(shown, found, None))
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    console.print(
        Text(f"{len(found.tried)} loads tried; {found.n_run} runs in {found.wall_s:.1f} s", style="dim")
    )


def capacity_sentence(found: Any) -> str:
    """How much it carries, in a sentence."""
    kept = " and ".join(found.limits)
    if found.factor is None:
        least, most = (found.tried[i].setting.load for i in (0, -1))
        return f"None of the traffic that was tried, {least:.3g} to {most:.3g} times its own, keeps {kept}."
    rate, low, high = found.rate_per_s
    ends = f"{'?' if low is None else number(low)} … {'?' if high is None else number(high)}"
    most = "at least " if found.is_bound else ""
    sentence = f"Carries {most}{number(rate)} requests/s ({ends}), {found.factor:.3g} times its traffic, under {kept}"
    if found.first_broken:
        sentence += f"; above, {' and '.join(found.first_broken)} breaks first"
    return sentence


def print_price(found: Any, console: Console) -> None:
    """Prints what limits cost: of one limit a line each, of two a table over both."""
    from rich.text import Text

    console.print()
    names = " and ".join(one.name for one in found.objectives)
    console.print(Text(f"The least {found.minimise.label} against the limit on {names}", style="bold"))
    console.print(price_curve(found) if len(found.objectives) == 1 else price_surface(found))
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    how = f"{found.n_setting} settings, {found.n_seed} seeds each; {found.n_run} runs in {found.wall_s:.1f} s"
    console.print(Text(how, style="dim"))


def price_curve(found: Any) -> Table:
    """A line for each limit: the cheapest setting and its cost with its interval."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("limit", found.minimise.label, "95 %", "setting"):
        table.add_column(name, justify="left" if name == "setting" else "right")
    for point in found.points:
        setting = "none keeps it" if point.values is None else varied(point.values)
        table.add_row(
            *(
                Text(x)
                for x in (point.texts[0], cost_text(point, found), price_interval(point, found), setting)
            )
        )
    return table


def price_surface(found: Any) -> Table:
    """Costs, one limit down and the other across, each over its interval."""
    from rich.table import Table
    from rich.text import Text

    down, across = found.objectives
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for limit in across.limits:
        table.add_column(Text(limit.text), justify="right")
    points = iter(found.points)
    for limit in down.limits:
        row = [next(points) for _ in across.limits]
        cells = [f"{cost_text(p, found)}\n{price_interval(p, found)}".rstrip() for p in row]
        table.add_row(Text(limit.text), *(Text(cell) for cell in cells))
    return table


def cost_text(point: Any, found: Any) -> str:
    """What a point costs."""
    return "–" if point.cost is None else amount(point.cost, found.minimise.unit)


def price_interval(point: Any, found: Any) -> str:
    """Its interval; ∞ above where some draws of the seeds have no setting that keeps the limit."""
    if point.low is None or point.high is None:
        return f"{point.share:.0%} of draws have one" if point.share else ""
    if math.isinf(point.high):
        return f"{amount(point.low, found.minimise.unit)} … ∞"
    return interval_text(point.low, point.high, found.minimise.unit)


def print_robust(found: Any, console: Console) -> None:
    """Prints which variant is best in how many worlds, and who beats whom."""
    from rich.table import Table
    from rich.text import Text

    first = found.standings[0]
    console.print()
    console.print(
        Text(
            f"{first.name} is best in {with_interval(first.best, 'share')} of {found.n_world} worlds",
            style="bold",
        )
    )
    table = Table(box=None, pad_edge=False)
    for name in (
        "variant",
        "best in",
        f"{found.minimise.label}, mean",
        *(("keeps all limits in",) if found.limits else ()),
    ):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for one in found.standings:
        cells = [
            one.name,
            with_interval(one.best, "share"),
            "–" if one.cost is None else amount(one.cost, found.minimise.unit),
        ]
        cells += [with_interval(one.kept, "share")] if found.limits else []
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for duel in found.duels[:SHOWN_ROWS]:
        console.print(Text(duel_line(duel)))
    console.print(Text(worlds_line(found), style="dim"))


def duel_line(duel: Any) -> str:
    """Who beats whom in how many worlds, and what that depends on."""
    line = f"{duel.name} beats {duel.other} in {with_interval(duel.wins, 'share')} of worlds"
    if duel.ties:
        line += f", as good in {share(duel.ties)}"
    hangs = [
        f"{WORLD_NAMES[key]} below what is said {share(low)}, above {share(high)}"
        for key, (low, high) in duel.halves.items()
        if abs(high - low) >= HANGS_ON
    ]
    return f"{line} ({'; '.join(hangs)})" if hangs else line


def worlds_line(found: Any) -> str:
    """What is different in the worlds."""
    parts = [f"{WORLD_NAMES[key]} ±{share(value)}" for key, value in found.off.items() if value]
    how = f"in each world another seed{', ' if parts else ''}{', '.join(parts)}"
    order = "fewer broken limits, then less cost, is better" if found.limits else "less cost is better"
    return f"{how}; {order}; {found.n_run} runs in {found.wall_s:.1f} s"


def print_search(found: Any, console: Console) -> None:
    """Prints the settings that are worth having."""
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text(search_sentence(found), style="bold"))
    table = Table(box=None, pad_edge=False)
    keys = list(dict.fromkeys(key for one in found.front for key in one.values))
    for name in (*keys, *(one.label for one in found.objectives), *found.limits, "on the front in"):
        table.add_column(Text(name), justify="right")
    for one in found.front[:SHOWN_ROWS]:
        cells = [str(one.values.get(key, "")) for key in keys]
        cells += [
            over_interval(value, of.unit) for value, of in zip(one.objectives, found.objectives, strict=True)
        ]
        cells += [
            over_interval(limit.observed, limit.unit, MARKS[limit.status]) for limit in one.found.limits
        ]
        table.add_row(*(Text(cell) for cell in (*cells, share(one.share))))
    if found.front:
        console.print(table)
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    kept = f", {found.n_kept} more were there" if found.n_kept else ""
    refused = f", {found.n_refused} that cannot be" if found.n_refused else ""
    how = "all of them" if found.is_whole else "proposed by Optuna"
    runs = f"{found.n_seed} seeds each; {found.n_run} runs in {found.wall_s:.1f} s{kept}"
    line = f"{found.n_tried} settings tried, {how}{refused}; {runs}"
    console.print(Text(line, style="dim"))
    if found.path is not None:
        console.print(Text(f"runs in {found.path}", style="dim"), soft_wrap=True)


def search_sentence(found: Any) -> str:
    """How many settings are worth having, in a sentence."""
    names = " and ".join(one.label for one in found.objectives)
    kept = f" of those that keep {' and '.join(found.limits)}" if found.limits else ""
    if not found.front and any(one.found.is_met for one in found.members):
        return f"No setting that was tried{kept.replace(' of those that keep', ' and keeps')} has a finite {names}."
    if not found.front:
        return f"No setting that was tried keeps {' and '.join(found.limits)}."
    if len(found.objectives) == 1:
        return f"The best {names}{kept}: {varied(found.front[0].values)}"
    return f"{len(found.front)} settings{kept} that no other is better than in {names} together"
