"""Pods as vLLM tells them: gauges, counters and histograms of each replica that came to be ready."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.outlets import families as f
from sim.outlets.families import Family
from sim.outlets.series import Series, seconds
from sim.outlets.told import Pod, Told
from sim.records.requests import class_models
from sim.units import PS_PER_S

NAMESPACE = "fleetsim"
STOP, ABORT = "stop", "abort"


def pod_series(told: Told) -> Iterator[Series]:
    """Gauges, counters and histograms of each pod, from its first sample to the first one after it is gone."""
    for i, pod in enumerate(told.pods):
        first, last = np.searchsorted(told.grid.time_ps, (pod.ready_ps, pod.gone_ps))
        cut = slice(int(first), min(int(last) + 1, len(told.grid.time_ps)))
        if cut.start >= cut.stop:
            continue
        is_gone = pod.gone_ps < told.seen.end_ps
        pool = told.seen.scenario.pools[pod.pool]
        labels = (pool.model.name, "0", NAMESPACE, pod.name)
        for family, values in pod_gauges(told, pod):
            yield cut_to(cut, Series(family, labels, told.grid.time_ps, values), is_gone)
        picker = (pool.name, pod.name)
        waiting = told.seen.waiting[:, pod.replica]
        yield cut_to(cut, Series(f.PICKER_QUEUE, picker, told.grid.time_ps, waiting), is_gone)
        for one in (*pod_counters(told, i, pod, labels), *pod_histograms(told, i, pod, labels)):
            yield cut_to(cut, one, is_gone)


def cut_to(cut: slice, one: Series, ends: bool) -> Series:
    """The part of a series in which its pod is there."""
    counts = None if one.counts is None else one.counts[cut]
    return one._replace(time_ps=one.time_ps[cut], values=one.values[cut], counts=counts, ends=ends)


def pod_gauges(told: Told, pod: Pod) -> Iterator[tuple[Family, np.ndarray]]:
    """Levels at each sample; nothing when it is gone, though another pod may have its place."""
    seen, r = told.seen, pod.replica
    lives = (told.grid.time_ps >= pod.ready_ps) & (told.grid.time_ps <= pod.gone_ps)
    use = seen.used_blocks[:, r] / max(1, int(seen.n_blocks[r]))
    levels = (seen.running[:, r], seen.waiting[:, r], use, use)
    for family, level in zip(f.VLLM_GAUGES, levels, strict=True):
        yield family, np.where(lives, level, 0)


def pod_counters(told: Told, i: int, pod: Pod, labels: tuple[str, ...]) -> Iterator[Series]:
    """Tokens, preemptions, lookups and ends of one pod."""
    rows, grid = told.rows, told.grid
    mine = rows.pod == i
    first = mine & (rows["first_token_ps"] >= 0)
    scheduled = mine & (rows["scheduled_ps"] >= 0)
    preempted = [m.time_ps for m in told.seen.preemptions if m.replica == pod.replica]
    in_life = np.array([t for t in preempted if pod.ready_ps <= t <= pod.gone_ps], dtype=np.int64)
    looks_up = told.seen.scenario.pools[pod.pool].runtime.prefix_caching
    values = [
        grid.counted(rows["first_token_ps"][first], rows["prompt_tokens"][first].astype(np.int64)),
        generated(told, mine),
        grid.counted(in_life),
        *(
            grid.counted(rows["scheduled_ps"][scheduled], rows[name][scheduled].astype(np.int64) * looks_up)
            for name in ("prompt_tokens", "cached_tokens")
        ),
    ]
    for family, found in zip(f.VLLM_COUNTERS[:-1], values, strict=True):
        yield Series(family, labels, grid.time_ps, found)
    over = mine & (rows.end_ps >= 0)
    for reason, ends in ((STOP, ("completed",)), (ABORT, ("timed_out", "failed"))):
        ended = over & np.isin(rows.texts["outcome"], ends)
        values_of = grid.counted(rows.end_ps[ended])
        yield Series(f.VLLM_COUNTERS[-1], (*labels, reason), grid.time_ps, values_of)


def generated(told: Told, mine: np.ndarray) -> np.ndarray:
    """(point,) tokens of answers that came: between the first and the last of a request spread evenly."""
    rows = told.rows
    answered = mine & (rows.texts["outcome"] == "completed") & (rows["output_tokens"] > 0)
    first, last = rows["first_token_ps"][answered], rows["last_token_ps"][answered]
    tokens = rows["output_tokens"][answered].astype(np.int64)
    whole = told.grid.counted(last, tokens)
    begun, over = told.grid.place(first), told.grid.place(last)
    for at in range(len(whole)):
        under_way = (begun <= at) & (over > at)
        t = told.grid.time_ps[at]
        share = (t - first[under_way]) / np.maximum(last[under_way] - first[under_way], 1)
        whole[at] += int((1 + np.floor(share * (tokens[under_way] - 1))).sum())
    return whole


def pod_histograms(told: Told, i: int, pod: Pod, labels: tuple[str, ...]) -> Iterator[Series]:
    """Durations and lengths of one pod's requests, as the engine sees them: from when it got the request."""
    rows, grid = told.rows, told.grid
    came = (rows.pod == i) & (rows["first_token_ps"] >= 0)
    done = (rows.pod == i) & (rows.texts["outcome"] == "completed")
    first, end = rows["first_token_ps"], rows["last_token_ps"]
    last = end - np.maximum(rows["blame_stream_cpu_ps"], 0)  # the engine's last token
    routed, scheduled = rows["routed_ps"], rows["scheduled_ps"]
    gaps = np.maximum(rows["output_tokens"] - 1, 1)
    durations = (
        (came, first, first - routed),
        (done, end, np.where(rows["output_tokens"] > 1, last - first, 0) / gaps),
        (done, end, last - routed),
        (done, end, scheduled - routed),
        (done, end, last - scheduled),
        (done, end, first - scheduled),
        (done, end, last - first),
    )
    for family, (chosen, at, values) in zip(f.VLLM_HISTOGRAMS, durations, strict=True):
        sums, counts = grid.histogram(at[chosen], seconds(values[chosen]), family.buckets)
        yield Series(family, labels, grid.time_ps, sums, counts, family.buckets)
    buckets = f.buckets_1_2_5(int(told.seen.max_model_len[pod.pool]))
    for family, name in zip(f.VLLM_LENGTHS, ("prompt_tokens", "output_tokens"), strict=True):
        sums, counts = grid.histogram(end[done], rows[name][done].astype(float), buckets)
        yield Series(family, labels, grid.time_ps, sums, counts, buckets)


def gap_series(told: Told) -> Iterator[Series]:
    """All gaps between tokens of a model, from the run's own histograms: a bucket's edge is met within 1 %."""
    if not len(told.grid.time_ps):
        return
    models = class_models(told.seen.scenario)
    for model in sorted({str(m) for m in models if m is not None}):
        of_model = [i for i, m in enumerate(models) if m == model]
        counts = told.seen.itl[:, of_model].sum(axis=1)
        sums = told.seen.itl_sum_ps[:, of_model].sum(axis=1) / PS_PER_S
        for family in f.VLLM_GAPS:
            yield Series(family, (model,), told.grid.time_ps, sums, counts, family.buckets)
