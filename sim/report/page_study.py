"""The page of a sweep or a study: the answer for each traffic, what was varied, comparisons with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.analysis.replicate import Replicated
from sim.analysis.varied import text_of
from sim.measures.shown import Compared
from sim.report.markup import Cell, Html, Table, details, paragraph, table
from sim.report.page import Section, document
from sim.report.page_parts import assumption_table, page_head, repeat, verdict
from sim.report.study_charts import layout_of
from sim.report.study_figures import CHARTED, comparison
from sim.report.study_found import Found, cells_of, short_names
from sim.report.sweep_terminal import amount, interval_text
from sim.report.text import quantity, share

LIMITS = "every limit kept"
MAX_ANSWERS = 16  # kinds of traffic with a line of their own
VERDICT_MARKS = {"better": "good", "worse": "bad"}


def study_page(found: Found) -> str:
    """A sweep or a study as one HTML file."""
    layout = layout_of(found.varied)
    sections = [
        Section("answer", "The answer", answer(found)),
        Section("varied", "What was varied", what_varied(found)),
        Section("comparison", "The comparison", list(comparison(found, layout))),
        Section("points", "Every point", points(found)),
        Section("assumptions", "What it rests on", rests_on(found)),
        Section(
            "repeat",
            "To repeat it",
            repeat(found.command, [*found.facts, ("seeds", found.seeds)], notes(found)),
        ),
    ]
    kind = f"fleetsim report · {found.kind} of {found.n_run:,} runs"
    return document(f"{found.name}: fleetsim report", page_head(kind, found.question, found.head), sections)


# ---- the answer ----------------------------------------------------------------------
def answer(found: Found) -> list[Html]:
    """For each traffic the cheapest point whose seeds keep every limit, or the one whose seeds keep them most often."""
    cells = cells_of(found)
    has_limits = any(row.slo_share is not None for row in found.found.rows)
    if not has_limits:
        return [
            verdict(
                "The scenario sets no limit: the comparison below says what each point gives and costs.", None
            )
        ]
    best = {cell: best_of([found.row(name) for name in names], found) for cell, names in cells.items()}
    kept = [row for row in best.values() if row.slo_share == 1]
    parts = [verdict(*headline(best, len(kept), short_names(found)))]
    rows = [[cell or "all", *best_cells(row, found)] for cell, row in list(best.items())[:MAX_ANSWERS]]
    first = "traffic" if len(cells) > 1 else ""
    title = (
        "the cheapest that keeps every limit most often"
        if len(kept) < len(best)
        else "the cheapest that keeps every limit"
    )
    head = (first, "point", LIMITS, "cost", "against the baseline")
    parts.append(table(Table(head, rows), caption=title))
    if len(cells) > MAX_ANSWERS:
        parts.append(
            paragraph(f"… {len(cells):,} kinds of traffic; the tables below have all of them", "note")
        )
    parts.append(
        paragraph(
            "A point keeps every limit where each of its limits held in every seed that was run.", "note"
        )
    )
    return parts


def headline(best: dict[str, Replicated], n_kept: int, called: dict[str, str]) -> tuple[str, bool | None]:
    """The sentence that a reader takes home; `called` says what points are called beside their traffic."""
    if len(best) == 1:
        (row,) = best.values()
        name = called[row.name]
        if row.slo_share == 1:
            return f"{name} keeps every limit in all {row.n_seed} seeds and is the cheapest that does.", True
        if not row.slo_share:
            return f"No point keeps every limit in any seed; {name} keeps most of what is promised.", False
        often = share(row.slo_share)
        return f"No point keeps every limit in every seed; {name} does so most often, in {often}.", False
    if n_kept == len(best):
        names = list(dict.fromkeys(called[row.name] for row in best.values()))
        which = f", {names[0]} at the least cost" if len(names) == 1 else ", not always the same one"
        return (
            f"Under each of the {len(best)} kinds of traffic some point keeps every limit in all seeds{which}.",
            True,
        )
    told = f"Under {n_kept} of {len(best)} kinds of traffic some point keeps every limit in all seeds."
    return told, None if n_kept else False


def best_of(rows: Sequence[Replicated], found: Found) -> Replicated:
    """The one whose seeds keep every limit most often, of these the cheapest; where none does, the one that keeps most
    promises.
    """
    keys = [measure.key for measure in found.measures]

    def mean(row: Replicated, key: str, unknown: float) -> float:
        value = row.values[keys.index(key)].mean if key in keys else None
        return unknown if value is None else value

    if not any(row.slo_share for row in rows):
        return max(rows, key=lambda row: mean(row, "slo_attainment", 0.0))
    return min(rows, key=lambda row: (-(row.slo_share or 0.0), mean(row, "usd_per_hour", math.inf)))


def best_cells(row: Replicated, found: Found) -> list[Cell | str]:
    """A point's line in the answer."""
    at = next(i for i, measure in enumerate(found.measures) if measure.key == "usd_per_hour")
    cost, measure = row.values[at], found.measures[at]
    low, high = row.slo_interval or (None, None)
    kept = interval_text(low, high, "share")
    return [
        short_names(found)[row.name],
        Cell(share(row.slo_share), row.slo_share, "good" if row.slo_share == 1 else "bad", kept),
        Cell(
            quantity(cost.mean, measure.unit),
            cost.mean,
            below=interval_text(cost.low, cost.high, measure.unit),
        ),
        against(row, found),
    ]


