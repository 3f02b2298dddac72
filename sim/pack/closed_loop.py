"""How many requests a load generator needs that goes on until the end of the run: as many as its clients can send."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sim.errors import InputError
from sim.fill.knots import knot_tokens
from sim.model.tables.run import Params, State
from sim.scenario.arrivals import Concurrency
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.steptime import StepTable
from sim.units import PS_PER_S
from sim.workload.dists import quantile_table
from sim.workload.loops import leader, line_number

N_QUANTILE = 1024
ROOM = 1.1  # the bound is a mean, and runs differ
READY_MAX = 20_000_000  # requests


def is_closed(scenario: Scenario) -> bool:
    """Whether the run is over with its last answer: all its requests stand in lists that have an end."""
    return all(
        isinstance(entry.arrivals, Concurrency) and (entry.arrivals.requests or entry.trace)
        for entry in scenario.classes
    )


def lists_of(scenario: Scenario, tables: Sequence[StepTable]) -> dict[str, int]:
    """How many requests to have ready for each load generator without an end, by the name of its (first) class.

    A client's request takes at least its steps, one for each token of the answer, each as long as the shortest of any
    pool, and prompts at least what all replicas that there may be take to compute them. InputError, asking for
    `requests`, where these are too many.
    """
    found: dict[str, int] = {}
    for i, entry in enumerate(scenario.classes):
        loop = entry.arrivals
        if (
            not isinstance(loop, Concurrency)
            or loop.requests
            or entry.trace
            or leader(scenario.classes, i) != i
        ):
            continue
        mine = [c for j, c in enumerate(scenario.classes) if leader(scenario.classes, j) == i]
        n = ROOM * rate_max(loop, mine, scenario, tables) * scenario.duration_s + loop.max + 100
        if not n <= READY_MAX:
            raise InputError(
                f"traffic {entry.name!r}: arrivals.requests is missing, and within duration_s {loop.max} clients could send"
                f" about {n:.3g} requests; allowed without it: {READY_MAX:,}. Say how many, or shorten duration_s"
            )
        found[entry.name] = math.ceil(n)
    return found


def rate_max(
    loop: Concurrency, classes: Sequence[TrafficClass], scenario: Scenario, tables: Sequence[StepTable]
) -> float:
    """Requests per second that no fleet of these pools can exceed, were every one answered."""
    base_s = min(int(table.base_ps.min()) for table in tables) / PS_PER_S
    token_s = min(float((table.work_ps[1:] / knot_tokens()[1:]).min()) for table in tables) / PS_PER_S
    shares = [entry.share or 1.0 for entry in classes]
    prompt, output = (
        sum(share * mean_of(getattr(entry, name)) for share, entry in zip(shares, classes, strict=True))
        / sum(shares)
        for name in ("prompt_tokens", "output_tokens")
    )
    alone_s = max(1.0, output) * base_s + prompt * token_s
    by_clients = loop.max / alone_s if alone_s > 0 else math.inf
    n_replica = sum(pool.max_replicas for pool in scenario.pools)
    return min(by_clients, n_replica / (prompt * token_s)) if token_s > 0 else by_clients


def sent_of(scenario: Scenario, p: Params, st: State) -> Iterator[tuple[TrafficClass, Concurrency, int, int]]:
    """Each list by its (first) class: (class, load generator, how many had to wait in it, how many of these were sent)."""
    for i, entry in enumerate(scenario.classes):
        if isinstance(entry.arrivals, Concurrency) and leader(scenario.classes, i) == i:
            line = line_number(scenario.classes, i)
            waited = int(p.line[line].n)
            yield entry, entry.arrivals, waited, int(st.line[line])


def unsent(scenario: Scenario, p: Params, st: State) -> dict[str, int]:
    """How many requests of each list that has an end were left in it, by its (first) class; those with none left out."""
    return {
        entry.name: waited - sent
        for entry, loop, waited, sent in sent_of(scenario, p, st)
        if (loop.requests or entry.trace) and waited > sent
    }


def check_sent(scenario: Scenario, p: Params, st: State) -> None:
    """Raise InputError where a load generator that should have gone on to the end of the run had no request left."""
    for entry, loop, ready, sent in sent_of(scenario, p, st):
        if loop.requests or entry.trace:
            continue
        if sent >= ready:
            raise InputError(
                f"traffic {entry.name!r}: its clients had sent all {ready + loop.max:,} requests that were ready before"
                " the end: many of them failed at once. Say how many there are, as arrivals.requests"
            )


def mean_of(dist: object) -> float:
    """The mean of a length, from its quantiles."""
    return float(quantile_table(dist, N_QUANTILE).clip(0).mean())  # type: ignore[arg-type]
