"""The table of a cluster's events: what happened to nodes and replicas, who decided it, and what set it off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sim.model.placement.quota_preemption import REASONS as PREEMPTION_REASONS
from sim.model.tables import node as codes
from sim.model.tables.cause import (
    CAUSE_AUTOSCALER,
    CAUSE_DEPLOYMENT,
    CAUSE_FAULT,
    CAUSE_JOB,
    CAUSE_LASTING_FAULT,
    CAUSE_NAMES,
    CAUSE_PREEMPTION,
    CAUSE_QUOTA,
    CAUSE_RANDOM_FAULT,
    CAUSE_REPARTITION,
)
from sim.model.tables.codes import STAGE_NAMES
from sim.model.tables.node import EVENT_NAMES, NODE_STAGES
from sim.records.cluster_schema import EVENTS
from sim.records.columns import coded, integers, moments, names_of
from sim.records.schema import schema
from sim.scenario.faults import Fault
from sim.units import PS_PER_S

OF_GATES = range(codes.EVENT_GATE_PASSED, codes.EVENT_GATE_ERROR + 1)
OF_POOLS = (
    codes.EVENT_POOL_SCALED,
    *range(codes.EVENT_ROLLOUT_STARTED, codes.EVENT_ROLLOUT_PAUSED + 1),
    *range(codes.EVENT_ROLLOUT_PROMOTED, codes.EVENT_ROLLOUT_LATE + 1),
    *OF_GATES,
)
GOT = (codes.EVENT_REPLICA_PLACED, codes.EVENT_JOB_PLACED)
PLACED = (*GOT, codes.EVENT_MEMBER_PLACED)
WAITED = (*GOT, codes.EVENT_ADMITTED)
MADE_ROOM = (
    *(codes.EVENT_NODE_READY, codes.EVENT_NODE_UNCORDONED, codes.EVENT_REPLICA_GONE),
    *(codes.EVENT_JOB_FINISHED, codes.EVENT_JOB_PREEMPTED, codes.EVENT_JOB_LOST),
    *(codes.EVENT_QUOTA_TAKEN, codes.EVENT_ADMITTED),
)
REASONS = (*("in_use", "leaving", "behind"), *PREEMPTION_REASONS)  # of quota_short, then of quota_taken
OF_CACHES = (
    *range(codes.EVENT_CACHE_FILLED, codes.EVENT_CACHE_EVICTED + 1),
    *(codes.EVENT_PEER_SERVES, codes.EVENT_PEER_STOPS),
)


def events_table(scenario: Any, result: Any, footer: Mapping[str, str] | None = None) -> pa.Table:
    """What happened in the cluster (schema `EVENTS`), in order; no rows without a cluster, or without records."""
    rows = result.events
    if not rows:
        return schema(EVENTS, footer).empty_table()
    made = {
        "event_id": pa.array(np.arange(len(rows["event"]), dtype=np.int64)),
        **moments("time", rows["time_ps"]),
        **_of_what(scenario, rows),
        **_values(scenario, rows),
        **_causes(scenario, rows),
        **_slices(rows),
    }
    return pa.Table.from_arrays([made[column.name] for column in EVENTS], schema=schema(EVENTS, footer))


def _of_what(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Which node, pool and replica an event is about."""
    replica = np.where(np.isin(rows["event"], OF_POOLS), -1, rows["replica_id"])
    return {
        "event": coded(rows["event"], list(EVENT_NAMES)),
        "node_group": coded(rows["group_id"], names_of(scenario.cluster.node_groups)),
        "node": integers(rows["node"], np.int32, null_below=0),
        "pool": coded(rows["pool_id"], names_of(scenario.pools)),
        "replica": integers(replica, np.int32, null_below=0),
        "job": coded(rows["job_id"], names_of(scenario.cluster.jobs)),
        "run": integers(rows["run_id"], np.int32, null_below=0),
        "queue": queue_names(scenario, rows),
    }


def queue_names(scenario: Any, rows: Mapping[str, np.ndarray]) -> pa.Array:
    """The queue of each event's pool or job."""
    queues = [queue.name for queue in scenario.cluster.queues]
    of_pools, of_jobs = (
        np.array([-1 if one.queue is None else queues.index(one.queue) for one in of] or [-1])
        for of in (scenario.pools, scenario.cluster.jobs)
    )
    pool, job = rows["pool_id"], rows["job_id"]
    found = np.where(job >= 0, of_jobs[np.maximum(job, 0)], of_pools[np.maximum(pool, 0)])
    return coded(np.where((pool < 0) & (job < 0), -1, found), queues)


