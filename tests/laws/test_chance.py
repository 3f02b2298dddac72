"""What is left to chance is spread as it should be, and drawn anew each time."""

from __future__ import annotations

import numpy as np
import pytest
from parity.engines import run_on_loop
from parity.fleets import Fleet

from sim.engine.result import make_result
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic
from sim.model.router.choose import LEAST_OUTSTANDING, POWER_OF_TWO, RANDOM
from sim.model.tables.codes import N_START_STAGE, STAGE_NAMES
from sim.model.tables.pool import N_QUANTILE

from .walk import walked

N_START = 300
SECOND_PS = 10**12


def one_pool(pool: PoolRow, router: int, n_request: int, seed: int = 3) -> Fleet:
    """A pool with requests that come one a microsecond and take two."""
    ones = np.ones(n_request, dtype=np.int64)
    traffic = Traffic(np.arange(n_request) * 10**6, ones, 0 * ones, 0 * ones)
    run = RunRow(seed=seed, duration_ps=5 * SECOND_PS, warmup_ps=0, end_ps=10 * SECOND_PS, sample_ps=0)
    return Fleet(run, traffic, [ClassRow()], [ServedModelRow(router=router)], [pool], [], {}, 1)


def plain_pool(**changes: object) -> PoolRow:
    """A pool whose steps take two microseconds."""
    speed = np.full(9, 2 * 10**6)
    pool = PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)
    return pool._replace(**changes)


def stage_tables(*stages: int) -> np.ndarray:
    """Tables in which the n-th quantile of a stage takes n + 1 units, a unit of each stage being a digit of its own."""
    rows = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    for digit, stage in enumerate(stages):
        rows[stage - 1] = (np.arange(N_QUANTILE) + 1) * 10**6 * (N_QUANTILE * 4) ** digit
    return rows


def ranks(seed: int) -> np.ndarray:
    """Which quantile each of 300 cold starts drew for two of its stages, (start, 2)."""
    pool = plain_pool(
        min_replicas=0,
        max_replicas=N_START,
        initial_replicas=0,
        tick_ps=0,
        target_milli=N_START,
        stage_ps=stage_tables(STAGE_NAMES.index("image_pull"), STAGE_NAMES.index("weight_load")),
    )
    starts = walked(one_pool(pool, LEAST_OUTSTANDING, 1, seed)).starts
    assert sorted(starts) == [(0, n) for n in range(N_START)]
    units = np.array([starts[0, n] // 10**6 for n in range(N_START)])
    return np.stack([units % (N_QUANTILE * 4), units // (N_QUANTILE * 4)], axis=1) - 1


def test_cold_starts_draw_every_stage_anew() -> None:
    """300 starts, two stages, 1,024 equally likely values: spread over all of them, stages and starts independent."""
    drawn = ranks(seed=3)
    assert drawn.min() >= 0
    assert drawn.max() < N_QUANTILE
    for stage in drawn.T:
        assert len(np.unique(stage)) > 0.8 * N_START  # 260 expected
        assert abs(stage.mean() / N_QUANTILE - 0.5) < 4 * np.sqrt(1 / 12 / N_START)
        counts = np.bincount(stage * 8 // N_QUANTILE, minlength=8)
        assert ((counts - N_START / 8) ** 2 / (N_START / 8)).sum() < 24.3  # chi², 7 degrees, 0.1 %
    for one, other in ((drawn[:, 0], drawn[:, 1]), (drawn[1:, 0], drawn[:-1, 0])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(N_START)
    assert not np.array_equal(drawn, ranks(seed=4))


def routed(router: int, n_replica: int, n_request: int, seed: int = 3) -> np.ndarray:
    """Which replica each request went to, where replicas never finish one."""
    speed = np.full(9, SECOND_PS)
    pool = plain_pool(base_ps=speed, max_replicas=n_replica, initial_replicas=n_replica)
    made = one_pool(pool, router, n_request, seed)
    return np.asarray(make_result(made.params, run_on_loop(made)).requests["replica_id"])


@pytest.mark.parametrize("n_replica", [2, 5, 16])
def test_the_random_router_spreads_evenly_but_not_too_evenly(n_replica: int) -> None:
    mean = 1000
    chosen = routed(RANDOM, n_replica, mean * n_replica)
    counts = np.bincount(chosen, minlength=n_replica)
    spread = ((counts - mean) ** 2 / mean).sum()
    low, high = {2: (0.0, 12.1), 5: (0.05, 20.5), 16: (3.0, 40.0)}[n_replica]  # chi², 0.05 % at either end
    assert low <= spread <= high
    assert not np.array_equal(chosen, routed(RANDOM, n_replica, mean * n_replica, seed=4))


@pytest.mark.parametrize("n_replica", [2, 5, 16])
def test_the_better_of_two_is_far_more_even_than_one_at_random(n_replica: int) -> None:
    """Balls into bins: the fullest holds log log n / log 2 more than the mean, whatever the number of balls."""
    chosen = routed(POWER_OF_TWO, n_replica, 1000 * n_replica)
    counts = np.bincount(chosen, minlength=n_replica)
    assert counts.max() - 1000 <= 6
    assert 1000 - counts.min() <= 8
    assert not np.array_equal(chosen, routed(POWER_OF_TWO, n_replica, 1000 * n_replica, seed=4))
