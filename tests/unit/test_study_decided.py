"""Studies that run until their question is decided: rounds of seeds, a rule that stops them, whatever happens between."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sim import cli
from sim.analysis.varied import baselines
from sim.errors import InputError
from sim.records.study_open import open_study
from sim.studies import execution
from sim.studies.comparing import compare_points, n_decided, question_of, varied_of
from sim.studies.executors import Here, Outcome, Task
from sim.studies.planning import Plan, make_plan
from sim.studies.reading import load_study, read_study
from sim.studies.seeds import read_decide

CLEAR = {
    "scenario": "first_run",
    "overrides": ["duration_s=40", "drain_s=40", "slo=none", "traffic.arrivals.rate_per_s=16"],
    "axes": {"pool.min_replicas": "1,2"},
    "seeds": "until decided, at most 60",
    "decide": ["e2e.p99", "usd_per_hour"],
}


def plan_of(said: dict[str, Any], **more: Any) -> Plan:
    return make_plan(read_study({"name": "small", **said, **more}))


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_clear_question_takes_the_first_round_alone(tmp_path: Path) -> None:
    plan = plan_of(CLEAR)
    assert plan.looks == (10, 20, 30, 50, 60)
    done = execution.execute(plan, tmp_path / "s", executor="here")
    assert (done.n_seed, done.n_run, done.n_new) == (10, 20, 20)
    assert (done.n_compared, done.n_decided, done.is_whole) == (2, 2, True)
    results = open_study(tmp_path / "s")
    assert results.stopped is not None
    assert (results.stopped["seeds"], results.n_shard, results.n_done) == (
        10,
        len(list((tmp_path / "s/done").iterdir())),
        results.n_shard,
    )
    assert results.runs.num_rows == 20
    found = compare_points(question_of(plan), results, plan.seeds[:10], [10])
    verdicts = {
        m.key: one.verdict for m, one in zip(found.measures, found.rows[1].judged, strict=True) if one
    }
    assert verdicts == {"e2e_p99_s": "better", "usd_per_hour": "worse"}


def test_a_close_question_runs_to_the_bound_unless_it_does_not_matter(tmp_path: Path) -> None:
    close = {"axes": {"runtime.max_num_seqs": "40,48"}, "seeds": "until decided, at most 25"}
    done = execution.execute(plan_of(CLEAR, **close, decide=["e2e.p99"]), tmp_path / "a", executor="here")
    assert (done.n_seed, done.n_run, done.n_decided) == (25, 50, 0)
    assert open_study(tmp_path / "a").stopped == {
        "seeds": 25,
        "looks": [10, 20, 25],
        "measures": {"e2e_p99_s": {"margin": 0.0}},
        "comparisons": 1,
        "decided": 0,
    }
    done = execution.execute(
        plan_of(CLEAR, **close, decide={"e2e.p99": "5 s"}), tmp_path / "b", executor="here"
    )
    assert (done.n_seed, done.n_decided) == (10, 1)


class Stops:
    """Runs so many shards, then is interrupted."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        for outcome in Here().run(task, numbers):
            if not self.n:
                raise KeyboardInterrupt
            self.n -= 1
            yield outcome


