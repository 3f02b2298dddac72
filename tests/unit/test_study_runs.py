"""Studies that are run: what is done stays done, whatever happens; results are the same however they came about."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

import sim
from sim import cli
from sim.errors import InputError
from sim.records.files import own_prefix
from sim.records.study_dir import StudyDir
from sim.records.study_open import open_study
from sim.records.summary import flat_summary
from sim.studies import execution
from sim.studies.executors import Here, Outcome, Task
from sim.studies.planning import Plan, check_points, make_plan
from sim.studies.reading import load_study, read_study

REPO = Path(__file__).resolve().parents[2]
SHORT = ["duration_s=20", "drain_s=20"]
SMALL = {
    "name": "small",
    "scenario": "first_run",
    "overrides": [*SHORT, 'slo=["ttft.p99 < 1 s"]'],
    "axes": {"autoscaler": "fixed,hpa{target: 4,8}", "traffic.arrivals.rate_per_s": "log 1..5 x 3"},
    "seeds": "1..8",
}


def small(**said: Any) -> Plan:
    return make_plan(read_study({**SMALL, **said}))


def files(path: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study, run without disturbance in this process."""
    path = tmp_path_factory.mktemp("whole") / "study"
    done = execution.execute(small(), path, executor="here")
    assert done.is_whole
    assert (done.n_new, done.n_kept, done.failed) == (72, 0, {})
    return path


def test_a_row_is_the_flat_summary_of_the_run_alone(whole: Path) -> None:
    rows = open_study(whole).runs.to_pylist()
    assert len(rows) == 72
    for row in (rows[0], rows[40], rows[-1]):
        words = [
            f"autoscaler={row['autoscaler']}",
            f"traffic.arrivals.rate_per_s={row['traffic.arrivals.rate_per_s']}",
        ]
        words += [f"autoscaler.target={row['autoscaler.target']}"] if row["autoscaler.target"] else []
        run = sim.run("first_run", [*SMALL["overrides"], *words, f"seed={row['seed']}"])
        assert row["digest"] == run.digest
        flat = flat_summary(run.summary)
        for name in flat.keys() & row.keys() - {"digest"}:
            assert row[name] == flat[name], name
        assert {"ttft_p99_s", "usd_per_hour", "slo_ok", "replicas_mean"} <= row.keys()


def test_columns_are_typed_and_have_units(whole: Path) -> None:
    results = open_study(whole)
    types = {f.name: str(f.type) for f in results.runs.schema}
    assert types["autoscaler"].startswith("dictionary")
    assert (types["autoscaler.target"], types["traffic.arrivals.rate_per_s"]) == ("int64", "double")
    assert (types["slo_ok"], types["offered"], types["ttft_p99_s"]) == ("bool", "int64", "double")
    assert {k: results.units[k] for k in ("ttft_p99_s", "usd_per_hour", "traffic.arrivals.rate_per_s")} == {
        "ttft_p99_s": "s",
        "usd_per_hour": "usd/h",
        "traffic.arrivals.rate_per_s": "1/s",
    }
    assert all(results.units.values())


def test_runs_are_a_hive_partitioned_data_set(whole: Path) -> None:
    table = pyarrow.dataset.dataset(whole / "runs", partitioning="hive").to_table()
    assert table.num_rows == 72
    assert {p.name for p in (whole / "runs").iterdir()} == {"autoscaler=fixed", "autoscaler=hpa"}
    assert sorted(table["digest"].to_pylist()) == sorted(open_study(whole).runs["digest"].to_pylist())


def test_any_percentile_of_a_run_alone_is_that_of_its_summary(tmp_path: Path) -> None:
    execution.execute(small(seeds=3), tmp_path / "s", executor="here")
    results = open_study(tmp_path / "s")
    keys = ["autoscaler", "autoscaler.target", "traffic.arrivals.rate_per_s"]
    for measure in ("ttft", "itl", "e2e"):
        for percent, name in ((50, "p50"), (99, "p99"), (99.9, "p99_9")):
            found = results.percentile(measure, percent, keys).column(len(keys)).to_pylist()
            assert found == results.runs[f"{measure}_{name}_s"].to_pylist()


