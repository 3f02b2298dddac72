"""The verbs that tell runs to other tools: `trace`, `metrics`, `check`."""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sim.errors import InputError, problem
from sim.words import take_flags, take_value

Say = Callable[[str], Any]
DURATION = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zµ]*)\Z")


def run_word(verb: str, words: list[str]) -> str:
    """The one run that is left in the words; raises InputError."""
    take_flags(verb, words, ())
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise InputError(
            f"{verb}: needs a run first, as `fleetsim {verb} latest` or `fleetsim {verb} results/...`"
        )
    if len(words) > 1:
        raise InputError(problem(verb, words[1], f"one run and nothing else, as `fleetsim {verb} latest`"))
    return words[0]


def duration(option: str, text: str | None, default: float) -> float:
    """Seconds from `900`, `15min`, `250ms`; raises InputError."""
    if text is None:
        return default
    from sim.scenario.slo import SECONDS

    match = DURATION.match(text)
    unit = match[2] or "s" if match else ""
    if match is None or unit not in SECONDS or not math.isfinite(float(match[1])):
        raise InputError(
            problem(option, text, f"a time since the run began, as 900, 15min, 0.5h ({', '.join(SECONDS)})")
        )
    return float(match[1]) * SECONDS[unit]


def trace(words: list[str], say: Say, progress: Any) -> int:
    """`trace RUN [--from T] [--to T] [-o FILE]`: writes the timeline."""
    out = take_value("trace", words, "-o")
    from_s = duration("--from", take_value("trace", words, "--from"), 0.0)
    to_s = duration("--to", take_value("trace", words, "--to"), math.inf)
    name = run_word("trace", words)
    from sim.outlets.trace import write_trace
    from sim.records.run_dir import find_run, read_run

    run = read_run(find_run(name))
    path = Path(out) if out else run.path / "trace.json"
    with progress(f"timeline of {run.summary['scenario']}") as tick:
        write_trace(run, path, from_s, to_s, tick)
    say(f"{path}\nopen it at https://ui.perfetto.dev, or in chrome://tracing\n")
    return 0


def metrics(words: list[str], say: Say, progress: Any) -> int:
    """`metrics RUN [-o FILE] [--start T] [--at T] [--rules FILE]`: OpenMetrics, a scrape's page, or alerts rehearsed."""
    out = take_value("metrics", words, "-o")
    if "--dashboard" in words:
        return dashboard([word for word in words if word != "--dashboard"], out, say)
    start, at = take_value("metrics", words, "--start"), take_value("metrics", words, "--at")
    rule_file = take_value("metrics", words, "--rules")
    if at is not None and (rule_file or start):
        other = "--rules" if rule_file else "--start"
        raise InputError(f"metrics: --at and {other} cannot stand together; allowed: one of them")
    start_s, at_s = instant("--start", start), duration("--at", at, -1.0)
    name = run_word("metrics", words)
    from sim.records.run_dir import find_run, read_run

    run = read_run(find_run(name))
    end_s = float(run.summary["end_s"])
    if at is not None and at_s > end_s:
        raise InputError(problem("--at", at, f"a time up to {end_s:g} s, the end of the run"))
    rules = read_alerts(rule_file)
    from sim.outlets.metrics import run_series
    from sim.outlets.openmetrics import open_metrics, page

    with progress(f"metrics of {run.summary['scenario']}") as tick:
        series = run_series(run, tick)
    if rules is not None:
        return rehearsed(series, rules, end_s, out, say)
    pieces = open_metrics(series, start_s) if at is None else page(series, round(at_s * 1e12))
    return given(pieces, out, say)


def dashboard(words: list[str], out: str | None, say: Say) -> int:
    """`metrics --dashboard [-o FILE]`: the dashboard for Grafana that comes with the package."""
    if words:
        raise InputError(problem("metrics --dashboard", words[0], "nothing else but -o FILE"))
    text = Path(__file__).with_name("outlets").joinpath("grafana-dashboard.json").read_text(encoding="utf-8")
    return given([text], out, say)


def given(pieces: Iterable[str], out: str | None, say: Say) -> int:
    """Write a text to a file, or to stdout."""
    if out is None:
        for lines in batched(pieces):
            say(lines)
        return 0
    from sim.records.files import keep_text

    keep_text(Path(out), pieces, "-o")
    say(f"{out}\n")
    return 0


def batched(pieces: Iterable[str], n: int = 4096) -> Iterator[str]:
    """Many lines in one piece: a write each would be slow."""
    source = iter(pieces)
    while lines := list(itertools.islice(source, n)):
        yield "".join(lines)


