"""What belonged to something that has been changed: a target that was one metric's, a driver's figure of another memory."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sim.errors import problem
from sim.scenario.inherit import USUAL_METRIC, merged_pools

TARGET = {
    "hpa": "target",
    "queue": "target_backlog_per_replica",
}  # in the unit of the metric that is followed


def left_over_problems(
    before: Mapping[str, Any], after: Mapping[str, Any], said: Collection[str]
) -> Iterator[str]:
    """A line for each pool whose metric is another one after a change, while its target is still the one before.

    `said` are the keys that the change said.
    """
    names = list(
        (after.get("pools") or {"main": None}) if isinstance(after.get("pools"), Mapping) else ["main"]
    )
    old, new = scalers(before, names), scalers(after, names)
    seen = set()
    for name in names:
        kind = str(new[name].get("kind"))
        target = TARGET.get(kind)
        was, now = metric_of(old[name]), metric_of(new[name])
        is_same = all(old[name].get(key) == new[name].get(key) for key in ("kind", "name"))
        if target is None or not is_same or was == now or target not in new[name]:
            continue
        places = [f"{place}autoscaler" for place in (f"pools.{name}.", "pool.", "")]
        where = next((place for place in places if f"{place}.metric" in said), "autoscaler")
        if any(f"{place}.{target}" in said for place in places) or where in seen:
            continue
        seen.add(where)
        allowed = (
            f"a target for {now}: this one is meant for {was}; say {where}.{target} beside {where}.metric"
        )
        yield problem(f"{where}.{target}", new[name][target], allowed)


def scalers(raw: Mapping[str, Any], names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The autoscaler of each of these pools, as far as it is one; those that are not there yet have what all have."""
    pools = raw.get("pools") or {}
    there = pools if isinstance(pools, Mapping) else {}
    found = merged_pools({**raw, "pools": {name: there.get(name) for name in names}})
    own = {
        name: pool.get("autoscaler") if isinstance(pool, Mapping) else None for name, pool in found.items()
    }
    return {name: scaler if isinstance(scaler, Mapping) else {} for name, scaler in own.items()}


def metric_of(scaler: Mapping[str, Any]) -> Any:
    """The metric that a scaler follows."""
    return scaler.get("metric") or USUAL_METRIC.get(str(scaler.get("kind")))


def without_old_memory(data: dict[str, Any], said: Collection[str]) -> dict[str, Any]:
    """The data; where a GPU was given another `memory_gb` alone, what the driver of the old one reports is gone."""
    places = [key.removesuffix(".memory_gb") for key in said if key.endswith("gpu.memory_gb")]
    stale = [place for place in places if f"{place}.device_memory_gib" not in said]
    if not stale:
        return data
    data = copy.deepcopy(data)
    for place in stale:
        spot: Any = data
        for part in place.split("."):
            spot = spot.get(part) if isinstance(spot, Mapping) else None
        if isinstance(spot, dict):
            spot["device_memory_gib"] = None
    return data
