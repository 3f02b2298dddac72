"""What scripts/bench measures: every case takes a scale and returns its figures."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_kit import (
    LOAD,
    OFF_OVER_SPINE,
    SERVERS,
    Figure,
    Scale,
    Work,
    erlang_wait,
    fleet,
    interleaved,
    per_second,
    queue_params,
    rate_for,
    ratios,
    simpy_queue,
)
from bench_start import case_command

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.model.tables.run import Params
from sim.units import PS_PER_S

ROOT = Path(__file__).resolve().parents[1]


# ---- cases: the compiled loop ------------------------------------------------------------------------------
def case_reference(scale: Scale) -> list[Figure]:
    """16 replicas at 85 % of what they can serve, every metric on; with and without a row per request."""
    n = scale.n(200_000)
    works = {kept: fleet(n, records=kept) for kept in (0, 1)}
    took = interleaved({k: partial(run_plan, p) for k, p in works.items()}, scale.repeats)
    return [
        Figure("records off", "requests/s", per_second(n, took[0]), goal=2.0e6),
        Figure("records on", "requests/s", per_second(n, took[1]), goal=2.0e6),
        Figure("records off, one request", "ns", [s / n * 1e9 for s in took[0]]),
    ]


def case_features(scale: Scale) -> list[Figure]:
    """The reference without what clients and caches can do, and with all of it, beside the loop before it knew any."""
    n = scale.n(200_000)
    works = {on: fleet(n, features=on) for on in (False, True)}
    ends = {on: run_plan(p) for on, p in works.items()}
    attempts = {on: int(st.served_model[0].arrivals) for on, st in ends.items()}
    seen = make_result(works[True], ends[True]).counts
    took = interleaved({on: partial(run_plan, p) for on, p in works.items()}, scale.repeats)
    rates = {on: per_second(attempts[on], took[on]) for on in works}
    over = ratios(rates[True], rates[False])
    note = ", ".join(
        f"{name} {int(seen[name][0]):,}" for name in ("timed_out", "retries", "hedges") if name in seen
    )
    return [
        Figure("everything off", "attempts/s", rates[False]),
        Figure("everything on", "attempts/s", rates[True], note=f"{attempts[True]:,} attempts; {note}"),
        Figure("on over off, per attempt", "×", over),
        Figure(
            "on over the spine",
            "×",
            [OFF_OVER_SPINE * x for x in over],
            goal=0.5,
            note=f"taking off for {OFF_OVER_SPINE} × the spine, as once measured",
        ),
    ]


def case_replicas(scale: Scale) -> list[Figure]:
    """Fleets of 1 to 1,000 replicas, each replica as busy as in the reference."""
    sizes = {1: 100_000, 16: 100_000, 128: 150_000, 1000: 400_000}
    runs = {replicas: fleet(scale.n(n), replicas) for replicas, n in sizes.items()}
    took = interleaved({k: partial(run_plan, p) for k, p in runs.items()}, scale.repeats)
    return [
        Figure(
            f"{k:,} replicas",
            "requests/s",
            per_second(scale.n(sizes[k]), took[k]),
            goal=1e6 if k == 1000 else None,
        )
        for k in sizes
    ]


def case_output(scale: Scale) -> list[Figure]:
    """Output lengths at equal batch occupancy and without preemption: a jump of many steps is one event."""
    n = scale.n(60_000)
    lengths = (32, 128, 512, 2048)
    runs = {k: fleet(n, output=k, rate_per_s=rate_for(k, n), blocks=10**6) for k in lengths}
    ends = {k: make_result(p, run_plan(p)).pools[0] for k, p in runs.items()}
    took = interleaved({k: partial(run_plan, p) for k, p in runs.items()}, scale.repeats)
    figures = []
    for k in lengths:
        seen = ends[k]["slot_ps"] / max(1, ends[k]["ready_ps"])
        note = f"occupancy {seen:.1f}, preemptions {ends[k]['run_preemptions']}"
        figures.append(Figure(f"{k:,} output tokens", "requests/s", per_second(n, took[k]), note=note))
    for k in lengths[1:]:
        goal = 1.15 if k == 2048 else None
        figures.append(
            Figure(f"cost of {k:,} over 32", "×", ratios(took[k], took[32]), goal=goal, at_least=False)
        )
    return figures


def case_simpy(scale: Scale) -> list[Figure]:
    """The SimPy engine and the compiled loop on the reference scenario, in turn."""
    from sim.engine.simpy import Fleet

    few, many = fleet(scale.n(6_000)), fleet(scale.n(200_000))
    works = {"simpy": lambda: Fleet(few).run(), "cpu": lambda: run_plan(many)}
    took = interleaved(works, scale.repeats)
    simpy = per_second(scale.n(6_000), took["simpy"])
    cpu = per_second(scale.n(200_000), took["cpu"])
    return [
        Figure("SimPy engine", "requests/s", simpy, goal=10_000),
        Figure("compiled loop", "requests/s", cpu),
        Figure("compiled over SimPy", "×", ratios(cpu, simpy), goal=150),
    ]


# ---- cases: a plain queue ----------------------------------------------------------------------------------
def case_queue(scale: Scale) -> list[Figure]:
    """M/M/8 at 80 % load through the compiled loop, and as an idiomatic SimPy model."""
    n, few = scale.n(400_000), scale.n(10_000)
    p = queue_params(n)
    took = interleaved({"simpy": lambda: simpy_queue(few), "cpu": lambda: run_plan(p)}, scale.repeats)
    simpy, cpu = per_second(few, took["simpy"]), per_second(n, took["cpu"])
    wait = make_result(p, run_plan(p)).sums["queue_wait"][0] / n / PS_PER_S
    return [
        Figure("simpy.Resource", "customers/s", simpy),
        Figure(
            "compiled loop",
            "customers/s",
            cpu,
            note=f"mean wait {wait:.4f} services; Erlang C: {erlang_wait(SERVERS, LOAD):.4f}",
        ),
        Figure("compiled over simpy.Resource", "×", ratios(cpu, simpy), goal=200),
    ]


# ---- cases: threads ----------------------------------------------------------------------------------------
def case_threads(scale: Scale) -> list[Figure]:
    """Eight packed scenarios on one thread and on two (wall time)."""
    runs = [fleet(scale.n(20_000), seed=seed) for seed in range(8)]
    pools = {k: ThreadPoolExecutor(k) for k in (1, 2)}
    works: dict[int, Work] = {k: partial(_map, pool, runs) for k, pool in pools.items()}
    took = interleaved(works, 5 * scale.repeats, time.perf_counter)
    spent = interleaved(works, scale.repeats, time.process_time)
    for pool in pools.values():
        pool.shutdown()
    best = [min(took[1]) / min(took[2])]
    return [
        Figure(
            "2 threads over 1, fastest turns", "×", best, goal=1.6, note="other work on the machine lowers it"
        ),
        Figure("2 threads over 1, turn by turn", "×", ratios(took[1], took[2])),
        Figure("cores that 1 thread got", "cores", ratios([median(spent[1])] * len(took[1]), took[1])),
        Figure("cores that 2 threads got", "cores", ratios([median(spent[2])] * len(took[2]), took[2])),
        Figure("CPU time of 2 threads over 1", "×", ratios(spent[2], spent[1])),
    ]


def _map(pool: ThreadPoolExecutor, runs: list[Params]) -> None:
    for _ in pool.map(run_plan, runs):
        pass


# ---- cases: sweeps -----------------------------------------------------------------------------------------
VARIANTS = {name: [f"autoscaler={name}"] for name in ("fixed", "hpa", "queue", "hpa_fast")}


def case_sweep(scale: Scale) -> list[Figure]:
    """Whole sweeps of short runs from their scenarios to their rows, what a run of them is made of, and threads."""
    import sim

    short = [f"duration_s={max(30, int(600 * scale.size))}", "pool.max_replicas=4"]
    seeds = range(1, 1 + max(4, scale.n(128)))
    stories = {"seeds": {"first_run": short}}
    stories["variants"] = {name: [*short, *words] for name, words in VARIANTS.items()}
    works = {
        (kind, threads): partial(
            _sweep, {name: sim.load("first_run", w) for name, w in words.items()}, seeds, threads
        )
        for kind, words in stories.items()
        for threads in (1, 2)
    }
    turns = max(3, scale.repeats)
    walls = interleaved(works, turns, time.perf_counter)
    spent = interleaved({kind: works[kind, 1] for kind in stories}, turns)
    parts = _parts(sim.load("first_run", short), seeds, turns)
    figures = [Figure(f"a run of first_run: {name}", "ms", took) for name, took in parts.items()]
    for kind, words in stories.items():
        n = len(seeds) * len(words)
        name = f"{len(seeds)} seeds" if kind == "seeds" else f"{len(words)} variants × {len(seeds)} seeds"
        one, two = walls[kind, 1], walls[kind, 2]
        figures += [
            Figure(f"{name}, CPU time", "runs/CPU second", per_second(n, spent[kind])),
            Figure(f"{name}, 1 thread", "runs/s", per_second(n, one)),
            Figure(f"{name}, 2 threads", "runs/s", per_second(n, two)),
            Figure("2 threads over 1, turn by turn", "×", ratios(one, two)),
            Figure("2 threads over 1, fastest turns", "×", [min(one) / min(two)]),
        ]
    return figures + _long_sweep(scale, sim.load("first_run", short))


def _long_sweep(scale: Scale, story: Any) -> list[Figure]:
    """A sweep of which each thread gives most to a process beside it, the start of these processes included."""
    seeds = range(1, 1 + max(4, scale.n(4000)))
    works = {threads: partial(_sweep, {"first_run": story}, seeds, threads) for threads in (1, 2)}
    walls = interleaved(works, 3, time.perf_counter)
    return [
        *(
            Figure(f"{len(seeds):,} seeds, {k} threads", "runs/s", per_second(len(seeds), walls[k]))
            for k in works
        ),
        Figure("2 threads over 1, turn by turn", "×", ratios(walls[1], walls[2]), goal=1.6),
    ]


def _sweep(stories: dict[str, Any], seeds: range, threads: int) -> None:
    from sim.sweeps.run import sweep

    sweep(stories, seeds, "cpu", threads)


def _parts(story: Any, seeds: range, turns: int) -> dict[str, list[float]]:
    """CPU time of a run by what it is spent on, in ms: a turn is all seeds."""
    from sim.fill.series import Memory
    from sim.pack.scenario import outline
    from sim.studies.running import quiet
    from sim.sweeps.batch import Batch, Prepared
    from sim.workload.requests import make_requests

    prepared, memory = Prepared(outline(quiet(story))), Memory()
    of = prepared.of
    names = ("requests", "packing", "engine", "reading what is left", "summing up")
    took: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(1 + turns):
        batch, sums = Batch(prepared), [0.0] * len(took)
        for seed in seeds:
            marks = [time.process_time()]
            requests = make_requests(of.scenario, seed, of.in_list)
            marks.append(time.process_time())
            params, traffic = batch.packed(seed, requests)
            marks.append(time.process_time())
            state = batch.state(params, traffic, "cpu", memory)
            marks.append(time.process_time())
            batch.add(seed, params, state)
            marks.append(time.process_time())
            sums = [x + b - a for x, a, b in zip(sums, [*marks, 0.0], [*marks[1:], 0.0], strict=False)]
        begun = time.process_time()
        list(batch.summed())
        sums[-1] = time.process_time() - begun
        for values, x in zip(took.values(), sums, strict=True):
            values += [x / len(seeds) * 1e3] if turn else []  # the first turn warms up
    return took


def case_study(scale: Scale) -> list[Figure]:
    """Studies of short runs, from the plan to the files: CPU time in one process, and 100,000 tiny runs on all cores."""
    from sim.studies.execution import execute
    from sim.studies.planning import make_plan
    from sim.studies.reading import load_study

    figures = []
    for words, n, goal in ((("duration_s=600",), 2000, 500.0), (("duration_s=1.7",), 20_000, None)):
        seeds = f"seed=1..{max(8, scale.n(n))}"
        plan = make_plan(load_study("first_run", [*words, seeds]))
        with tempfile.TemporaryDirectory() as folder:
            work = partial(execute, plan, Path(folder) / "warm", "cpu", None, (1, 1), "here")
            work()
            begun = time.process_time()
            execute(plan, Path(folder) / "study", "cpu", None, (1, 1), "here")
            spent = time.process_time() - begun
        name = f"a study of first_run, {words[0]}, one process"
        figures.append(
            Figure(name, "runs/CPU second", [plan.n_run / spent], goal, note=f"{plan.n_run:,} runs")
        )
    n = scale.n(100_000)
    plan = make_plan(load_study("first_run", ["duration_s=1.7", f"seed=1..{max(8, n)}"]))
    with tempfile.TemporaryDirectory() as folder:
        begun, before = time.perf_counter(), spent_s()
        execute(plan, Path(folder) / "study", "cpu")
        wall, spent = time.perf_counter() - begun, spent_s() - before
    note = f"{plan.n_run:,} made, on all cores, processes started"
    times = 100_000 / plan.n_run
    return [
        *figures,
        Figure("100,000 runs of 10 requests", "s", [wall * times], 5.0, False, note),
        Figure("… CPU time of all processes", "s", [spent * times]),
    ]


def spent_s() -> float:
    """CPU time of this process and of those that it has ended, s."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in both)


