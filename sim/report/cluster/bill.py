"""The bill of a cluster by line: what pools held, what jobs did, and what nodes cost that did nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.report.markup import Cell, Table
from sim.report.style import BLACK, BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, RED
from sim.report.terminal import paid_for
from sim.report.text import number, share, usd

LINES_MAX = 24
ROW_PX = 32
POOLS, FIXED, REST = "held by replicas", "whatever runs", "beside the pools' price"
#: What a line is paid for → its colour.
COLOURS = {
    POOLS: GREEN,
    FIXED: PURPLE,
    "held by jobs": BLUE,
    "free": GREY,
    "useless": RED,
    "not ready": ORANGE,
    "rounded up": BROWN,
    "not asked for": "#555555",
    REST: "#C9B458",
}


def kind_of(line: Mapping[str, Any]) -> str:
    """What a line is paid for."""
    return POOLS if line["gpu"] else paid_for(line)


def shown_lines(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """(name, kind, usd) of the lines that are drawn: the dearest, then each kind of the others together."""
    dearest = sorted(range(len(lines)), key=lambda i: (-abs(lines[i]["usd"]), i))
    kept = set(dearest[:LINES_MAX]) if len(lines) > LINES_MAX else set(dearest)
    found = [(_name(line), kind_of(line), float(line["usd"])) for i, line in enumerate(lines) if i in kept]
    others: dict[str, list[float]] = {}
    for i, line in enumerate(lines):
        if i not in kept:
            others.setdefault(kind_of(line), []).append(float(line["usd"]))
    return [*found, *((f"{number(len(some))} others", kind, sum(some)) for kind, some in others.items())]


def _name(line: Mapping[str, Any]) -> str:
    return f"{line['pool']}: {line['gpu'] or paid_for(line)}"


def bill_chart(lines: Sequence[Mapping[str, Any]]) -> tuple[Any, int]:
    """A bar a line, its text above it; and how high the picture is, px."""
    import altair as alt

    shown = shown_lines(lines)
    whole = sum(amount for _, _, amount in shown)
    rows = [
        {"usd": round(amount, 6), "zero": 0.0, "y": i + 0.52, "y2": i + 0.9, "at": i + 0.3, "series": kind,
         "text": f"{name} · {usd(amount)}{_part(amount, whole)}"}
        for i, (name, kind, amount) in enumerate(shown)
    ]  # fmt: skip
    seen = {kind: colour for kind, colour in COLOURS.items() if any(kind == other for _, other, _ in shown)}
    colours = alt.Scale(domain=list(seen), range=list(seen.values()))
    scale = alt.Scale(domain=[0, len(rows)], reverse=True, nice=False)
    bars = alt.Chart(alt.InlineData(rows)).mark_rect()
    bars = bars.encode(
        x=alt.X("zero:Q", title="usd"),
        x2="usd:Q",
        y=alt.Y("y:Q", title=None, axis=None, scale=scale),
        y2="y2:Q",
        color=alt.Color("series:N", title=None, sort=None, scale=colours),
    )
    texts = alt.Chart(alt.InlineData(rows)).mark_text(
        align="left", baseline="middle", fontSize=11, color=BLACK
    )
    texts = texts.encode(x=alt.value(2), y=alt.Y("at:Q", axis=None, scale=scale), text="text:N")
    return alt.layer(bars, texts), ROW_PX * len(rows)


def _part(amount: float, whole: float) -> str:
    return f" ({share(amount / whole)})" if whole > 0 and amount >= 0 else ""


def bill_values(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Every line of the bill, then their sum."""
    body: list[list[Cell | str]] = [
        [
            line["pool"],
            str(paid_for(line)),
            Cell(number(line["quantity_h"]), line["quantity_h"]),
            Cell(f"{line['unit_usd_per_hour']:g} usd", line["unit_usd_per_hour"]),
            Cell(usd(line["usd"]), line["usd"]),
        ]
        for line in lines
    ]
    whole = float(sum(line["usd"] for line in lines))
    return Table(
        ("for", "of", "hours", "price of one", "cost"), [*body, ["all", "", "", "", Cell(usd(whole), whole)]]
    )
