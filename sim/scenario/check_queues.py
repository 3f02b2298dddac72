"""Rules between queues with quotas, the nodes that they share out, and the pools and jobs that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sim.errors import nearest, problem
from sim.scenario.check_jobs import workers_on
from sim.scenario.check_room import most_nodes
from sim.scenario.check_sharing import has_places
from sim.scenario.cluster import Cluster, NodeGroup
from sim.scenario.jobs import Job
from sim.scenario.pool import Pool
from sim.scenario.queues import (
    ClusterQueue,
    Cohort,
    FlavorQuota,
    all_cohorts,
    flavor_of,
    flavors_of,
    gpu_word,
    units_of,
)
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.sharing import is_shared
from sim.scenario.slices import kind_for, parts_of, profile_named


def queue_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule as one line."""
    cluster = scenario.cluster
    wrong = list(tree_problems(cluster)) or list(flavor_problems(cluster))
    yield from wrong
    if not wrong:
        yield from capacity_problems(cluster)
    for pool in scenario.pools:
        key = said.key(pool.name, "queue")
        yield from user_problems(key, pool, pool.queue, cluster, is_sound=not wrong)
    for place, job in enumerate(cluster.jobs):
        yield from user_problems(f"cluster.jobs.{place}.queue", job, job.queue, cluster, is_sound=not wrong)


# ---- the tree ----------------------------------------------------------------------
def tree_problems(cluster: Cluster) -> Iterator[str]:
    """Names are different, cohorts are there, and none is above itself."""
    for section, of in (("queues", cluster.queues), ("cohorts", cluster.cohorts)):
        names = [one.name for one in of]
        for place, name in enumerate(names):
            if name in names[:place]:
                yield problem(
                    f"cluster.{section}.{place}.name", name, f"a name that none of {section} before it has"
                )
    if cluster.queues and not cluster.node_groups:
        yield "cluster.queues: have nothing to share out: the cluster has no node groups"
    if not cluster.queues and (cluster.cohorts or cluster.fair_sharing is not None):
        key = "cohorts" if cluster.cohorts else "fair_sharing"
        yield f"cluster.{key}: means nothing without cluster.queues"
    for place, queue in enumerate(cluster.queues):
        yield from cohort_problems(f"cluster.queues.{place}.cohort", queue, cluster)
    names = [one.name for one in cluster.cohorts]
    for place, cohort in enumerate(cluster.cohorts):
        key = f"cluster.cohorts.{place}.parent"
        if cohort.parent is not None and cohort.parent not in names:
            allowed = f"one of cluster.cohorts: {', '.join(names)}; or null"
            yield problem(key, cohort.parent, allowed, nearest(cohort.parent, names))
        elif cohort.parent is not None and is_above_itself(cohort, cluster.cohorts):
            yield problem(key, cohort.parent, f"a cohort that {cohort.name} is not above, or null")


def cohort_problems(key: str, queue: ClusterQueue, cluster: Cluster) -> Iterator[str]:
    """A queue's cohort is one that is listed, or that another queue is in: else it is most likely misspelt."""
    if queue.cohort is None:
        return
    listed = [one.name for one in cluster.cohorts]
    others = [one.cohort for one in cluster.queues if one is not queue and one.cohort is not None]
    known = list(dict.fromkeys([*listed, *others]))
    if queue.cohort not in known:
        where = "one of cluster.cohorts, or of another queue"
        there = f" ({', '.join(known)})" if known else ""
        yield problem(
            key, queue.cohort, f"{where}{there}; null: it lends to nobody", nearest(queue.cohort, known)
        )


def is_above_itself(cohort: Cohort, cohorts: Sequence[Cohort]) -> bool:
    """Whether a cohort's parents lead back to it."""
    parent = {one.name: one.parent for one in cohorts}
    at = cohort.parent
    for _ in cohorts:
        if at == cohort.name:
            return True
        at = None if at is None else parent.get(at)
    return False


