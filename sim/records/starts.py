"""The table of cold starts: a row for each step of each start that came to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sim.model.tables import node as codes
from sim.model.tables.start import HOW_NAMES
from sim.records.cluster_schema import STARTS
from sim.records.columns import coded, integers, moments, names_of
from sim.records.cost import gpu_usd
from sim.records.schema import schema
from sim.scenario.coldstart import in_order
from sim.stages import STEPS
from sim.units import PS_PER_S

SLICE, PROVISION, CREATE = (
    "slice",
    "provision",
    "mig_create",
)  # what comes before a start's own steps on nodes
ENDS = ("its node", "the peer")  # what else than a link may hold bytes back: network cards, disks
SHOWN_AS = {**STEPS, CREATE: STEPS[SLICE]}


class Step(NamedTuple):
    """A step of a start."""

    name: str
    begin_ps: int
    end_ps: int
    how: int = -1
    n_bytes: int = -1
    link: int = -1
    bound_ps: int = -1
    peer_group: int = -1
    peer: int = -1


def starts_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """Every step of every start that is over (schema `STARTS`), in the order in which the starts were; no rows where starts
    depend neither on nodes nor on links, or without records.
    """
    taken = result.steps_taken
    if not taken:
        return schema(STARTS, footer).empty_table()
    names = step_names(scenario)
    nodes = provisioned(result.events)
    rows: dict[str, list[Any]] = {name: [] for name in ("pool", "replica", "start", "step", "usd_ps")}
    found: list[Step] = []
    for first, last in bounds(taken):
        one = {name: int(values[first]) for name, values in taken.items()}
        steps = [*waits_of(one, nodes), *steps_of(taken, first, last, names[one["pool_id"]])]
        found += steps
        rows["pool"] += [one["pool_id"]] * len(steps)
        rows["replica"] += [one["replica_id"]] * len(steps)
        rows["start"] += [one["start"]] * len(steps)
        rows["usd_ps"] += paid_ps(steps)
    return pa.Table.from_arrays(_arrays(scenario, rows, found), schema=schema(STARTS, footer))


def _arrays(scenario: Any, rows: Mapping[str, list[Any]], found: Sequence[Step]) -> list[pa.Array]:
    columns = {
        name: np.array([getattr(step, name) for step in found], dtype=np.int64) for name in Step._fields[1:]
    }
    kinds = list(dict.fromkeys(step.name for step in found))
    kind = np.array([kinds.index(step.name) for step in found], dtype=np.int64)
    shown = [SHOWN_AS[name] for name in kinds]
    pools = scenario.pools
    usd = [
        gpu_usd(pools[pool], paid * pools[pool].gpus_per_replica)
        for pool, paid in zip(rows["pool"], rows["usd_ps"], strict=True)
    ]
    made = {
        "pool": coded(np.array(rows["pool"], dtype=np.int64), names_of(pools)),
        "replica": integers(np.array(rows["replica"]), np.int32),
        "start": integers(np.array(rows["start"]), np.int64),
        "step": coded(kind, kinds),
        "stage": coded(kind, shown),
        **moments("begin", columns["begin_ps"]),
        **moments("end", columns["end_ps"]),
        "seconds": pa.array((columns["end_ps"] - columns["begin_ps"]) / PS_PER_S),
        "how": coded(columns["how"], list(HOW_NAMES)),
        "bytes": integers(columns["n_bytes"], np.int64, null_below=0),
        "link": coded(columns["link"], [*names_of(scenario.links), *ENDS]),
        "held_back_s": pa.array(columns["bound_ps"] / PS_PER_S, mask=columns["link"] < 0),
        "peer_group": coded(columns["peer_group"], names_of(scenario.cluster.node_groups)),
        "peer": integers(columns["peer"], np.int32, null_below=0),
        "usd": pa.array(usd, type=pa.float64()),
    }
    return [made[column.name] for column in STARTS]


def step_names(scenario: Any) -> list[list[str]]:
    """The names of each pool's steps, in the order of their numbers."""
    found = []
    for pool in scenario.pools:
        stages = pool.coldstart.stages
        found.append([stages[place].name for place in in_order(stages)])
    return found


def bounds(taken: Mapping[str, np.ndarray]) -> Iterator[tuple[int, int]]:
    """(first row, the one behind the last) of each start that was kept whole."""
    firsts = np.flatnonzero(taken["step"] == 0).tolist()
    yield from zip(firsts, [*firsts[1:], len(taken["step"])], strict=True)


def steps_of(taken: Mapping[str, np.ndarray], first: int, last: int, names: Sequence[str]) -> Iterator[Step]:
    """The steps of a start that took time or moved bytes."""
    for i in range(first, last):
        step = Step(
            names[int(taken["step"][i])],
            *(
                int(taken[name][i])
                for name in (
                    *("begin_ps", "end_ps", "how", "moved_bytes", "link_id", "bound_ps"),
                    *("peer_group_id", "peer"),
                )
            ),
        )
        if step.end_ps > step.begin_ps or step.n_bytes > 0 or step.how > 0:
            yield step


# ---- before its first step ----------------------------------------------------------------------
def waits_of(one: Mapping[str, int], nodes: Mapping[tuple[int, int], int]) -> Iterator[Step]:
    """What a start waited for before its first step: slices, the node that it got them on, the making of its instances."""
    wanted_ps, got_ps, placed_ps = one["wanted_ps"], one["got_ps"], one["placed_ps"]
    requested_ps = nodes.get((one["place"], got_ps), got_ps)
    asked_ps = min(max(wanted_ps, requested_ps), got_ps)
    for name, begin_ps, end_ps in (
        (SLICE, wanted_ps, asked_ps),
        (PROVISION, asked_ps, got_ps),
        (CREATE, got_ps, placed_ps),
    ):
        if end_ps > begin_ps:
            yield Step(name, begin_ps, end_ps)


def provisioned(events: Mapping[str, np.ndarray]) -> dict[tuple[int, int], int]:
    """(replica place, when it was placed) → when the node was asked for whose coming it had waited for."""
    if not events:
        return {}
    kind, because = events["event"], events["because"]
    found = {}
    for number in np.flatnonzero((kind == codes.EVENT_REPLICA_PLACED) & (events["value"] > 0)).tolist():
        at = int(because[number])
        if at < 0 or kind[at] != codes.EVENT_NODE_READY:
            continue
        while at >= 0 and kind[at] != codes.EVENT_NODE_REQUESTED:
            at = int(because[at])
        if at >= 0:
            found[int(events["place"][number]), int(events["time_ps"][number])] = int(events["time_ps"][at])
    return found


# ---- what it costs ----------------------------------------------------------------------
def paid_ps(steps: Sequence[Step]) -> list[int]:
    """How long the GPUs of a start were held for each of its steps: an instant belongs to the first of those in progress,
    as listed, so that the steps sum to the whole. While a start waits for slices it holds none.
    """
    holding = [step for step in steps if step.name not in (SLICE, PROVISION)]
    instants = sorted({step.begin_ps for step in holding} | {step.end_ps for step in holding})
    paid = {id(step): 0 for step in holding}
    for begin_ps, end_ps in pairwise(instants):
        owner = next((step for step in holding if step.begin_ps <= begin_ps < step.end_ps), None)
        if owner is not None:
            paid[id(owner)] += end_ps - begin_ps
    return [paid.get(id(step), 0) for step in steps]
