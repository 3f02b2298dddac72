"""Which pools may serve a class of traffic, and which of them it prefers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.errors import nearest, problem
from sim.scenario.inherit import slug
from sim.scenario.types import CONFIG, Flag, Key, NonNegative, Positive, Text

RING_MAX = 1 << 22  # virtual nodes in all


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RoundTrip:
    """From the users at a location to the pools of a region and back."""

    location: Key
    region: Key
    rtt_s: Annotated[NonNegative, Field(le=60)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class PoolChoice:
    """Before the router: all pools that a class may use alike, or the first in order of price or distance that has room.

    A pool has room while its ready replicas would hold at most `spill_over` requests each (None: always, so that others
    only serve while it has no ready replica). With `across_models` a class that names no model may use them all.
    """

    order: Literal["none", "cheapest", "nearest"] = "none"
    spill_over: Annotated[Positive, Field(le=1_000_000)] | None = None
    across_models: Flag = False
    round_trips: Annotated[tuple[RoundTrip, ...], Field(max_length=10_000)] = ()
    source: Text = ""


def round_trip_s(choice: PoolChoice, location: str | None, region: str | None) -> float | None:
    """Seconds between a class's users and a pool: 0 where one of the two is nowhere or both are in one place and nothing
    else is said; None where nothing is known.
    """
    if location is None or region is None:
        return 0.0
    for entry in choice.round_trips:
        if (entry.location, entry.region) == (location, region):
            return entry.rtt_s
    return 0.0 if location == region else None


def why_not(scenario: Any, entry: Any, pool: Any) -> str | None:
    """Why a pool cannot serve a class, in a few words; None when it can."""
    if entry.model is not None and pool.model.name != entry.model:
        return f"serves {slug(pool.model.name)}"
    if entry.model is None and not scenario.pool_choice.across_models and len(scenario.models) > 1:
        return None  # a mistake of its own: the class must name a model
    if pool.tier < entry.min_tier:
        return f"tier {pool.tier} is below {entry.min_tier}"
    missing = [tag for tag in entry.needs if tag not in pool.compliance]
    if missing:
        return f"lacks {', '.join(missing)}"
    rtt_s = round_trip_s(scenario.pool_choice, entry.location, pool.region)
    if entry.max_rtt_s is not None and rtt_s is not None and rtt_s > entry.max_rtt_s:
        return f"is {rtt_s:g} s away"
    return None


def serving_pools(scenario: Any, entry: Any) -> list[Any]:
    """The pools that may serve a class, in its own order where it names them."""
    named = {pool.name: pool for pool in scenario.pools}
    pools = [named[name] for name in entry.route_to] if entry.route_to else scenario.pools
    return [pool for pool in pools if why_not(scenario, entry, pool) is None]


def is_ordered(scenario: Any, entry: Any) -> bool:
    """Whether a class prefers some of its pools to others."""
    return bool(entry.route_to) or scenario.pool_choice.order != "none"


def preferred(scenario: Any, entry: Any, pools: Sequence[Any], prices: Sequence[float]) -> list[int]:
    """Places of the pools that may serve a class, best first where it has an order; none where all of its model's may,
    all alike. A price is what a token costs in each pool.
    """
    choice = scenario.pool_choice
    names = [pool.name for pool in serving_pools(scenario, entry)]
    able = [place for place, pool in enumerate(pools) if pool.name in names]
    if entry.route_to:
        return sorted(able, key=lambda place: names.index(pools[place].name))
    if choice.order == "none":
        n = sum(choice.across_models or entry.model in (None, pool.model.name) for pool in pools)
        return [] if len(able) == n else able

    def rank(place: int) -> tuple[float, ...]:
        rtt_s = round_trip_s(choice, entry.location, pools[place].region) or 0.0
        far_s = rtt_s if choice.order == "nearest" else 0.0
        return pools[place].preference, far_s, prices[place], place

    return sorted(able, key=rank)


# ---- what can be wrong ----------------------------------------------------------------------
def choice_problems(scenario: Any, said: Any) -> Iterator[str]:
    """Every class has a pool that may serve it, and whatever is named exists."""
    router, places = scenario.router, sum(pool.max_replicas for pool in scenario.pools)
    nodes = getattr(router, "virtual_nodes", 0)
    if nodes * places > RING_MAX:
        most = f"at most {RING_MAX // places} for {places} replica places"
        yield problem("router.virtual_nodes", nodes, most)
    regions = sorted({pool.region for pool in scenario.pools if pool.region is not None})
    locations = sorted({entry.location for entry in scenario.classes if entry.location is not None})
    for place, trip in enumerate(scenario.pool_choice.round_trips):
        key = f"pool_choice.round_trips[{place}]"
        yield from unknown(f"{key}.region", trip.region, regions, "the region of a pool")
        yield from unknown(f"{key}.location", trip.location, locations, "the location of a class")
    for entry in scenario.classes:
        yield from class_choice_problems(scenario, entry, said, regions)


def unknown(key: str, name: str, known: Sequence[str], what: str) -> Iterator[str]:
    """A line when nothing has this name."""
    if name not in known:
        yield problem(key, name, f"{what}: {', '.join(known) or 'there is none'}", nearest(name, known))


def class_choice_problems(scenario: Any, entry: Any, said: Any, regions: Sequence[str]) -> Iterator[str]:
    """One class: its pools exist and can hold its model, some pool meets its constraints, distances are known."""
    pools = {pool.name: pool for pool in scenario.pools}
    key = said.class_key(entry.name, "route_to")
    wrong = [name for name in entry.route_to if name not in pools]
    for name in wrong:
        yield from unknown(key, name, list(pools), "the name of a pool")
    if len(set(entry.route_to)) < len(entry.route_to):
        yield problem(key, list(entry.route_to), "each pool once")
    if wrong or (entry.model is not None and entry.model not in scenario.models):
        return
    for name in entry.route_to:
        if (reason := why_not(scenario, entry, pools[name])) is not None:
            yield f"{key}: {name!r} cannot serve class {entry.name}: it {worded(reason)}"
            return
    if not serving_pools(scenario, entry):
        reasons = "; ".join(f"{pool.name} {why_not(scenario, entry, pool)}" for pool in scenario.pools)
        key = said.class_key(entry.name, constraint_of(entry))
        yield f"{key}: no pool meets what class {entry.name} asks for: {reasons}"
    for region in regions:
        if round_trip_s(scenario.pool_choice, entry.location, region) is None:
            pair = f"location {entry.location!r} and region {region!r}"
            yield f"pool_choice.round_trips: none between {pair}; add {{location, region, rtt_s}}"


def worded(reason: str) -> str:
    """`tier 0 is below 2` as what a pool has."""
    return f"has {reason.replace(' is below', ', below')}" if reason.startswith("tier") else reason


def constraint_of(entry: Any) -> str:
    """The first constraint that a class says."""
    said = {
        "min_tier": entry.min_tier > 0,
        "needs": bool(entry.needs),
        "max_rtt_s": entry.max_rtt_s is not None,
    }
    return next((name for name, is_said in said.items() if is_said), "model")
