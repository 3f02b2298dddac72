"""Rules between classes and what stands around the GPU: stations, guardrail, response cache, deadlines, cheap hours."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import nearest, problem
from sim.scenario.check_traffic import constant_of
from sim.scenario.inherit import slug
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.station import Visit, times_of
from sim.scenario.traffic import TrafficClass

DAY_S = 86_400


def around_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule as one line."""
    for entry in scenario.classes:
        yield from visit_problems(entry, scenario, said)
        yield from guardrail_problems(entry, scenario, said)
        yield from popularity_problems(entry, scenario, said)
        yield from deadline_problems(entry, said)
        yield from hours_problems(entry, scenario, said)
    yield from unused_problems(scenario)


# ---- stations ----------------------------------------------------------------------
def visit_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """Every visit is to a station that there is, and takes time that is known by then."""
    stations = scenario.gateway.stations
    for where in ("before", "after"):
        visits: tuple[Visit, ...] = getattr(entry, where)
        for place, visit in enumerate(visits):
            key = said.class_key(entry.name, where, place)
            if visit.station not in stations:
                allowed = ", ".join(stations) or "none, as there are no `gateway.stations`"
                yield problem(key, visit.station, allowed, nearest(visit.station, stations))
            elif where == "before" and visit.per_output_token_us:
                own = said.class_key(entry.name, where, place, "per_output_token_us")
                yield problem(own, visit.per_output_token_us, "0 before the GPU: no answer is there yet")
            elif not any(times_of(stations[visit.station], visit, where == "after")):
                yield (
                    f"{key}: a visit to {visit.station} takes no time; say base_ms or a time per token, here or in"
                    f" gateway.stations.{visit.station}"
                )


def unused_problems(scenario: Scenario) -> Iterator[str]:
    """Stations are visited, and a response cache has something that is asked again.

    A station whose name a visit has misspelt is not told again.
    """
    stations = scenario.gateway.stations
    visited = {visit.station for entry in scenario.classes for visit in (*entry.before, *entry.after)}
    meant = {nearest(name, stations) for name in visited if name not in stations}
    for name in stations:
        if name not in visited and name not in meant:
            close = nearest(name, visited & set(stations))
            hint = f"; did you mean {close!r}?" if close else ""
            where = "traffic.before or traffic.after"
            yield f"gateway.stations.{name}: no class visits it; name it in {where}, or drop it{hint}"
    cache = scenario.gateway.response_cache
    if cache is not None and all(entry.popularity is None for entry in scenario.classes):
        yield "gateway.response_cache: no class has a `popularity`, so nothing is ever asked again"


# ---- answers ----------------------------------------------------------------------
def guardrail_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """Something is judged where answers wait for it, and who answers instead is another model that is served."""
    guardrail = entry.guardrail

    def key(name: str) -> str:
        return said.class_key(entry.name, "guardrail", name)

    if guardrail.withheld and not entry.after and guardrail.blocked == 0:
        yield problem(
            key("withheld"), True, "false while no station in `after` and no guardrail checks answers"
        )
    fallback = guardrail.fallback
    if fallback is None:
        return
    asked = scenario.models[0] if entry.model is None and len(scenario.models) == 1 else entry.model
    others = [slug(model) for model in scenario.models if model != asked]
    shown = slug(fallback)
    if fallback == asked or fallback not in scenario.models:
        allowed = (
            f"another model that a pool serves: {', '.join(others)}" if others else "null: no other is served"
        )
        yield problem(key("fallback"), shown, allowed, nearest(shown, others))
    elif guardrail.blocked == 0:
        yield problem(key("fallback"), shown, "null while nothing is `blocked`")
    elif scenario.pool_choice.across_models:
        allowed = "null with pool_choice.across_models: all models stand in one line"
        yield problem(key("fallback"), shown, allowed)
    elif is_choosy(entry, scenario):
        allowed = "null for a class that chooses among pools (route_to, min_tier, needs, max_rtt_s, pool_choice.order)"
        yield problem(key("fallback"), shown, allowed)


def is_choosy(entry: TrafficClass, scenario: Scenario) -> bool:
    """Whether a class may not use all pools of its model alike: its list of pools has none of another model."""
    constraints = (entry.route_to, entry.min_tier, entry.needs, entry.max_rtt_s is not None)
    return any(constraints) or scenario.pool_choice.order != "none"


def popularity_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """What is asked again matters to a response cache, and no recording says it."""
    key = said.class_key(entry.name, "popularity")
    if entry.popularity is None:
        return
    if entry.trace is not None:
        yield f"{key}: null with a trace: recordings do not say what was asked"
    elif entry.sessions is not None:
        yield f"{key}: null with sessions: what a turn asks holds all that was said before in its own session"
    elif scenario.gateway.response_cache is None:
        yield (
            f"{key}: is of no use without a gateway.response_cache; add one ({{entries: 0}} keeps nothing), or leave"
            " popularity out"
        )


# ---- deadlines and cheap hours ----------------------------------------------------------------------
def deadline_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """No patience ends later than the deadline, and there is time for a retry and a hedge before it."""
    deadline_s = entry.deadline_s
    if deadline_s is None:
        return
    backoff = entry.retry.backoff
    waits = {
        ("patience", "first_token_s"): constant_of(entry.patience.first_token_s),
        ("patience", "total_s"): constant_of(entry.patience.total_s),
        ("retry", "backoff", "base_s"): None if backoff is None else backoff.base_s,
        ("retry", "hedge_after_s"): entry.retry.hedge_after_s,
    }
    for keys, wait_s in waits.items():
        if wait_s is not None and wait_s >= deadline_s:
            allowed = f"less than deadline_s ({deadline_s:g} s): all is over before"
            yield problem(said.class_key(entry.name, *keys), wait_s, allowed)


def hours_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """Cheap hours last some time, come while the run lasts, and nobody is late before they begin."""
    defer_key = said.class_key(entry.name, "defer_max_s")
    key = said.class_key(entry.name, "cheap_hours")
    if entry.cheap_hours is None:
        if entry.defer_max_s is not None:
            yield problem(defer_key, entry.defer_max_s, "null while there are no cheap_hours")
        return
    if len(entry.cheap_hours) != 2 or len(set(entry.cheap_hours)) < 2:
        yield problem(key, list(entry.cheap_hours), "two different times of day: from and to")
        return
    begin_s, end_s = (clock_s(text) for text in entry.cheap_hours)
    longest_s = min(DAY_S - (end_s - begin_s) % DAY_S, entry.defer_max_s or DAY_S)
    if entry.deadline_s is not None and entry.deadline_s <= longest_s:
        allowed = f"less than deadline_s ({entry.deadline_s:g} s): who waits longer is late before it starts"
        yield problem(defer_key, entry.defer_max_s, allowed)
    run_s = scenario.duration_s + scenario.drain_s
    first_s = (begin_s - 3600 * entry.curves.start_hour) % DAY_S
    inside = (3600 * entry.curves.start_hour - begin_s) % DAY_S < (end_s - begin_s) % DAY_S
    if not inside and min(first_s, entry.defer_max_s or DAY_S) >= run_s:
        start = clock_text(entry.curves.start_hour)
        yield problem(
            key, list(entry.cheap_hours), f"hours of the run: {run_s:g} s from {start} on (curves.start_hour)"
        )


def clock_s(text: str) -> int:
    """`22:30` in seconds since midnight."""
    hours, minutes = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes)


def clock_text(hours: float) -> str:
    """An hour of the day, 9.5, as `09:30`."""
    return f"{int(hours):02}:{int(hours % 1 * 60):02}"
