"""The tables of measures and of columns in docs/outputs.md and docs/scenarios.md, from sim/measures and sim/records/schema:
`python scripts/measure_tables.py` writes them again between their markers; a test fails where a page has other ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sim.measures.levels import LEVELS  # noqa: E402
from sim.measures.listed import (  # noqa: E402
    FLEET,
    JOB,
    LATENCIES,
    LINK,
    NODE_GROUP,
    POOL,
    POOLS,
    QUEUE,
    REQUESTS,
    SLICE_WAIT,
    STATION,
    TIMES,
    WHOLE,
)
from sim.measures.measure import COUNT, ENERGY, PER_SECOND, SECONDS, SHARE, TOKENS, Measure  # noqa: E402
from sim.records.cluster_schema import EVENTS as EVENT_COLUMNS  # noqa: E402
from sim.records.cluster_schema import JOBS as JOB_COLUMNS  # noqa: E402
from sim.records.cluster_schema import LINKS as LINK_COLUMNS  # noqa: E402
from sim.records.cluster_schema import NODES as NODE_COLUMNS  # noqa: E402
from sim.records.cluster_schema import QUEUES as QUEUE_COLUMNS  # noqa: E402
from sim.records.cluster_schema import STARTS as START_COLUMNS  # noqa: E402
from sim.records.schema import REQUESTS as REQUEST_COLUMNS  # noqa: E402
from sim.records.schema import STATIONS as STATION_COLUMNS  # noqa: E402
from sim.records.schema import TIMESERIES, Column  # noqa: E402
from sim.scenario.slo import SECONDS as TIME_UNITS  # noqa: E402

PAGES = (ROOT / "docs" / "outputs.md", ROOT / "docs" / "scenarios.md")
MARKED = re.compile(r"<!-- measures: (?P<what>[a-z ]+) -->\n.*?<!-- end of measures -->", re.DOTALL)
MARKED_COLUMNS = re.compile(r"<!-- columns: (?P<what>[a-z ]+) -->\n.*?<!-- end of columns -->", re.DOTALL)
EXACT = ", exact"  # how the meaning of picoseconds beside seconds ends
WORDS = {
    COUNT: "count",
    PER_SECOND: "per s",
    "usd": "USD",
    "usd/h": "USD/h",
    "usd/1e6 tokens": "USD per million",
}


def table(measures: Sequence[Measure]) -> str:
    """A line for each measure: key, unit, meaning, formula, what is better."""
    lines = ["| key | unit | meaning | formula | better |", "|---|---|---|---|---|"]
    for measure in measures:
        formula = "" if measure.formula is None else measure.formula.text
        unit = WORDS.get(measure.unit, measure.unit)
        lines.append(f"| `{measure.name}` | {unit} | {measure.means} | {formula} | {measure.better} |")
    return "\n".join(lines)


def latencies() -> str:
    """A line for each latency."""
    lines = ["| key | of | better |", "|---|---|---|"]
    lines += [f"| `{measure.name}` | {measure.means} | {measure.better} |" for measure in LATENCIES]
    return "\n".join(lines)


def limits() -> str:
    """What a limit may be set for, by the unit that its number has."""
    times = ", ".join(f"`{unit}`" for unit in TIME_UNITS)
    kinds = {
        f"a time ({times})": (SECONDS,),
        "a fraction, or `%`": (SHARE,),
        "a count": (COUNT, TOKENS),
        "per second": (PER_SECOND,),
        "USD": ("usd", "usd/h", "usd/1e6 tokens"),
        "kWh, kgCO2e, W or J/token": ENERGY,
    }
    statistics = f"a latency (`.{'`, `.'.join(LEVELS)}`), {times}"
    lines = ["| its number is | of all requests, or of a class | of the whole fleet |", "|---|---|---|"]
    lines.append(f"| {statistics} | {names([m for m in WHOLE if m.is_latency])} | |")
    for kind, units in kinds.items():
        found = [m for m in WHOLE if m.unit in units and not m.is_latency]
        of_class = [m for m in found if m in REQUESTS]
        lines.append(f"| {kind} | {names(of_class)} | {names([m for m in found if m not in of_class])} |")
    return "\n".join(lines)


def names(measures: Sequence[Measure]) -> str:
    """Names in a row, as code."""
    return ", ".join(f"`{measure.name}`" for measure in measures)


def columns(of: Sequence[Column]) -> str:
    """A line for each column of a file; an instant's seconds and picoseconds share one."""
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    exact = {column.name for column in of if column.means.endswith(EXACT)}
    for column in of:
        other = f"{column.name.removesuffix('_s')}_ps"
        if column.name in exact and f"{column.name.removesuffix('_ps')}_s" in {c.name for c in of}:
            continue
        name, unit = f"`{column.name}`", column.unit
        if column.name.endswith("_s") and other in exact:
            name, unit = f"{name}, `{other}`", f"{unit}, ps"
        lines.append(f"| {name} | {unit} | {column.means} |")
    return "\n".join(lines)


#: File → its columns.
COLUMNS = {
    "requests": REQUEST_COLUMNS,
    "timeseries": TIMESERIES,
    "stations": STATION_COLUMNS,
    "nodes": NODE_COLUMNS,
    "events": EVENT_COLUMNS,
    "jobs": JOB_COLUMNS,
    "queues": QUEUE_COLUMNS,
    "starts": START_COLUMNS,
    "link samples": LINK_COLUMNS,
}
TABLES = {
    "times": lambda: table(TIMES),
    "requests": lambda: table([m for m in REQUESTS if not m.is_latency]),
    "latencies": latencies,
    "pools": lambda: table((*POOLS, *FLEET)),
    "one pool": lambda: table(POOL),
    "stations": lambda: table(STATION),
    "links": lambda: table(LINK),
    "node groups": lambda: table(NODE_GROUP),
    "slice waits": lambda: table(SLICE_WAIT),
    "jobs": lambda: table(JOB),
    "queues": lambda: table(QUEUE),
    "limits": limits,
}


def with_tables(text: str) -> str:
    """A page with its tables of measures and columns as they should be."""

    def fresh(found: re.Match[str]) -> str:
        return f"<!-- measures: {found['what']} -->\n{TABLES[found['what']]()}\n<!-- end of measures -->"

    def fresh_columns(found: re.Match[str]) -> str:
        return (
            f"<!-- columns: {found['what']} -->\n{columns(COLUMNS[found['what']])}\n<!-- end of columns -->"
        )

    return MARKED_COLUMNS.sub(fresh_columns, MARKED.sub(fresh, text))


def main() -> None:
    """Write the tables of every page again."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
