"""Pictures of sweeps and studies: a measure a row, along what was varied, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.report.figure import Figure, Group
from sim.report.plot import SUBTITLE_CHARACTERS, packed, stem_of, wrapped, write_chart
from sim.report.study_charts import layout_of
from sim.report.study_figures import charted, charts_of, trades
from sim.report.study_found import Found
from sim.report.style import WIDTH, configured

BESIDE = 2  # charts in a row


def plot_study(
    found: Found, folder: Path, out: Path | str | None = None, formats: Sequence[str] = ("html", "png")
) -> list[Path]:
    """Draws a sweep or a study. Returns the files written; `out` as for `plot_run`."""
    return write_chart(study_chart(found), stem_of(out, folder, "plot"), formats)


def study_chart(found: Found) -> Any:
    """The altair chart of a sweep or a study."""
    import altair as alt

    layout = layout_of(found.varied)
    rows = []
    for name, title, values, unit in charted(found):
        (part,) = charts_of(name, title, found, layout, values, unit)
        rows.append(_row(title, part))
    rows += [
        _row("What it costs, and what it gives", part) for part in trades(found) if isinstance(part, Group)
    ]
    size = f"{found.n_point:,} points, seeds {found.seeds}, {found.n_run:,} runs; means over seeds with 95 % intervals"
    if found.control is not None and found.control.shares:
        size += ", arrivals as a control variate"
    above = alt.TitleParams(
        text=wrapped(found.question),
        subtitle=[*packed(found.head.parts), size[:SUBTITLE_CHARACTERS]],
        fontSize=15,
        subtitleFontSize=12,
        subtitleColor="#444444",
        subtitlePadding=5,
        offset=16,
        anchor="start",
    )
    return configured(alt.vconcat(*rows).properties(title=above))


def _row(title: str, part: Figure | Group) -> Any:
    """The charts of a measure, two beside each other."""
    import altair as alt

    figures = part.figures if isinstance(part, Group) else [part]
    width = WIDTH if len(figures) == 1 else (WIDTH - 80) // BESIDE
    called = [f"{title}: {figure.title}" if len(figures) > 1 else title for figure in figures]
    drawn = [
        figure.chart.properties(width=width, height=figure.height, title=name)
        for figure, name in zip(figures, called, strict=True)
    ]
    charts = alt.concat(*drawn, columns=BESIDE)
    return charts.resolve_scale(color="independent", shape="independent", strokeDash="independent")