def read_alerts(path: str | None) -> Any:
    """The alert rules of a file, or None where there is none."""
    if path is None:
        return None
    from sim.outlets.rules import read_rules

    return read_rules(Path(path))


def rehearsed(series: Any, rules: Any, end_s: float, out: str | None, say: Say) -> int:
    """Say when each alert fired; with a file to write, write promtool's input."""
    from sim.outlets.rules import promtool_file, rehearse, unknown_names

    if out is not None:
        from sim.records.files import keep_text

        inside = {"groups": rules.groups}
        rule_file = str(rules.path.resolve())
        if not rules.is_plain:
            rule_file = str(Path(f"{out}.rules").resolve())
            keep_text(Path(rule_file), [json.dumps(inside, indent=1) + "\n"], "-o")
        keep_text(Path(out), [promtool_file(series, rules, rule_file, [])], "-o")
        say(f"{out}\n")
        return 0
    found = rehearse(series, rules, end_s)
    for alert in unknown_names(rules):
        say(f"{alert}: reads no metric that a run is told in\n")
    for one in found:
        when = ", ".join(f"{clock(a)} to {clock(b)}" for a, b in one.spans)
        say(f"{one.alert}: {f'fired {when}' if when else 'never fired'}\n")
    return 0


def clock(seconds: float) -> str:
    """A time of the run as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def instant(option: str, text: str | None) -> float:
    """Seconds since 1970 of a date, by default the first of January 2025; raises InputError."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text or "2025-01-01T00:00:00+00:00")
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        seconds = found.timestamp()
    except (ValueError, OverflowError):
        seconds = -1.0
    if seconds < 0:
        raise InputError(problem(option, text, "a date from 1970 on, as 2025-06-30T09:00:00Z"))
    return seconds


FORMATS = ("--junit", "--json", "--markdown")


def check(words: list[str], say: Say, progress: Any) -> int:
    """`check SCENARIO|STUDY [key=value ...] [--share P] [--junit FILE] …`: limits as tests; 3 when one fails."""
    given_words = list(words)
    files = {option: out for option in FORMATS if (out := take_value("check", words, option)) is not None}
    share = share_of(take_value("check", words, "--share"))
    take_flags("check", words, ())
    if not words or "=" in words[0]:
        raise InputError("check: needs a scenario or a study first, as `fleetsim check first_run seed=1..20`")
    for option, out in files.items():
        if Path(out).is_dir():
            raise InputError(problem(option, out, "a file to write, not a folder"))
    from sim.outlets import checks

    runs = check_runs(words, progress)
    command = shlex.join(["fleetsim", "check", *given_words])
    done = checks.checked(Path(words[0]).stem, command, share, runs)
    texts = {"--junit": checks.junit, "--json": checks.as_json, "--markdown": checks.markdown}
    from sim.records.files import keep_text

    for option, out in files.items():
        keep_text(Path(out), [texts[option](done)], option)
    say("".join(f"{line}\n" for line in checks.lines(done)))
    return 0 if done.passed else 3


def share_of(text: str | None) -> float:
    """`95%` or `0.95` as a share above 0; 1 where nothing is said. Raises InputError."""
    try:
        value = 1.0 if text is None else float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise InputError(
            problem("--share", text, "a share of the runs above 0, as 95% or 0.95; at most all of them")
        )
    return value


def check_runs(words: list[str], progress: Any) -> list[Any]:
    """Run every point of a study, or of a scenario with axes, with every seed; raises InputError."""
    import dataclasses

    from sim import api
    from sim.outlets.checks import Checked
    from sim.studies.planning import check_points, make_plan
    from sim.studies.reading import load_study

    plan = make_plan(load_study(words[0], words[1:]))
    check_points(plan)
    labels = [plan.points.label(point) for point in range(plan.points.n)]
    labels = labels if plan.points.columns else [plan.study.scenario]  # nothing is varied
    for point, label in enumerate(labels):
        if not plan.scenario(point).slo:
            raise InputError(f'check: {label}: the scenario sets no limit; `slo=["ttft.p99 < 1 s"]` sets one')
    runs = []
    with progress(f"{plan.n_run:,} runs of {words[0]}") as tick:
        for point, label in enumerate(labels):
            story = plan.scenario(point)
            for seed in plan.seeds:
                done = api.run(dataclasses.replace(story, seed=int(seed)))
                found = [verdict._asdict() for verdict in done.verdicts]
                runs.append(Checked(label, int(seed), done.digest, found, done.wall_s))
                if tick is not None:
                    tick(len(runs) / plan.n_run)
    return runs


VERBS: dict[str, Callable[[list[str], Say, Any], int]] = {"trace": trace, "metrics": metrics, "check": check}
