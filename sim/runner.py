"""One run: pack, engine, summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.analysis.energy import with_watts
from sim.analysis.summary import summarize
from sim.analysis.verdicts import Verdict, verdicts, with_verdicts
from sim.engine.host import Law as Asked
from sim.engine.host import Policies
from sim.engine.placing import Placer
from sim.engine.policies import KEY, PLACING_KEY, Law, load_law
from sim.engine.result import Result, make_result
from sim.fill.params import n_own
from sim.model.tables.run import State
from sim.pack.closed_loop import check_sent, unsent
from sim.pack.scenario import Plan, plan
from sim.scenario.scenario import Scenario

Tick = Callable[..., None]


@dataclass
class Run:
    """A finished run: its scenario, its arrays and what they came to."""

    scenario: Scenario
    result: Result
    summary: dict[str, Any]
    verdicts: list[Verdict]
    engine: str
    wall_s: float
    path: Path | None = None
    said: list[str] = field(
        default_factory=list
    )  # the words that made the scenario: its name, then overrides
    _tables: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """64 bits in hex that stand for the requests, the time series and the summary."""
        return f"{self.result.digest:016x}"

    @property
    def ok(self) -> bool:
        """Whether every limit of the scenario held."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def requests(self) -> Any:
        """One row per request, as an Arrow table (empty when records are off)."""
        return self._all_tables().requests

    @property
    def timeseries(self) -> Any:
        """One row per sample and pool, as an Arrow table."""
        return self._all_tables().timeseries

    @property
    def stations(self) -> Any:
        """One row per sample and CPU station, as an Arrow table (empty without stations)."""
        return self._all_tables().stations

    @property
    def jobs(self) -> Any:
        """One row per run of a batch job, as an Arrow table (empty without jobs)."""
        return self._all_tables().jobs

    @property
    def queues(self) -> Any:
        """One row per sample, queue and flavor, as an Arrow table (empty without queues)."""
        return self._all_tables().queues

    @property
    def nodes(self) -> Any:
        """One row per sample and node group, as an Arrow table (empty without a cluster)."""
        return self._all_tables().nodes

    @property
    def events(self) -> Any:
        """One row per event of the cluster, as an Arrow table (empty without a cluster, or when records are off)."""
        return self._all_tables().events

    @property
    def starts(self) -> Any:
        """One row per step of each cold start that is over, as an Arrow table (empty without nodes and links, or when
        records are off).
        """
        return self._all_tables().starts

    @property
    def links(self) -> Any:
        """One row per sample and link that starts share, as an Arrow table (empty without links)."""
        return self._all_tables().links

    def _all_tables(self) -> Any:
        if "tables" not in self._tables:
            from sim.records.run_dir import run_tables

            self._tables["tables"] = run_tables(self.scenario, self.result, self.summary)
        return self._tables["tables"]

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdicts, then the measures that a comparison has."""
        from sim.measures.cards import card
        from sim.measures.shown import COMPARED, compared
        from sim.records.summary import flat_summary

        flat = flat_summary(self.summary)
        rows: list[tuple[object, ...]] = [
            (f"{'✓' if verdict.ok else '✗'} {verdict.text}", verdict.observed, verdict.unit)
            for verdict in self.verdicts
        ]
        for column in map(compared, COMPARED):
            if flat.get(column.key) is not None:
                rows.append((column.label, flat[column.key], column.unit))
        notes = [
            self.scenario.question,
            f"seed {self.scenario.seed}, digest {self.digest}, engine {self.engine}",
        ]
        notes += [f"kept in {self.path}"] if self.path is not None else []
        return card(self.scenario.name, filter(None, notes), ("measure", "value", "unit"), rows)

    def write(self, path: Path | str) -> Path:
        """Keep the run in a folder of its own, whole or not at all, and return where it is."""
        from sim.records.run_dir import write_run

        about = {"engine": self.engine, "wall_s": round(self.wall_s, 3), "said": self.said}
        self.path = write_run(Path(path), self.scenario, self._all_tables(), self.summary, about)
        return self.path


GPU_PAYS_FROM = 256  # runs: fewer do not fill a device


def choose_engine(name: str, n_run: int = 1) -> str:
    """The engine that a name stands for on this machine, for a job of so many runs; InputError where there is none.

    `auto` takes a GPU if there is one and the job has enough runs to fill it, else CPU threads: results are equal.
    """
    if name == "cuda":
        from sim.engine.cuda import need_device

        need_device()
    if name != "auto":
        return name
    if n_run < GPU_PAYS_FROM:
        return "cpu"
    from sim.engine.cuda import why_not

    return "cpu" if why_not() else "cuda"


def simulate(scenario: Scenario, progress: Tick | None = None) -> Run:
    """Run a scenario on the engine it asks for."""
    packed = plan(scenario)
    engine = choose_engine(scenario.engine.name)
    policies = policies_for(packed)
    get_ready(engine, progress, policies.are_some)
    begun = time.perf_counter()
    state = ENGINES[engine](packed, policies, progress)
    wall_s = time.perf_counter() - begun
    return finished_run(packed, state, engine, wall_s)


def finished_run(packed: Plan, state: State, engine: str, wall_s: float, blame: bool = True) -> Run:
    """What a final state came to; without `blame` its requests do not say what their time was spent on."""
    check_sent(packed.scenario, packed.params, state)
    result = make_result(packed.params, state, blame=blame)
    result = with_watts(packed.scenario, result, packed.tables)
    summary = summarize(packed.scenario, result, packed.tables, engine)
    summary["traces"] = packed.traces or {}
    summary["unsent"] = unsent(packed.scenario, packed.params, state)
    found = verdicts(packed.scenario, summary)
    return Run(packed.scenario, result, with_verdicts(summary, found), found, engine, wall_s)


# ---- engines ----------------------------------------------------------------------
def get_ready(engine: str, progress: Tick | None, has_laws: bool = False) -> None:
    """Compile what an engine needs, or read it from the cache: no part of a run's time.

    A user's law is asked between the rules, by single rules as SimPy calls them: they are compiled for it too.
    """
    from sim.engine.cpu import compiled_act, compiled_loop, is_compiled

    needs_loop, needs_act = engine == "cpu", engine == "simpy" or has_laws
    for is_needed, name, compiled in ((needs_loop, "loop", compiled_loop), (needs_act, "act", compiled_act)):
        if not is_needed:
            continue  # the kernels of CUDA are compiled for the run's tables
        if progress is not None and not is_compiled(name):
            progress(0, None, "compiling the simulator (once per installation)")
        compiled()


def run_on_cpu(packed: Plan, policies: Policies, progress: Tick | None) -> State:
    """The compiled engine, a watcher thread telling how far the arrivals are."""
    from sim.engine.host import run_plan

    if progress is None:
        return run_plan(packed.params, policies)
    from sim.engine.watch import watched

    return watched(packed.params, policies, progress)


def run_on_simpy(packed: Plan, policies: Policies, progress: Tick | None) -> State:
    """The SimPy engine."""
    from sim.engine.simpy import Fleet

    fleet = Fleet(packed.params, policies)
    if progress is None:
        return fleet.run()
    n = max(1, n_own(packed.params))
    steps = 50
    for i in range(1, steps):
        if not fleet.is_over:
            fleet.run(until_s=packed.scenario.duration_s * i / steps)
            progress(int(fleet.state.cursor) / n, 1.0, "simulating")
    return fleet.state if fleet.is_over else fleet.run()


def run_on_cuda(packed: Plan, policies: Policies, progress: Tick | None) -> State:
    """The CUDA engine, for one scenario."""
    from sim.engine.cuda import run_many

    return run_many([packed.params], [policies], progress)[0]


ENGINES: dict[str, Callable[[Plan, Policies, Tick | None], State]] = {
    "cpu": run_on_cpu,
    "simpy": run_on_simpy,
    "cuda": run_on_cuda,
}


# ---- users' own policies ----------------------------------------------------------------------
def policies_for(packed: Plan) -> Policies:
    """The user's law of each pool that has one, and the one that places replicas; each file read once."""
    found: dict[str, Law] = {}

    def law(text: str, key: str) -> Law:
        if text not in found:
            found[text] = load_law(text, key)
        return found[text]

    scenario = packed.scenario
    laws: dict[int, Asked] = {
        i: law(pool.autoscaler.law, KEY)
        for i, pool in enumerate(scenario.pools)
        if pool.autoscaler.kind == "user"
    }
    placing = scenario.cluster.law
    names = [pool.name for pool in scenario.pools]
    groups = [group.name for group in scenario.cluster.node_groups]
    return Policies(laws, None if placing is None else Placer(law(placing, PLACING_KEY), names, groups))
