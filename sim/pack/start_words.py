"""What else is to be said of a stage of a cold start: its node's ends, what nodes keep, and other nodes."""

from __future__ import annotations

from collections.abc import Sequence

from sim.pack.coldstart import StageTime
from sim.scenario.cluster import NodeGroup


def again_text(stage: StageTime) -> list[str]:
    """How long it takes where its node has kept what an earlier start brought or made."""
    return [] if stage.artifact is None else [f"{stage.hit_s:.3g} s where a node's cache has it"]


def ends_text(stage: StageTime, groups: Sequence[NodeGroup]) -> list[str]:
    """What a node's network card or disk carries of a stage's bytes, for all on that node together."""
    words = {"nic": "network card", "disk": "disk"}
    limits = {g.name: getattr(g, f"{stage.through}_gb_s") for g in groups if stage.through in words}
    return [
        f"the {words[stage.through]} of a node of {name} carries {gb_s:g} GB/s for all on it"
        for name, gb_s in limits.items()
        if gb_s is not None
    ]


def peers_text(stage: StageTime) -> list[str]:
    """How fast it comes from another node that has it."""
    if stage.peers is None:
        return []
    rate = "as fast as the cards" if stage.peers.gb_s is None else f"{stage.peers.gb_s:g} GB/s at most"
    return [f"from a node that has it {rate}"]
