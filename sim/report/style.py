"""How pictures look: colours that colour-blind readers tell apart (Okabe and Ito 2008), sizes, axes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH = 700  # of a panel, px; with axis and legend about 900
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#222222", "#9A9A9A"

BROWN = "#8C6D31"
PALE = "#ECEFF3"  # what is there and not used; on a page it follows light and dark
VARIANTS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, BROWN)
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
POLICIES = (
    "hpa",
    "hpa_fast",
    "queue",
    "keda",
    "user",
    "queue_to_zero",
    "fixed",
    "fixed_max",
)  # their own of VARIANTS
MAX_LOOKS = len(VARIANTS) * len(DASHES)


class Look(NamedTuple):
    """How one series of several is drawn: any one of the three tells it from its neighbours."""

    colour: str
    dash: list[int]
    shape: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each of at most MAX_LOOKS names: the same for a name on every page, as far as two do not want the same."""
    taken: dict[int, str] = {}
    known = [name for name in names if name in POLICIES]
    for name in [*known, *(name for name in names if name not in known)]:
        at = POLICIES.index(name) if name in POLICIES else _wanted(name)
        while at % MAX_LOOKS in taken:
            at += 1
        taken[at % MAX_LOOKS] = name
    places = {name: at for at, name in taken.items()}
    return {name: _look(places[name]) for name in names}


def _wanted(name: str) -> int:
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest) % len(VARIANTS)


def _look(at: int) -> Look:
    turn = at // len(VARIANTS)
    return Look(
        VARIANTS[at % len(VARIANTS)], DASHES[(at + turn) % len(DASHES)], SHAPES[(at + 2 * turn) % len(SHAPES)]
    )


STAGE_COLOURS = {  # from what is far from serving (pale) to what serves
    "waiting for a slice": "#D9D9D9",
    "provisioning": "#FBE3B6",
    "image pull": "#F6CC7A",
    "weight load": "#EFB13F",
    "engine start": "#C98500",
    "ready": GREEN,
    "draining": "#B9A0C9",
}
OTHER_STAGE = "#E0D0B0"  # that has no colour above
STATION_COLOURS = (PURPLE, BROWN, BLUE, GREEN, ORANGE, "#555555")  # one a station, then again

CAUSE_COLOURS = {  # what a request's time went to: waiting in warm colours, computing in cool ones
    "retries": PURPLE,
    "gateway": BROWN,
    "CPU stages": "#C9B458",
    "network, front end": GREY,
    "cold start": ORANGE,
    "queue behind others": RED,
    "prefill": GREEN,
    "interference": BLUE,
    "neighbours on the GPU": "#D37295",
    "preemption": "#555555",
    "withheld": "#A6761D",
    "decode": SKY,
}


def configured(chart: Any) -> Any:
    """A finished chart with the common look."""
    return (
        chart.configure(font="Helvetica, Arial, sans-serif", background="white", padding=12)
        .configure_view(stroke="#DDDDDD")
        .configure_axis(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            titleColor="#444444",
            labelColor="#444444",
            gridColor="#EEEEEE",
            domainColor="#BBBBBB",
            tickColor="#BBBBBB",
            titlePadding=8,
        )
        .configure_axisY(minExtent=40)
        .configure_legend(
            labelFontSize=11,
            titleFontSize=11,
            labelLimit=170,
            symbolStrokeWidth=3,
            rowPadding=3,
            offset=12,
            padding=0,
        )
        .configure_title(anchor="start", fontSize=12, fontWeight="bold", color="#222222", offset=6)
        .configure_concat(spacing=10)
    )


def time_unit(end_s: float) -> tuple[float, str]:
    """(seconds in one unit, its name) for a time axis that ends at `end_s`."""
    if end_s <= 600:
        return 1.0, "s"
    if end_s <= 4 * 3600:
        return 60.0, "min"
    return (3600.0, "h") if end_s <= 4 * 86_400 else (86_400.0, "days")