# ---- cases: memory, traffic, start -------------------------------------------------------------------------
def case_memory(scale: Scale) -> list[Figure]:
    """Bytes that a run holds: its trace, and its state with and without a row per request."""
    n = scale.n(20_000)
    short, long = fleet(n, sample_s=0), fleet(10 * n, sample_s=0)
    kept = fleet(10 * n, sample_s=0, records=1)
    sizes = {key: run_plan(p).m.nbytes for key, p in {"short": short, "long": long, "kept": kept}.items()}
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    note = f"{n:,} requests → {10 * n:,}"
    return [
        Figure("trace, one request", "bytes", [long.trace.nbytes / (10 * n)]),
        Figure("state, records off", "kB", [sizes["long"] / 1e3]),
        Figure("its growth with 10 × the requests", "×", [sizes["long"] / sizes["short"]], 1.0, False, note),
        Figure("records on, one request more", "bytes", [(sizes["kept"] - sizes["long"]) / (10 * n)]),
        Figure("peak resident size of this process", "MB", [rss / 1e6]),
    ]


def case_traffic(scale: Scale) -> list[Figure]:
    """A million requests of the chat preset, from its distributions to arrays."""
    import sim
    from sim.workload.requests import make_requests

    rate = scale.n(1_000_000) / 3600
    story = sim.load("first_run", ["duration_s=3600", f"traffic.arrivals.rate_per_s={rate}"])
    n = len(make_requests(story, 1).arrival_ps)
    took = interleaved({"traffic": lambda: make_requests(story, 1)}, scale.repeats)["traffic"]
    scaled = [s * 1e6 / max(1, n) for s in took]
    return [Figure("a million requests", "s", scaled, goal=2.0, at_least=False, note=f"{n:,} made")]