def test_histograms_add_up_over_seeds_and_points(whole: Path, tmp_path: Path) -> None:
    execution.execute(small(histograms="run"), tmp_path / "s", executor="here")
    cells, runs = open_study(whole), open_study(tmp_path / "s")
    assert runs.histograms.num_rows > cells.histograms.num_rows
    for by in ([], ["autoscaler"]):
        assert cells.percentile("ttft", 97.5, by).equals(runs.percentile("ttft", 97.5, by))
    served = sum(cells.runs["completed"].to_pylist())
    of_ttft = [row["count"] for row in cells.histograms.to_pylist() if row["measure"] == "ttft"]
    assert sum(of_ttft) == sum(cells.runs["offered"].to_pylist()) >= served > 0


def test_percentiles_have_intervals_over_seeds(whole: Path, tmp_path: Path) -> None:
    execution.execute(small(histograms="run"), tmp_path / "s", executor="here")
    results = open_study(tmp_path / "s")
    found = results.percentile("ttft", 99, ["autoscaler"], interval=True)
    assert found.column_names == ["autoscaler", "ttft_p99_s", "ttft_p99_low_s", "ttft_p99_high_s"]
    assert found.select([0, 1]).equals(results.percentile("ttft", 99, ["autoscaler"]))
    for row in found.to_pylist():
        assert row["ttft_p99_low_s"] <= row["ttft_p99_s"] <= row["ttft_p99_high_s"]
        assert row["ttft_p99_low_s"] < row["ttft_p99_high_s"]
    with pytest.raises(InputError, match="histograms: run keeps them apart"):
        open_study(whole).percentile("ttft", 99, interval=True)


def test_requests_that_were_never_served_are_infinitely_late(tmp_path: Path) -> None:
    words = [
        "duration_s=20",
        "drain_s=0",
        "traffic.arrivals.rate_per_s=200",
        "pool.min_replicas=1",
        "slo=none",
    ]
    execution.execute(
        make_plan(load_study("first_run", [*words, "seed=1..2"])), tmp_path / "s", executor="here"
    )
    results = open_study(tmp_path / "s")
    assert results.percentile("ttft", 100)["ttft_p100_s"].to_pylist() == [float("inf")]
    assert results.percentile("ttft", 1)["ttft_p1_s"].to_pylist()[0] < 20


def test_processes_and_parts_leave_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    by_processes = execution.execute(small(), tmp_path / "p", processes=2, executor="processes")
    assert by_processes.is_whole
    for i in (3, 1, 2):
        part = execution.execute(small(), tmp_path / "q", part=(i, 3), executor="here")
        assert part.is_whole
        assert part.n_run < 72
    assert files(tmp_path / "p") == files(whole)
    assert files(tmp_path / "q") == files(whole)


class Stops:
    """Runs so many shards, then is interrupted."""

    def __init__(self, n: int) -> None:
        self.n = n

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        for i, outcome in enumerate(Here().run(task, numbers)):
            if i == self.n:
                raise KeyboardInterrupt
            yield outcome


def test_an_interrupted_study_goes_on_where_it_was(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(execution, "Here", lambda: Stops(2))
        with pytest.raises(KeyboardInterrupt):
            execution.execute(
                small(), tmp_path / "s", executor="here", progress=lambda share, *_: told.append(share)
            )
    kept = open_study(tmp_path / "s").runs.num_rows
    assert kept >= round(told[-1] * 72) > 0, "what was reported is there"
    said: list[str] = []
    done = execution.execute(small(), tmp_path / "s", executor="here", said=said.append)
    assert (done.n_kept, done.n_new) == (kept, 72 - kept)
    assert "shards are run: not finished" in said[0]
    assert files(tmp_path / "s") == files(whole)
    again = execution.execute(small(), tmp_path / "s", executor="here", said=said.append)
    assert (again.n_kept, again.n_new, len(said)) == (72, 0, 1)


def test_every_shard_run_again_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "s", []

    def run(**changed: Any) -> str:
        said.clear()
        assert execution.execute(small(**changed), path, executor="here", said=said.append).is_whole
        return " / ".join(said)

    assert run() == ""
    data = sorted((path / "runs").rglob("*.parquet"))
    data[0].write_bytes(data[0].read_bytes()[:-9] + b"123456789")
    data[1].unlink()
    mark = next(p for p in sorted((path / "done").iterdir()) if p.stem not in (data[0].stem, data[1].stem))
    mark.write_text("{")
    lines = run()
    assert f"{data[0].name} is damaged" in lines
    assert f"{data[1].name} is gone" in lines
    assert f"{mark.name} cannot be read" in lines
    assert "the overrides have changed" in run(overrides=["duration_s=21", "drain_s=20"])
    assert "axes, seeds or histograms have changed" in run(
        overrides=["duration_s=21", "drain_s=20"], seeds="2..9"
    )
    monkeypatch.setattr("sim.studies.planning.model_version", lambda: "another")
    assert "fleetsim has changed" in run(overrides=["duration_s=21", "drain_s=20"], seeds="2..9")
    assert open_study(path).runs.num_rows == 72
    assert len(list((path / "done").iterdir())) == make_plan(read_study(SMALL)).n_shard, "old shards are gone"


def test_a_changed_recording_runs_all_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = [f"2024-05-10 00:00:{i:02d}.0,{100 + i},5\n" for i in range(20)]

    def plan(n: int) -> Plan:
        trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows[:n]))
        return make_plan(
            load_study("first_run", [f"traffic.trace.file={trace}", "duration_s=20", "seed=1..2"])
        )

    first, second = plan(10), plan(12)
    assert first.depends["files"] != second.depends["files"]
    assert first.id_of(first.shard(0)) != second.id_of(second.shard(0))
    assert plan(10).id_of(first.shard(0)) == first.id_of(first.shard(0))


