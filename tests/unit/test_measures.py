"""Measures are told once: what a summary has, its files, limits, comparisons, terminals and pages follow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_result import spiky_run, two_pools
from scripts_kit import script

from sim.analysis.summary import summarize
from sim.engine.result import RESULT_METRICS
from sim.errors import InputError
from sim.measures import shown
from sim.measures.flat import column_means, column_unit, is_share
from sim.measures.levels import STATISTICS
from sim.measures.listed import (
    CLASS,
    FLEET,
    JOB,
    LATENCIES,
    LINK,
    NODE_GROUP,
    POOL,
    POOLS,
    REQUESTS,
    SLICE_WAIT,
    STATION,
    TIMES,
    WHOLE,
)
from sim.measures.measure import HIGH, LOW, NEITHER, Measure
from sim.records.summary import flat_summary, summary_table
from sim.scenario.slo import METRICS, parse_slo

ROOT = Path(__file__).parents[2]
COLUMNS = ROOT / "tests" / "unit" / "data" / "summary_columns.tsv"
SCOPES = (TIMES, REQUESTS, POOLS, FLEET, CLASS, POOL, STATION, LINK, NODE_GROUP, SLICE_WAIT, JOB)


def names(measures: tuple[Measure, ...]) -> list[str]:
    return [measure.name for measure in measures]


def is_part_of(part: list[str], whole: list[str]) -> bool:
    """Whether some keys follow each other in a section, nothing between them."""
    at = whole.index(part[0])
    return whole[at : at + len(part)] == part


def test_a_summary_holds_every_measure_in_the_order_of_the_list() -> None:
    scenario, result = two_pools(*spiky_run(n=1000))
    summary = summarize(scenario, result)
    for measures in (TIMES, REQUESTS, POOLS, FLEET):
        assert is_part_of(names(measures), list(summary))
    for section in summary["classes"].values():
        assert is_part_of(names(REQUESTS), list(section))
        assert is_part_of(names(CLASS), list(section))
    for pool in summary["pools"].values():
        assert is_part_of([*names(POOL), *names(POOLS)], list(pool))


def test_columns_and_units_of_the_flat_summary_are_the_kept_ones() -> None:
    """A name or a unit that changes here changes for everybody who reads files: raise the schema version."""
    kept = [line.split("\t") for line in COLUMNS.read_text(encoding="utf-8").splitlines() if line]
    flat = flat_summary(summarize(*spiky_run(n=100)))
    told = [[name, unit] for name, unit in kept if unit not in ("name", "bool")]
    assert [[name, column_unit(name)] for name in flat if not isinstance(flat[name], str)] == told


def test_every_column_of_a_measure_says_what_it_means() -> None:
    table = summary_table([summarize(*spiky_run(n=100))])
    silent = [f.name for f in table.schema if f.metadata[b"means"].decode() == f.name]
    assert silent == ["schema_version", "scenario", "question", "seed", "digest"]
    assert "p99 over the served of: gaps" in column_means("itl_p99_served_s")


def test_latencies_are_those_that_results_have_histograms_of() -> None:
    assert tuple(names(LATENCIES)) == RESULT_METRICS
    assert {measure.per for measure in LATENCIES} == {"request", "attempt", "gap"}


@pytest.mark.parametrize("measures", SCOPES)
def test_a_scope_has_each_name_once_and_every_measure_is_told_whole(measures: tuple[Measure, ...]) -> None:
    assert len(set(names(measures))) == len(measures)
    for measure in measures:
        assert measure.means
        assert measure.better in (LOW, HIGH, NEITHER)
        assert measure.is_latency == bool(measure.per)


def test_what_is_shown_is_a_measure_that_has_a_better_end() -> None:
    for name in (*shown.UNSERVED, *shown.TABLE_OF_LATENCIES, *shown.UTILISATIONS):
        assert shown.measure(name).shown
    flat = flat_summary(summarize(*spiky_run(n=100)))
    for name in shown.COMPARED:
        column = shown.compared(name)
        assert column.better in (LOW, HIGH)
        assert column.key in flat
    assert shown.compared("replicas_mean")[1:] == ("replicas", "mean", LOW)
    assert shown.compared("ttft.p99")[:3] == ("ttft_p99_s", "ttft p99", "s")


def test_shares_are_told_by_the_measure_not_by_how_it_is_called() -> None:
    assert [m.name for m in WHOLE if is_share(m.name)] == [m.name for m in WHOLE if m.unit == "share"]
    assert not is_share("ttft_p99_s")
    assert not is_share("no_such_use")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_limit_with_a_slip_in_its_measure_is_told_the_nearest(name: str) -> None:
    statistic = ".p99" if METRICS[name].is_latency else ""
    with pytest.raises(InputError) as caught:
        parse_slo(f"{name}x{statistic} < 1")
    assert f"did you mean {name!r}?" in str(caught.value)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_limit_for_a_class_is_read_where_classes_have_the_measure(name: str) -> None:
    statistic = ".p99" if METRICS[name].is_latency else ""
    number = {"s": "1 s", "share": "50 %"}.get(METRICS[name].unit, "1")
    text = f"chat.{name}{statistic} < {number}"
    if METRICS[name] in REQUESTS:
        assert parse_slo(text, ["chat"]).path[:3] == ("classes", "chat", name)
    else:
        with pytest.raises(InputError, match="for the whole fleet"):
            parse_slo(text, ["chat"])
    assert parse_slo(text.removeprefix("chat.")).value in (0.5, 1.0)


def test_pages_have_the_tables_that_follow() -> None:
    module = script("measure_tables")
    stale = [page.name for page in module.PAGES if module.with_tables(page.read_text()) != page.read_text()]
    assert stale == [], "run scripts/measure_tables.py"
    text = "".join(page.read_text() for page in module.PAGES)  # type: ignore[attr-defined]
    for marked, tables in ((module.MARKED, module.TABLES), (module.MARKED_COLUMNS, module.COLUMNS)):  # type: ignore[attr-defined]
        assert {found["what"] for found in marked.finditer(text)} == set(tables), (
            "a table that no page has, or is not found"
        )


def test_statistics_are_means_and_percentiles_of_all_and_of_the_served() -> None:
    assert STATISTICS[:6] == ("mean", "p50", "p90", "p95", "p99", "p99.9")
    assert STATISTICS[6:] == tuple(f"{level}_served" for level in STATISTICS[:6])


def test_a_measure_of_a_counter_that_is_there_takes_one_line(tmp_path: Path) -> None:
    """In a copy of the package: the summary, its columns, limits and a comparison have it."""
    shutil.copytree(ROOT / "sim", tmp_path / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    listed = tmp_path / "sim" / "measures" / "listed.py"
    line = 'Measure("all_share", SHARE, "of all, done", ratio("all_completed", "all_offered"), HIGH),'
    text = listed.read_text().replace("REQUESTS = (", f"REQUESTS = (\n    {line}", 1)
    listed.write_text(text)
    code = """
from fake_result import spiky_run
from sim.analysis.summary import summarize
from sim.analysis.verdicts import evaluate
from sim.measures.flat import column_means
from sim.measures.shown import compared
from sim.records.summary import summary_table
from sim.scenario.slo import parse_slo
scenario, result = spiky_run(n=100)
result.counts.update(all_completed=result.counts["offered"] - 1, all_offered=result.counts["offered"])
summary = summarize(scenario, result)
(verdict,) = evaluate([parse_slo("all_share >= 99 %")], summary)
column = summary_table([summary]).schema.field("all_share")
print(summary["all_share"], verdict.ok, column.metadata[b"means"].decode(), compared("all_share").label)
"""
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "tests" / "unit")])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "0.99 True of all, done all share", done.stderr