def against(row: Replicated, found: Found) -> str:
    """Its verdicts against its baseline, in words."""
    if row.baseline is None:
        return "is the baseline"
    said: dict[str, list[str]] = {}
    is_every = all(judged is not None for judged in row.judged)  # else the study says on which it decides
    for measure, judged in zip(found.measures, row.judged, strict=True):
        if judged is not None and (measure.key in CHARTED or not is_every):
            said.setdefault(judged.verdict, []).append(measure.label)
    return "; ".join(f"{verdict_}: {', '.join(labels)}" for verdict_, labels in said.items())


# ---- what was varied ----------------------------------------------------------------------
def what_varied(found: Found) -> list[Html]:
    """Each key with its values, then how they were combined."""
    rows: list[list[Cell | str]] = []
    for key, values in found.axes.items():
        told = ", ".join(map(text_of, values[:24])) + (
            f", … {len(values):,} values" if len(values) > 24 else ""
        )
        rows.append([key, told])
    size = f"{found.n_point:,} points, seeds {found.seeds}: {found.n_run:,} runs"
    parts = [paragraph(size), table(Table(("key", "values"), rows), "text", "what was varied")]
    if found.n_missing:
        what = "runs" if found.kind == "sweep" else "shards"
        parts.append(
            paragraph(
                f"{found.n_missing:,} {what} of the plan are not done yet: what follows is of those that are.",
                "note",
            )
        )
    if found.n_point > len(found.varied.names):
        shown_ = (
            f"{len(found.varied.names):,} of {found.n_point:,} points are shown: of each traffic the baseline, and those"
            " whose seeds keep every limit most often, then the cheapest."
        )
        parts.append(paragraph(shown_, "note"))
    return parts


# ---- tables ----------------------------------------------------------------------
def points(found: Found) -> list[Html]:
    """Every point with every measure: mean, interval, and against the baseline the difference and the verdict."""
    cells = cells_of(found)
    parts = []
    for number, (cell, names) in enumerate(cells.items()):
        made = points_table(found, names, cell)
        parts.append(details(cell, made, is_open=number == 0) if len(cells) > 1 else made)
    return parts


def points_table(found: Found, names: Sequence[str], title: str) -> Html:
    """Points that see the same traffic: a row for each."""
    has_limits = any(row.slo_share is not None for row in found.found.rows)
    head = ["point", *([LIMITS] if has_limits else []), *(_title(measure) for measure in found.measures)]
    called = short_names(found)
    rows: list[list[Cell | str]] = []
    for name in names:
        row = found.row(name)
        is_base = row.baseline is None and len(names) > 1
        cells: list[Cell | str] = [Cell(called[name], below="baseline" if is_base else "")]
        if has_limits:
            low, high = row.slo_interval or (None, None)
            cells.append(Cell(share(row.slo_share), row.slo_share, below=interval_text(low, high, "share")))
        cells += [_measure_cell(row, at, measure) for at, measure in enumerate(found.measures)]
        rows.append(cells)
    return table(Table(head, rows), caption=f"points {title}".strip())


def _title(measure: Compared) -> str:
    return measure.label if measure.unit in ("share", "s") else f"{measure.label}, {measure.unit}"


def _measure_cell(row: Replicated, at: int, measure: Compared) -> Cell:
    value = row.values[at]
    if value.mean is None:
        return Cell("–")
    if math.isinf(value.mean):
        return Cell("∞", value.mean, below=f"in {value.n_infinite} seeds")
    below = interval_text(value.low, value.high, measure.unit)
    judged, difference = (row.judged[at] if row.judged else None), row.differences[at]
    mark = ""
    if judged is not None and difference is not None and difference.mean is not None:
        below += f" · {amount(difference.mean, measure.unit, signed=True)} {judged.verdict}"
        mark = VERDICT_MARKS.get(judged.verdict, "")
    return Cell(quantity(value.mean, measure.unit), value.mean, mark, below)


def rests_on(found: Found) -> list[Html]:
    """The scenario's assumptions, before what is varied."""
    if not found.assumptions:
        return []
    note = "Of the scenario before anything is varied."
    return [paragraph(note, "note"), assumption_table(found.assumptions)]


def notes(found: Found) -> list[str]:
    """What there is to know before it is repeated."""
    if found.command is None:
        return ["The words that made it were not kept."]
    return (
        ["The same command goes on from where it was, and runs only what is missing."]
        if found.kind == "study"
        else []
    )
