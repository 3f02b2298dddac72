"""Cold starts as a waterfall: the steps of some starts below each other, what they moved and what held them back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sim.report.markup import Cell, Table
from sim.report.series import STAGE_LABELS
from sim.report.style import BLACK, OTHER_STAGE, RED, STAGE_COLOURS
from sim.report.text import number, seconds, usd

STARTS_MAX = 6
ROW_PX = 32  # of a step: a line of text, its bar below
HELD_BACK = "held back"
UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
HOW = {"cache": "its node had it", "joined": "another start brought it"}
ORDER = ("slowest", "slower than nine in ten", "median", "fastest")


class Step(NamedTuple):
    """A step of a start; seconds since the replica was wanted."""

    name: str
    stage: str  # as people read it
    begin_s: float
    end_s: float
    n_bytes: int | None
    how: str | None
    link: str | None
    held_back_s: float | None
    usd: float
    peer: str | None = None  # the node that served its last byte

    @property
    def text(self) -> str:
        """What it took, what it moved, and what held it back."""
        parts = [f"{self.name} {seconds(self.end_s - self.begin_s)}"]
        if self.how in HOW:
            parts.append(HOW[self.how])
        elif (
            self.n_bytes is not None and self.n_bytes > 1
        ):  # 1: a step that has something to keep and nothing to move
            parts.append(size(self.n_bytes) + (f" from {self.peer}" if self.peer is not None else ""))
            if self.link is None:
                parts.append("at its own speed")
        if self.link is not None:
            parts.append(f"{seconds(self.held_back_s)} of it held back by {self.link}")
        return " · ".join(parts)


class Start(NamedTuple):
    """A cold start, from when its replica was wanted until it was ready."""

    pool: str
    replica: int
    number: int
    wanted_s: float
    steps: tuple[Step, ...]

    @property
    def total_s(self) -> float:
        """How long it took."""
        return max(step.end_s for step in self.steps)

    @property
    def name(self) -> str:
        """Which one it is."""
        return f"{self.pool} {self.replica}"


def size(n_bytes: float) -> str:
    """Bytes in the unit that fits."""
    for unit, whole in UNITS:
        if n_bytes >= whole:
            return f"{number(n_bytes / whole)} {unit}"
    return f"{n_bytes:.0f} B"


def all_starts(table: Any) -> list[Start]:
    """The starts of a run (starts.parquet), in the order in which they ended."""
    rows: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault((row["pool"], row["start"], row["replica"]), []).append(row)
    found = []
    for (pool, start, replica), mine in rows.items():
        wanted_ps = min(row["begin_ps"] for row in mine)
        found.append(Start(pool, replica, start, wanted_ps / 1e12, tuple(_steps(mine, wanted_ps))))
    return found


def _steps(rows: Sequence[dict[str, Any]], wanted_ps: int) -> Iterator[Step]:
    for row in rows:
        begin_s, end_s = ((row[name] - wanted_ps) / 1e12 for name in ("begin_ps", "end_ps"))
        stage = STAGE_LABELS.get(row["stage"], row["stage"])
        told = (row["bytes"], row["how"], row["link"], row["held_back_s"], row["usd"])
        peer = None if row["peer_group"] is None else f"{row['peer_group']} {row['peer']}"
        yield Step(row["step"], stage, begin_s, end_s, *told, peer)


def chosen(starts: Sequence[Start]) -> list[tuple[str, Start]]:
    """The starts that are drawn, with why: the slowest, the median and the like of all; where there are several pools also
    the slowest of others, the slowest first.
    """
    by_length = sorted(starts, key=lambda start: start.total_s)
    n = len(by_length)
    if n == 0:
        return []
    places = (n - 1, math.ceil(0.9 * n) - 1, math.ceil(0.5 * n) - 1, 0)
    found: dict[int, tuple[str, Start]] = {}
    for why, place in zip(ORDER, places, strict=True):
        found.setdefault(place, (why, by_length[place]))
    seen = {start.pool for _, start in found.values()}
    for place in range(n - 1, -1, -1):
        start = by_length[place]
        if start.pool not in seen and len(found) < STARTS_MAX:
            seen.add(start.pool)
            found.setdefault(place, ("slowest of its pool", start))
    return list(found.values())


def title_of(why: str, start: Start) -> str:
    """What stands above a start."""
    return f"{why}: {start.name}, {seconds(start.total_s)}, wanted at {seconds(start.wanted_s)}"


def waterfall(start: Start, end_s: float) -> Any:
    """One start on an axis that ends at `end_s`."""
    import altair as alt

    rows: list[dict[str, Any]] = [
        {"t": round(step.begin_s, 4), "t2": round(step.end_s, 4), "y": i + 0.52, "y2": i + 0.88, "series": step.stage,
         "text": step.text, "at": i + 0.3, "held": round(step.begin_s + (step.held_back_s or 0.0), 4), "low": i + 0.96}
        for i, step in enumerate(start.steps)
    ]  # fmt: skip
    x = alt.X("t:Q", title="seconds since it was wanted", scale=alt.Scale(domain=[0, end_s], nice=False))
    scale = alt.Scale(domain=[0, len(rows)], reverse=True, nice=False)
    y = alt.Y("y:Q", title=None, axis=None, scale=scale)
    bars = (
        alt.Chart(alt.InlineData(rows))
        .mark_rect()
        .encode(x=x, x2="t2:Q", y=y, y2="y2:Q", color=_colours(start))
    )
    texts = alt.Chart(alt.InlineData(rows)).mark_text(
        align="left", baseline="middle", fontSize=11, color=BLACK
    )
    texts = texts.encode(x=alt.value(2), y=alt.Y("at:Q", axis=None, scale=scale), text="text:N")
    held = [{**row, "series": HELD_BACK} for row in rows if row["held"] > row["t"]]
    layers = [bars, texts]
    if held:
        red = alt.Color("series:N", title=None, scale=alt.Scale(domain=[HELD_BACK], range=[RED]))
        lines = alt.Chart(alt.InlineData(held)).mark_rule(strokeWidth=2.5)
        layers.append(lines.encode(x=x, x2="held:Q", y=alt.Y("low:Q", axis=None, scale=scale), color=red))
    return alt.layer(*layers).resolve_scale(color="independent")


def _colours(start: Start) -> Any:
    import altair as alt

    seen = list(dict.fromkeys(step.stage for step in start.steps))
    scale = alt.Scale(domain=seen, range=[STAGE_COLOURS.get(stage, OTHER_STAGE) for stage in seen])
    return alt.Color("series:N", title=None, sort=None, scale=scale)


def height_of(start: Start) -> int:
    """Of its picture, px."""
    return ROW_PX * len(start.steps)


def values_of(start: Start) -> Table:
    """What is drawn of a start."""
    body: list[list[Cell | str]] = []
    for step in start.steps:
        took_s = step.end_s - step.begin_s
        body.append(
            [
                step.name,
                Cell(seconds(took_s), took_s),
                Cell(f"{step.begin_s:,.1f}", step.begin_s),
                Cell("–" if step.n_bytes is None or step.n_bytes <= 1 else size(step.n_bytes), step.n_bytes),
                HOW.get(step.how or "", step.link or ""),
                Cell("–" if step.link is None else seconds(step.held_back_s), step.held_back_s),
                Cell(usd(step.usd), step.usd),
            ]
        )
    return Table(("step", "took", "from, s", "bytes", "link", "held back", "GPUs cost"), body)