def _values(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What else is to be said of an event: its `value`, by kind."""
    event, value = rows["event"], rows["value"]

    def only(*kinds: int) -> np.ndarray:
        return np.where(np.isin(event, kinds), value, -1)

    waited = only(*WAITED, codes.EVENT_UNPLACEABLE, codes.EVENT_NODE_REMOVED)
    short, taken = only(codes.EVENT_QUOTA_SHORT), only(codes.EVENT_QUOTA_TAKEN)
    reason = np.where(taken >= 0, taken + len(REASONS) - len(PREEMPTION_REASONS), short)
    stages = [*NODE_STAGES, *STAGE_NAMES]
    stage = only(codes.EVENT_NODE_STAGE, codes.EVENT_REPLICA_STAGE)
    stage = np.where(event == codes.EVENT_REPLICA_STAGE, stage + len(NODE_STAGES), stage)
    notice = only(codes.EVENT_NODE_NOTICE)
    return {
        "stage": coded(stage, stages),
        "wanted": integers(only(codes.EVENT_POOL_SCALED), np.int32, null_below=0),
        "waited_s": pa.array(waited / PS_PER_S, mask=waited < 0),
        "notice_s": pa.array(notice / PS_PER_S, mask=notice < 0),
        "fault": integers(numbers_of_faults(scenario, event, value), np.int32, null_below=0),
        "artifact": integers(only(*OF_CACHES), np.int32, null_below=0),
        "gate": integers(only(*OF_GATES), np.int32, null_below=0),
        "reason": coded(reason, list(REASONS)),
    }


def lasting_faults(scenario: Any) -> list[int]:
    """Which of the scenario's faults begin and end, in the order of their numbers."""
    return [i for i, fault in enumerate(scenario.faults) if not isinstance(fault, Fault)]


def numbers_of_faults(scenario: Any, event: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Which of the scenario's faults begins or ends with each event, −1 = none."""
    is_one = np.isin(event, (codes.EVENT_FAULT_BEGINS, codes.EVENT_FAULT_ENDS))
    return np.where(is_one, np.array([*lasting_faults(scenario), -1])[np.where(is_one, value, -1)], -1)


def _causes(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Who decided it, and which earlier event set it off."""
    cause, which, because = rows["cause"], rows["cause_id"], rows["because"]
    names: list[str] = []
    for key, found in _deciders(scenario, rows).items():
        which = np.where(cause == key, which + len(names), which)
        names += found
    is_named = np.isin(cause, list(_deciders(scenario, rows)))
    has_waited = np.isin(rows["event"], WAITED) & (rows["value"] > 0) & (because >= 0)
    made_room = np.where(has_waited, rows["event"][np.maximum(because, 0)], -1)
    made_room = np.where(np.isin(made_room, MADE_ROOM), made_room, -1)
    return {
        "cause": coded(cause, list(CAUSE_NAMES)),
        "cause_of": coded(np.where(is_named, which, -1), names),
        "because": integers(because, np.int64, null_below=0),
        "waited_for": coded(made_room, list(EVENT_NAMES)),
    }


def _deciders(scenario: Any, rows: Mapping[str, np.ndarray]) -> dict[int, list[str]]:
    """Cause → the names of those that it may be of, by number, as a scenario calls them. Faults are numbered by time."""
    once = [i for i, fault in enumerate(scenario.faults) if isinstance(fault, Fault)]
    once.sort(key=lambda i: scenario.faults[i].at_s)
    of_replicas, of_runs = rows["replica_names"].tolist(), rows["run_names"].tolist()
    jobs = names_of(scenario.cluster.jobs)
    workloads = [
        *(f"{scenario.pools[pool].name}/{number}" for pool, number in of_replicas),
        *(f"{jobs[job]}/{number}" for job, number in of_runs),
    ]
    return {
        CAUSE_AUTOSCALER: names_of(scenario.pools),
        CAUSE_DEPLOYMENT: [f"deployments.{i}" for i in range(len(scenario.deployments))],
        CAUSE_FAULT: [f"faults.{i}" for i in once],
        CAUSE_LASTING_FAULT: [f"faults.{i}" for i in lasting_faults(scenario)],
        CAUSE_RANDOM_FAULT: [
            f"cluster.random_faults.{i}" for i in range(len(scenario.cluster.random_faults))
        ],
        CAUSE_PREEMPTION: workloads,
        CAUSE_REPARTITION: workloads,
        CAUSE_JOB: jobs,
        CAUSE_QUOTA: workloads,
    }


def _slices(rows: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """What a placement takes: GPUs of its node, and of each the first of its memory slices."""
    is_placed = np.isin(rows["event"], PLACED)
    kinds: dict[tuple[int, int], int] = {}
    pairs = zip(is_placed.tolist(), rows["gpus"].tolist(), rows["starts"].tolist(), strict=True)
    which = np.array([kinds.setdefault(pair[1:], len(kinds)) if pair[0] else -1 for pair in pairs])
    taken = [[i for i in range(codes.GPUS_MAX) if mask >> i & 1] for mask, _ in kinds]
    firsts = [[starts >> 3 * i & 7 for i in gpus] for gpus, (_, starts) in zip(taken, kinds, strict=True)]
    return {
        "gpus": coded(which, [listed(gpus) for gpus in taken]),
        "first_slices": coded(which, [listed(slices) for slices in firsts]),
        "slices": integers(np.where(is_placed, rows["slices"], -1), np.int32, null_below=0),
    }


def listed(numbers: Iterable[int]) -> str:
    """Numbers as a text."""
    return " ".join(map(str, numbers))