# ---- quotas ----------------------------------------------------------------------
def flavor_problems(cluster: Cluster) -> Iterator[str]:
    """Quotas name node groups or GPUs that are there, once, with limits that can mean something."""
    if not cluster.queues:
        return
    groups = cluster.node_groups
    known = list(
        dict.fromkeys([*(group.name for group in groups), *(gpu_word(group.gpu.name) for group in groups)])
    )
    nodes: list[tuple[str, ClusterQueue | Cohort, str | None]]
    nodes = [(f"cluster.queues.{i}", one, one.cohort) for i, one in enumerate(cluster.queues)]
    nodes += [(f"cluster.cohorts.{i}", one, one.parent) for i, one in enumerate(cluster.cohorts)]
    units = units_of(cluster.node_groups)
    for key, node, above in nodes:
        names = [quota.flavor for quota in node.quotas]
        if not names and isinstance(node, ClusterQueue):
            yield f"{key}.quotas: are empty; needed: a flavor and its nominal GPUs, as {{flavor: {known[-1]}, nominal: 8}}"
        for place, quota in enumerate(node.quotas):
            where = f"{key}.quotas.{place}"
            if quota.flavor not in known:
                allowed = f"a node group or its GPU: {', '.join(known)}"
                yield problem(f"{where}.flavor", quota.flavor, allowed, nearest(quota.flavor, known))
            elif quota.flavor in names[:place]:
                yield problem(f"{where}.flavor", quota.flavor, "a flavor that no quota before it has")
            yield from limit_problems(where, quota, above, units)


def limit_problems(where: str, quota: FlavorQuota, above: str | None, units: int) -> Iterator[str]:
    """Amounts are whole parts of GPUs; who is in no cohort neither borrows nor lends, nobody lends more than it has."""
    for name in ("nominal", "borrowing_limit", "lending_limit"):
        gpus = getattr(quota, name)
        if gpus is not None and abs(gpus * units - round(gpus * units)) > 1e-9 * units:
            yield problem(f"{where}.{name}", gpus, f"whole parts of a GPU, of which there are {units}")
        if gpus is not None and name != "nominal" and above is None:
            yield problem(f"{where}.{name}", gpus, "null: it is in no cohort")
    if quota.lending_limit is not None and quota.lending_limit > quota.nominal and above is not None:
        yield problem(f"{where}.lending_limit", quota.lending_limit, f"at most its nominal {quota.nominal:g}")


def capacity_problems(cluster: Cluster) -> Iterator[str]:
    """All nominal quotas of a flavor together are no more than there are GPUs when all nodes are there."""
    flavors = flavors_of(cluster.queues, cluster.cohorts)
    for flavor in flavors:
        mine = [group for group in cluster.node_groups if flavor_of(group, flavors) == flavor]
        most = sum(most_nodes(cluster, group) * group.gpus for group in mine)
        nodes: list[ClusterQueue | Cohort] = [*cluster.queues, *cluster.cohorts]
        given = [(one.name, quota.nominal) for one in nodes for quota in one.quotas if quota.flavor == flavor]
        total = sum(nominal for _, nominal in given)
        if total > most:
            key = "max_nodes" if cluster.autoscaler is not None else "initial_nodes"
            there = ", ".join(f"{nominal:g} of {name}" for name, nominal in given)
            of = f"those of {', '.join(group.name for group in mine)} by {key}"
            of = of if mine else "for other quotas name each of its node groups"
            yield (
                f"cluster.queues: nominal quotas of {flavor} are {total:g} GPUs ({there}); allowed: at most {most},"
                f" {of}"
            )


