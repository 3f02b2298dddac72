"""The stable Python interface: `sim.run`, `sim.compare`, `sim.sweep`, `sim.study`, `sim.open`, `sim.whatif`,
`sim.capacity`, `sim.price`, `sim.robust`, `sim.search`, `sim.sensitivity`, `sim.load`, `sim.fleet`.

Everything here keeps its name and meaning between minor versions; the rest of the package may move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError
from sim.runner import Run, policies_for, simulate
from sim.scenario.scenario import Scenario

if TYPE_CHECKING:  # a run needs neither
    from sim.answers.capacity import Capacity
    from sim.answers.price import Price
    from sim.answers.robust import Robust
    from sim.answers.search import Search
    from sim.answers.sensitivity import Sensitivity
    from sim.answers.whatif import Answer
    from sim.records.study_open import Results
    from sim.sweeps.run import Sweep

Progress = Callable[..., None]


@dataclass
class Comparison:
    """Several runs of one story, the baseline first."""

    runs: dict[str, Run]

    def table(self) -> Any:
        """One row per run, as an Arrow table: every measure of the summary, `variant` first."""
        import pyarrow as pa

        from sim.records.summary import summary_table

        rows = summary_table([run.summary for run in self.runs.values()], {})
        return rows.add_column(0, "variant", pa.array(list(self.runs)))

    def _repr_html_(self) -> str:
        """What a notebook shows: a column a variant, a row a measure, and whether every limit held."""
        from sim.measures.cards import card
        from sim.measures.shown import COMPARED, compared
        from sim.records.summary import flat_summary

        flat = [flat_summary(run.summary) for run in self.runs.values()]
        rows: list[tuple[object, ...]] = [
            (f"{column.label} ({column.unit})", *(row.get(column.key) for row in flat))
            for column in map(compared, COMPARED)
            if any(row.get(column.key) is not None for row in flat)
        ]
        has_limits = any(run.verdicts for run in self.runs.values())
        rows += [("limits", *("✓" if run.ok else "✗" for run in self.runs.values()))] if has_limits else []
        story = next(iter(self.runs.values())).scenario
        return card(story.name, filter(None, [story.question]), ("measure", *self.runs), rows)


def load(name: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario by its name in the catalogue or by its path, with hydra overrides, checked. Raises InputError."""
    from sim.scenario.compose import load_scenario

    return load_scenario(str(name), list(overrides))


def run(
    scenario: str | Path | Scenario,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    said: Sequence[str] | None = None,
) -> Run:
    """Run a scenario. With `out` the run is kept in a new folder below it. Raises InputError.

    `said` are the words that made a Scenario (its name, then overrides), which are kept beside the run; without a Scenario
    they are the first two arguments.
    """
    is_made = isinstance(scenario, Scenario)
    story = scenario if isinstance(scenario, Scenario) else load(scenario, overrides)
    done = simulate(story, progress)
    done.said = list(said or ()) if is_made else [str(scenario), *overrides]
    if out is not None:
        from sim.records.run_dir import run_path

        done.write(run_path(out, done.scenario, datetime.now()))
    return done