def test_a_point_that_cannot_be_is_put_aside_with_its_reason(tmp_path: Path) -> None:
    plan = small(
        axes={"pool.min_replicas": "1..9"}, overrides=[*SHORT, "pool.max_replicas=4"], seeds="1..16"
    )  # the last ones are above the most
    with pytest.raises(InputError, match=r"min_replicas: 9 is not valid; allowed: ≤ max_replicas \(4\) \(at"):
        check_points(plan)
    done = execution.execute(plan, tmp_path / "s", executor="here")
    assert done.is_input
    assert not done.is_whole
    assert done.n_new > 0
    assert all("is not valid" in why for why in done.failed.values())
    said: list[str] = []
    execution.execute(plan, tmp_path / "s", executor="here", said=said.append)
    assert any("failed before: " in line for line in said)


class Breaks:
    """Fails the first shard so many times."""

    def __init__(self, n: int) -> None:
        self.left = n

    def run(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        yield from Here().run(task, [i for i in numbers if i != 0 or not self.left])
        if 0 in numbers and self.left:
            self.left -= 1
            yield Outcome(0, task.plan.shard(0).n_run, 0.0, "its process ended with status -9")


@pytest.mark.parametrize(("n", "is_whole"), [(2, True), (3, False)])
def test_a_shard_that_fails_is_tried_again_and_then_put_aside(
    n: int, is_whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = Breaks(n)
    monkeypatch.setattr(execution, "Here", lambda: breaks)
    done = execution.execute(small(), tmp_path / "s", executor="here")
    assert done.is_whole == is_whole
    assert list(done.failed.values()) == ([] if is_whole else ["its process ended with status -9"])
    assert len(list((tmp_path / "s" / "failed").iterdir())) == (0 if is_whole else 1)


def test_a_killed_worker_loses_nothing(whole: Path, tmp_path: Path) -> None:
    """The first worker is killed -9 while it runs; the others, and one more, do its work."""
    plan, killed = small(), []

    def kill_one(share: float, *_: object) -> None:
        if not killed:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            mine = [pid for pid in children if b"sweeps.beside" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(int(mine[0]), signal.SIGKILL)
            killed.append(mine[0])

    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("children of a process are not listed here")
    done = execution.execute(plan, tmp_path / "s", processes=2, executor="processes", progress=kill_one)
    assert killed
    assert done.is_whole
    assert files(tmp_path / "s") == files(whole)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="a new folder, or one of a study"):
        execution.execute(small(), tmp_path, executor="here")
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "sim.cli", "sweep", "first_run", *SHORT, *words, "--yes"]


def killed_at_random(folder: Path, words: Sequence[str], n: int, within_s: float, seed: int) -> None:
    """Begin a sweep again and again, and kill it -9 at a random instant each time; at last let it end."""
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    chance = random.Random(seed)
    for _ in range(n):
        process = subprocess.Popen(
            command(folder, *words), cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0, within_s))
        process.kill()
        process.wait()
    subprocess.run(command(folder, *words), cwd=folder, env=env, check=True, capture_output=True)