# ---- who names them ----------------------------------------------------------------------
@dataclass(frozen=True)
class Tree:
    """How much a queue could use of a flavor if nobody else used anything."""

    queues: Sequence[ClusterQueue]
    cohorts: Sequence[Cohort]

    def inside(self, cohort: Cohort) -> list[ClusterQueue | Cohort]:
        """The queues and cohorts in a cohort."""
        queues = [one for one in self.queues if one.cohort == cohort.name]
        return [*queues, *(one for one in self.cohorts if one.parent == cohort.name)]

    def has(self, node: ClusterQueue | Cohort, flavor: str) -> float:
        """What a node has with what those in it lend."""
        own = sum(quota.nominal for quota in node.quotas if quota.flavor == flavor)
        lent = sum(self.lent(one, flavor) for one in self.inside(node)) if isinstance(node, Cohort) else 0.0
        return own + lent

    def lent(self, node: ClusterQueue | Cohort, flavor: str) -> float:
        """What it lends at most."""
        limits = [q.lending_limit for q in node.quotas if q.flavor == flavor and q.lending_limit is not None]
        return min([self.has(node, flavor), *limits])

    def most(self, node: ClusterQueue | Cohort, flavor: str) -> float:
        """What it could use at most."""
        name = node.cohort if isinstance(node, ClusterQueue) else node.parent
        above = next((one for one in self.cohorts if one.name == name), None)
        if above is None:
            return self.has(node, flavor)
        own = self.has(node, flavor)
        limits = [
            own + q.borrowing_limit
            for q in node.quotas
            if q.flavor == flavor and q.borrowing_limit is not None
        ]
        return min([own - self.lent(node, flavor) + self.most(above, flavor), *limits])


def user_problems(
    key: str, user: Pool | Job, queue: str | None, cluster: Cluster, is_sound: bool
) -> Iterator[str]:
    """The queue that a pool or job names is there, and one of it alone fits what the queue could ever use."""
    if queue is None:
        return
    names = [one.name for one in cluster.queues]
    if queue not in names:
        allowed = f"one of cluster.queues: {', '.join(names)}" if names else "null: the cluster has no queues"
        yield problem(key, queue, allowed, nearest(queue, names))
        return
    if not is_sound:
        return
    found, flavors = cluster.queues[names.index(queue)], flavors_of(cluster.queues, cluster.cohorts)
    needs = {
        flavor_of(group, flavors) or group.name: gpus_of(user, group)
        for group in cluster.node_groups
        if gpus_of(user, group) > 0
    }
    own = [quota.flavor for quota in found.quotas]
    if not needs:
        return  # no node could hold it: that is said elsewhere
    able = [flavor for flavor in own if flavor in needs]
    if not able:
        there = (
            f"a queue with quota of {', '.join(needs)}, where {user.name} can run; it has {', '.join(own)}"
        )
        yield problem(key, queue, there)
        return
    tree = Tree(cluster.queues, all_cohorts(cluster.queues, cluster.cohorts))
    need = max(needs.values())
    if all(need > tree.most(found, flavor) + 1e-9 for flavor in able):
        most = ", ".join(f"{tree.most(found, flavor):g} of {flavor}" for flavor in able)
        what = "replica" if isinstance(user, Pool) else "run"
        yield (
            f"{key}: a {what} of {user.name} needs {need:g} GPUs at once; {queue} can use at most {most}, its nominal quota"
            " and what it may borrow; give it more, or a higher borrowing_limit"
        )


def gpus_of(user: Pool | Job, group: NodeGroup) -> float:
    """GPUs that a gang takes in a group, 0 where it cannot run there."""
    if isinstance(user, Job):
        share = slice_share(user.slice, group)
        return share * user.workers * user.gpus if workers_on(user, group) else 0.0
    named = not user.node_groups or group.name in user.node_groups
    if not named or group.gpu.name != user.gpu.name:
        return 0.0
    if group.sharing is not None or is_shared(user.slice):
        return 1 / group.places if has_places(group, user.slice) else 0.0
    return slice_share(user.slice, group) * user.gpus_per_replica


def slice_share(name: str | None, group: NodeGroup) -> float:
    """The part of a GPU that an instance of a profile takes, 1 for a whole GPU; 0 where the group has none."""
    kind = kind_for(group.gpu)
    if name is None:
        return float(group.mig == "whole")
    profile = None if kind is None else profile_named(kind, name)
    return 0.0 if kind is None or profile is None or group.mig == "whole" else parts_of(kind, profile).memory
