"""How a group's GPUs are shared, and how their MIG modes are switched, as part of its row."""

from __future__ import annotations

import math

from sim.model.tables.node import MPS, TIME_SLICING
from sim.scenario.cluster import NodeGroup
from sim.scenario.slices import kind_for
from sim.units import s_to_ps


def mode_fields(group: NodeGroup) -> dict[str, int]:
    """How MIG modes of a group's GPUs are switched; nothing where they are not."""
    kind = kind_for(group.gpu)
    if not group.mig_whole or kind is None:
        return {}
    seconds = kind.mode_s if group.mig_mode_s is None else group.mig_mode_s
    return {"switches": 1, "mode_ps": s_to_ps(seconds), "mode_of_node": int(group.mig_mode_needs == "node")}


def share_fields(group: NodeGroup) -> dict[str, int]:
    """How the GPUs of a group are shared, in numbers; nothing where they are not."""
    if group.sharing is None:
        return {}
    return {
        "slices": group.places,
        "sharing": MPS if group.sharing.mps is not None else TIME_SLICING,
        "beside_q10": math.ceil(round(group.sharing.longer * 1024, 6)),
    }
