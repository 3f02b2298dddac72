"""Queues with quotas of a scenario: who gets GPUs, who gives them back, what is kept of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.errors import InputError
from sim.records.run_dir import read_run
from sim.scenario.compose import load_scenario

NODE = "cluster.node_groups=[{name: own, gpu: h100, gpus: 8, min_nodes: 1, max_nodes: 1}]"
WORDS = ("coldstart=local_nvme", "duration_s=120", "output.records=true", "pool.queue=serving")
RECLAIMS = "preemption: {reclaim_within_cohort: any}"


def queues(*lines: str) -> str:
    """An override that has these queues."""
    return f"cluster.queues=[{', '.join('{' + line + '}' for line in lines)}]"


def two(serving: int, training: int, more: str = RECLAIMS) -> str:
    """Two queues of one cohort."""
    quota = "cohort: all, quotas: [{{flavor: h100, nominal: {}}}]"
    return queues(
        f"name: serving, {quota.format(serving)}, {more}", f"name: training, {quota.format(training)}"
    )


def test_what_a_queue_lends_it_gets_back(tmp_path: Path) -> None:
    # two replicas have a GPU each, training the six others, two of them lent; at 30 s serving wants two more
    tune = "{name: tune, gpus: 3, at_s: [10], count: 2, duration: 60, checkpoint_s: 8, queue: training}"
    check = "{name: check, gpus: 2, at_s: [30], duration: 20, queue: serving}"
    run = sim.run("first_run", [*WORDS, NODE, two(4, 4), f"cluster.jobs=[{tune}, {check}]"])
    serving, training = (run.summary["queues"][name] for name in ("serving", "training"))
    assert (serving["run_quota_wait_max_s"], serving["run_taken"]) == (0, 0)
    assert (training["run_taken"], training["nominal_gpus"]) == (1, 4)
    assert training["borrowed_gpus_mean"] > 0
    events = run.events.to_pylist()
    (taken,) = [event for event in events if event["event"] == "quota_taken"]
    assert (taken["time_s"], taken["job"], taken["reason"], taken["cause"]) == (
        30,
        "tune",
        "reclaim",
        "quota",
    )
    assert taken["cause_of"] == "check/0"
    gave_way = next(event for event in events if event["event"] == "job_preempted")
    assert (gave_way["because"], gave_way["time_s"]) == (taken["event_id"], 30)
    (short,) = [event for event in events if event["event"] == "quota_short" and event["queue"] == "training"]
    assert (short["time_s"], short["reason"]) == (31, "in_use")
    again = [event for event in events if event["event"] == "workload_admitted" and event["job"] == "tune"][
        -1
    ]
    assert (again["time_s"], again["waited_s"], again["waited_for"]) == (50, 20, "job_finished")
    seen = read_run(run.write(tmp_path / "kept")).tables.queues
    assert seen.equals(run.queues)
    rows = seen.to_pylist()
    assert max(row["borrowed_gpus"] for row in rows if row["queue"] == "training") == 2
    assert {row["flavor"] for row in rows} == {"h100"}


def test_who_has_quota_may_find_no_gpus() -> None:
    # quota of eight GPUs on two nodes of four; two runs of three leave one GPU on each, and a replica needs two of one node
    nodes = "cluster.node_groups=[{name: own, gpu: h100, gpus: 4, min_nodes: 2, max_nodes: 2}]"
    job = "cluster.jobs=[{name: tune, gpus: 3, count: 2, duration: 60, queue: training}]"
    words = ["pool.tp=2", "pool.min_replicas=0", "autoscaler=queue_to_zero", "pool.max_replicas=1"]
    run = sim.run("first_run", [*WORDS, *words, "pool.initial_replicas=0", nodes, two(2, 6), job])
    assert run.summary["queues"]["serving"]["run_unplaceable"] == 1
    assert run.summary["slice_waits"]["main"]["run_wait_max_s"] >= 20
    assert max(row["unplaced"] for row in run.queues.to_pylist() if row["queue"] == "serving") == 1


ONE = "name: a, quotas: [{flavor: h100, nominal: 6}]"
REFUSED = {
    (
        queues("name: a, quotas: [{flavor: h1000, nominal: 4}]"),
    ): "flavor: 'h1000' is not valid; allowed: a node group",
    (
        queues("name: a, cohort: copany, quotas: [{flavor: h100, nominal: 4}]"),
    ): "cohort: 'copany' is not valid",
    (
        queues(ONE, "name: b, quotas: [{flavor: h100, nominal: 3}]"),
    ): "are 9 GPUs (6 of a, 3 of b); allowed: at most 8",
    (queues(ONE, ONE.replace("6", "1")),): "cluster.queues.1.name: 'a' is not valid",
    (
        queues("name: a, quotas: [{flavor: h100, nominal: 6, borrowing_limit: 3}]"),
    ): "null: it is in no cohort",
    (
        queues("name: a, quotas: [{flavor: h100, nominal: 2.3}]"),
    ): "whole parts of a GPU, of which there are 8",
    (queues("name: a, quotas: []"),): "cluster.queues.0.quotas: are empty",
    ("cluster.fair_sharing=final",): "means nothing without cluster.queues",
    ("pool.queue=a",): "pool.queue: 'a' is not valid; allowed: null: the cluster has no queues",
    (queues(ONE), "pool.queue=b"): "pool.queue: 'b' is not valid; allowed: one of cluster.queues: a",
    (queues(ONE), "pool.queue=a", "pool.tp=8"): "needs 8 GPUs at once; a can use at most 6 of h100",
    (queues(ONE), "cluster.cohorts=[{name: c, parent: d}]"): "cluster.cohorts.0.parent: 'd' is not valid",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as found:
        load_scenario("first_run", [NODE, *words])
    assert len(found.value.problems) == 1
    assert REFUSED[words] in found.value.problems[0]
