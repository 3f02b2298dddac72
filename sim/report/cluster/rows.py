"""The rows of a picture of GPUs: which nodes there were, how their GPUs are called, what colours and marks stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.model.placement.mig import N_SLICE
from sim.records.occupancy import CORDONED, PLACED, READY, RUNNING, Mark, Node, Occupancy, Place
from sim.report.series import STAGE_LABELS
from sim.report.style import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    OTHER_STAGE,
    PALE,
    PURPLE,
    RED,
    SKY,
    STAGE_COLOURS,
)

COMING, FREE, CORDONED_FREE = "node on its way", "free", "cordoned, free"
MAKING, JOB = "instance is made", "batch job"

#: What a node's GPUs are shown as where nobody holds them.
NODE_COLOURS = {COMING: "#C8C2B4", FREE: PALE, CORDONED_FREE: "#D8C3A5"}
#: What slices are shown as that somebody holds, in the order of the legend.
HELD_COLOURS = {MAKING: "#E8D9F1", **STAGE_COLOURS, JOB: BLUE}


class Look(NamedTuple):
    """How a kind of mark is drawn."""

    shape: str
    colour: str


#: Event → what its mark is called.
MARK_NAMES = {
    **dict.fromkeys(("fault_struck", "fault_begins"), "fault"),
    "fault_ends": "fault ends",
    "node_notice": "told that it will be lost",
    **dict.fromkeys(("node_cordoned", "node_drained"), "cordoned or drained"),
    "node_lost": "node lost",
    "node_refused": "no capacity",
    "gpu_lost": "GPU lost",
    "gpu_repaired": "GPU repaired",
    **dict.fromkeys(("replica_crashed", "replica_hangs"), "crashed or hung"),
    **dict.fromkeys(("replica_lost", "job_lost"), "lost what it computed"),
    **dict.fromkeys(("replica_preempted", "replica_evicted", "job_preempted"), "preempted or evicted"),
}
MARK_LOOKS = {
    "fault": Look("triangle-down", RED),
    "fault ends": Look("triangle-up", GREEN),
    "told that it will be lost": Look("diamond", ORANGE),
    "cordoned or drained": Look("square", BROWN),
    "node lost": Look("cross", RED),
    "no capacity": Look("circle", GREY),
    "GPU lost": Look("triangle-down", PURPLE),
    "GPU repaired": Look("triangle-up", SKY),
    "crashed or hung": Look("diamond", PURPLE),
    "lost what it computed": Look("diamond", RED),
    "preempted or evicted": Look("square", BLACK),
}


#: Event → those that say it too, and more.
LOUDER = {
    "node_cordoned": {"node_notice", "node_drained"},
    "replica_lost": {"node_lost", "gpu_lost"},
    "job_lost": {"node_lost", "gpu_lost"},
    "replica_evicted": {"node_drained"},
}


class GpuRows(NamedTuple):
    """The GPUs that there were, one row each, the nodes of a group behind one another."""

    first_row: dict[Node, int]
    gpus: dict[Node, int]
    places: dict[str, int]  # node group → places of one of its GPUs
    n: int

    def label(self, node: Node, gpu: int | None = None) -> str:
        """What a node, or one of its GPUs, is called."""
        name = f"{node[0]} {node[1]}"
        return name if gpu is None or self.gpus[node] == 1 else f"{name} · GPU {gpu}"

    def band(self, place: Place) -> tuple[float, float]:
        """From where to where slices lie, in rows."""
        whole = self.places[place.node[0]]
        top = self.first_row[place.node] + place.gpu
        return top + place.first / whole, top + (place.first + place.slices) / whole

    def slices_text(self, place: Place) -> str:
        """Which part of its GPU is held."""
        whole = self.places[place.node[0]]
        if place.slices == whole:
            return "all"
        last = place.first + place.slices - 1
        return f"{place.first} of {whole}" if place.slices == 1 else f"{place.first} to {last} of {whole}"


def gpu_rows(config: Mapping[str, Any], told: Occupancy) -> GpuRows:
    """The rows of the nodes that a run ever had; `config` is its config.json."""
    groups = groups_of(config)
    seen = {span.node for span in told.nodes} | {held.place.node for held in told.held}
    order = {name: i for i, name in enumerate(groups)}
    first_row: dict[Node, int] = {}
    at = 0
    gpus: dict[Node, int] = {}
    for node in sorted(seen, key=lambda node: (order.get(node[0], len(order)), node)):
        held = [one.place.gpu for one in told.held if one.place.node == node] if node[0] not in groups else []
        gpus[node] = int(groups[node[0]].get("gpus", 1)) if node[0] in groups else 1 + max(held, default=0)
        first_row[node] = at
        at += gpus[node]
    places = {name: places_of(groups.get(name, {})) for name, _ in seen}
    return GpuRows(first_row, gpus, places, at)


def groups_of(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Node group → its keys, in the scenario's order."""
    groups = (config.get("config", {}).get("cluster") or {}).get("node_groups") or []
    return {str(group["name"]): group for group in groups}


def places_of(group: Mapping[str, Any]) -> int:
    """How many places one GPU of a group has: memory slices, or those of `sharing`."""
    kinds = [kind for kind in (group.get("sharing") or {}).values() if kind]
    return int(kinds[0]["replicas"]) if kinds else N_SLICE


def held_label(stage: str) -> str:
    """What held slices are shown as."""
    return {PLACED: MAKING, RUNNING: JOB}.get(stage) or STAGE_LABELS.get(stage, stage.replace("_", " "))


def node_label(stage: str) -> str:
    """What a node's GPUs are shown as that nobody holds."""
    return {READY: FREE, CORDONED: CORDONED_FREE}.get(stage, COMING)


def held_colour(label: str) -> str:
    """The colour of held slices."""
    return HELD_COLOURS.get(label, OTHER_STAGE)


def marks_shown(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that are drawn: what a louder one of the same node and instant says already is left out."""
    at: dict[tuple[int, Node | None], set[str]] = {}
    for mark in marks:
        at.setdefault((mark.time_ps, mark.node), set()).add(mark.event)
    return [m for m in marks if not at[m.time_ps, m.node] & LOUDER.get(m.event, set())]
