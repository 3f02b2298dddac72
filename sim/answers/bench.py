"""Runs that an answer asks for, one setting and seed at a time, each made once and on all cores.

All settings of a seed see the same requests (common random numbers): whoever runs a seed keeps its requests, and every
seed is run by the same process.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sim.analysis.summary import fleet_summary
from sim.analysis.verdicts import evaluate
from sim.answers.load import with_load
from sim.answers.worlds import with_times
from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.errors import InputError
from sim.measures.levels import key_of
from sim.pack.closed_loop import check_sent
from sim.pack.scenario import Outline, Plan, outline, with_seed
from sim.records.summary import flat_summary
from sim.runner import choose_engine, policies_for
from sim.scenario.compose import load_scenario
from sim.scenario.scenario import Scenario
from sim.scenario.slo import Limit, parse_slo
from sim.studies.running import quiet
from sim.sweeps.beside import Beside
from sim.sweeps.workers import n_threads
from sim.workload.requests import Requests, make_requests

SEEDS_KEPT = 64  # whose requests a process holds
SETTINGS_KEPT = 500  # packed settings of some 50 kB each
PROCESS_PAYS_S = 2.0  # of work left to each: a process takes a second to start
Row = dict[str, Any]


class Setting(NamedTuple):
    """What is changed of the scenario: words of the command line, and by how much its traffic and times are multiplied."""

    words: tuple[str, ...] = ()
    load: float = 1.0  # all traffic
    step_time: float = 1.0  # of every engine
    cold_start: float = 1.0


class Trial(NamedTuple):
    """A run: what is measured, by column, and what each limit observed (None: nothing was there to measure)."""

    row: Row
    observed: tuple[float | None, ...]


class Sheet(NamedTuple):
    """What all runs of an answer have in common, as a process is told it."""

    scenario: str
    words: tuple[str, ...]
    limits: tuple[str, ...]

    def worker(self) -> Bencher:
        """Who runs settings in a process."""
        return Bencher(self)

    def story(self, setting: Setting) -> Scenario:
        """The scenario with a setting. Raises InputError where it cannot be."""
        story = load_scenario(self.scenario, [*self.words, *setting.words])
        return quiet(with_load(story, setting.load))

    def parsed(self, story: Scenario) -> tuple[Limit, ...]:
        """The limits. Raises InputError."""
        return tuple(parse_slo(text, [c.name for c in story.classes]) for text in self.limits)


class OneSeed:
    """Requests of the seed at hand: settings that see the same ones share them (common random numbers)."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._requests: Requests | None = None

    def __call__(self, of: Outline, seed: int) -> Plan:
        """A setting with a seed, packed."""
        story = of.scenario
        asks_prefixes = any(pool.runtime.prefix_caching for pool in story.pools)
        key = (seed, asks_prefixes, story.duration_s, story.classes, tuple(of.in_list.items()))
        if self._requests is None or key != self._key:
            self._requests, self._key = make_requests(story, seed, of.in_list), key
        return with_seed(of, seed, self._requests)


