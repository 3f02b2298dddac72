"""The page of one run: what came out, against its limits, over time, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from sim.errors import InputError
from sim.measures.levels import LEVELS, key_of
from sim.measures.shown import UTILISATIONS, measure
from sim.records.run_dir import RunFiles
from sim.report.assumed import assumptions
from sim.report.cluster.parts import bill_figures, start_figures
from sim.report.deployments import deployment_lines
from sim.report.figure import Figure
from sim.report.heads import command_of, head_of_run
from sim.report.inputs import dropped_lines, given_lines
from sim.report.markup import Cell, Html, Table, listed, paragraph, table
from sim.report.page import Section, document
from sim.report.page_blame import blame_section
from sim.report.page_parts import assumption_table, limits, page_head, repeat, tiles, verdict, versions_text
from sim.report.page_time import over_time
from sim.report.starts import start_lines
from sim.report.terminal import (
    answer_lines,
    bill_lines,
    fleet_lines,
    link_lines,
    node_lines,
    paid_for,
    station_lines,
    tries_lines,
)
from sim.report.text import number, quantity, seconds, share, usd

WHO = (
    "offered",
    "completed",
    "rejected",
    "timed_out",
    "failed",
    "inside",
    "served_fraction",
    "slo_attainment",
)
POOL = (
    *(
        "replicas_mean",
        "replicas_ready_mean",
        "replicas_ready_max",
        "cold_starts",
        "scale_ups",
        "scale_downs",
    ),
    *("usd", "usd_per_hour", "preemptions"),
    *UTILISATIONS,
)


def run_page(run: RunFiles, day: date | None = None) -> str:
    """A run as one HTML file; `day` is the date in its head, today by default."""
    summary = run.summary
    head = head_of_run(run.config, summary, day)
    sections = [
        Section("came-out", "What came out", came_out(summary)),
        Section("over-time", "Over time", over_time(run)),
        Section("latencies", "Latencies", latencies(summary)),
        Section("cold-starts", "Cold starts", [*cold_starts(summary), *start_figures(run)]),
        Section("why", "Why requests missed", why(run)),
        Section("who", "Classes and tenants", who(summary)),
        Section("fleet", "Fleet", fleet(summary)),
        Section("cost", "Cost", [*cost(summary), *bill_figures(run)]),
        Section("assumptions", "What it rests on", [assumption_table(assumptions(run.config, summary))]),
        Section("repeat", "To repeat it", to_repeat(run)),
    ]
    title = f"{summary['scenario']}: fleetsim report"
    kind = "fleetsim report · one run"
    return document(title, page_head(kind, summary["question"] or summary["scenario"], head), sections)


# ---- what came out ----------------------------------------------------------------------
def came_out(summary: Mapping[str, Any]) -> list[Html]:
    """The verdict, each limit with a bar, key figures, and what else there is to say."""
    said = summary.get("verdicts", [])
    lines = [
        *given_lines(summary),
        *tries_lines(summary),
        *answer_lines(summary),
        *station_lines(summary),
        *link_lines(summary),
        *node_lines(summary),
        *deployment_lines(summary),
    ]
    return [
        verdict(*verdict_of(said)),
        limits(said),
        tiles(key_figures(summary)),
        listed(lines),
        *([paragraph("Look at", "note"), listed(summary["look_at"])] if summary.get("look_at") else []),
    ]


def verdict_of(verdicts: list[Mapping[str, Any]]) -> tuple[str, bool | None]:
    """What a run's limits came to, in a sentence."""
    failed = [found["text"] for found in verdicts if not found["ok"]]
    if not verdicts:
        return "The scenario sets no limit.", None
    if not failed:
        return "The limit held." if len(verdicts) == 1 else f"All {len(verdicts)} limits held.", True
    return f"{len(failed)} of {len(verdicts)} limits did not hold: {'; '.join(failed)}.", False


def key_figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None, str]]:
    """The figures of a summary that come first."""
    yield "requests", number(summary["offered"]), summary["offered"], f"in {seconds(summary['window_s'])}"
    yield "served", share(summary["served_fraction"]), summary["served_fraction"], ""
    if summary["slo_attainment"] is not None:
        judged = f"of {number(summary['judged'])} judged"
        yield (
            measure("slo_attainment").shown,
            share(summary["slo_attainment"]),
            summary["slo_attainment"],
            judged,
        )
    for level in ("p50", "p99"):
        value = summary["ttft"][key_of(level)]
        yield f"ttft {level}", seconds(value), value, ""
    value = summary["usd_per_hour"]
    yield measure("usd_per_hour").shown, quantity(value, "usd/h"), value, f"{usd(summary['usd'])} in all"
    mean, ready = summary["replicas_mean"], f"{number(summary['replicas_ready_max'])} ready at most"
    yield "replicas, mean", number(mean), mean, ready


# ---- latencies ----------------------------------------------------------------------
def latencies(summary: Mapping[str, Any]) -> list[Html | Figure]:
    """The table of the terminal, whole: the fleet's latencies, then each class's."""
    from sim.report.page_charts import latency_chart

    scopes = [("", summary)]
    if len(summary["classes"]) > 1:
        scopes += [(f" of {name}", section) for name, section in summary["classes"].items()]
    rows = [row for whose, section in scopes for row in _latency_rows(section, whose)]
    values = Table(("latency", *LEVELS), rows)
    shown = table(values, caption="latencies")
    drawn = latency_chart(summary)
    if drawn is None:
        return [shown]
    title = "Statistics of each latency; what is infinite, for requests that were never served, has no place"
    return [Figure("latency-chart", title, drawn, values, height=190), shown]


