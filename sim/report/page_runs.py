"""The page of several runs: what differs between them, side by side, over each other in time, each with its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sim.analysis.compare import Comparison, compare
from sim.analysis.varied import Varied, distinct_names, text_of, varied_of_configs
from sim.errors import InputError
from sim.records.run_dir import RunFiles
from sim.report.assumed import Assumption, assumptions
from sim.report.comparison import against
from sim.report.figure import Figure
from sim.report.heads import command_of, head_of_runs
from sim.report.inputs import given_lines
from sim.report.markup import Cell, Html, Table, details, listed, paragraph, table, tag
from sim.report.page import Section, document
from sim.report.page_parts import assumption_table, limits, page_head, repeat, verdict, versions_text
from sim.report.page_run import verdict_of
from sim.report.panels import apart, limit_lines, long_rows, time_axis, value_axis
from sim.report.panels_parts import lines, pool_samples, told_apart
from sim.report.series import Samples, fleet_samples, last_event_s, ttft_limits, ttft_over_time, ttft_parts
from sim.report.study_charts import Shown, span_of, trade
from sim.report.style import MAX_LOOKS, looks
from sim.report.text import change, number, quantity, seconds
from sim.report.why import sentence
from sim.scenario.resolved import traffic_key

Runs = Mapping[str, RunFiles]
NAMING_KEYS = 5  # at most in the name of a run


def runs_page(read: Sequence[RunFiles], day: date | None = None) -> str:
    """Runs side by side as one HTML file, the first as the baseline. Raises InputError for too many to tell apart."""
    if len(read) > MAX_LOOKS:
        raise InputError(f"report: {len(read)} runs given; a page holds at most {MAX_LOOKS} side by side")
    runs, varied = named(read)
    traffic = {name: traffic_key(run.config["config"]) for name, run in runs.items()}
    found = compare({name: run.summary for name, run in runs.items()}, traffic=traffic)
    questions = list(dict.fromkeys(run.summary["question"] or run.summary["scenario"] for run in read))
    sections = [
        Section("answer", "What came out", came_out(runs, found)),
        Section("varied", "What differs", what_differs(varied)),
        Section("comparison", "The comparison", [comparison_cells(found), *trade_figures(found)]),
        Section("over-time", "Over time", over_time(runs)),
        Section("limits", "Limits of each run", limits_of_each(runs)),
        Section("why", "Why requests missed", why(runs)),
        Section("assumptions", "What they rest on", rests_on(runs)),
        Section("repeat", "To repeat them", to_repeat(runs)),
    ]
    head = head_of_runs([(run.config, run.summary) for run in read], day)
    kind = f"fleetsim report · {len(read)} runs side by side"
    return document(
        f"{len(read)} runs: fleetsim report", page_head(kind, " / ".join(questions[:3]), head), sections
    )


def named(read: Sequence[RunFiles]) -> tuple[dict[str, RunFiles], Varied]:
    """The runs by what differs between them; where nothing does, by the names of their folders."""
    folders = distinct_names([run.path.name for run in read])
    varied = varied_of_configs({name: run.config["config"] for name, run in zip(folders, read, strict=True)})
    seeds = [run.config.get("seed") for run in read]
    scenarios = [str(run.summary["scenario"]) for run in read]
    values = dict(varied.values)
    if len(set(scenarios)) > 1:
        values = {"scenario": scenarios, **values}
    if len(set(seeds)) > 1:
        values["seed"] = seeds
    whole = Varied(folders, values)
    names = distinct_names(
        [label or folder for label, folder in zip(_labels(whole, read), folders, strict=True)]
    )
    return dict(zip(names, read, strict=True)), whole._replace(names=names)


def _labels(varied: Varied, read: Sequence[RunFiles]) -> list[str]:
    """The runs by as few keys as tell them apart; by their words where that takes many."""
    for n in range(1, min(len(varied.keys), NAMING_KEYS) + 1):
        labels = varied.labels(varied.keys[:n])
        if len(set(labels)) == len(labels):
            return labels
    return [_said(run) for run in read]


def _said(run: RunFiles) -> str:
    said = run.config.get("about", {}).get("said") or []
    return " ".join(map(str, said[1:])) or run.path.name


# ---- what came out ----------------------------------------------------------------------
def came_out(runs: Runs, found: Comparison) -> list[Html]:
    """Which runs keep every limit, and which of these is the cheapest."""
    limited = [row for row in found.rows if row.slo_ok is not None]
    kept = [row.name for row in limited if row.slo_ok]
    lines_ = dict.fromkeys(line for run in runs.values() for line in given_lines(run.summary))
    if not limited:
        told = verdict("The scenario sets no limit: the table says what each run gives and costs.", None)
    elif not kept:
        told = verdict(f"None of {len(limited)} runs keeps every limit.", False)
    else:
        cheapest = min(kept, key=lambda name: runs[name].summary["usd_per_hour"] or 0.0)
        cost = quantity(runs[cheapest].summary["usd_per_hour"], "usd/h")
        which = (
            "All runs keep" if len(kept) == len(found.rows) else f"{len(kept)} of {len(found.rows)} runs keep"
        )
        told = verdict(f"{which} every limit; {cheapest} does so at the least cost, {cost}.", True)
    one_seed = "One run each: what luck of the seed would change is told by `fleetsim sweep … seed=1..30`."
    return [told, listed(lines_), paragraph(one_seed, "note")]


def what_differs(varied: Varied) -> list[Html]:
    """Each key that differs, and its value in each run."""
    if not varied.keys:
        return [paragraph("Nothing that a result depends on: the runs have the same configuration.")]
    rows: list[list[Cell | str]] = [
        [key, *("–" if value is None else text_of(value) for value in values)]
        for key, values in varied.values.items()
    ]
    made = table(Table(("key", *varied.names), rows), "text", "what differs")
    return [made if len(rows) <= 12 else details(f"{len(rows)} keys", made)]


def comparison_cells(found: Comparison) -> Html:
    """The table of the terminal: a row a run, differences against the baseline below the values."""
    has_limits = any(row.slo_ok is not None for row in found.rows)
    titles = [m.label if m.unit in ("share", "s") else f"{m.label}, {m.unit}" for m in found.measures]
    rows: list[list[Cell | str]] = []
    for row in found.rows:
        cells: list[Cell | str] = [Cell(row.name, below="baseline" if row.is_baseline else "")]
        if has_limits:
            cells.append(Cell("✓" if row.slo_ok else "✗", mark="good" if row.slo_ok else "bad"))
        for at, measure in enumerate(found.measures):
            value, below = row.values[at], "" if row.is_baseline else change(row.change[at], measure.unit)
            cells.append(Cell(quantity(value, measure.unit), value, "best" if row.best[at] else "", below))
        rows.append(cells)
    made = table(Table(("run", *(["limits"] if has_limits else []), *titles), rows), caption="comparison")
    return Html(made + paragraph(f"The best value of a measure is set off; {against(found)}.", "note"))


def trade_figures(found: Comparison) -> list[Figure]:
    """What the runs cost against the p99 of their ttft."""
    keys = [measure.key for measure in found.measures]
    if "usd_per_hour" not in keys or "ttft_p99_s" not in keys or len(found.rows) < 2:
        return []
    x_at, y_at = keys.index("usd_per_hour"), keys.index("ttft_p99_s")
    points = [(row.name, row.values[x_at], row.values[y_at]) for row in found.rows]
    usd, ttft = [_alone(x) for _, x, _ in points], [_alone(y) for _, _, y in points]
    rows = [
        {"series": name, "x": x.value, "y": y.value, "x_low": x.value, "x_high": x.value, "y_low": y.value,
         "y_high": y.value, "never": y.is_infinite and x.value is not None}
        for (name, _, _), x, y in zip(points, usd, ttft, strict=True)
    ]  # fmt: skip
    chart = trade(
        rows,
        [span_of(usd, "usd/h"), span_of(ttft, "s")],
        ["usd per hour", "seconds"],
        looks([p[0] for p in points]),
    )
    values: list[list[Cell | str]] = [
        [name, Cell(quantity(x, "usd/h"), x), Cell(seconds(y), y)] for name, x, y in points
    ]
    title = "ttft p99 against cost (lower left is better; ▲ never served)"
    return [Figure("trade", title, chart, Table(("run", "cost", "ttft p99"), values), height=210)]


def _alone(value: float | None) -> Shown:
    is_infinite = value is not None and value == float("inf")
    return Shown(None if is_infinite else value, None, None, is_infinite, "", "")


# ---- over time ----------------------------------------------------------------------
def over_time(runs: Runs) -> list[Html | Figure]:
    """Runs over each other: ttft, ready replicas, requests waiting, KV cache, cost."""
    import altair as alt

    samples = {name: fleet_samples(run.tables.timeseries, run.config) for name, run in runs.items()}
    axis = time_axis(
        max(last_event_s(samples[name], run.summary["duration_s"]) for name, run in runs.items())
    )
    parts: list[Html | Figure] = [*_ttft(axis, runs)]

    def figure(name: str, title: str, unit: str, series: Mapping[str, Any], **mark: Any) -> Figure:
        return Figure(name, title, lines(axis, series, alt.Y("y:Q", title=unit), **mark), height=130)

    ready = {name: (found.time_s, found.stages["ready"]) for name, found in samples.items()}
    in_line = {name: (found.time_s, waiting(found)) for name, found in samples.items()}
    parts.append(figure("ready", "Ready replicas", "replicas", ready, interpolate="step-after"))
    parts.append(figure("waiting", "Requests waiting, at the gateway and at replicas", "requests", in_line))
    pools = {name: pool_samples(run.tables.timeseries) for name, run in runs.items()}
    if all(len(found) == 1 for found in pools.values()):
        kv = {name: next(iter(found.values())) for name, found in pools.items()}
        parts.append(
            figure("kv", "KV cache in use", "%", {n: (s.time_s, 100 * s.kv_use) for n, s in kv.items()})
        )
    usd = {name: total_cost(found) for name, found in pools.items()}
    parts.append(figure("cost", "Cost", "usd per hour", usd, interpolate="step-before"))
    return parts


def waiting(samples: Samples) -> Any:
    """Requests that wait anywhere."""
    return samples.held + samples.waiting


def total_cost(pools: Mapping[str, Any]) -> tuple[Any, Any]:
    """(time_s, usd per hour) of all pools of a run, which are sampled at the same times."""
    first, *rest = pools.values()
    return first.time_s, sum((other.usd_per_hour for other in rest), first.usd_per_hour)


def _ttft(axis: Any, runs: Runs) -> list[Figure]:

    first = next(iter(runs.values()))
    figures = []
    for at, part in enumerate(ttft_parts(first.summary)):
        data = []
        for name, run in runs.items():
            found = ttft_over_time(run.tables.requests, float(run.summary["duration_s"]), part.classes)
            if found is not None:
                data += long_rows(axis, found.time_s, {name: found.value["p99"]})
        if not data:
            continue
        limits_ = (part.limits or ttft_limits(first.summary, [], [None]))[:1]
        y = value_axis([r["y"] for r in data if r["y"] is not None] + [v for v, _ in limits_], "seconds")
        layers = apart([told_apart(axis, data, y, list(runs)), *limit_lines(limits_, y)])
        whose = f" of {part.name}" if part.name else ""
        title = f"Time to first token{whose}, p99 by arrival (gaps: never served)"
        figures.append(Figure(f"ttft-{at}", title, layers, height=170))
    return figures


# ---- each run ----------------------------------------------------------------------
def limits_of_each(runs: Runs) -> list[Html]:
    """Every run's limits with their bars."""
    parts = []
    for name, run in runs.items():
        said = run.summary.get("verdicts", [])
        if said:
            text, is_good = verdict_of(said)
            parts.append(
                details(f"{'✓' if is_good else '✗'} {name}: {text}", limits(said), is_open=not is_good)
            )
    return parts


