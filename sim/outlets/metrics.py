"""A run as metrics: the series of every family, from the run's files and from watching it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sim.model.tables.codes import STAGE_READY
from sim.outlets import families as f
from sim.outlets.cluster_metrics import cluster_series
from sim.outlets.pods import NAMESPACE, gap_series, pod_series
from sim.outlets.replay import replay
from sim.outlets.series import Grid, Series, seconds
from sim.outlets.told import TEXTS, Told, pods_of, read_rows
from sim.records.run_dir import RunFiles
from sim.stages import START_STAGES

#: what the endpoint picker calls an end that was no answer; a client that went away got none
ERRORS = {"rejected": "InferencePoolResourceExhausted", "failed": "ModelServerError"}
TOO_LONG = "BadRequest"


def run_series(run: RunFiles, progress: Callable[..., None] | None = None) -> list[Series]:
    """The series of every family that a run has; raises InputError where it cannot be repeated."""
    seen = replay(run.config, run.summary["digest"], progress)
    pods = pods_of(seen)
    told = Told(run, seen, Grid(seen.sample_ps), pods, read_rows(run, seen, pods))
    found = [
        *pod_series(told),
        *gap_series(told),
        *picker_series(told),
        *deployment_series(told),
        *own_series(told),
        *cluster_series(told),
    ]
    order = {family.name: i for i, family in enumerate(f.FAMILIES)}
    return sorted(found, key=lambda one: (order[one.family.name], one.labels))


# ---- the endpoint picker ----------------------------------------------------------------------
def picker_series(told: Told) -> Iterator[Series]:
    """Pools and models as the gateway's endpoint picker tells them."""
    rows, grid, seen = told.rows, told.grid, told.seen
    for i, pool in enumerate(seen.scenario.pools):
        mine = np.flatnonzero(seen.pool_of == i)
        ready = (seen.stage[:, mine] == STAGE_READY) if len(grid.time_ps) else np.zeros((0, len(mine)), bool)
        n = ready.sum(axis=1)
        use = seen.used_blocks[:, mine] / np.maximum(seen.n_blocks[mine], 1)
        values = (
            (use * ready).sum(axis=1) / np.maximum(n, 1),
            (seen.waiting[:, mine] * ready).sum(axis=1) / np.maximum(n, 1),
            n,
        )
        for family, found in zip(f.PICKER_POOLS, values, strict=True):
            yield Series(family, (pool.name,), grid.time_ps, found)
    attempts_ps = np.array([m.time_ps for m in seen.attempts], dtype=np.int64)
    model_of = dict(zip(rows["request_id"].tolist(), rows.texts["model"].tolist(), strict=True))
    tried = np.array([str(model_of.get(m.request)) for m in seen.attempts], dtype=object)
    for model in sorted({str(m) for m in rows.texts["model"]}):
        yield from model_series(told, model, attempts_ps[tried == model])


def model_series(told: Told, model: str, again_ps: np.ndarray) -> Iterator[Series]:
    """What the endpoint picker counts of one model's requests."""
    rows, grid = told.rows, told.grid
    mine = rows.texts["model"] == model
    done = mine & (rows.texts["outcome"] == "completed")
    labels = (model, model)
    came = np.concatenate([rows["arrival_ps"][mine], again_ps])
    yield Series(f.PICKER_REQUESTS, labels, grid.time_ps, grid.counted(came))
    over = rows.end_ps >= 0
    ends = zip(rows.texts["outcome"], rows.texts["reason"], strict=True)
    codes = np.array([error_of(outcome, reason) or "" for outcome, reason in ends], dtype=object)
    for code in sorted({*ERRORS.values(), TOO_LONG}):
        ended_ps = rows.end_ps[mine & over & (codes == code)]
        yield Series(f.PICKER_ERRORS, (*labels, code), grid.time_ps, grid.counted(ended_ps))
    took = seconds(rows["last_token_ps"] - rows["taken_ps"])
    output = rows["output_tokens"].astype(float)
    values = (took, rows["prompt_tokens"].astype(float), output, took / np.maximum(output, 1))
    for family, found in zip(f.PICKER_HISTOGRAMS, values, strict=True):
        chosen = done & (rows["output_tokens"] > 0) if family in f.PICKER_HISTOGRAMS[2:] else done
        sums, counts = grid.histogram(rows["last_token_ps"][chosen], found[chosen], family.buckets)
        yield Series(family, labels, grid.time_ps, sums, counts, family.buckets)
    running = grid.counted(rows["arrival_ps"][mine]) - grid.counted(rows.end_ps[mine & over])
    yield Series(f.PICKER_RUNNING, (model,), grid.time_ps, running)


def error_of(outcome: str, reason: str | None) -> str | None:
    """The endpoint picker's code of an end, None of one that is no error of its."""
    return TOO_LONG if reason == "too_long" else ERRORS.get(outcome)


# ---- Kubernetes, and what only the run knows ----------------------------------------------------------------------
def deployment_series(told: Told) -> Iterator[Series]:
    """A pool as a deployment, and its autoscaler where it has one."""
    columns = told.run.tables.timeseries.to_pydict()
    names, n_at = np.array(columns["pool"], dtype=object), len(told.grid.time_ps)
    starting = np.sum([columns[stage] for stage in START_STAGES], axis=0)
    for pool in told.seen.scenario.pools:
        mine = np.flatnonzero(names == pool.name)[:n_at]
        ready, wanted = np.array(columns["ready"])[mine], np.array(columns["wanted"])[mine]
        there = ready + starting[mine]
        labels = (NAMESPACE, pool.name)
        values = (wanted, there, ready, ready, there - ready)
        for family, found in zip(f.KUBE_DEPLOYMENT, values, strict=True):
            yield Series(family, labels, told.grid.time_ps, found)
        if pool.autoscaler.kind != "fixed":
            limits = (np.full(len(mine), pool.min_replicas), np.full(len(mine), pool.max_replicas))
            for family, found in zip(f.KUBE_SCALER, (wanted, there, *limits), strict=True):
                yield Series(family, labels, told.grid.time_ps, found)
        usd = np.array(columns["usd"])[mine].cumsum()
        yield Series(f.OWN_COST, (pool.name,), told.grid.time_ps, usd)


def own_series(told: Told) -> Iterator[Series]:
    """Ends of requests and their ttft as clients saw them, by class."""
    rows, grid = told.rows, told.grid
    keys = [rows.texts[name] for name in TEXTS]
    kinds = sorted({tuple("" if t is None else str(t) for t in key) for key in zip(*keys, strict=True)})
    text = [np.array(["" if t is None else str(t) for t in column], dtype=object) for column in keys]
    for kind in kinds:
        if kind[2] == "inside":
            continue
        mine = np.logical_and.reduce([column == value for column, value in zip(text, kind, strict=True)])
        yield Series(f.OWN_ENDED, kind, grid.time_ps, grid.counted(rows.end_ps[mine & (rows.end_ps >= 0)]))
    for klass, model in sorted({kind[:2] for kind in kinds}):
        mine = (text[0] == klass) & (text[1] == model) & (rows["first_token_ps"] >= 0)
        mine &= text[2] == "completed"
        sums, counts = grid.histogram(rows["first_token_ps"][mine], rows["ttft"][mine], f.OWN_TTFT.buckets)
        yield Series(f.OWN_TTFT, (klass, model), grid.time_ps, sums, counts, f.OWN_TTFT.buckets)
