"""A run as metrics: the text is what OpenMetrics asks for, and its numbers are those of the records."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sim import outlet_verbs
from sim.errors import InputError
from sim.outlets import rules as rules_of_alerts
from sim.outlets.families import COUNTER, FAMILIES, HISTOGRAM, Family, buckets_1_2_5
from sim.outlets.metrics import run_series
from sim.outlets.openmetrics import escaped, open_metrics, page
from sim.outlets.rules import promtool_file, read_rules, rehearse, unknown_names
from sim.outlets.series import Series
from tests.unit.outlet_runs import STORIES, kept

REPO = Path(__file__).resolve().parents[2]
START_S = 1_735_689_600
SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+) (\d+(?:\.\d{1,3})?)\n')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
BY_SAMPLE = {name: family for family in FAMILIES for name in family.sample_names}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not on the path (Debian: the package prometheus)"
)


class Point(NamedTuple):
    labels: dict[str, str]
    value: float
    time_s: float


@cache
def series(name: str) -> tuple[Series, ...]:
    return tuple(run_series(kept(name)))


@cache
def text(name: str) -> str:
    return "".join(open_metrics(series(name), START_S))


@cache
def points(name: str) -> dict[str, list[Point]]:
    """Sample name → points, in the order of the text; what is no sample is a comment or the end."""
    found: dict[str, list[Point]] = defaultdict(list)
    for line in text(name).splitlines(keepends=True):
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = dict(LABEL.findall(match[2]))
            found[match[1]].append(Point(labels, float(match[3]), float(match[4]) - START_S))
    return found


def last(name: str, sample: str, **labels: str) -> float:
    """The sum over series of their last points."""
    values: dict[tuple[tuple[str, str], ...], float] = {}
    for point in points(name)[sample]:
        if labels.items() <= point.labels.items():
            values[tuple(point.labels.items())] = point.value
    return sum(values.values())


@pytest.mark.parametrize("name", STORIES)
def test_the_text_is_open_metrics(name: str) -> None:
    lines = text(name).splitlines()
    assert lines[-1] == "# EOF"
    family: Family | None = None
    told: set[str] = set()
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            _, _, named, kind = line.split(" ")
            assert named not in told
            told.add(named)
            family = next(one for one in FAMILIES if one.name == named)
            assert family.kind == kind
        elif line.startswith("# HELP "):
            assert family is not None
            assert line.split(" ")[2] == family.name
        else:
            assert family is not None
            assert line.partition("{")[0] in family.sample_names


@pytest.mark.parametrize("name", STORIES)
def test_points_of_a_series_follow_one_another_in_time(name: str) -> None:
    for sample, found in points(name).items():
        family = BY_SAMPLE[sample]
        wanted = (*family.labels, "le") if sample.endswith("_bucket") else family.labels
        was: dict[tuple[str, ...], Point] = {}
        for point in found:
            assert tuple(point.labels) == wanted
            key = tuple(point.labels.values())
            before = was.get(key)
            if before is not None:
                assert point.time_s > before.time_s
                if family.kind != "gauge":
                    assert point.value >= before.value
            was[key] = point


@pytest.mark.parametrize("name", STORIES)
def test_buckets_add_up(name: str) -> None:
    for one in series(name):
        if one.family.kind == HISTOGRAM:
            assert one.counts is not None
            assert one.counts.shape == (len(one.time_ps), len(one.buckets) + 1)
            assert (np.diff(one.counts, axis=1) >= 0).all()
            assert list(one.buckets) == sorted(set(one.buckets))


@pytest.mark.parametrize("name", STORIES)
def test_totals_are_those_of_the_records(name: str) -> None:
    run = kept(name)
    rows = run.tables.requests.to_pylist()
    done = [row for row in rows if row["outcome"] == "completed" and not row["from_cache"]]
    first = [row for row in rows if row["first_token_ps"] is not None and row["pool"] is not None]
    outcomes = Counter(row["outcome"] for row in rows)
    assert last(name, "vllm:request_success_total", finished_reason="stop") == len(done)
    assert last(name, "vllm:prompt_tokens_total") == sum(row["prompt_tokens"] for row in first)
    assert last(name, "vllm:generation_tokens_total") == sum(row["output_tokens"] for row in done)
    assert last(name, "vllm:time_to_first_token_seconds_count") == len(first)
    assert last(name, "vllm:e2e_request_latency_seconds_count") == len(done)
    assert last(name, "vllm:e2e_request_latency_seconds_sum") == pytest.approx(
        sum(row["last_token_ps"] - row["routed_ps"] - (row["blame_stream_cpu_ps"] or 0) for row in done)
        / 1e12
    )
    assert last(name, "vllm:request_queue_time_seconds_sum") == pytest.approx(
        sum(row["scheduled_ps"] - row["routed_ps"] for row in done) / 1e12
    )
    assert last(name, "vllm:request_time_per_output_token_seconds_sum") == pytest.approx(
        sum(row["tpot_s"] or 0 for row in done), rel=1e-6
    )
    assert last(name, "vllm:num_preemptions_total") == sum(
        run.tables.timeseries.column("preemptions").to_pylist()
    )
    attempts = run.tables.timeseries.column("retries").to_pylist() if len(run.summary["pools"]) == 1 else [0]
    assert last(name, "inference_objective_request_total") == len(rows) + sum(attempts)
    errors = outcomes["rejected"] + outcomes["failed"]
    assert last(name, "inference_objective_request_error_total") == errors
    for outcome in set(outcomes) - {"inside"}:
        assert last(name, "fleetsim_requests_ended_total", outcome=outcome) == outcomes[outcome]
    assert last(name, "fleetsim_time_to_first_token_seconds_sum") == pytest.approx(
        sum(row["ttft_s"] for row in rows if row["outcome"] == "completed")
    )
    assert last(name, "fleetsim_cost_usd_total") == pytest.approx(run.summary["run_usd"])
    measured = [row for row in done if row["measured"]]
    if len(measured) == len(rows):
        gaps = sum(max(0, row["output_tokens"] - 1) for row in done)
        assert last(name, "vllm:inter_token_latency_seconds_count") == gaps


@pytest.mark.parametrize("name", STORIES)
def test_gauges_are_those_of_the_time_series(name: str) -> None:
    columns = kept(name).tables.timeseries.to_pydict()
    pairs = {
        "vllm:num_requests_running": "running",
        "vllm:num_requests_waiting": "waiting",
        "kube_deployment_spec_replicas": "wanted",
        "kube_deployment_status_replicas_ready": "ready",
        "inference_pool_ready_pods": "ready",
    }
    for sample, column in pairs.items():
        told: Counter[float] = Counter()
        for point in points(name)[sample]:
            told[round(point.time_s, 3)] += point.value
        meant: Counter[float] = Counter()
        for t, value in zip(columns["time_s"], columns[column], strict=True):
            meant[round(round(t * 1000) / 1000, 3)] += value
        assert {t: told[t] for t in meant} == dict(meant), sample


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    rows = [row for row in kept("scaling").tables.requests.to_pylist() if row["pool"] is not None]
    values = np.array([row["first_token_ps"] - row["routed_ps"] for row in rows]) / 1e12
    for bound in (0.02, 0.1, 0.5, 2.5):
        found = last("scaling", "vllm:time_to_first_token_seconds_bucket", le=repr(bound))
        assert found == (values <= bound).sum()


def test_gaps_between_tokens_fall_into_the_buckets_of_the_longest() -> None:
    """Every request's longest gap is one of them: at least so many lie above a bound, within the histogram's 1 %."""
    longest = np.array(
        [row["itl_max_s"] or 0 for row in kept("preemptions").tables.requests.to_pylist() if row["measured"]]
    )
    count = last("preemptions", "vllm:inter_token_latency_seconds_count")
    for bound in (0.025, 0.1, 0.5):
        below = last("preemptions", "vllm:inter_token_latency_seconds_bucket", le=repr(bound))
        assert count - below >= (longest > bound * 1.01).sum()
        assert below <= count


def test_a_pod_is_told_while_it_is_there_and_then_once_with_nothing() -> None:
    gone = [one for one in series("losses") if one.ends and one.family.name == "vllm:num_requests_running"]
    assert gone
    assert all(one.values[-1] == 0 for one in gone)
    assert all(one.time_ps[-1] < series("losses")[-1].time_ps[-1] for one in gone)


def test_a_page_is_what_a_scrape_would_get() -> None:
    shown = "".join(page(series("scaling"), 99 * 10**12))
    values = dict(re.findall(r"^(\S+\{.*\}) (\S+)$", shown, re.MULTILINE))
    exact = [p for p in points("scaling")["vllm:num_requests_running"] if p.time_s == 99]
    assert exact
    for point in exact:
        labels = ",".join(f'{key}="{value}"' for key, value in point.labels.items())
        assert float(values[f"vllm:num_requests_running{{{labels}}}"]) == point.value
    assert "# TYPE vllm:prompt_tokens_total counter" in shown
    assert "# EOF" not in shown


def test_buckets_of_lengths_are_vllms() -> None:
    assert buckets_1_2_5(100) == (1, 2, 5, 10, 20, 50, 100)
    assert buckets_1_2_5(8192)[-1] == 5000


def test_labels_are_escaped() -> None:
    assert escaped('a"b\\c\nd') == 'a\\"b\\\\c\\nd'


# ---- the dashboard ----------------------------------------------------------------------
def expressions() -> list[str]:
    board = json.loads((REPO / "sim" / "outlets" / "grafana-dashboard.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*found, *(v["definition"] for v in board["templating"]["list"] if v["type"] == "query")]


WORDS = {"histogram_quantile", "sum", "by", "rate", "label_values", "max", "avg"}


def test_the_dashboard_asks_only_for_what_is_exported() -> None:
    told = set(points("scaling"))
    assert len(expressions()) > 15
    for text_ in expressions():
        bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without) *\([^)]*\)", "", text_)
        names = {name for name in re.findall(r"[a-zA-Z_][\w:]*", bare) if name not in WORDS}
        names -= {"model_name"} if text_.startswith("label_values") else set()
        assert names
        assert names <= told, text_
        used = set(re.findall(r"(\w+)=~", text_))
        for group in re.findall(r"by *\(([^)]*)\)", text_):
            used |= {label.strip() for label in group.split(",")}
        for name in names:
            assert used <= {*BY_SAMPLE[name].labels, "le"}, text_


def test_every_panel_has_a_place_of_its_own() -> None:
    board = json.loads((REPO / "sim" / "outlets" / "grafana-dashboard.json").read_text())
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)
    assert all(panel["title"] and panel["description"] for panel in board["panels"])


# ---- alert rules ----------------------------------------------------------------------
ALERTS = """
groups:
  - name: queue
    rules:
      - record: fleet:waiting
        expr: sum(vllm:num_requests_waiting)
      - alert: Queue
        expr: fleet:waiting > 5
      - alert: NeverSo
        expr: sum(vllm:num_requests_waiting) > 1e9
      - alert: Replicas
        expr: kube_deployment_spec_replicas > kube_deployment_status_replicas_ready
      - alert: Elsewhere
        expr: node_load1 > 1
