"""Faults that last for a while, or come again and again: slow GPUs and links, crashes, hangs, lost GPUs."""

from __future__ import annotations

from sim.model.tables.pool import N_QUANTILE
from sim.schema import Array, Field, Row
from sim.units import NEVER

FACTOR_BITS = 20
FACTOR_ONE = 1 << FACTOR_BITS
FACTOR_MAX = 1 << 30  # of several faults together: a thousand times as slow

SLOW_STEPS, SLOW_LINK, CRASH, HANG, GPU_LOST = range(5)
LOSING = (CRASH, HANG, GPU_LOST)  # what is held fails


class Episode(Row):
    """A fault that begins and ends: what it strikes and how hard. Of groups, zones, pools and links: 1 + which, 0 = any."""

    kind = Field("SLOW_STEPS …")
    pool = Field("1 + the pool of which replicas are struck, 0 = any")
    node_group = Field("1 + the group of which nodes are struck, 0 = any")
    zone = Field("1 + the zone in which they are struck, 0 = any")
    link = Field("1 + the link that is struck")
    is_of_nodes = Field("1 = it strikes nodes, with the replicas on them; 0 = replicas of a pool")
    is_of_tp = Field("1 = it strikes only replicas whose GPUs exchange what they compute")
    units = Field("how many nodes, GPUs or replicas, drawn at random; NEVER = all", begin=NEVER)
    factor_q20 = Field("what the time of a step, or the capacity of a link, is multiplied by")
    at_ps = Field("when it begins, once; NEVER = drawn, again and again", begin=NEVER)
    lasts_ps = Field("how long it lasts, where that is not drawn")
    clock = Field("1 + the row that its times are drawn from, 0 = none")
    first_victim = Field("row of the first of the nodes or replicas that it strikes, where not all are")
    n_victim = Field("how many those are at most")


class FaultClock(Row):
    """What the times of a fault that lasts for a while are drawn from."""

    gap_ps = Array("from its end to its next beginning: one of these, equally likely", N_QUANTILE, unit="ps")
    lasts_ps = Array("how long it lasts: one of these, equally likely", N_QUANTILE, unit="ps")


class EpisodeState(Row):
    """What has become of such a fault."""

    next_ps = Field("when it begins or ends next, NEVER = not again")
    is_on = Field("1 = it lasts")
    event = Field("the number of the event of its beginning")
    n = Field("how often it has begun")
    n_struck = Field("nodes or replicas that it strikes now, where not all are")


class Victim(Row):
    """A node or a replica that a fault strikes."""

    unit = Field("its number")
    birth = Field(
        "which request of a node, or start of a replica, it is: one that takes its place is not struck"
    )


class RandomFault(Row):
    """Nodes that are lost again and again: spot capacity that is reclaimed, zones and machines that fail."""

    node_group = Field("1 + the group of which nodes are lost, 0 = any")
    zone = Field("1 + the zone in which they are lost, 0 = any")
    nodes = Field("how many nodes each time, drawn at random; NEVER = all", begin=NEVER)
    notice_ps = Field(
        "how long before it is lost a node is told: it takes nothing new, and its replicas drain"
    )
    gap_ps = Array("time from the end of one outage to the next: one of these, equally likely", N_QUANTILE)
    outage_ps = Array(
        "how long the groups then get no nodes: one of these, equally likely", N_QUANTILE, unit="ps"
    )


class RandomFaultState(Row):
    """What has struck."""

    next_ps = Field("when it strikes next")
    n = Field("how often it has struck: the number of the next time")