def why(runs: Runs) -> list[Html]:
    """The sentence of each run whose requests were kept."""
    from sim.analysis.blame import blame_of_run

    rows: list[list[Cell | str]] = []
    for name, run in runs.items():
        try:
            rows.append([name, sentence(blame_of_run(run))])
        except InputError:
            continue
    return [table(Table(("run", "what its misses spent their time on"), rows), "text", "blame")]


def rests_on(runs: Runs) -> list[Html]:
    """What all runs rest on, then what only some do."""
    every: dict[Assumption, list[str]] = {}
    for name, run in runs.items():
        for one in assumptions(run.config, run.summary):
            every.setdefault(one, []).append(name)
    common = [one for one, names in every.items() if len(names) == len(runs)]
    parts = [assumption_table(common)]
    for names in dict.fromkeys(tuple(names) for names in every.values() if len(names) < len(runs)):
        some = [one for one, whose in every.items() if tuple(whose) == names]
        parts += [tag("h3", f"only {', '.join(names)}"), assumption_table(some)]
    return parts


def to_repeat(runs: Runs) -> list[Html]:
    """The command of each run, its digest, and the versions."""
    commands = [line for run in runs.values() if (line := command_of(run.config)) is not None]
    facts = [(f"digest of {name}", str(run.summary["digest"])) for name, run in runs.items()]
    texts = dict.fromkeys(versions_text(run.config.get("versions", {})) for run in runs.values())
    facts.append(("versions", " / ".join(texts)))
    lost = len(runs) - len(commands)
    notes = (
        [
            f"The words of {number(lost)} of the runs were not kept: their config.json has the whole configuration."
        ]
        if lost
        else []
    )
    return repeat("\n".join(commands) or None, facts, notes)