def _latency_rows(section: Mapping[str, Any], whose: str) -> Iterator[list[Cell | str]]:
    from sim.report.terminal import LATENCIES

    for name, label in LATENCIES.items():
        found = section.get(name)
        if found is None or found["p50_s"] is None:
            continue
        yield [
            f"{label}{whose}",
            *(Cell(seconds(found[key_of(level)]), found[key_of(level)]) for level in LEVELS),
        ]
    if (
        section.get("served_fraction") not in (None, 1)
        and section.get("ttft", {}).get("p50_served_s") is not None
    ):
        served = [section["ttft"][key_of(f"{level}_served")] for level in LEVELS]
        yield [f"ttft{whose}, served alone", *(Cell(seconds(value), value) for value in served)]


# ---- cold starts ----------------------------------------------------------------------
def cold_starts(summary: Mapping[str, Any]) -> list[Html | Figure]:
    """How long starts took, stage by stage; nothing where no replica was started."""
    from sim.report.page_charts import stages_chart

    found = {name: pool["cold_start"] for name, pool in summary["pools"].items() if pool.get("cold_start")}
    if not found:
        return []
    timed = {
        name: {**start, "stages": {stage: s for stage, s in start["stages"].items() if s > 0}}
        for name, start in found.items()
    }
    rows: list[list[Cell | str]] = [
        [f"{name}: {stage}", Cell(seconds(value), value)]
        for name, start in timed.items()
        for stage, value in start["stages"].items()
    ]
    whole: list[list[Cell | str]] = [
        [name, *(Cell(seconds(start[key]), start[key]) for key in ("median_s", "p90_s", "max_s"))]
        for name, start in found.items()
    ]
    note = "Stages may run side by side: their medians need not add up to the whole."
    chart = Figure("stages-chart", "Median of each stage, seconds", stages_chart(timed),
                   Table(("stage", "median"), rows), note, height=26 * len(rows) + 20)  # fmt: skip
    return [
        listed(start_lines(summary)),
        table(Table(("pool", "median", "nine in ten within", "longest"), whole), caption="cold starts"),
        *([chart] if rows else []),
    ]


def why(run: RunFiles) -> list[Html | Figure]:
    """What misses spent their time on; why that cannot be said where it cannot."""
    try:
        return blame_section(run)
    except InputError:
        return [
            paragraph(
                "The run kept no record of its requests (output.records=false), so this cannot be said.",
                "note",
            )
        ]


# ---- tables ----------------------------------------------------------------------
def measures_table(sections: Mapping[str, Mapping[str, Any]], names: tuple[str, ...], title: str) -> Html:
    """Measures of several scopes side by side, a column each; measures that none of them has are left out."""
    rows: list[list[Cell | str]] = []
    for name in names:
        found = measure(name)
        values = [section.get(name) for section in sections.values()]
        if all(value is None for value in values):
            continue
        unit = "" if found.unit in ("1", "tokens") else found.unit
        label = found.long_label or found.shown
        rows.append([label, *(Cell(quantity(value, unit), value) for value in values)])
    return table(Table(("", *sections), rows), caption=title)


def who(summary: Mapping[str, Any]) -> list[Html]:
    """Classes side by side, then tenants; nothing where there is one class."""
    if len(summary["classes"]) < 2:
        return []
    parts = [measures_table(summary["classes"], (*WHO, "usd"), "classes")]
    if summary.get("tenants"):
        parts.append(
            measures_table(
                {f"tenant {name}": s for name, s in summary["tenants"].items()}, (*WHO, "usd"), "tenants"
            )
        )
    return parts


def fleet(summary: Mapping[str, Any]) -> list[Html]:
    """The fleet in words, then its pools side by side."""
    pools = summary["pools"]
    columns = {"all": summary, **pools} if len(pools) > 1 else {next(iter(pools), "all"): summary}
    lines = [
        line for line in fleet_lines(summary) if line not in (*start_lines(summary), *dropped_lines(summary))
    ]
    return [
        listed([line.strip() for line in lines]),
        listed(dropped_lines(summary)),
        measures_table(columns, POOL, "pools"),
    ]


def cost(summary: Mapping[str, Any]) -> list[Html]:
    """The bill, line by line."""
    first = bill_lines(summary)[0]
    rows: list[list[Cell | str]] = [
        [
            line["pool"],
            paid_for(line),
            Cell(number(line["quantity_h"]), line["quantity_h"]),
            Cell(f"{line['unit_usd_per_hour']:g} usd", line["unit_usd_per_hour"]),
            Cell(usd(line["usd"]), line["usd"]),
        ]
        for line in summary["usd_lines"]
    ]
    rows.append(["all", "", "", "", Cell(usd(summary["usd"]), summary["usd"], "best")])
    return [
        paragraph(first),
        table(Table(("pool", "of", "hours", "price of one", "cost"), rows), caption="bill"),
    ]


def to_repeat(run: RunFiles) -> list[Html]:
    """The command, what is needed to know it is the same, and what it ran on."""
    config, summary = run.config, run.summary
    command = command_of(config)
    notes = (
        []
        if command
        else ["The words that made this run were not kept: config.json has its whole configuration."]
    )
    about = config.get("about", {})
    facts = [
        ("digest", str(summary["digest"])),
        ("configuration", str(config.get("config_hash", ""))),
        ("engine", str(about.get("engine") or summary.get("engine", ""))),
        ("versions", versions_text(config.get("versions", {}))),
    ]
    return repeat(command, facts, notes)
