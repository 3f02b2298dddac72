"""Runs of a few scenarios with a few seeds, summed up together: what they have in common is done once.

Rows and histograms are those of one run after the other, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sim.analysis.many import Latencies, Row, Summaries
from sim.analysis.verdicts import limits_of
from sim.engine.host import Policies, run_plan
from sim.engine.many import Reader
from sim.fill.series import Memory, Series
from sim.fill.trace import Traffic
from sim.model.tables.run import Params, State
from sim.pack.closed_loop import check_sent
from sim.pack.scenario import Outline, Plan, checked_traffic
from sim.runner import policies_for
from sim.workload.requests import Requests, requests_of_seeds

TRAFFICS_KEPT = 8  # of scenarios that see other requests with the same seeds


class Summed(NamedTuple):
    """Some runs of one scenario."""

    names: list[str]  # columns
    seeds: list[int]
    rows: list[Row]  # a row a seed
    latencies: Latencies  # of the fleet


class SharedRequests:
    """Requests by seed: scenarios that see the same ones share them (common random numbers, and half the work)."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[Any, ...], dict[int, Requests]]] = []
        self._n_made = self._n_request = 0

    @property
    def mean(self) -> float:
        """How many requests a run has, of those that were made."""
        return self._n_request / max(1, self._n_made)

    def of(self, of: Outline, seeds: Sequence[int]) -> dict[int, Requests]:
        """A scenario's requests with each of some seeds."""
        story = of.scenario
        asks_prefixes = any(pool.runtime.prefix_caching for pool in story.pools)
        key = (asks_prefixes, story.duration_s, story.classes, tuple(of.in_list.items()))
        made = next((made for other, made in self._kept if other == key), None)
        if made is None:
            made = {}
            self._kept = [*self._kept[1 - TRAFFICS_KEPT :], (key, made)]
        missing = [seed for seed in seeds if seed not in made]
        if missing:
            new = requests_of_seeds(story, missing, of.in_list)
            self._n_made += len(new)
            self._n_request += sum(len(requests.arrival_ps) for requests in new)
            made.update(zip(missing, new, strict=True))
        return made


class Prepared:
    """What all runs of one scenario have in common: to be kept as long as there are more of them."""

    def __init__(self, of: Outline) -> None:
        named = {limit.scope for limit in limits_of(of.scenario) if limit.scope is not None}
        self.of = of
        self.summaries = Summaries(of.scenario, of.tables, named)
        self.series = Series(of.world)


class Batch:
    """Runs of one scenario with some seeds."""

    def __init__(self, prepared: Prepared) -> None:
        self._of = prepared.of
        self._summaries, self._series = prepared.summaries, prepared.series
        self._read: list[tuple[Reader, list[int]]] = []

    def packed(self, seed: int, requests: Requests) -> tuple[Params, Traffic]:
        """A run's parameters, and its requests. Raises InputError."""
        traffic = checked_traffic(self._of, requests)
        return self._series.params(seed, traffic), traffic

    def policies(self, params: Params) -> Policies:
        """The users' policies of a run."""
        return policies_for(Plan(params, self._of.tables, self._of.scenario))

    def state(self, params: Params, traffic: Traffic, engine: str, memory: Memory) -> State:
        """Run it on the compiled engine, in `memory`, or on SimPy."""
        policies = self.policies(params)
        if engine == "simpy":
            from sim.engine.simpy import Fleet

            return Fleet(params, policies).run()
        return run_plan(params, policies, fresh=self._series.fresh(params, traffic, memory))

    def add(self, seed: int, params: Params, state: State) -> None:
        """Read a finished run. Raises InputError where its load generators had no request left."""
        check_sent(self._of.scenario, params, state)
        if not self._read or not self._read[-1][0].takes(params):
            self._read.append((Reader(params, self._summaries.scopes), []))
        reader, seeds = self._read[-1]
        reader.add(state)
        seeds.append(seed)

    def summed(self) -> Iterator[Summed]:
        """All runs that were read; mostly in one."""
        for reader, seeds in self._read:
            rows, latencies = self._summaries.rows(reader.read(), seeds)
            yield Summed(self._summaries.names, seeds, rows, latencies)


def run_part(
    asked: Sequence[tuple[Prepared, Sequence[int]]],
    engine: str,
    shared: SharedRequests | None = None,
    memory: Memory | None = None,
) -> Iterator[list[Summed]]:
    """Each scenario with its seeds, one scenario after the other. Raises InputError."""
    if engine == "cuda":
        yield from _on_gpu(asked)
        return
    shared, memory = shared or SharedRequests(), memory or Memory()
    for prepared, seeds in asked:
        batch, requests = Batch(prepared), shared.of(prepared.of, seeds)
        for seed in seeds:
            params, traffic = batch.packed(seed, requests[seed])
            batch.add(seed, params, batch.state(params, traffic, engine, memory))
        yield list(batch.summed())


def _on_gpu(asked: Sequence[tuple[Prepared, Sequence[int]]]) -> Iterator[list[Summed]]:
    """The same, all runs in one batch on the device; requests are held no longer than their seed is packed."""
    from sim.engine import cuda

    batches = [Batch(prepared) for prepared, _ in asked]
    runs = []
    for k in range(max((len(seeds) for _, seeds in asked), default=0)):
        shared = SharedRequests()
        for batch, (prepared, seeds) in zip(batches, asked, strict=True):
            for seed in seeds[k : k + 1]:
                runs.append((batch, seed, batch.packed(seed, shared.of(prepared.of, [seed])[seed])[0]))
    policies = [batch.policies(params) for batch, _, params in runs]
    for i, state in cuda.run_each([params for _, _, params in runs], policies):
        batch, seed, params = runs[i]
        batch.add(seed, params, state)
    yield from (list(batch.summed()) for batch in batches)
