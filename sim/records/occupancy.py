"""Who held which slices of which GPU, and when, and what became of nodes: retold from the events of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

PLACED = "placed"  # it has its slices, which are not yet there for it: MIG instances are being made
RUNNING = "job"
READY, CORDONED, REQUESTED = "ready", "cordoned", "requested"
KEPT_MAX = (1 << 17) - 1  # so many events of a run are kept

Node = tuple[str, int]  # node group, which node of it
Workload = tuple[str, str, int]  # "replica" or "job", pool or job, which of it

#: What is read of an event.
COLUMNS = (
    *("time_ps", "event", "node_group", "node", "pool", "replica", "job", "run", "stage"),
    *("cause", "cause_of", "gpus", "first_slices", "slices"),
)
#: Event → what a replica is from then on; None: it holds nothing any longer.
REPLICA_IS = {
    "replica_ready": READY,
    "replica_drains": "draining",
    "replica_crashed": "engine_start",
    "replica_gone": None,
}
JOB_ENDS = ("job_preempted", "job_lost", "job_finished", "job_failed")
NODE_IS = {
    "node_requested": REQUESTED,
    "node_ready": READY,
    "node_cordoned": CORDONED,
    "node_uncordoned": READY,
    "node_refused": None,
    "node_removed": None,
    "node_lost": None,
}
#: Events that a picture marks.
MARKED = (
    *("fault_struck", "fault_begins", "fault_ends", "node_notice", "node_cordoned", "node_drained"),
    *("node_lost", "node_refused", "gpu_lost", "gpu_repaired", "replica_crashed", "replica_hangs"),
    *("replica_lost", "replica_preempted", "replica_evicted", "job_preempted", "job_lost"),
)


class Place(NamedTuple):
    """Memory slices of one GPU of a node."""

    node: Node
    gpu: int
    first: int
    slices: int


class Held(NamedTuple):
    """A replica or a run of a job that holds slices, as long as it is in one stage."""

    place: Place
    who: Workload
    stage: str
    begin_ps: int
    end_ps: int


class NodeSpan(NamedTuple):
    """A node, as long as it is in one stage."""

    node: Node
    stage: str
    begin_ps: int
    end_ps: int


class Mark(NamedTuple):
    """Something that happened at one instant, on a node or to the whole cluster (None)."""

    time_ps: int
    event: str
    node: Node | None
    who: Workload | None
    cause: str


class Occupancy(NamedTuple):
    """What a cluster was, in the order in which spans end; `is_whole` says whether all events of the run were kept."""

    nodes: list[NodeSpan]
    held: list[Held]
    marks: list[Mark]
    is_whole: bool


def occupancy(events: pa.Table, end_ps: int) -> Occupancy:
    """Retells the events of a run that ended at `end_ps`; what is still there then ends then."""
    told = _Teller()
    for row in rows_of(events):
        told.tell(row)
    told.end(end_ps)
    return Occupancy(told.nodes, told.held, told.marks, events.num_rows < KEPT_MAX)


def rows_of(events: pa.Table) -> Iterator[Mapping[str, Any]]:
    """The events one after the other, as far as the cluster's shape depends on them."""
    for values in zip(*(events.column(name).to_pylist() for name in COLUMNS), strict=True):
        yield dict(zip(COLUMNS, values, strict=True))


def workload_of(row: Mapping[str, Any]) -> Workload | None:
    """The replica or the run of a job that an event is of."""
    if row["replica"] is not None:
        return ("replica", row["pool"], row["replica"])
    return ("job", row["job"], row["run"]) if row["run"] is not None else None


class _Teller:
    """Follows the events of a run."""

    def __init__(self) -> None:
        self.nodes: list[NodeSpan] = []
        self.held: list[Held] = []
        self.marks: list[Mark] = []
        self._node: dict[Node, tuple[str, int]] = {}  # what it is, since when
        self._who: dict[Workload, tuple[str, int]] = {}
        self._places: dict[Workload, list[Place]] = {}

    def tell(self, row: Mapping[str, Any]) -> None:
        """The next event."""
        event, t = row["event"], row["time_ps"]
        node = (row["node_group"], row["node"]) if row["node_group"] is not None else None
        who = workload_of(row)
        if event in MARKED:
            on = node or self._node_of(who)
            self.marks.append(Mark(t, event, on, who, row["cause_of"] or row["cause"] or ""))
        if node is not None and (event in NODE_IS or event == "node_stage"):
            self._turn_node(node, NODE_IS.get(event, row["stage"]), t)
        elif who is None:
            return
        elif event in ("replica_placed", "job_placed"):
            self._places[who] = list(places_of(row))
            self._turn(who, PLACED if who[0] == "replica" else RUNNING, t)
        elif event == "member_placed":
            since = self._who[who][0]
            self._turn(who, None, t, keeps=True)
            self._places[who] += places_of(row)
            self._who[who] = (since, t)
        elif event in REPLICA_IS or event == "replica_stage":
            self._turn(who, REPLICA_IS.get(event, row["stage"]), t)
        elif event in JOB_ENDS:
            self._turn(who, None, t)

    def end(self, end_ps: int) -> None:
        """The run is over."""
        for node in list(self._node):
            self._turn_node(node, None, end_ps)
        for who in list(self._who):
            self._turn(who, None, end_ps)

    def _node_of(self, who: Workload | None) -> Node | None:
        places = self._places.get(who, []) if who is not None else []
        return places[0].node if places else None

    def _turn_node(self, node: Node, stage: str | None, t: int) -> None:
        was = self._node.pop(node, None)
        if was is not None and t > was[1]:
            self.nodes.append(NodeSpan(node, was[0], was[1], t))
        if stage is not None:
            self._node[node] = (stage, t)

    def _turn(self, who: Workload, stage: str | None, t: int, keeps: bool = False) -> None:
        was = self._who.pop(who, None)
        if was is not None and t > was[1]:
            self.held += [Held(place, who, was[0], was[1], t) for place in self._places[who]]
        if stage is not None and who in self._places:
            self._who[who] = (stage, t)
        elif not keeps:
            self._places.pop(who, None)


def places_of(row: Mapping[str, Any]) -> Iterator[Place]:
    """What a placement takes."""
    node = (row["node_group"], row["node"])
    for gpu, first in zip(row["gpus"].split(), row["first_slices"].split(), strict=True):
        yield Place(node, int(gpu), int(first), int(row["slices"]))
