"""What a user's placing function (`cluster.law`) is told, and what comes of its answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.engine.policies import Law, nodes_in_order
from sim.model.tables.codes import OK
from sim.model.tables.run import Params, State
from sim.units import PS_PER_S


class NodeWithRoom(NamedTuple):
    """A ready node with room for the replica that waits, as a user's placing function sees it."""

    node: int
    group: str
    zone: int  # zones are numbered in the order of the groups
    gpus: int
    free_gpus: float  # eighths of a GPU are memory slices
    idle_gpus: int  # whole ones that nobody has a slice of
    replicas: dict[str, int]  # of each pool that has some there, those that drain among them


class Placing(NamedTuple):
    """What a user's placing function sees: a replica that waits, and the nodes that have room for it."""

    time_s: float
    pool: str
    priority: int
    waited_s: float
    gang: int  # nodes that it may spread over: pp
    gpus: int  # of each of them
    nodes: list[NodeWithRoom]


class Placer:
    """A user's placing function, and the names of what it is told of."""

    def __init__(self, law: Law, pools: list[str], groups: list[str]) -> None:
        self.law, self.pools, self.groups = law, pools, groups

    def answer(self, p: Params, st: State) -> None:
        """Ask where the replica that is looked at is to go, and rank the nodes so."""
        seen = self.seen(p, st)
        order = nodes_in_order(self.law, seen)
        nodes = st.rows("node", int(p.n_node))
        nodes["rank"] = 0
        nodes["rank"][order] = np.arange(len(order), 0, -1)
        st.is_answered = 1
        st.status = OK

    def seen(self, p: Params, st: State) -> Placing:
        """The replica, and the nodes that have room for it."""
        r = int(st.asked_replica)
        pool = int(st.replica[r].pool)
        place = p.pool_place[pool]
        t = int(st.placement_ps)
        rows = st.rows("node", int(p.n_node))
        return Placing(
            time_s=t / PS_PER_S,
            pool=self.pools[pool],
            priority=int(place.priority),
            waited_s=(t - int(st.workload[r].since_ps)) / PS_PER_S,
            gang=int(place.n_member),
            gpus=int(place.member_gpus),
            nodes=[self.node(p, st, i) for i in np.flatnonzero(rows["rank"]).tolist()],
        )

    def node(self, p: Params, st: State, i: int) -> NodeWithRoom:
        """One node."""
        node = st.node[i]
        group = int(node.group)
        gpus = int(p.node_group[group].gpus)
        first = int(node.first_gpu)
        there: dict[str, int] = {}
        for r in replicas_on(p, st, i):
            name = self.pools[int(st.replica[r].pool)]
            there[name] = there.get(name, 0) + 1
        return NodeWithRoom(
            node=i,
            group=self.groups[group],
            zone=int(p.node_group[group].zone),
            gpus=gpus,
            free_gpus=gpus - int(node.used_slices) / int(p.node_group[group].slices),
            idle_gpus=sum(int(st.gpu[u].busy) == 0 for u in range(first, first + gpus)),
            replicas=there,
        )


def replicas_on(p: Params, st: State, node: int) -> set[int]:
    """The replicas that hold slices of a node; runs of jobs are none."""
    found = set()
    number = int(st.node[node].first_held)
    while number >= 0:
        if int(st.member[number].replica) < int(p.n_replica):
            found.add(int(st.member[number].replica))
        number = int(st.member[number].next)
    return found