"""


def written(folder: Path, body: str) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(body)
    return path


def test_rules_are_read_plain_and_as_the_operators_resource(tmp_path: Path) -> None:
    plain = read_rules(written(tmp_path, ALERTS))
    indented = "\n".join(f"  {line}" for line in ALERTS.splitlines())
    resource = read_rules(written(tmp_path, f"kind: PrometheusRule\nspec:\n{indented}\n"))
    assert plain.alerts == resource.alerts == ["Queue", "NeverSo", "Replicas", "Elsewhere"]
    assert (plain.is_plain, resource.is_plain) == (True, False)
    assert plain.groups == resource.groups
    assert unknown_names(plain) == ["Elsewhere"]


def test_input_of_promtool_has_every_point_of_what_rules_read(tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, ALERTS))
    made = json.loads(promtool_file(series("losses"), rules, "alerts.yaml", [0]))
    inputs = made["tests"][0]["input_series"]
    names = {one["series"].partition("{")[0] for one in inputs}
    assert names == {
        "vllm:num_requests_waiting",
        "kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_ready",
    }
    step = made["tests"][0]["interval"]
    assert step.endswith("ms")
    for one in inputs:
        values = one["values"].split(" ")
        mine = [
            point
            for point in points("losses")[one["series"].partition("{")[0]]
            if dict(LABEL.findall(one["series"])) == point.labels
        ]
        for point in mine:
            place = point.time_s * 1000 / int(step[:-2])
            if place == int(place):
                assert float(values[int(place)]) == point.value


@needs_promtool
@pytest.mark.parametrize("name", ["scaling", "losses", "preemptions"])
def test_alerts_fire_when_the_time_series_says(name: str, tmp_path: Path) -> None:
    fired = {
        one.alert: one.spans
        for one in rehearse(series(name), read_rules(written(tmp_path, ALERTS)), kept(name).summary["end_s"])
    }
    columns = kept(name).tables.timeseries.to_pydict()
    waiting: Counter[float] = Counter()
    behind: Counter[float] = Counter()
    for i, t in enumerate(columns["time_s"]):
        waiting[t] += columns["waiting"][i]
        behind[t] += columns["wanted"][i] > columns["ready"][i]

    def inside(alert: str, t: float) -> bool:
        return any(begin <= t <= end for begin, end in fired[alert])

    step = columns["time_s"][1] - columns["time_s"][0]
    on_grid = [t for t in waiting if abs(t / step - round(t / step)) < 1e-9]
    assert len(on_grid) > 15
    assert [inside("Queue", t) for t in on_grid] == [waiting[t] > 5 for t in on_grid]
    assert [inside("Replicas", t) for t in on_grid] == [behind[t] > 0 for t in on_grid]
    assert fired["NeverSo"] == fired["Elsewhere"] == []
    if name != "preemptions":
        assert fired["Replicas"]


@needs_promtool
def test_promtool_takes_the_file_and_says_success(tmp_path: Path) -> None:
    alerts = written(tmp_path, ALERTS)
    out = tmp_path / "tests.yaml"
    said: list[str] = []
    words = [str(kept("losses").path), "--rules", str(alerts), "-o", str(out)]
    assert outlet_verbs.metrics(words, said.append, Quiet) == 0
    done = subprocess.run(
        ["promtool", "test", "rules", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@needs_promtool
def test_promtool_backfills_the_text(tmp_path: Path) -> None:
    source, blocks = tmp_path / "run.om", tmp_path / "blocks"
    source.write_text(text("losses"))
    words = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(blocks)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    meta = [json.loads(path.read_text()) for path in blocks.glob("*/meta.json")]
    assert len(meta) == 1
    n_told = sum(len(found) for found in points("losses").values())
    assert meta[0]["stats"]["numSamples"] == n_told
    assert meta[0]["minTime"] == START_S * 1000


@needs_promtool
def test_promtool_checks_a_page_and_minds_only_vllms_colons() -> None:
    shown = "".join(page(series("scaling"), 99 * 10**12))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=shown, capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert [
        line for line in lines if not re.fullmatch(r"vllm:\S+ metric names should not contain ':'", line)
    ] == []
    without = "\n".join(line for line in shown.splitlines() if "vllm:" not in line) + "\n"
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=without, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_promtool
def test_promtool_parses_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{i}", "expr": text_.replace("$__rate_interval", "1m").replace("$model", ".*")}
        for i, text_ in enumerate(expressions())
        if not text_.startswith("label_values")
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_what_promtool_does_not_take_is_one_line(tmp_path: Path) -> None:
    bad = ALERTS.replace("> 1e9", "> > 1e9")
    with pytest.raises(InputError, match=r"^--rules: .*alerts.yaml: promtool says: .*parse error"):
        rehearse(series("losses"), read_rules(written(tmp_path, bad)), 10.0)


def test_without_promtool_the_line_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_of_alerts, "find_promtool", lambda: None)
    with pytest.raises(InputError, match="promtool is not on the path"):
        rehearse(series("losses"), read_rules(written(tmp_path, ALERTS)), 10.0)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "groups: 1",
        "groups: [1]",
        "groups: [{name: a}]",
        "groups: [{name: a, rules: []}]",
        "a: [",
        "spec: {groups: 3}",
    ],
)
def test_rules_that_are_none_are_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(InputError, match=r"alerts\.yaml"):
        read_rules(written(tmp_path, body))


# ---- the verb ----------------------------------------------------------------------
class Quiet:
    """A progress bar that shows nothing."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def test_the_verb_writes_what_it_says(tmp_path: Path) -> None:
    said: list[str] = []
    path = str(kept("losses").path)
    assert outlet_verbs.metrics([path, "--start", "2025-01-01T00:00:00Z"], said.append, Quiet) == 0
    assert "".join(said) == text("losses")
    out = tmp_path / "run.om"
    assert outlet_verbs.metrics([path, "-o", str(out)], said.append, Quiet) == 0
    assert out.read_text() == text("losses")