def compare(
    scenario: str | Path,
    variants: Mapping[str, Sequence[str]] | Sequence[str],
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run variants of a scenario on the same requests (common random numbers).

    `variants` maps a label to overrides; a list such as ["autoscaler=fixed,hpa"] is taken apart into them.
    Every variant is checked before the first one runs. Raises InputError.
    """
    if not isinstance(variants, Mapping):
        from sim.scenario.compose import variants as product

        variants = product(list(variants))
    stories = {label: load(scenario, overrides) for label, overrides in variants.items()}
    runs = {}
    for i, (label, story) in enumerate(stories.items()):
        runs[label] = run(story, out=out, said=[str(scenario), *variants[label]])
        if progress is not None:
            progress((i + 1) / len(stories))
    return Comparison(runs)


def sweep(
    scenario: str | Path | Scenario,
    seeds: Sequence[int],
    variants: Mapping[str, Sequence[str]] | Sequence[str] = (),
    out: str | Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    said: Sequence[str] = (),
) -> Sweep:
    """Run a scenario, or variants of it, once for each seed, on all cores or a GPU.

    Every variant sees the same requests in the same seed. With `out` the sweep is kept in a new folder below it,
    finished runs as it goes on, and `said`, the words of the command line that asked for it. `.table()` has a row per
    run, `.statistics()` means with 95 % intervals.
    Raises InputError.
    """
    from sim.sweeps.run import sweep as run_sweep

    if isinstance(scenario, Scenario):
        stories = {scenario.name: scenario}
    else:
        if not isinstance(variants, Mapping):
            from sim.scenario.compose import variants as product

            variants = product(list(variants))
        stories = {label: load(scenario, overrides) for label, overrides in variants.items()}
    story = next(iter(stories.values()))
    folder = None
    if out is not None:
        from sim.records.run_dir import run_path

        folder = run_path(out, story, datetime.now())
        folder = folder.with_name(f"{folder.name}-sweep")
    return run_sweep(
        stories, seeds, story.engine.name, threads or story.engine.threads, folder, progress, said
    )


def study(
    name: str | Path,
    words: Sequence[str] = (),
    out: str | Path = "results",
    processes: int | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run what is missing of a study, a file or a scenario with axes in `words`, below `out`, and open its results.

    Raises InputError, also where a shard of it was put aside.
    """
    from sim.records.study_open import open_study
    from sim.studies.execution import execute
    from sim.studies.planning import check_points, folder_name, make_plan
    from sim.studies.reading import load_study

    found = load_study(str(name), list(words))
    plan = make_plan(found)
    check_points(plan)
    path = Path(out) / folder_name(found, str(name), words)
    done = execute(plan, path, plan.scenario(0).engine.name, processes, progress=progress)
    if done.failed:
        raise InputError(f"study: shard {shard} was put aside: {why}" for shard, why in done.failed.items())
    return open_study(path)


def open(result: str | Path) -> Results:
    """The results of a study as Arrow tables: `.runs`, `.histograms`, `.percentile(...)`, `.sql(...)`; InputError."""
    from sim.records.study_open import open_study

    return open_study(result)


def whatif(
    scenario: str | Path,
    keep: Sequence[str] = (),
    vary: Mapping[str, Any] | Sequence[str] = (),
    minimise: str = "usd_per_hour",
    overrides: Sequence[str] = (),
    seeds: int = 50,
    every: bool = False,
    threads: int | None = None,
) -> Answer:
    """The setting that costs least of those that keep every limit in the mean over seeds.

    `keep` are limits as a scenario has them, without any the scenario's own; `vary` maps keys to values as axes of a study
    have them: {"pool.min_replicas": "1..64"}. Seeds are added to settings that are near a limit, up to `seeds`; `every`
    tries every setting instead of bisecting. Raises InputError.
    """
    from sim.answers.whatif import whatif as ask

    return ask(str(scenario), keep, vary, minimise, overrides, seeds, every, threads)


def capacity(
    scenario: str | Path,
    keep: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seeds: int = 50,
    precision: float = 0.02,
    threads: int | None = None,
) -> Capacity:
    """By how much all of a scenario's traffic can be multiplied until the means over seeds break a limit; InputError."""
    from sim.answers.capacity import capacity as ask

    return ask(str(scenario), keep, overrides, seeds, precision, threads)


def price(
    scenario: str | Path,
    curve: Mapping[str, Any] | Sequence[str],
    vary: Mapping[str, Any] | Sequence[str],
    keep: Sequence[str] = (),
    minimise: str = "usd_per_hour",
    overrides: Sequence[str] = (),
    seeds: int = 20,
    threads: int | None = None,
) -> Price:
    """The least cost against one limit, {"ttft.p99": "200..2000 ms"}, or two, with 95 % intervals. Raises InputError."""
    from sim.answers.price import price as ask

    return ask(str(scenario), curve, vary, keep, minimise, overrides, seeds, threads)


def robust(
    scenario: str | Path,
    variants: Mapping[str, Sequence[str]] | Sequence[str],
    keep: Sequence[str] = (),
    minimise: str = "usd_per_hour",
    worlds: int = 60,
    off: Mapping[str, float] | None = None,
    threads: int | None = None,
) -> Robust:
    """In how many worlds each variant beats each, where step times, cold starts, traffic and seeds are others. InputError.

    `off` has how far they may be off, up and down: {"step_time": 0.15, "cold_start": 0.25, "load": 0.2} unless told.
    """
    from sim.answers.robust import robust as ask

    return ask(str(scenario), variants, keep, minimise, worlds, off, threads)


def search(
    scenario: str | Path,
    vary: Mapping[str, Any] | Sequence[str],
    objectives: Sequence[str] = ("usd_per_hour",),
    keep: Sequence[str] = (),
    overrides: Sequence[str] = (),
    trials: int = 64,
    seeds: int = 10,
    seed: int = 0,
    out: str | Path | None = None,
    threads: int | None = None,
) -> Search:
    """The settings that are worth having under limits, all tried or proposed by Optuna. Raises InputError.

    With `out` what was run is kept in a file below it, and the same search goes on from there.
    """
    from sim.answers.search import search as ask

    folder = None if out is None else Path(out)
    return ask(str(scenario), vary, objectives, keep, overrides, trials, seeds, seed, folder, threads)


def sensitivity(
    scenario: str | Path,
    measure: str = "ttft.p99",
    vary: Mapping[str, Any] | Sequence[str] = (),
    overrides: Sequence[str] = (),
    off: Mapping[str, float] | None = None,
    samples: int = 64,
    seeds: int = 3,
    threads: int | None = None,
) -> Sensitivity:
    """Sobol indices of a measure over the keys of `vary`, and over step times, cold starts and traffic as `robust` has
    them. Raises InputError.
    """
    from sim.answers.sensitivity import sensitivity as ask

    return ask(str(scenario), measure, vary, overrides, off, samples, seeds, threads)


def fleet(scenario: str | Path | Scenario, overrides: Sequence[str] = ()) -> Any:
    """The scenario as a SimPy fleet that can be stepped, watched and joined by processes of your own."""
    from sim.engine.simpy import Fleet
    from sim.pack.scenario import plan

    story = scenario if isinstance(scenario, Scenario) else load(scenario, overrides)
    packed = plan(story)
    return Fleet(packed.params, policies_for(packed))
