"""Rules of what can happen at all: lengths of whole tokens, times within the run, targets that can be reached."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from sim.errors import problem
from sim.scenario.arrivals import Arrivals, Batch, Clients, Superposition
from sim.scenario.autoscaler import Fixed, Hpa, targets_of
from sim.scenario.coldstart import Fixed as FixedStage
from sim.scenario.dist import Constant, Dist
from sim.scenario.faults import Fault
from sim.scenario.pool import Pool
from sim.scenario.pool_choice import serving_pools
from sim.scenario.problems import key_text
from sim.scenario.ranges import highest, lowest, mean
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.scenario.types import TOKENS_MAX
from sim.units import HORIZON_MAX_S

SHARE_METRICS = ("kv_use",)  # what a replica shows of these lies between 0 and 1
CVS = (0.02, 100.0)  # between which the renewal processes can be made
CALLS_MAX = 1e9  # of a session, on average: how many fit into memory is counted when they are made


def sense_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule as one line."""
    for entry in scenario.classes:
        yield from length_problems(entry, scenario, said)
        yield from span_problems(entry, said)
        yield from when_problems(entry, scenario, said)
    for pool in scenario.pools:
        yield from target_problems(pool, said)
        for place, stage in enumerate(pool.coldstart.stages):
            if isinstance(stage, FixedStage):
                key = said.key(pool.name, "coldstart", "stages", place, "duration")
                yield from too_long(key, stage.duration)
    yield from lost_problems(scenario)


# ---- tokens ----------------------------------------------------------------------
def length_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """Prompts and answers have a token at least; an embedding model writes nothing, and only one may be asked to."""
    if entry.trace is None:
        yield from tokens_problems(said.class_key(entry.name, "prompt_tokens"), entry.prompt_tokens, 1)
        yield from answer_problems(entry, scenario, said)
    if entry.sessions is not None:
        key = said.class_key(entry.name, "sessions", "tool_tokens")
        yield from tokens_problems(key, entry.sessions.tool_tokens, 0)
        if entry.sessions.call_tokens is not None:
            key = said.class_key(entry.name, "sessions", "call_tokens")
            yield from tokens_problems(key, entry.sessions.call_tokens, 1)


def answer_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """How long the answers of a class may be depends on what serves it."""
    key = said.class_key(entry.name, "output_tokens")
    if not set(entry.route_to) <= {pool.name for pool in scenario.pools}:
        return  # a mistake of its own
    kinds = {pool.model.kind for pool in serving_pools(scenario, entry)}
    if kinds == {"embedding"}:
        if highest(entry.output_tokens) > 0:
            value = entry.output_tokens.value if isinstance(entry.output_tokens, Constant) else None
            model = next(pool.model.name for pool in serving_pools(scenario, entry))
            shown = f"{value:g} is not valid; " if value is not None else ""
            yield f"{key}: {shown}allowed: 0: {model} is an embedding model and writes no tokens"
        return
    if (
        isinstance(entry.output_tokens, Constant)
        and entry.output_tokens.value == 0
        and "embedding" not in kinds
    ):
        yield problem(
            key, 0, f"a number from 1 to {TOKENS_MAX}, in tokens; 0 is for a model of kind embedding"
        )
        return
    yield from tokens_problems(key, entry.output_tokens, 0 if "embedding" in kinds else 1)


def tokens_problems(key: str, dist: Dist, least: int) -> Iterator[str]:
    """Lengths are no shorter than `least` tokens on average and at most, and fit into a request."""
    allowed = f"a number from {least} to {TOKENS_MAX}, in tokens"
    if isinstance(dist, Constant):
        if not least <= dist.value <= TOKENS_MAX:
            yield problem(key, dist.value, allowed)
    elif lowest(dist) < 0:
        yield f"{key}: can be negative ({lowest(dist):g} tokens); give it `min: {least}`"
    elif highest(dist) < least:
        yield f"{key}: is at most {highest(dist):g} tokens; allowed: {allowed}, or a distribution of such"
    elif not least <= mean(dist) <= TOKENS_MAX:
        yield f"{key}: has a mean of {mean(dist):g} tokens; allowed: a mean from {least} to {TOKENS_MAX}"
    elif dist.max is not None and dist.max > TOKENS_MAX:
        yield problem(f"{key}.max", dist.max, allowed)


# ---- times ----------------------------------------------------------------------
def too_long(key: str, dist: Dist | None) -> Iterator[str]:
    """A time that is drawn is on average no longer than the longest run."""
    allowed = f"at most {HORIZON_MAX_S}, in s: no run is longer than 45 days"
    if dist is None:
        return
    if isinstance(dist, Constant):
        if dist.value > HORIZON_MAX_S:
            yield problem(key, dist.value, allowed)
    elif mean(dist) > HORIZON_MAX_S:
        yield f"{key}: has a mean of {mean(dist):g} s; allowed: {allowed}"
    elif dist.max is not None and dist.max > HORIZON_MAX_S:
        yield problem(f"{key}.max", dist.max, allowed)


