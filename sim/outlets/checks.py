"""Limits as tests: what each limit came to over the runs of a check, as JUnit, JSON and a comment in Markdown."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from sim.errors import printable
from sim.records.config import to_json
from sim.report.text import observed as observed_text

ROWS_MAX = 40  # of a comment; platforms cut longer ones off
SIGNS = frozenset("&<>\\`*_[]|~#@!")  # what Markdown, HTML or a platform takes for more than text
OK, FAILED = "✓", "✗"


class Checked(NamedTuple):
    """A run of a check: its variant, seed, digest, verdicts as its summary has them, and how long it took."""

    variant: str
    seed: int
    digest: str
    verdicts: Sequence[Mapping[str, Any]]
    wall_s: float


class Case(NamedTuple):
    """A limit of a variant over its seeds."""

    variant: str
    limit: str
    runs: int
    held: int
    passed: bool
    worst: Mapping[str, Any]  # the verdict that is furthest from holding, or nearest to failing
    worst_seed: int
    wall_s: float


class Check(NamedTuple):
    """A finished check."""

    name: str  # of the scenario or study
    command: str
    share: float  # of a variant's runs in which a limit has to hold
    runs: list[Checked]
    cases: list[Case]

    @property
    def passed(self) -> bool:
        """Whether every limit held often enough in every variant."""
        return all(case.passed for case in self.cases)


def checked(name: str, command: str, share: float, runs: Sequence[Checked]) -> Check:
    """The check that runs make; those of a variant have the same limits."""
    cases = []
    for variant in dict.fromkeys(run.variant for run in runs):
        mine = [run for run in runs if run.variant == variant]
        for i, first in enumerate(mine[0].verdicts):
            found = [run.verdicts[i] for run in mine]
            held = sum(bool(verdict["ok"]) for verdict in found)
            at = max(range(len(mine)), key=lambda j: badness(found[j]))
            wall_s = sum(run.wall_s / len(run.verdicts) for run in mine)
            passed = held >= share * len(mine) - 1e-9
            case = Case(variant, first["text"], len(mine), held, passed, found[at], mine[at].seed, wall_s)
            cases.append(case)
    return Check(name, command, share, list(runs), cases)


def badness(verdict: Mapping[str, Any]) -> tuple[bool, float]:
    """Larger for what is worse: a limit that was missed, nothing to measure, and a value further on the wrong side."""
    value = verdict["observed"]
    if value is None or math.isnan(float(value)):
        return not verdict["ok"], math.inf
    return not verdict["ok"], float(value) if verdict["op"].startswith("<") else -float(value)


def told_of(case: Case) -> str:
    """What a limit came to, in one line."""
    if case.runs == 1:
        return f"was {observed_text(case.worst)}"
    return f"at worst {observed_text(case.worst)} (seed {case.worst_seed}), held in {case.held} of {case.runs} runs"


def lines(check: Check) -> Iterator[str]:
    """A line a limit for a terminal, and the verdict."""
    for case in check.cases:
        yield f"{OK if case.passed else FAILED} {case.variant}: {case.limit}: {told_of(case)}"
    yield verdict_text(check)


def verdict_text(check: Check) -> str:
    """The verdict in one sentence."""
    failed = sum(not case.passed for case in check.cases)
    enough = "" if check.share == 1 else f" in at least {check.share * 100:g} % of its runs"
    if not failed:
        return f"all {len(check.cases)} limits of {check.name} hold{enough}"
    return f"{failed} of {len(check.cases)} limits of {check.name} failed to hold{enough}"


# ---- formats ----------------------------------------------------------------------
def junit(check: Check) -> str:
    """A test suite a variant, a test case a limit."""
    root = ElementTree.Element("testsuites", {"name": "fleetsim", **counts(check.cases)})
    for variant in dict.fromkeys(case.variant for case in check.cases):
        mine = [case for case in check.cases if case.variant == variant]
        about = {"name": printable(f"{check.name}: {variant}"), **counts(mine), "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", about)
        for case in mine:
            attributes = {
                "classname": printable(f"{check.name}.{variant}"),
                "name": printable(case.limit),
                "time": f"{case.wall_s:.6f}",
            }
            one = ElementTree.SubElement(suite, "testcase", attributes)
            if not case.passed:
                said = {"type": "limit", "message": printable(told_of(case))}
                ElementTree.SubElement(one, "failure", said).text = printable(
                    f"{case.limit}: {told_of(case)}"
                )
        ElementTree.SubElement(suite, "system-out").text = printable(check.command)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def counts(cases: Sequence[Case]) -> dict[str, str]:
    """How many tests there are, failed, and took how long."""
    failed = sum(not case.passed for case in cases)
    time = sum(case.wall_s for case in cases)
    return {"tests": str(len(cases)), "failures": str(failed), "errors": "0", "time": f"{time:.6f}"}


def as_json(check: Check) -> str:
    """Everything, the numbers as the summaries have them."""
    cases = [
        {
            "variant": case.variant,
            "limit": case.limit,
            "passed": case.passed,
            "runs": case.runs,
            "held": case.held,
            "worst": {
                "observed": case.worst["observed"],
                "unit": case.worst["unit"],
                "seed": case.worst_seed,
            },
        }
        for case in check.cases
    ]
    runs = [
        {"variant": run.variant, "seed": run.seed, "digest": run.digest, "verdicts": list(run.verdicts)}
        for run in check.runs
    ]
    whole = {
        "name": check.name,
        "command": check.command,
        "passed": check.passed,
        "share": check.share,
        "cases": cases,
        "runs": runs,
    }
    return to_json(whole) + "\n"


def markdown(check: Check) -> str:
    """A comment: the verdict, a table, failures first, and the command that repeats it."""
    ordered = sorted(check.cases, key=lambda case: case.passed)
    rows = [
        f"| {OK if case.passed else FAILED} | {cell(case.variant)} | {cell(case.limit)} | {cell(told_of(case))} |"
        for case in ordered[:ROWS_MAX]
    ]
    more = len(ordered) - len(rows)
    parts = [
        f"### {OK if check.passed else FAILED} fleetsim: {cell(verdict_text(check))}",
        "",
        "| | variant | limit | observed |",
        "|---|---|---|---|",
        *rows,
        *([f"| | | | … and {more} more |"] if more > 0 else []),
        "",
        f"<details><summary>repeat it</summary>\n\n<pre>{html.escape(printable(check.command))}</pre>\n\n</details>",
    ]
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text in a table of Markdown: nothing in it is a tag, a link, a mention or a cell's end."""
    return "".join(f"&#{ord(c)};" if c in SIGNS else c for c in printable(text))
