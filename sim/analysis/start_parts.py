"""The starts of a run, each as its parts one after the other, and when a model had no ready replica: read from records."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

SLICE = "waiting_slice"
#: Event → the stage in which a replica starts from then on; None: it starts no longer.
STARTS = {"replica_waits": SLICE, "replica_placed": SLICE, "replica_crashed": "engine_start"}
#: Event → the stage of a replica that waits for slices from then on, where its start's steps were not kept.
OF_NODES = {"node_requested": "provisioning", "node_refused": SLICE}
ENDS = ("replica_ready", "replica_gone", "replica_lost")
NO_LONGER_READY = ("replica_drains", "replica_gone", "replica_lost", "replica_crashed")


class Part(NamedTuple):
    """What an instant of a start is: its stage, and the link that held its transfer back, if any."""

    stage: str
    link: str | None = None


class Start(NamedTuple):
    """A start: when it began and ended, whether its replica became ready, and its parts one after the other."""

    begin_ps: int
    end_ps: int
    is_ready: bool
    from_ps: list[int]  # when each part begins
    parts: list[Part]
    held_back: list[float]  # share of the part that its link held back


Steps = dict[tuple[str, int, int], list[tuple[int, int, Part, float]]]


def steps_of_starts(table: Any) -> Steps:
    """(pool, replica, when it was ready) → its steps: from, to, part, share that a link held back."""
    starts: dict[tuple[str, int, int], list[tuple[int, int, Part, float]]] = {}
    names = ("pool", "replica", "start", "stage", "begin_ps", "end_ps", "link", "held_back_s")
    for row in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        pool, replica, start, stage, begin_ps, end_ps, link, held_s = row
        share = held_s * 1e12 / (end_ps - begin_ps) if link is not None and end_ps > begin_ps else 0.0
        step = (begin_ps, end_ps, Part(stage, link), min(1.0, share))
        starts.setdefault((pool, replica, start), []).append(step)
    return {(pool, replica, max(s[1] for s in steps)): steps for (pool, replica, _), steps in starts.items()}


def of_steps(steps: Steps, model_of: Mapping[str, str]) -> dict[str, list[Start]]:
    """Pool → its starts that came to their end, by their steps alone."""
    starts: dict[str, list[Start]] = {pool: [] for pool in model_of}
    for (pool, _, end_ps), mine in steps.items():
        begin_ps = min(step[0] for step in mine)
        starts[pool].append(_start([(begin_ps, SLICE)], end_ps, True, mine))
    return starts


def closed_by_samples(
    series: Any, starts: Sequence[Start], pools: Sequence[str], end_ps: int
) -> list[tuple[int, int]]:
    """The spans in which none of some pools' replicas was ready, as samples tell: each from the sample before it on, up to
    when one is ready again.
    """
    named = np.isin(series.column("pool").to_pylist(), pools)
    time_ps, ready = (np.asarray(series.column(name).to_numpy())[named] for name in ("time_ps", "ready"))
    times = np.unique(time_ps)
    counts = np.bincount(np.searchsorted(times, time_ps), weights=ready, minlength=len(times))
    again = sorted(start.end_ps for start in starts)
    spans: list[tuple[int, int]] = []
    for i in np.flatnonzero(counts == 0).tolist():
        begin_ps = int(times[i - 1]) if i else 0
        at = bisect_right(again, int(times[i]) - 1)
        until_ps = again[at] if at < len(again) else end_ps
        if not spans or begin_ps >= spans[-1][1]:
            spans.append((begin_ps, until_ps))
    return spans


def retold(
    events: Any, steps: Steps, model_of: Mapping[str, str], end_ps: int
) -> tuple[dict[str, list[Start]], dict[str, list[tuple[int, int]]]]:
    """Pool → its starts; model → the spans in which none of its replicas was ready."""
    starts: dict[str, list[Start]] = {pool: [] for pool in model_of}
    closed: dict[str, list[tuple[int, int]]] = {model: [] for model in model_of.values()}
    since = dict.fromkeys(closed, 0)
    ready: dict[str, set[tuple[str, int]]] = {model: set() for model in closed}
    stages: dict[tuple[str, int], list[tuple[int, str]]] = {}
    names = ("time_ps", "event", "pool", "replica", "stage")
    for t, event, pool, replica, stage in zip(
        *(events.column(name).to_pylist() for name in names), strict=True
    ):
        if replica is None:
            continue
        key, model = (pool, replica), model_of[pool]
        if event in ENDS and key in stages:
            starts[pool].append(_start(stages.pop(key), t, event == ENDS[0], steps.get((pool, replica, t))))
        if event in NO_LONGER_READY and key in ready[model]:
            ready[model].discard(key)
            since[model] = t if not ready[model] else since[model]
        if event == "replica_ready":
            if not ready[model]:
                closed[model].append((since[model], t))
            ready[model].add(key)
        elif event in STARTS or event == "replica_stage":
            stages.setdefault(key, []).append((t, STARTS.get(event, stage)))
        elif event in OF_NODES and key in stages:
            stages[key].append((t, OF_NODES[event]))
    for key, told in stages.items():
        starts[key[0]].append(_start(told, max(end_ps, told[-1][0]), False, None))
    for model, mine in ready.items():
        if not mine:
            closed[model].append((since[model], max(end_ps, since[model])))
    return starts, closed


def _start(
    told: Sequence[tuple[int, str]],
    end_ps: int,
    is_ready: bool,
    steps: Sequence[tuple[int, int, Part, float]] | None,
) -> Start:
    """A start by its steps where those were kept, else by the stages that events tell."""
    begin_ps = told[0][0]
    if steps is None:
        parts = [Part(stage) for _, stage in told]
        return Start(begin_ps, end_ps, is_ready, [t for t, _ in told], parts, [0.0] * len(told))
    edges = sorted(
        {begin_ps, end_ps, *(edge for step in steps for edge in step[:2] if begin_ps < edge < end_ps)}
    )
    from_ps, found, backs = [], [], []
    for at, _ in pairwise(edges):
        owner = next((step for step in steps if step[0] <= at < step[1]), None)
        from_ps.append(at)
        found.append(owner[2] if owner is not None else Part(SLICE))
        backs.append(owner[3] if owner is not None else 0.0)
    return Start(begin_ps, end_ps, is_ready, from_ps or [begin_ps], found or [Part(SLICE)], backs or [0.0])