TWO_ROUNDS = {
    "axes": {"router": "random,power_of_two", "pool.max_replicas": "2,3"},
    "decide": ["ttft.p50", "e2e.p99"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A study that needs some rounds, run without disturbance."""
    path = tmp_path_factory.mktemp("whole") / "s"
    done = execution.execute(plan_of(CLEAR, **TWO_ROUNDS), path, executor="here")
    assert done.n_seed > 10
    return path, done


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_an_interrupted_study_stops_where_it_would_have(
    after: int, whole: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = Stops(after)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "Here", lambda: stops)
        with pytest.raises(KeyboardInterrupt):
            execution.execute(plan_of(CLEAR, **TWO_ROUNDS), tmp_path / "s", executor="here")
    done = execution.execute(plan_of(CLEAR, **TWO_ROUNDS), tmp_path / "s", executor="here")
    assert done.n_seed == whole[1].n_seed
    assert done.n_kept + done.n_new == done.n_run == whole[1].n_run
    assert files(tmp_path / "s") == files(whole[0])
    again = execution.execute(plan_of(CLEAR, **TWO_ROUNDS), tmp_path / "s", executor="here")
    assert (again.n_new, again.n_seed) == (0, done.n_seed)
    assert files(tmp_path / "s") == files(whole[0])


def test_a_higher_bound_keeps_the_rounds_that_were_run(whole: tuple[Path, Any], tmp_path: Path) -> None:
    low = plan_of(CLEAR, **TWO_ROUNDS, seeds="until decided, at most 10")
    first = execution.execute(low, tmp_path / "s", executor="here")
    assert first.n_seed == 10
    done = execution.execute(plan_of(CLEAR, **TWO_ROUNDS), tmp_path / "s", executor="here")
    assert (done.n_kept, done.n_seed) == (40, whole[1].n_seed)
    assert files(tmp_path / "s") == files(whole[0])


def test_parts_wait_for_each_other_round_by_round(whole: tuple[Path, Any], tmp_path: Path) -> None:
    plan, waits = plan_of(CLEAR, **TWO_ROUNDS), 0
    for _ in range(20):
        parts = [execution.execute(plan, tmp_path / "s", part=(i, 2), executor="here") for i in (1, 2)]
        waits += sum(done.is_waiting for done in parts)
        if not any(done.is_waiting for done in parts):
            break
    assert waits
    assert parts[1].n_seed == whole[1].n_seed
    assert files(tmp_path / "s") == files(whole[0])


def test_each_point_has_a_baseline_of_its_own_traffic() -> None:
    axes = {
        "autoscaler": "hpa,fixed",
        "pool.max_replicas": "3,4",
        "traffic.arrivals.rate_per_s": "1,2",
    }
    plan = plan_of(CLEAR, axes=axes, overrides=["slo=none"], baseline={"autoscaler": "fixed"})
    found = question_of(plan).baselines
    name = "autoscaler={} max_replicas={} rate_per_s={}".format
    assert found == {
        name(a, most, rate): name("fixed", most, rate)
        for a in ("hpa", "fixed")
        for most in (3, 4)
        for rate in (1, 2)
    }
    assert question_of(plan).n == 4 * 2
    first = plan_of(CLEAR, axes=axes, overrides=["slo=none"])
    assert set(question_of(first).baselines.values()) == {name("hpa", 3, 1), name("hpa", 3, 2)}
    assert baselines(varied_of(first.points), {"traffic.arrivals.rate_per_s": 1}, ["a", "b"] * 4)[1] is None


def test_what_is_decided_is_said_by_the_scenarios_limits() -> None:
    plan = plan_of(CLEAR, overrides=['slo=["e2e.p95 < 9 s", "usd_per_hour < 20"]'], decide=[])
    assert [m.key for m in question_of(plan).measures] == ["e2e_p95_s", "usd_per_hour"]
    plain = plan_of(CLEAR, overrides=["slo=none"], decide=[])
    assert [m.key for m in question_of(plain).measures] == ["slo_attainment", "ttft_p99_s", "usd_per_hour"]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (["ttft.p9"], "decide: 'ttft.p9': ttft needs one of"),
        (["tft.p99"], "did you mean 'ttft'?"),
        ({"ttft.p99": "5"}, "decide: 'ttft.p99': ttft is a time and needs a unit"),
        ({"ttft.p99": "soon"}, "a difference that does not matter, as 5 ms or 1 %"),
        (["kv_use"], "neither more nor less of it is better"),
        (7, "measures, as [slo_attainment, ttft.p99] or {ttft.p99: 5 ms}"),
    ],
)
def test_mistakes_in_decide_are_told(said: Any, line: str) -> None:
    with pytest.raises(InputError) as raised:
        read_decide(said)
    assert line in str(raised.value)


def test_decide_is_read_with_its_margins() -> None:
    assert read_decide("ttft.p99,usd_per_hour") == (("ttft.p99", 0.0), ("usd_per_hour", 0.0))
    assert read_decide({"ttft.p99": "5 ms", "slo_attainment": "1 %", "usd_per_hour": 0.1}) == (
        ("ttft.p99", 0.005),
        ("slo_attainment", 0.01),
        ("usd_per_hour", 0.1),
    )


def test_points_with_traffic_of_their_own_cannot_be_decided(tmp_path: Path) -> None:
    plan = plan_of(CLEAR, axes={"traffic.arrivals.rate_per_s": "1,2"}, overrides=["slo=none"])
    with pytest.raises(InputError, match="here is nothing to compare; allowed: seeds as"):
        execution.execute(plan, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_the_command_line_says_when_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "duration_s=40",
        "drain_s=40",
        "slo=none",
        "traffic.arrivals.rate_per_s=16",
        f"output.dir={tmp_path}",
    ]
    words += [
        "pool.min_replicas=1,2",
        "seeds=until decided, at most 60",
        "decide=e2e.p99,usd_per_hour",
        "--yes",
    ]
    assert cli.main(["sweep", "first_run", *words]) == 0
    said = capsys.readouterr()
    assert "stopped after 10 of at most 60 seeds: all 2 comparisons are decided" in said.err
    assert "2 comparisons judged together" in said.out
    assert "20 runs, 10 seeds each" in said.out
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "stopped.json").read_text())["decided"] == 2
    assert n_decided(compare_points(question_of(plan_of(CLEAR)), open_study(folder), range(1, 11), [10])) == 2


def test_a_control_variate_narrows_the_means_that_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "first_run",
        "duration_s=40",
        "drain_s=40",
        "slo=none",
        f"output.dir={tmp_path}",
        "pool.min_replicas=1,2",
    ]
    assert cli.main(["sweep", *words, "seeds=1..20", "--yes"]) == 0
    plain = capsys.readouterr().out
    assert cli.main(["sweep", *words, "seeds=1..20", "control=arrivals", "--yes"]) == 0
    controlled = capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 1, "nothing is run again"
    assert "control: of the variance of the means arrivals took away" in controlled
    assert "known from 200 lists" in " ".join(controlled.split())

    def width(text: str) -> float:
        line = next(line for line in text.splitlines() if line.startswith("ttft p50"))
        low, high = line.split("…")[0].split()[-1], line.split("…")[1].split()[0]
        return float(high) - float(low)

    assert width(controlled) < 0.9 * width(plain)
    closed = ["traffic.arrivals={kind: concurrency, max: 10, requests: 100}"]
    assert cli.main(["sweep", *words, *closed, "seeds=1..5", "control=arrivals", "--yes"]) == 0
    assert "clients decide when requests come" in " ".join(capsys.readouterr().out.split())


def test_many_points_have_a_line_each_with_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["first_run", "duration_s=20", "drain_s=20", "slo=none", f"output.dir={tmp_path}"]
    axes = ["pool.min_replicas=1..4", "traffic.arrivals.rate_per_s=6,9,12,15", "decide=e2e.p99,usd_per_hour"]
    words += ["pool.max_replicas=4", *axes, "seeds=1..10", "--yes", "baseline=pool.min_replicas=2"]
    assert cli.main(["sweep", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("min_replicas=")]
    assert len(rows) == 16
    assert sum("baseline" in row for row in rows) == 4
    assert all("better" in row for row in rows if row.startswith("min_replicas=1")), "it costs less"
    assert all("worse" in row for row in rows if row.startswith("min_replicas=4"))
    assert any("24 comparisons judged together" in line for line in lines)


def test_decide_on_the_command_line_takes_a_mapping() -> None:
    assert read_decide("{ttft.p99: 5 ms, usd_per_hour: 0.1}") == (("ttft.p99", 0.005), ("usd_per_hour", 0.1))
    assert read_decide("[ttft.p99, usd_per_hour]") == (("ttft.p99", 0.0), ("usd_per_hour", 0.0))
    assert read_decide("ttft.p99,usd_per_hour") == (("ttft.p99", 0.0), ("usd_per_hour", 0.0))
    with pytest.raises(InputError, match=r"decide.ttft.p99: '-5 ms' is not valid"):
        read_decide("{ttft.p99: -5 ms}")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "seeds=until decided, at most ten",
            "seeds: 'until decided, at most ten' is not valid; allowed: a range",
        ),
        ("baseline=3", "baseline: '3' is not valid; allowed: values of axes, as pool.min_replicas=2"),
        ("baseline=pool.min_replicas=", "is not valid; allowed: values of axes, as pool.min_replicas=2"),
    ],
)
def test_words_of_a_study_that_cannot_be_are_told_whole(word: str, line: str) -> None:
    with pytest.raises(InputError, match=re.escape(line)):
        load_study("first_run", ["pool.min_replicas=1,2", word])


def test_a_measure_that_no_run_has_decides_nothing_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["first_run", "duration_s=10", "pool.min_replicas=1,2", "decide=prefix_hit_ratio", "--yes"]
    cli.main(["sweep", *words, "seeds=until decided, at most 2"])
    assert "nothing is decided: no run of 2 seeds has a value of prefix_hit_ratio" in capsys.readouterr().err


def test_a_study_that_is_refused_says_nothing_of_what_was_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "sweep",
        "first_run",
        "duration_s=10",
        "pool.min_replicas=1",
        "seeds=until decided, at most 10",
        "--yes",
    ]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("fleetsim: seeds: until decided compares points")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
