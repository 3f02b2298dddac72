"""Carbon intensity by the hour: one figure for the measured window, by when its energy was drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sim.records.window import measured_window_ps
from sim.units import PS_PER_S

HOUR_S = 3600.0
UNKNOWN = float("nan")


def has_hours(scenario: Any) -> bool:
    """Whether a pool or a node stands where the intensity differs by the hour."""
    things = (*scenario.pools, *(scenario.cluster.node_groups if hasattr(scenario, "cluster") else ()))
    return any(getattr(thing, "site", None) is not None and thing.site.g_co2e_by_hour for thing in things)


def without_hours(scenario: Any, result: Any | None = None) -> Any:
    """The scenario with one intensity for each site in the place of its hours': a pool's by the watts of its samples in the
    window, a node's by time. Where a run keeps no such samples, as in a sweep, it is not known.
    """
    if not has_hours(scenario):
        return scenario
    pools = tuple(
        replace(pool, site=_flat(pool.site, _of_pool(scenario, result, number, pool.site)))
        for number, pool in enumerate(scenario.pools)
    )
    groups = tuple(
        replace(group, site=_flat(group.site, _of_time(scenario, result, group.site)))
        for group in scenario.cluster.node_groups
    )
    return replace(scenario, pools=pools, cluster=replace(scenario.cluster, node_groups=groups))


def _flat(site: Any, grams: float) -> Any:
    if not site.g_co2e_by_hour:
        return site
    return site.known(grams)


def _of_pool(scenario: Any, result: Any | None, number: int, site: Any) -> float:
    """g/kWh of a pool's energy in the window."""
    if result is None or "watts" not in result.samples:
        return UNKNOWN
    samples = result.samples
    mine = np.asarray(samples["pool_id"]) == number
    end_s = np.asarray(samples["time_ps"])[mine].astype(float) / PS_PER_S
    joules = np.nan_to_num(np.asarray(samples["watts"])[mine]) * np.diff(end_s, prepend=0.0)
    start, end = (ps / PS_PER_S for ps in measured_window_ps(scenario, result))
    inside = (end_s > start) & (end_s <= end)
    if not joules[inside].sum():
        return _of_time(scenario, result, site)
    middle = end_s - np.diff(end_s, prepend=0.0) / 2
    return float((joules * grams_at(site, middle))[inside].sum() / joules[inside].sum())


def _of_time(scenario: Any, result: Any | None, site: Any) -> float:
    """g/kWh of what draws the same all the time."""
    if result is None:
        return UNKNOWN
    start, end = (ps / PS_PER_S for ps in measured_window_ps(scenario, result))
    if not site.g_co2e_by_hour or end <= start:
        return float(site.g_co2e_per_kwh)
    edges = np.unique(
        np.clip([start, end, *np.arange(np.floor(start / HOUR_S), end / HOUR_S) * HOUR_S], start, end)
    )
    lengths = np.diff(edges)
    return float((lengths * grams_at(site, edges[:-1] + lengths / 2)).sum() / lengths.sum())


def grams_at(site: Any, time_s: np.ndarray) -> np.ndarray:
    """g/kWh at instants of the run."""
    hours = np.asarray(site.g_co2e_by_hour, dtype=float)
    if not len(hours):
        return np.full(np.shape(time_s), float(site.g_co2e_per_kwh))
    return np.asarray(hours[np.floor(time_s / HOUR_S).astype(int) % len(hours)])
