"""Batch jobs of a scenario: what they hold, what they lose, what they cost, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.errors import InputError
from sim.records.run_dir import read_run
from sim.scenario.compose import load_scenario
from sim.scenario.jobs import Job

NODE = (
    "cluster.node_groups=[{name: own, gpu: h100, gpus: 8, min_nodes: 1, max_nodes: 1, usd_per_node_hour: 8}]"
)
WORDS = ("first_run", "coldstart=local_nvme", "duration_s=120", "output.records=true")


def jobs(*lines: str) -> str:
    """An override that has these jobs."""
    return f"cluster.jobs=[{', '.join('{' + line + '}' for line in lines)}]"


def test_a_run_waits_works_and_is_paid_for() -> None:
    # first_run's two replicas hold a GPU each: two runs of four do not fit beside them at once
    run = sim.run(
        WORDS[0], [*WORDS[1:], NODE, jobs("name: tune, gpus: 4, at_s: [10], count: 2, duration: 30")]
    )
    first, second = run.jobs.to_pylist()
    assert (first["placed_s"], first["ended_s"]) == (10, 40)
    assert (second["placed_s"], second["ended_s"], second["gpu_s"]) == (40, 70, 120)
    group = run.summary["node_groups"]["own"]
    assert group["usd_jobs"] == pytest.approx(8 * (2 * 30 / 3600) * 4 / 8)
    parts = [value for key, value in group.items() if key.startswith("usd_")]
    assert group["usd"] == pytest.approx(sum(parts))
    assert run.summary["usd"] == pytest.approx(sum(line["usd"] for line in run.summary["usd_lines"]))


def test_what_was_done_since_the_last_checkpoint_is_lost_with_the_node() -> None:
    lost = "faults=[{at_s: 45, node_group: spare}]"
    nodes = "cluster.node_groups=[{name: own, gpu: h100, gpus: 2, min_nodes: 1, max_nodes: 1},"
    nodes += "{name: spare, gpu: h100, gpus: 4, min_nodes: 1, max_nodes: 2, initial_nodes: 2}]"
    tune = (
        "name: tune, gpus: 4, at_s: [10], duration: 60, checkpoint_s: 20, startup_s: 5, node_groups: [spare]"
    )
    run = sim.run(WORDS[0], [*WORDS[1:], nodes, lost.replace("spare", "spare, nodes: 1"), jobs(tune)])
    (row,) = run.jobs.to_pylist()
    # from 15 s on it works: 30 s by 45, of which 20 are safe; then 5 and the 40 that are left
    assert (row["losses"], row["placements"], row["lost_gpu_s"]) == (1, 2, 4 * 10)
    assert row["ended_s"] == 45 + 5 + 40
    assert row["gpu_s"] == 4 * (35 + 45)


def test_a_job_that_matters_more_takes_the_gpus_of_another() -> None:
    tune = "name: tune, gpus: 6, at_s: [10], duration: 60, max_restarts: 0"
    check = "name: check, gpus: 4, at_s: [30], duration: 5, priority_class: 1"
    run = sim.run(WORDS[0], [*WORDS[1:], NODE, jobs(tune, check)])
    first, second = run.jobs.to_pylist()
    assert (first["job"], first["state"], first["preemptions"], first["ended_s"]) == ("tune", "failed", 1, 30)
    assert first["gpu_s"] == first["lost_gpu_s"] == 6 * 20
    assert (second["state"], second["placed_s"], second["ended_s"]) == ("finished", 30, 35)


def test_runs_come_again_and_again_to_the_end() -> None:
    assert Job(name="a", at_s=(0.0, 5.0), every_s=10.0, count=2).times_s(30) == [0, 0, 5, 5, 15, 15, 25, 25]


def test_a_folder_keeps_the_jobs(tmp_path: Path) -> None:
    run = sim.run(WORDS[0], [*WORDS[1:], NODE, jobs("name: tune, at_s: [10], duration: 30")])
    assert read_run(run.write(tmp_path / "kept")).tables.jobs.equals(run.jobs)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("name: a, gpus: 9", "cluster.jobs.0.gpus: 9 is not valid; allowed: up to 8, the GPUs of a node"),
        (
            "name: a, gpus: 8, workers: 2",
            "cluster.jobs.0.workers: 2 is not valid; allowed: what a zone can hold",
        ),
        ("name: a, slice: 1g.10gb", "cluster.jobs.0.slice: '1g.10gb' is not valid; allowed: null"),
        ("name: a, node_groups: [owm]", "did you mean 'own'?"),
        ("name: a, at_s: [99999]", "cluster.jobs.0.at_s.0: 99999.0 is not valid; allowed: less than"),
        ("name: a}, {name: a", "cluster.jobs.1.name: 'a' is not valid"),
        ("name: a, every_s: 0.001", "runs' is not valid; allowed: at most 10000"),
        ("name: a, duration: {kind: uniform, low: -5, high: 9}", "cluster.jobs.0.duration: can be negative"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario(WORDS[0], [*WORDS[1:], NODE, jobs(line)])
    (told,) = refused.value.problems
    assert says in told


def test_jobs_need_nodes() -> None:
    with pytest.raises(InputError, match="the cluster has no node groups"):
        load_scenario("first_run", [jobs("name: a")])