def span_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """Pauses, patience and sessions end; clients have rates and burstiness that there are."""
    for name in ("first_token_s", "total_s"):
        key = said.class_key(entry.name, "patience", name)
        yield from too_long(key, getattr(entry.patience, name))
    if entry.sessions is not None:
        for name in ("think_s", "tool_s"):
            key = said.class_key(entry.name, "sessions", name)
            yield from too_long(key, getattr(entry.sessions, name))
        for name in ("turns", "calls_per_turn"):
            key = said.class_key(entry.name, "sessions", name)
            if (
                not isinstance(getattr(entry.sessions, name), Constant)
                or highest(getattr(entry.sessions, name)) >= 1
            ):
                yield from between(key, getattr(entry.sessions, name), 1.0, CALLS_MAX)
    for keys, process in components(entry.arrivals):
        if isinstance(process, Clients):
            key = said.class_key(entry.name, "arrivals", *keys, "cv")
            yield from between(key, process.cv, *CVS)
            if lowest(process.client_rate) < 0:
                key = said.class_key(entry.name, "arrivals", *keys, "client_rate")
                yield f"{key}: can be negative ({lowest(process.client_rate):g}); give it `min: 0`"


def between(key: str, dist: Dist, low: float, high: float) -> Iterator[str]:
    """The mean lies within, and nothing is negative."""
    if lowest(dist) < 0:
        yield f"{key}: can be negative ({lowest(dist):g}); give it `min: {low:g}`"
    elif not low <= mean(dist) <= high:
        yield f"{key}: has a mean of {mean(dist):g}; allowed: a mean from {low:g} to {high:g}"


def components(arrivals: Arrivals) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """(keys below `arrivals`, process) of each process that is laid over the others."""
    if isinstance(arrivals, Superposition):
        yield from ((("components", place), part) for place, part in enumerate(arrivals.components))
    else:
        yield (), arrivals


def when_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """What is to happen at a time does so before the last request comes."""
    allowed = f"less than duration_s ({scenario.duration_s:g} s): no request comes later"
    for place, spike in enumerate(entry.spikes):
        if spike.at_s >= scenario.duration_s:
            yield problem(said.class_key(entry.name, "spikes", place, "at_s"), spike.at_s, allowed)
    for keys, process in components(entry.arrivals):
        if isinstance(process, Batch) and process.at_s >= scenario.duration_s and entry.trace is None:
            key = said.class_key(entry.name, "arrivals", *keys, "at_s")
            yield problem(key, process.at_s, allowed)
    for name in ("day", "week"):
        factors = getattr(entry.curves, name)
        if factors is not None and not any(factors):
            key = said.class_key(entry.name, "curves", name)
            yield f"{key}: is 0 throughout; allowed: at least one number above 0, or no request ever comes"


# ---- replicas ----------------------------------------------------------------------
def target_problems(pool: Pool, said: Said) -> Iterator[str]:
    """Targets that their metrics can reach."""
    names = ("target",) if isinstance(pool.autoscaler, Hpa) else ("target_backlog_per_replica", "activation")
    most = {"running": float(pool.runtime.max_num_seqs)}
    most |= dict.fromkeys(SHARE_METRICS, 1.0)
    for (place, of), name in itertools.product(targets_of(pool.autoscaler), names):
        value, highest_seen = getattr(of, name), most.get(of.metric)
        if highest_seen is not None and value > highest_seen:
            why = "a share" if of.metric in SHARE_METRICS else "of at most max_num_seqs"
            where = key_text(("autoscaler", *place, "metric"))
            allowed = f"≤ {highest_seen:g} while {where} is {of.metric}, {why}"
            yield problem(said.key(pool.name, "autoscaler", *place, name), value, allowed)


def lost_problems(scenario: Scenario) -> Iterator[str]:
    """No more replicas of a pool are lost at one time than it can have."""
    lost: Counter[tuple[str, float]] = Counter()
    pools = {pool.name: pool for pool in scenario.pools}
    for place, fault in enumerate(scenario.faults):
        if not isinstance(fault, Fault):
            continue
        name = fault.pool or scenario.pools[0].name
        if fault.is_of_nodes or name not in pools or (fault.pool is None and len(pools) > 1):
            continue  # a mistake of its own
        most = replicas_max(pools[name])
        lost[name, fault.at_s] += fault.replicas
        if fault.replicas > most:
            yield problem(
                f"faults.{place}.replicas", fault.replicas, f"≤ {most}, all that pool {name} can have"
            )
        elif lost[name, fault.at_s] > most >= lost[name, fault.at_s] - fault.replicas:
            yield (
                f"faults.{place}.replicas: makes {lost[name, fault.at_s]} replicas of pool {name} lost at"
                f" {fault.at_s:g} s; allowed: at most {most} together, all that it can have"
            )


def replicas_max(pool: Pool) -> int:
    """The most replicas that a pool can ever have."""
    if isinstance(pool.autoscaler, Fixed):
        return max(pool.autoscaler.replicas, pool.replicas_at_start, 1)
    return pool.max_replicas