_START = (
    "import time; t = time.perf_counter(); import sys; sys.path[:0] = sys.argv[1:]\n"
    "from bench_kit import fleet\nfrom sim.engine.host import run_plan\n"
    "run_plan(fleet(20)); print(time.perf_counter() - t)"
)


def start_s(cache: str) -> float:
    """Wall seconds of a fresh process from its first import to the end of a tiny run."""
    env = {**os.environ, "FLEETSIM_CACHE_DIR": cache}
    words = [sys.executable, "-c", _START, str(ROOT / "scripts"), str(ROOT)]
    return float(subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout)


def case_start(scale: Scale) -> list[Figure]:
    """The first run of an installation, which compiles, and every other one."""
    run_plan(fleet(20))  # the cache holds the loop from here on
    figures = []
    if scale.slow:
        with tempfile.TemporaryDirectory() as cache:
            figures.append(Figure("first start: compile the loop", "s", [start_s(cache)]))
    from sim.engine.cpu import cache_dir

    warm = [start_s(str(cache_dir().parent)) for _ in range(scale.repeats)]
    return [*figures, Figure("start with the loop in the cache", "s", warm)]


# ---- cases: the machine ------------------------------------------------------------------------------------
def chase(table: np.ndarray, n: int) -> int:
    """A fixed mixture of dependent loads, branches and integer arithmetic."""
    at, total = 0, 0
    for i in range(n):
        at = table[at]
        total = total + at if at & 1 else total ^ (i * at)
    return total


def case_calibration(scale: Scale) -> list[Figure]:
    """The same work on every machine and at every moment: divide by it to compare figures."""
    import numba

    table = np.roll(np.random.default_rng(0).permutation(1 << 14), 1).astype(np.int64)
    compiled = numba.njit(chase)
    n, few = scale.n(5_000_000), scale.n(100_000)
    boxed = table.tolist()
    works = {"compiled": lambda: compiled(table, n), "python": lambda: chase(boxed, few)}
    took = interleaved(works, scale.repeats)
    return [
        Figure("compiled loop", "million turns/s", [x / 1e6 for x in per_second(n, took["compiled"])]),
        Figure("the same in Python", "million turns/s", [x / 1e6 for x in per_second(few, took["python"])]),
    ]


CASES: dict[str, Callable[[Scale], list[Figure]]] = {
    name.removeprefix("case_"): work for name, work in list(globals().items()) if name.startswith("case_")
} | {"command": case_command}
