"""Alert rules rehearsed on a run: what they read, as input of `promtool test rules`, and when each alert fired."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError, problem
from sim.outlets.families import FAMILIES
from sim.outlets.openmetrics import samples
from sim.outlets.series import Series
from sim.records.files import keep_text
from sim.scenario.yaml_file import read_yaml

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
FIRED = re.compile(r"^\s*alertname: (?P<name>.*), time: (?P<time>[0-9a-z.]+),\s*$", re.MULTILINE)
DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
UNIT_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
TIMEOUT_S = 300
WHERE = "promtool is not on the path: it comes with Prometheus (Debian and Ubuntu: the package prometheus)"


class Rules(NamedTuple):
    """A file of rules: its groups, the alerts in order, and the names that expressions use."""

    path: Path
    groups: list[Any]
    alerts: list[str]
    names: set[str]
    is_plain: bool  # not the groups of a PrometheusRule


class Fired(NamedTuple):
    """When an alert fired: spans of (from, to) in seconds, evaluated every `step_s`."""

    alert: str
    spans: list[tuple[float, float]]


def read_rules(path: Path) -> Rules:
    """Rules of Prometheus, or a PrometheusRule of its operator; raises InputError."""
    data = read_yaml(path)
    spec = data.get("spec")
    holder = spec if isinstance(spec, Mapping) else data
    groups: Any = holder.get("groups")
    rules = list(rules_of(groups, path))
    alerts = list(dict.fromkeys(str(rule["alert"]) for rule in rules if "alert" in rule))
    if not alerts:
        raise InputError(problem("--rules", str(path), "a file of rules with at least one `alert`"))
    names = {name for rule in rules for name in NAME.findall(str(rule.get("expr", "")))}
    return Rules(path, list(groups), alerts, names, holder is data)


def rules_of(groups: Any, path: Path) -> Iterator[Mapping[str, Any]]:
    """Every rule; raises InputError where the shape is another one."""
    shape = "rules of Prometheus: `groups:`, each with a `name` and `rules`, or a PrometheusRule with them in its `spec`"
    if not isinstance(groups, list):
        raise InputError(problem("--rules", str(path), shape))
    for group in groups:
        rules = group.get("rules") if isinstance(group, Mapping) else None
        if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
            raise InputError(problem("--rules", str(path), shape))
        yield from rules


def find_promtool() -> str | None:
    """The program, where there is one."""
    return shutil.which("promtool")


def step_ms(series: Sequence[Series]) -> int:
    """How far apart samples are, in milliseconds."""
    longest = max(series, key=lambda one: len(one.time_ps)).time_ps
    if len(longest) < 2:
        raise InputError(
            "--rules: the run has fewer than two samples; a longer run, or a smaller output.sample_interval_s"
        )
    return max(1, round(int(longest[1] - longest[0]) / 1e9))


def promtool_file(series: Sequence[Series], rules: Rules, rule_file: str, times_ms: Sequence[int]) -> str:
    """The file for `promtool test rules`: no alert is expected at any of the times. JSON, which is YAML too."""
    step = step_ms(series)
    checks = [
        {"eval_time": f"{t}ms", "alertname": alert, "exp_alerts": []}
        for alert in rules.alerts
        for t in times_ms
    ]
    test = {"interval": f"{step}ms", "input_series": list(input_series(series, rules.names, step))}
    if checks:
        test["alert_rule_test"] = checks
    whole = {"rule_files": [rule_file], "evaluation_interval": f"{step}ms", "tests": [test]}
    return json.dumps(whole, indent=1) + "\n"


def input_series(series: Sequence[Series], names: set[str], step: int) -> Iterator[dict[str, str]]:
    """The series that rules name: a value a step, `_` before it is there, `stale` when it is gone."""
    for one in series:
        if names.isdisjoint(one.family.sample_names):
            continue
        places = np.rint(one.time_ps / 1e9 / step).astype(int)
        on_grid = np.abs(one.time_ps / 1e9 - places * step) < step / 2 if len(places) else places
        points = [i for i in range(len(places)) if on_grid[i] and (i == 0 or places[i] > places[i - 1])]
        if not points:
            continue
        found: dict[str, list[str]] = {}
        for i in points:
            for name, labels, value in samples(one, i):
                if name in names:
                    found.setdefault(name + labels, []).append(value)
        before = ["_"] * int(places[points[0]])
        for text, values in found.items():
            yield {"series": text, "values": " ".join(before + values + (["stale"] if one.ends else []))}


def rehearse(series: Sequence[Series], rules: Rules, end_s: float) -> list[Fired]:
    """When each alert fired, as promtool evaluates the rules; raises InputError where it takes them not."""
    program = find_promtool()
    if program is None:
        raise InputError(f"--rules: {WHERE}; with -o FILE its input is written")
    step = step_ms(series)
    times = list(range(0, int(end_s * 1000) + 1, step))
    with tempfile.TemporaryDirectory(prefix="fleetsim-rules-") as folder:
        rule_file, tests = Path(folder) / "rules.yaml", Path(folder) / "tests.yaml"
        keep_text(rule_file, [json.dumps({"groups": rules.groups})], "--rules")
        call(program, "check", rule_file, rules)
        keep_text(tests, [promtool_file(series, rules, str(rule_file), times)], "--rules")
        told = call(program, "test", tests, rules)
    fired: dict[str, set[int]] = {alert: set() for alert in rules.alerts}
    for match in FIRED.finditer(told):
        fired.setdefault(match["name"], set()).add(milliseconds(match["time"]))
    return [Fired(alert, spans(sorted(at), step)) for alert, at in fired.items()]


def call(program: str, what: str, path: Path, rules: Rules) -> str:
    """What promtool says; raises InputError where it does not come to an answer."""
    try:
        done = subprocess.run(
            [program, what, "rules", str(path)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"--rules: {program}: {error}") from None
    told = done.stdout + done.stderr
    if done.returncode not in (0, 1) or (
        done.returncode == 1 and (what == "check" or not FIRED.search(told))
    ):
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        why = [
            line.replace(str(path), str(rules.path)) for line in lines if line not in ("FAILED:", "SUCCESS")
        ]
        raise InputError(f"--rules: {rules.path}: promtool says: {' '.join(why[1:] or why)[:1000]}")
    return told


def milliseconds(text: str) -> int:
    """A duration as promtool writes it, `1m30s`, in milliseconds."""
    return sum(int(n) * UNIT_MS[unit] for n, unit in DURATION.findall(text))


def spans(at_ms: Sequence[int], step: int) -> list[tuple[float, float]]:
    """Instants one step apart as spans, in seconds."""
    found: list[list[int]] = []
    for t in at_ms:
        if found and t - found[-1][1] <= step:
            found[-1][1] = t
        else:
            found.append([t, t])
    return [(begin / 1000, end / 1000) for begin, end in found]


def unknown_names(rules: Rules) -> list[str]:
    """Alerts whose expression names nothing that a run is told in, nor a rule of the file."""
    known = {name for family in FAMILIES for name in family.sample_names}
    known |= {str(rule["record"]) for rule in rules_of(rules.groups, rules.path) if "record" in rule}
    return [
        str(rule["alert"])
        for rule in rules_of(rules.groups, rules.path)
        if "alert" in rule and known.isdisjoint(NAME.findall(str(rule.get("expr", ""))))
    ]