def test_killed_at_any_instant_the_result_is_the_same(tmp_path: Path) -> None:
    words = ["slo=none", "traffic.arrivals.rate_per_s=1..4", "seed=1..32"]
    execution.execute(
        make_plan(load_study("first_run", [*SHORT, *words])), tmp_path / "calm", executor="here"
    )
    (tmp_path / "killed").mkdir()
    killed_at_random(tmp_path / "killed", words, 2, 4.0, seed=1)
    assert files(next((tmp_path / "killed" / "results").iterdir())) == files(tmp_path / "calm")
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.slow
def test_a_study_until_decided_is_the_same_however_often_it_is_killed(tmp_path: Path) -> None:
    words = [
        "slo=none",
        "traffic.arrivals.rate_per_s=16",
        "router=random,power_of_two",
        "decide=ttft.p50,e2e.p99",
    ]
    words += ["seeds=until decided, at most 400"]
    for name, n in (("calm", 0), ("killed", 4)):
        (tmp_path / name).mkdir()
        killed_at_random(tmp_path / name, words, n, 3.0, seed=3)
    calm = next((tmp_path / "calm" / "results").iterdir())
    assert files(next((tmp_path / "killed" / "results").iterdir())) == files(calm)
    assert 10 < json.loads((calm / "stopped.json").read_text())["seeds"] < 400


@pytest.mark.slow
def test_a_large_study_killed_five_times_is_the_same(tmp_path: Path) -> None:
    """A tenth of a million runs of a hundred requests."""
    words = ["slo=none", "traffic.arrivals.rate_per_s=5", "router=round_robin,random", "seed=1..50000"]
    for name, n in (("calm", 0), ("killed", 5)):
        (tmp_path / name).mkdir()
        killed_at_random(tmp_path / name, words, n, 60.0, seed=2)
    assert files(tmp_path / "calm") == files(tmp_path / "killed")
    assert sim.open(next((tmp_path / "killed" / "results").iterdir())).runs.num_rows == 100_000


