"""How pictures look: colours that colour-blind readers tell apart (Okabe and Ito 2008), sizes, axes."""

from __future__ import annotations

from typing import Any

WIDTH = 700  # of a panel, px; with axis and legend about 900
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#222222", "#9A9A9A"

VARIANTS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, "#8C6D31")  # one a variant, then again with dashes
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])

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
STATION_COLOURS = (PURPLE, "#8C6D31", BLUE, GREEN, ORANGE, "#555555")  # one a station, then again

CAUSE_COLOURS = {  # what a request's time went to: waiting in warm colours, computing in cool ones
    "retries": PURPLE,
    "gateway": "#8C6D31",
    "CPU stages": "#C9B458",
    "network, front end": GREY,
    "cold start": ORANGE,
    "queue behind others": RED,
    "prefill": GREEN,
    "interference": BLUE,
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
