"""Rules between faults and what they strike: pools, nodes and links that there are, at times within the run."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import nearest, problem
from sim.scenario.check_cluster import GAP_MIN_S, lost_node_problems, where_problems
from sim.scenario.check_sense import too_long
from sim.scenario.faults import Crash, Fault, GpuLost, Hang, Slow, SlowLink, Timed
from sim.scenario.ranges import highest, lowest, mean
from sim.scenario.scenario import Scenario


def fault_problems(scenario: Scenario) -> Iterator[str]:
    """Every fault strikes something that there is, before the run is over."""
    for place, fault in enumerate(scenario.faults):
        key = f"faults.{place}"
        if isinstance(fault, Fault):
            yield from loss_problems(key, fault, scenario)
        else:
            yield from time_problems(key, fault)
        if isinstance(fault, Slow):
            yield from slow_problems(key, fault, scenario)
        elif isinstance(fault, GpuLost) and not scenario.cluster.node_groups:
            yield f"{key}.kind: gpu_lost strikes nothing: the cluster has no node groups; allowed: crash, or a cluster"
        elif isinstance(fault, GpuLost):
            yield from where_problems(key, fault, scenario.cluster.node_groups)
        elif isinstance(fault, Crash | Hang):
            yield from pool_problems(key, fault.pool, scenario)
        elif isinstance(fault, SlowLink):
            names = [link.name for link in scenario.links]
            if fault.link not in names:
                known = ", ".join(names) or "there are none: give links some"
                yield problem(f"{key}.link", fault.link, f"links: {known}", nearest(fault.link, names))
        if fault.at_s is not None and fault.at_s >= scenario.duration_s:
            yield problem(f"{key}.at_s", fault.at_s, f"less than duration_s ({scenario.duration_s:g} s)")


def loss_problems(key: str, fault: Fault, scenario: Scenario) -> Iterator[str]:
    """Replicas are lost of one pool, or nodes of a group or a zone."""
    names = [pool.name for pool in scenario.pools]
    if fault.is_of_nodes or fault.nodes is not None or fault.outage_s > 0 or fault.drains:
        yield from lost_node_problems(key, fault, scenario)
    elif fault.pool is None and len(names) > 1:
        yield problem(f"{key}.pool", None, f"one of {', '.join(names)}")
    yield from pool_problems(key, fault.pool, scenario)


def pool_problems(key: str, pool: str | None, scenario: Scenario) -> Iterator[str]:
    """A pool that is named is there."""
    names = [one.name for one in scenario.pools]
    if pool is not None and pool not in names:
        yield problem(f"{key}.pool", pool, ", ".join(names), nearest(pool, names))


def time_problems(key: str, fault: Timed | Crash | Hang) -> Iterator[str]:
    """It comes once or again and again, and lasts some time."""
    if (fault.at_s is None) == (fault.gap is None):
        both = "both" if fault.gap is not None else "neither"
        yield f"{key}: has {both} of at_s and gap; allowed: at_s, when it comes once, or gap, when it comes again and again"
    for name in ("gap", "lasts"):
        dist = getattr(fault, name, None)
        if dist is None:
            continue
        if lowest(dist) < 0:
            yield f"{key}.{name}: can be negative ({lowest(dist):g} s); give it `min: 0`"
        yield from too_long(f"{key}.{name}", dist)
    if isinstance(fault, Timed) and highest(fault.lasts) <= 0:
        yield f"{key}.lasts: is never more than 0 s; allowed: some seconds, or a distribution of them"
    if fault.gap is not None and mean(fault.gap) < GAP_MIN_S and lowest(fault.gap) >= 0:
        yield f"{key}.gap: has a mean of {mean(fault.gap):g} s; allowed: a mean of at least {GAP_MIN_S:g} s"


def slow_problems(key: str, fault: Slow, scenario: Scenario) -> Iterator[str]:
    """Replicas of a pool that there is are slow, or those on nodes that there are."""
    yield from pool_problems(key, fault.pool, scenario)
    if fault.is_of_nodes:
        groups = scenario.cluster.node_groups
        if not groups:
            name = next(n for n in ("node_group", "zone", "nodes") if getattr(fault, n) is not None)
            allowed = "null: the cluster has no node groups; say a pool"
            yield problem(f"{key}.{name}", getattr(fault, name), allowed)
        else:
            yield from where_problems(key, fault, groups)
        if fault.replicas is not None:
            yield problem(
                f"{key}.replicas",
                fault.replicas,
                "null where nodes are struck: all replicas on them are slow",
            )
    named = [pool for pool in scenario.pools if fault.pool in (None, pool.name)]
    if fault.kind == "nvlink" and named and all(pool.tp == 1 for pool in named):
        of = f"pool {fault.pool}" if fault.pool else "every pool"
        yield f"{key}.kind: nvlink strikes nothing: {of} has tp 1; allowed: slow, or a pool with tp above 1"
