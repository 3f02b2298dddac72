"""The steps of a pool's cold starts as rows of plain numbers: how long they take, what they move, and who may serve it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.errors import InputError, problem
from sim.fill.by_name import BYTES_IN_Q40
from sim.fill.rows import StepRow
from sim.model.tables.codes import STAGE_SLICE
from sim.model.tables.link import THROUGH_NOTHING, THROUGHS
from sim.model.tables.pool import N_QUANTILE
from sim.model.transfers.clock import CAP_BITS
from sim.pack.coldstart import GB, Artifact, StageTime, stage_times
from sim.scenario.cluster import NodeGroup
from sim.scenario.coldstart import STAGES, Peers
from sim.scenario.pool import Pool
from sim.stages import STREAMS
from sim.units import NEVER

MOVED_MAX = 2**46  # bytes of one transfer: 70 TB


def step_rows(
    pool: Pool,
    links: Sequence[str] = (),
    has_nodes: bool = False,
    artifacts: Sequence[Artifact] = (),
    limited: Sequence[str] = (),
) -> tuple[np.ndarray, tuple[StepRow, ...]]:
    """((step, N_QUANTILE) int64 ps, what each step is) of a pool's cold starts, in a fleet with links of these names, on
    nodes that are simulated or not, of which `limited` ends carry only so much.
    """
    times = stage_times(pool, has_nodes)
    names = [stage.name for stage in times]
    rows = np.zeros((len(times), N_QUANTILE), dtype=np.int64)
    for row, stage in zip(rows, times, strict=True):
        row[:] = np.rint(stage.seconds * 1e12).astype(np.int64)
    return rows, tuple(
        StepRow(
            stage=STAGE_SLICE + STAGES.index(stage.shown_as),
            draw=STREAMS[stage.name],
            after=sum(1 << names.index(name) for name in stage.after),
            **moved_over(pool, stage, links, artifacts, stage.through if stage.through in limited else None),
        )
        for stage in times
    )


def moved_over(
    pool: Pool, stage: StageTime, links: Sequence[str], artifacts: Sequence[Artifact], through: str | None
) -> dict[str, int]:
    """What a stage moves over links, through an end of its node or to one that may keep it, as fields of its row; nothing
    where it does none of these.
    """
    shared = sum(1 << links.index(name) for name in stage.over if name in links)
    artifact = 1 + artifacts.index(stage.artifact) if stage.artifact in artifacts else 0
    if not shared and not artifact and through is None:
        return {}
    if stage.moved_bytes > MOVED_MAX:
        key = f"pools.{pool.name}.coldstart.stages.{stage.name}"
        allowed = f"at most {MOVED_MAX / GB:,.0f} over a link"
        raise InputError(problem(key, f"{stage.moved_bytes / GB:,.0f} GB", allowed))
    return {
        "links": shared,
        "moved_bytes": max(1, round(stage.moved_bytes)),  # no bytes of what a node makes itself
        "setup_ps": round(stage.setup_s * 1e12),
        "artifact": artifact,
        "hit_ps": round(stage.hit_s * 1e12),
        "through": THROUGH_NOTHING if through is None else THROUGHS.index(through),
        **(peer_fields(stage.peers) if artifact and stage.peers is not None else {}),
    }


def peer_fields(peers: Peers) -> dict[str, int]:
    """How other nodes serve what a stage brings, as fields of its row."""
    rate = (1 << CAP_BITS) - 1
    if peers.gb_s is not None:
        rate = min(rate, max(1, round(peers.gb_s * BYTES_IN_Q40)))
    return {
        "peers": 1,
        "peer_q40": rate,
        "uploads_max": peers.uploads_max,
        "seeds_max": NEVER if peers.seeds is None else peers.seeds,
    }


def limited_ends(groups: Sequence[NodeGroup]) -> tuple[str, ...]:
    """What of nodes some group says how much it carries."""
    limits = {
        "nic": any(group.nic_gb_s is not None for group in groups),
        "disk": any(group.disk_gb_s is not None for group in groups),
    }
    return tuple(name for name, is_set in limits.items() if is_set)