class Bencher:
    """Runs settings one after the other in this process; what they share stays."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._packed: OrderedDict[Setting, Outline] = OrderedDict()
        self._requests: OrderedDict[int, OneSeed] = OrderedDict()

    def __call__(self, asked: tuple[Setting, int]) -> Trial | InputError:
        """Run a setting with a seed; what is wrong with it comes back as it is."""
        setting, seed = asked
        try:
            return self._run(setting, seed)
        except InputError as error:
            return error

    def _outline(self, setting: Setting) -> Outline:
        return with_times(outline(self._sheet.story(setting)), setting.step_time, setting.cold_start)

    def _run(self, setting: Setting, seed: int) -> Trial:
        of = kept(self._packed, setting, lambda: self._outline(setting), SETTINGS_KEPT)
        packed = kept(self._requests, seed, OneSeed, SEEDS_KEPT)(of, seed)
        policies = policies_for(packed)
        engine = choose_engine(packed.scenario.engine.name, 1)
        if engine == "simpy":
            from sim.engine.simpy import Fleet

            state = Fleet(packed.params, policies).run()
        else:
            state = run_plan(packed.params, policies)
        limits = self._sheet.parsed(packed.scenario)
        named = {limit.scope for limit in limits if limit.scope is not None}
        check_sent(packed.scenario, packed.params, state)
        result = make_result(packed.params, state, records=False, classes=bool(named))
        summary = fleet_summary(packed.scenario, result, packed.tables, "cpu", named)
        return Trial(flat_summary(summary), tuple(v.observed for v in evaluate(limits, summary)))


def kept(held: OrderedDict[Any, Any], key: Any, make: Callable[[], Any], most: int) -> Any:
    """What is held under a key, made where it is not; the one that was longest not asked for goes."""
    if key in held:
        held.move_to_end(key)
        return held[key]
    held[key] = make()
    if len(held) > most:
        held.popitem(last=False)
    return held[key]


class Bench:
    """Runs settings on all cores, each with each seed once. To be closed."""

    def __init__(self, sheet: Sheet, threads: int | None = None) -> None:
        self.sheet = sheet
        self.done: dict[tuple[Setting, int], Trial] = {}
        self.run_s = 0.0  # of the last run on one core
        self._own = Bencher(sheet)
        self._turn = (
            threading.Lock()
        )  # of it: what it keeps, and how a scenario is composed, are one thread's at a time
        self._n = n_threads(threads)
        self._beside: list[Beside] = []
        self._is_stopped = False

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._beside:
            process.close()

    def trials(self, setting: Setting, seeds: Sequence[int]) -> list[Trial]:
        """A setting with some seeds, in their order. Raises InputError where it cannot be run."""
        self.run([setting], seeds)
        return [self.done[setting, seed] for seed in seeds]

    def run(self, settings: Sequence[Setting], seeds: Sequence[int]) -> None:
        """Run what is missing of some settings with some seeds. Raises InputError where one cannot be run."""
        todo = [(s, seed) for seed in seeds for s in settings if (s, seed) not in self.done]
        if todo and not self.run_s:
            from sim.engine.cpu import compiled_loop

            compiled_loop()
            first, todo = todo[0], todo[1:]
            self._keep(first, self._timed(first))
        if not self._beside and self._n > 1 and len(todo) * self.run_s / self._n > PROCESS_PAYS_S:
            with contextlib.suppress(OSError, ValueError):  # no processes here: this one does it alone
                self._beside = [Beside(self.sheet) for _ in range(self._n - 1)]
        lines = [
            [one for one in todo if one[1] % (len(self._beside) + 1) == i]
            for i in range(len(self._beside) + 1)
        ]
        self._is_stopped = False
        with ThreadPoolExecutor(len(lines)) as pool:
            others = [
                pool.submit(self._on, process, line)
                for process, line in zip(self._beside, lines[1:], strict=True)
            ]
            try:
                for one in lines[0]:
                    if self._is_stopped:
                        break
                    self._keep(one, self._timed(one))
                for other in others:
                    other.result()
            except BaseException:
                self._is_stopped = True  # the others end with the run that they are at
                raise

    def _on(self, process: Beside, line: Sequence[tuple[Setting, int]]) -> None:
        try:
            for one in line:
                if self._is_stopped:
                    return
                process.ask(one)
                answer = process.answer()
                self._keep(one, answer if answer is not None else self._here(one))  # it is gone: here then
        except BaseException:
            self._is_stopped = True
            raise

    def _here(self, one: tuple[Setting, int]) -> Trial | InputError:
        with self._turn:
            return self._own(one)

    def _timed(self, one: tuple[Setting, int]) -> Trial | InputError:
        with self._turn:
            begun = time.perf_counter()
            found = self._own(one)
            self.run_s = time.perf_counter() - begun
        return found

    def _keep(self, one: tuple[Setting, int], found: Trial | InputError) -> None:
        if isinstance(found, InputError):
            raise found
        self.done[one] = found


def column_of(metric: str, statistic: str | None) -> str:
    """The column of a flat summary that has a measure, or a statistic of a latency."""
    return f"{metric}_{key_of(statistic)}" if statistic else metric
