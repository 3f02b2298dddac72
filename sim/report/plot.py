"""Pictures of runs: HTML that works offline and PNG, from what a run's folder holds."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sim.errors import InputError, nearest, problem
from sim.records.files import whole_file
from sim.records.run_dir import RunFiles, read_run
from sim.report.cluster.parts import charts_below, gpus_over_time
from sim.report.heads import Head, head_of_run
from sim.report.panels import (
    queue_panel,
    rates_panel,
    replicas_panel,
    stacked,
    station_panels,
    time_axis,
    ttft_panel,
)
from sim.report.safe import ScriptJson, cleaned
from sim.report.series import fleet_samples, last_event_s, station_samples, ttft_over_time, ttft_parts
from sim.report.style import configured
from sim.report.text import number, observed, quantity, seconds, share, slo_text

FORMATS = ("html", "png", "svg")
PNG_SCALE = 1.5
TITLE_CHARACTERS, SUBTITLE_CHARACTERS = 100, 130  # of a line that stays within the picture
EMBED = {"actions": {"export": True, "source": False, "compiled": False, "editor": False}}


def plot_run(
    run_dir: Path | str, out: Path | str | None = None, formats: Sequence[str] = ("html", "png")
) -> list[Path]:
    """Draws a run: rates, replicas by stage, GPUs, CPU stations, queues and ttft on one time axis; of a cluster also some
    cold starts and the bill. Returns the files written.

    `out` is a folder, or a file name whose ending is replaced; None: plot.html, plot.png in the run's folder.
    Raises InputError when the run cannot be read, a format is unknown or the files cannot be written.
    """
    run = read_run(run_dir)
    return write_chart(run_chart(run), stem_of(out, run.path, "plot"), formats)


def run_chart(run: RunFiles, day: date | None = None) -> Any:
    """The altair chart of a run; `day` is the date in its head, today by default."""
    summary, samples = run.summary, fleet_samples(run.tables.timeseries, run.config)
    below = time_axis(last_event_s(samples, summary["duration_s"]))
    above = below._replace(is_named=False)
    end_s = float(summary["duration_s"])
    drawn = [
        (part, ttft)
        for part in ttft_parts(summary)
        if (ttft := ttft_over_time(run.tables.requests, end_s, part.classes)) is not None
    ]
    panels = [rates_panel(above, samples), replicas_panel(above, samples)]
    gpus = gpus_over_time(run, above)
    panels += [gpus.panel] if gpus is not None else []
    stations = station_samples(run.tables.stations)
    if stations is not None:
        panels += station_panels(above, stations)
    panels.append(queue_panel(above if drawn else below, samples))
    for at, (part, ttft) in enumerate(drawn, 1):
        panels.append(ttft_panel(below if at == len(drawn) else above, ttft, part.limits, part.name))
    spans = [(0.0, float(summary["warmup_s"])), (float(summary["duration_s"]), below.end_s)]
    head = head_of_run(run.config, summary, day)
    return configured(stacked(panels, spans, charts_below(run)).properties(title=title_of(summary, head)))


def title_of(summary: Mapping[str, Any], head: Head, below: list[str] | None = None) -> Any:
    """The scenario's question, below it what the picture is of, then what came out."""
    import altair as alt

    return alt.TitleParams(
        text=wrapped(summary["question"] or summary["scenario"]),
        subtitle=[
            *packed(head.parts),
            *(headline(summary) if below is None else below),
        ],
        fontSize=15,
        subtitleFontSize=12,
        subtitleColor="#444444",
        subtitlePadding=5,
        offset=16,
        anchor="start",
    )


def wrapped(question: str) -> list[str]:
    """A question on as many lines as it takes."""
    return textwrap.wrap(question, TITLE_CHARACTERS)


def headline(summary: Mapping[str, Any]) -> list[str]:
    """What a run came to, then each limit with its verdict."""
    first = [
        f"{number(summary['offered'])} requests",
        f"{share(summary['served_fraction'])} served",
        *filter(None, [slo_text(summary)]),
        f"ttft p50 {seconds(summary['ttft']['p50_s'])}, p99 {seconds(summary['ttft']['p99_s'])}",
        f"{quantity(summary['usd_per_hour'], 'usd/h')}",
    ]
    limits = [
        f"{'PASS' if v['ok'] else 'FAIL'}  {v['text']}  (was {observed(v)})"
        for v in summary.get("verdicts", [])
    ]
    return [*packed(first), *packed(limits)]


def packed(parts: Sequence[str]) -> list[str]:
    """Parts put on as few lines as their width allows, none of them broken."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}  ·  {part}" if lines else part
        if lines and len(longer) <= SUBTITLE_CHARACTERS:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def write_chart(chart: Any, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Writes a chart in each format beside `stem`; each file appears whole or not at all."""
    for name in formats:
        if name not in FORMATS:
            raise InputError(problem("format", name, ", ".join(FORMATS), nearest(name, FORMATS)))
    written = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        content = _rendered(chart, name)
        with whole_file(path) as tmp:
            tmp.write_bytes(content)
        written.append(path)
    return written


def _rendered(chart: Any, name: str) -> bytes:
    """A chart as bytes, with no browser and nothing loaded from elsewhere."""
    import vl_convert as vlc

    if name == "html":
        html: str = chart.to_html(inline=True, embed_options=EMBED, json_kwds={"cls": ScriptJson})
        return html.encode()
    spec = json.dumps(cleaned(chart.to_dict()))
    return vlc.vegalite_to_png(spec, scale=PNG_SCALE) if name == "png" else vlc.vegalite_to_svg(spec).encode()


def stem_of(out: Path | str | None, folder: Path, name: str) -> Path:
    """Where files go, without their ending: into `folder` or the folder `out`, or as the file `out`."""
    if out is None:
        return folder / name
    path = Path(out)
    if path.is_dir():
        return path / name
    return path.with_suffix("") if path.suffix[1:] in FORMATS else path
