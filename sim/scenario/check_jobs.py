"""Rules between batch jobs and the nodes of a cluster: each gang could be placed, and its runs come within the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.errors import nearest, problem
from sim.scenario.check_sense import too_long
from sim.scenario.cluster import WHOLE, NodeGroup
from sim.scenario.geometry import offered
from sim.scenario.jobs import RUNS_MAX, Job
from sim.scenario.ranges import lowest
from sim.scenario.scenario import Scenario
from sim.scenario.slices import kind_for, profile_named

MEMORY_SLICES = 8


def job_problems(scenario: Scenario) -> Iterator[str]:
    """Every broken rule as one line."""
    groups, jobs = scenario.cluster.node_groups, scenario.cluster.jobs
    end_s = scenario.duration_s + scenario.drain_s
    for place, job in enumerate(jobs):
        key = f"cluster.jobs.{place}"
        if job.name in (other.name for other in jobs[:place]):
            yield problem(f"{key}.name", job.name, "a name that no job before it has")
        yield from time_problems(key, job, end_s)
        if not groups:
            yield f"{key}: has nowhere to run: the cluster has no node groups"
        else:
            yield from place_problems(key, job, groups)
    n_run = sum(len(job.times_s(end_s)) for job in jobs)
    if n_run > RUNS_MAX:
        yield problem("cluster.jobs", f"{n_run} runs", f"at most {RUNS_MAX}, of all jobs together")


def time_problems(key: str, job: Job, end_s: float) -> Iterator[str]:
    """Runs come before the end, and their work takes some time, but no longer than a run can be."""
    for place, at_s in enumerate(job.at_s):
        if at_s >= end_s:
            yield problem(f"{key}.at_s.{place}", at_s, f"less than {end_s:g} s, when the run is over")
    if lowest(job.duration) < 0:
        yield f"{key}.duration: can be negative ({lowest(job.duration):g} s); give it `min: 0`"
    yield from too_long(f"{key}.duration", job.duration)


def place_problems(key: str, job: Job, groups: Sequence[NodeGroup]) -> Iterator[str]:
    """Some zone could hold a gang; the first of a job's mistakes alone."""
    names = [group.name for group in groups]
    for place, name in enumerate(job.node_groups):
        if name not in names:
            allowed = f"a node group: {', '.join(names)}"
            yield problem(f"{key}.node_groups.{place}", name, allowed, nearest(name, names))
            return
    mine = [group for group in groups if not job.node_groups or group.name in job.node_groups]
    able = [group for group in mine if workers_on(job, group) > 0]
    if not able:
        yield from no_node_problems(key, job, mine)
        return
    room = {group.zone: 0 for group in able}
    for group in able:
        room[group.zone] += group.max_nodes * workers_on(job, group)
    if job.workers > max(room.values()):
        there = ", ".join(f"{n} in {zone}" for zone, n in room.items())
        yield problem(
            f"{key}.workers", job.workers, f"what a zone can hold when all its nodes are there: {there}"
        )


def workers_on(job: Job, group: NodeGroup) -> int:
    """How many workers of a job an empty node of a group could hold at most; 0 where it can hold none."""
    if not (group.gives_whole if job.slice is None else group.mig != WHOLE):
        return 0
    if job.slice is None:
        return group.gpus // job.gpus
    kind = kind_for(group.gpu)
    profile = None if kind is None else profile_named(kind, job.slice)
    if profile is None or profile not in offered(group) or job.gpus > group.gpus:
        return 0
    return group.gpus * profile.max_instances // job.gpus


def no_node_problems(key: str, job: Job, groups: Sequence[NodeGroup]) -> Iterator[str]:
    """No node could hold a worker: its slice is of no group, or it has more GPUs than a node."""
    whole = [group for group in groups if group.gives_whole]
    if job.slice is None and not whole:
        there = list(dict.fromkeys(one.profile for group in groups for one in offered(group)))
        yield problem(f"{key}.slice", None, f"a profile, for the GPUs are cut: {', '.join(there)}")
    elif job.slice is None:
        of_nodes = ", ".join(f"{group.gpus} in {group.name}" for group in whole)
        most = max(group.gpus for group in whole)
        allowed = f"up to {most}, the GPUs of a node ({of_nodes}); workers may lie on several nodes"
        yield problem(f"{key}.gpus", job.gpus, allowed)
    else:
        profiles = list(dict.fromkeys(one.profile for group in groups for one in offered(group)))
        if job.slice in profiles:
            most = max(group.gpus for group in groups)
            yield problem(
                f"{key}.gpus", job.gpus, f"up to {most}: a worker has one instance of each of its GPUs"
            )
            return
        allowed = f"what GPUs are cut into: {', '.join(profiles)}" if profiles else "null: the GPUs are whole"
        yield problem(f"{key}.slice", job.slice, allowed, nearest(job.slice, profiles))