def test_the_dashboard_comes_with_the_command(tmp_path: Path) -> None:
    said: list[str] = []
    assert outlet_verbs.metrics(["--dashboard"], said.append, Quiet) == 0
    assert json.loads("".join(said))["title"] == "fleetsim"
    outlet_verbs.metrics(["--dashboard", "-o", str(tmp_path / "d.json")], said.append, Quiet)
    assert (tmp_path / "d.json").read_text() == said[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["RUN", "--dashboard"], "nothing else"),
        ([], "needs a run first"),
        (["latest", "more"], "one run and nothing else"),
        (["--at"], "--at needs a value"),
        (["RUN", "--at", "soon"], "--at: 'soon' is not valid"),
        (["RUN", "--at", "1e9"], "the end of the run"),
        (["RUN", "--at", "5", "--rules", "x"], "cannot stand together"),
        (["RUN", "--start", "yesterday"], "--start: 'yesterday' is not valid"),
        (["RUN", "--start", "1960-01-01"], "from 1970 on"),
        (["RUN", "--rules", "no-such-file.yaml"], "cannot be read"),
        (["RUN", "--every", "5"], "no option"),
    ],
)
def test_words_that_cannot_be_are_refused(words: list[str], line: str) -> None:
    path = str(kept("losses").path)
    with pytest.raises(InputError) as caught:
        outlet_verbs.metrics([path if word == "RUN" else word for word in words], lambda _: None, Quiet)
    assert line in str(caught.value)


def test_counters_end_in_total_once() -> None:
    assert all(not family.name.endswith("_total") for family in FAMILIES if family.kind == COUNTER)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
