"""Cold starts whose steps overlap, against every path through them, counted by brute force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.codes import N_STEP_MAX, STAGE_ENGINE, STAGE_NAMES, STAGE_READY, STAGE_SLICE
from sim.model.tables.pool import N_QUANTILE

from .philox import philox

SECOND_PS = 10**12
N_START = 40
STREAM_STAGE = 1
LOW = 2**32 - 1
Steps = list[
    tuple[int, int, list[int]]
]  # (stage that it is shown as, stream, earlier steps that it waits for)


def made(seed: int) -> tuple[Steps, np.ndarray]:
    """Steps of a start and their tables: whole tenths of seconds, so that ends coincide; many take no time."""
    rng = np.random.default_rng([seed, 31])
    n = int(rng.integers(1, N_STEP_MAX, endpoint=True))
    streams = rng.permutation(N_STEP_MAX)[:n] + 1
    steps = [
        (
            int(rng.integers(STAGE_SLICE, STAGE_ENGINE, endpoint=True)),
            int(streams[i]),
            [j for j in range(i) if rng.random() < 0.4],
        )
        for i in range(n)
    ]
    tenths = np.sort(rng.integers(0, 20, size=(n, N_QUANTILE)) * rng.integers(0, 2, size=(n, 1)), axis=1)
    return steps, tenths.astype(np.int64) * (SECOND_PS // 10)


def drawn(seed: int, stream: int, start: int) -> int:
    """Which of the 1,024 quantiles a start draws for a step."""
    words = philox((start, 0, 0, STREAM_STAGE + stream), (seed & LOW, seed >> 32))
    return ((words[0] << 32 | words[1]) >> 1) >> 53


def paths(steps: Steps, last: int) -> Iterator[list[int]]:
    """Every way to a step through what it waits for, itself last."""
    if not steps[last][2]:
        yield [last]
    for before in steps[last][2]:
        yield from ([*path, last] for path in paths(steps, before))


def naive(seed: int, steps: Steps, tables: np.ndarray, start: int) -> tuple[list[tuple[int, int]], int]:
    """((begin, end) of each step, the whole start), ps: the longest of all paths."""
    took = [int(tables[i, drawn(seed, steps[i][1], start)]) for i in range(len(steps))]
    ends = [max(sum(took[j] for j in path) for path in paths(steps, i)) for i in range(len(steps))]
    return [(end - took[i], end) for i, end in enumerate(ends)], max(ends)


def shown(spans: list[tuple[int, int]], steps: Steps, t: int) -> int:
    """The first stage of those in progress, or ready."""
    going = [stage for (begin, end), (stage, *_) in zip(spans, steps, strict=True) if begin <= t < end]
    return min(going, default=STAGE_READY)


def pool_of(tables: np.ndarray, steps: tuple[StepRow, ...]) -> PoolRow:
    """A pool of which N_START replicas start at 0."""
    speed = np.full(9, SECOND_PS)
    return PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=0,
        max_replicas=N_START,
        initial_replicas=0,
        tick_ps=0,
        target_milli=N_START,
        stage_ps=tables,
        steps=steps,
    )


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
@pytest.mark.parametrize("seed", range(12))
def test_starts_take_the_longest_path_and_are_seen_where_they_are(engine: str, seed: int) -> None:
    steps, tables = made(seed)
    pool = pool_of(
        tables, tuple(StepRow(stage, draw, sum(1 << j for j in after)) for stage, draw, after in steps)
    )
    p = make_params(
        RunRow(seed, 40 * SECOND_PS, 0, 40 * SECOND_PS, SECOND_PS // 20),
        Traffic(*np.array([[39 * SECOND_PS], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        [pool],
    )
    found = make_result(p, run_plan(p) if engine == "cpu" else Fleet(p).run())
    expected = [naive(seed, steps, tables, n) for n in range(N_START)]
    assert found.starts[0].total_ps.tolist() == [total for _, total in expected]
    took = [[end - begin for begin, end in spans] for spans, _ in expected]
    assert found.starts[0].steps_ps.T.tolist() == took
    for at, t in enumerate(found.samples["time_ps"].tolist()):
        if t == 0:
            continue  # what is seen at an instant was before the autoscaler's tick of that instant
        seen = [found.samples[name][at] for name in STAGE_NAMES[1:-1]]
        stages = [shown(spans, steps, t) for spans, _ in expected]
        assert seen == [stages.count(stage) for stage in range(STAGE_SLICE, STAGE_READY + 1)], t


def test_the_made_starts_overlap() -> None:
    """What is compared above has steps side by side, ends at one instant, and stages shown out of their order."""
    beside = at_once = backwards = 0
    for seed in range(12):
        steps, tables = made(seed)
        for n in range(N_START):
            spans, total = naive(seed, steps, tables, n)
            beside += sum(end - begin for begin, end in spans) > total
            ends = [end for begin, end in spans if end > begin]
            at_once += len(set(ends)) < len(ends)
            times = sorted({begin for begin, end in spans if end > begin})
            stages = [shown(spans, steps, t) for t in times]
            backwards += stages != sorted(stages)
    assert beside > 200
    assert at_once > 10
    assert backwards > 100