def test_what_sigterm_leaves_is_told(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    words = command(tmp_path, "slo=none", "seed=1..100000")
    process = subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/*/done/*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the same command goes on from there" in err
    path = next(tmp_path.glob("results/*"))
    assert open_study(path).n_done == len(list((path / "done").glob("*.json"))) > 0


def run_cli(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.main(words)
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["first_run", *SHORT, "router=round_robin,random", "seed=1..3"]
    code, out, _ = run_cli(["plan", *words], capsys)
    assert code == 0
    assert "2 points × 3 seeds" in out
    assert not (here / "results").exists()
    code, out, _ = run_cli(["sweep", *words], capsys)
    assert code == 0
    assert "router=random" in out or "random" in out
    (path,) = (here / "results").iterdir()
    assert sim.open("latest").runs.num_rows == 6
    code, out, err = run_cli(["sweep", *words], capsys)
    assert (code, err) == (0, "")
    assert path == next((here / "results").iterdir())


def test_parts_of_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "first_run", *SHORT, "router=round_robin,random", "seed=1..16"]
    code, out, _ = run_cli([*words, "--shard", "1/2"], capsys)
    assert code == 0
    assert "16 of 16 runs are done" in out
    assert sim.open("latest").n_done < sim.open("latest").n_shard
    code, _, err = run_cli([*words, "--shard", "9/9"], capsys)
    assert (code, err) == (0, "fleetsim: this part has nothing to run: there are 2 shards\n")
    code, _, _ = run_cli([*words, "--shard=2/2"], capsys)
    assert code == 0
    assert sim.open("latest").runs.num_rows == 32


def test_a_limit_that_fails_is_exit_code_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "first_run", *SHORT, 'slo=["ttft.p99 < 1 us"]', "seed=1..2"]
    assert run_cli(words, capsys)[0] == 3


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sweep"], "needs a study or a scenario first"),
        (["sweep", "first_rum"], "did you mean 'first_run'?"),
        (["sweep", "first_run", "gpu=h100,h10"], "is not one of"),
        (["sweep", "first_run", "pool.min_replicas=1..4"], "(at min_replicas=4)"),
        (["sweep", "first_run", "--shard", "3/2"], "allowed: i/n with 1 ≤ i ≤ n"),
        (["sweep", "first_run", "--executor", "rai"], "did you mean 'ray'?"),
        (["sweep", "first_run", "--force"], "'--force' is no option of it"),
        (["sweep", "first_run", "seed=1..3", "seed=4"], "seed is given twice"),
        (["plan", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["sql", "select 1"], "needs a query and a result"),
        (["sql", "select 1", "nowhere"], "the folder of a study, or latest"),
        (["sweep", "first_run", "duration_s=80000", "seed=1..1000000"], "--yes begins it without asking"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_cli(words, capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert line in err
    assert list(here.iterdir()) == []


def test_sql(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    query = "select autoscaler, count(*) as n, max(ttft_p99_s) as worst from runs group by all order by all"
    code, out, _ = run_cli(["sql", query, str(whole), "--json"], capsys)
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["autoscaler"], row["n"]) for row in rows] == [("fixed", 24), ("hpa", 48)]
    assert rows[0]["worst"] == max(
        r["ttft_p99_s"] for r in open_study(whole).runs.to_pylist() if r["autoscaler"] == "fixed"
    )
    code, _, err = run_cli(["sql", "select nothing from runs", str(whole)], capsys)
    assert (code, err.count("\n")) == (2, 1)


def test_without_duckdb_there_is_a_hint(
    whole: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    code, _, err = run_cli(["sql", "select 1", str(whole)], capsys)
    assert (code, err) == (2, "fleetsim: sql: DuckDB is not installed: pip install 'fleetsim[sql]'\n")


def test_packaged_studies_can_be_planned() -> None:
    studies = sorted((REPO / "scenarios" / "studies").glob("*.yaml"))
    assert len(studies) >= 3
    for path in studies:
        plan = make_plan(load_study(path.stem))
        check_points(plan)
        assert plan.study.question.endswith("?")


def test_from_python(tmp_path: Path) -> None:
    results = sim.study(
        "first_run", [*SHORT, "router=round_robin,random", "seed=1..2"], out=tmp_path, processes=1
    )
    assert results.runs.num_rows == 4
    assert sim.open(results.path).runs.equals(results.runs)


def test_a_mark_names_files_that_are_there(whole: Path) -> None:
    folder = StudyDir(whole)
    for path in (whole / "done").iterdir():
        mark = json.loads(path.read_text())
        assert folder.why_not_done(path.stem) is None
        assert all((whole / name).stat().st_size == about["bytes"] for name, about in mark["files"].items())


def pids_of(name: bytes) -> list[int]:
    """Processes of this machine whose command begins so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(name):
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_and_a_node_loses_nothing(whole: Path, tmp_path: Path) -> None:
    """Two raylets of Ray on this machine: a worker is killed after the first shard, one raylet after the third."""
    pytest.importorskip("ray", reason="Ray is not installed")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    steps: list[str] = []

    def disturb(share: float, *_: object) -> None:
        steps.append("shard")
        if len(steps) == 1:
            for pid in pids_of(b"ray::_on_ray")[:1]:
                os.kill(pid, signal.SIGKILL)
                steps.append("killed")
        elif steps.count("shard") == 3:
            cluster.remove_node(second, allow_graceful=False)

    try:
        done = execution.execute(small(), tmp_path / "s", executor="ray", progress=disturb)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert "killed" in steps
    assert done.is_whole
    assert files(tmp_path / "s") == files(whole)


@pytest.mark.slow
def test_workers_of_a_cluster(whole: Path, tmp_path: Path) -> None:
    """Ray with two workers on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        done = execution.execute(small(), tmp_path / "s", processes=2, executor="ray")
    finally:
        ray.shutdown()
    assert done.is_whole
    assert files(tmp_path / "s") == files(whole)


def test_every_package_is_said_to_change_results_or_not_to() -> None:
    """A new package is one of the two: what runs are kept under must change with it, or must not."""
    from sim.studies.planning import NOT_MODEL

    packages = {path.parent.name for path in Path(sim.__file__).parent.glob("*/__init__.py")}
    changing = {
        "analysis",
        "compile",
        "engine",
        "fill",
        "measures",
        "model",
        "pack",
        "records",
        "scenario",
        "steptime",
    }
    changing |= {"sweeps", "workload"}
    assert packages == changing | set(NOT_MODEL)
    assert not changing & set(NOT_MODEL)


def test_what_another_process_is_writing_is_not_taken_for_an_earlier_plan(tmp_path: Path) -> None:
    """Two may run the same study at once: the first to end removed what the other was writing."""
    folder = StudyDir(tmp_path)
    kinds = ("runs/autoscaler=hpa", "done")
    for kind in kinds:
        (tmp_path / kind).mkdir(parents=True)
        (tmp_path / kind / "other.json").write_text("{}")
    living = [tmp_path / kind / f"{own_prefix()}mine.json" for kind in kinds]
    for path in living:
        path.write_text("{}")
    dead = living[0].with_name(living[0].name.replace(f"-{os.getpid()}-", "-999999999-"))
    dead.write_text("{}")
    assert folder.remove_others(["mine"]) == 1
    assert [path.exists() for path in living] == [True, True]
    assert not dead.exists()
    assert not (tmp_path / "done" / "other.json").exists()
