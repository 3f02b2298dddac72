"""Slow steps: a story worked out by hand, and a queue whose server changes its speed, which has an exact solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.model.tables.fault import FACTOR_ONE, SLOW_STEPS
from sim.model.tables.pool import N_QUANTILE
from sim.units import NEVER

from . import closed_forms as theory
from .queues import MEAN_S, PLENTY, STEP_PS, geometric_tokens, poisson_ps

Rows = dict[str, list[dict[str, Any]]]


def run(
    engine: str, requests: np.ndarray, things: Rows, seed: int = 1, step_ps: int = 10, seats: int = 4
) -> Result:
    """Requests (arrival, prompt, output) on one replica whose steps take as long whatever is in them."""
    p = make_params(
        RunRow(seed=seed, duration_ps=int(requests[-1, 0]) + 1, warmup_ps=0, end_ps=NEVER >> 3, sample_ps=0),
        Traffic(*requests.T, np.zeros(len(requests), dtype=np.int64)),
        [ClassRow()],
        [ServedModelRow()],
        [
            PoolRow(
                base_ps=np.full(seats + 1, step_ps),
                slope_ps=np.zeros(seats + 1, dtype=np.int64),
                prefill_ps=0,
                attention_q16=0,
                n_blocks=PLENTY * seats,
                max_num_seqs=seats,
                max_num_batched_tokens=PLENTY,
                max_model_len=2 * PLENTY,
            )
        ],
        things=things,
    )
    return make_result(p, run_plan(p) if engine == "cpu" else Fleet(p).run())


def slow(at_ps: int, lasts_ps: int, factor: float, **more: int) -> dict[str, int]:
    """Steps take `factor` times as long for a while."""
    factor_q20 = round(factor * FACTOR_ONE)
    return {"kind": SLOW_STEPS, "at_ps": at_ps, "lasts_ps": lasts_ps, "factor_q20": factor_q20, **more}


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_step_in_progress_keeps_its_length_and_the_next_ones_are_slow(engine: str) -> None:
    # steps of 10 begin at 0, 10, 20; slow in [25, 55): the step that ends at 30 is the last quick one, those that begin
    # at 30 and 50 take 20, and the one that begins at 70 takes 10 again
    found = run(engine, np.array([(0, 1, 7)]), {"episode": [slow(25, 30, 2.0)]})
    assert found.requests["last_token_ps"][0] == 90
    assert found.requests["itl_max_ps"][0] == 20


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_a_step_that_begins_with_an_episode_is_slow_and_one_that_begins_with_its_end_is_not(
    engine: str,
) -> None:
    found = run(engine, np.array([(0, 1, 3)]), {"episode": [slow(10, 15, 1.5)]})
    assert found.requests["last_token_ps"][0] == 10 + 15 + 10


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_factors_of_episodes_at_one_time_are_multiplied(engine: str) -> None:
    both = [slow(5, 1000, 2.0), slow(5, 10, 3.0)]
    found = run(engine, np.array([(0, 1, 3)]), {"episode": both})
    assert found.requests["last_token_ps"][0] == 10 + 60 + 20


# ---- a server whose speed changes at random ----------------------------------------------------------------------
def exponential_table_ps(mean_s: float) -> np.ndarray:
    """(N_QUANTILE,) equally likely values: the means of as many parts of an exponential distribution."""
    edges = np.linspace(0, 1, N_QUANTILE + 1)
    tail = 1 - edges
    with np.errstate(divide="ignore", invalid="ignore"):
        of_tail = np.nan_to_num(tail * (1 - np.log(tail)))  # ∫ −ln(1 − u) du from an edge to 1
    return np.rint((of_tail[:-1] - of_tail[1:]) * N_QUANTILE * mean_s * 1e12).astype(np.int64)


@pytest.mark.parametrize(("load", "factor"), [(0.5, 1.5), (0.4, 3.0)])
def test_a_server_in_an_environment_of_two_states(load: float, factor: float) -> None:
    """M/M/1 whose services run at a third of their speed, or two thirds, in one of two states: by Little's law from the
    matrix-geometric solution. With factor 3 the server is overloaded while it is slow.
    """
    quick_s, slow_s, n = 10.0, 4.0, 60_000
    rate = load / MEAN_S
    expected_s = theory.modulated_mm1_wait(rate, (1 / MEAN_S, 1 / MEAN_S / factor), (1 / quick_s, 1 / slow_s))
    clock = {"gap_ps": exponential_table_ps(quick_s), "lasts_ps": exponential_table_ps(slow_s)}
    things = {"episode": [slow(NEVER, 0, factor, clock=1)], "fault_clock": [clock]}
    means = []
    for replication in range(12):
        rng = np.random.default_rng([replication, 83])
        arrival_ps = poisson_ps(rng, rate, n)
        requests = np.column_stack([arrival_ps, np.ones(n, dtype=np.int64), geometric_tokens(rng, n)])
        found = run("cpu", requests, things, seed=replication, step_ps=STEP_PS, seats=1)
        means.append(float((found.requests["scheduled_ps"] - arrival_ps)[5000:].mean() / 1e12))
    seen = theory.replication_interval(means, 0.999)
    assert seen.half_width < 0.12 * expected_s, f"too wide to tell: {seen} for {expected_s}"
    assert abs(seen.mean - expected_s) <= seen.half_width + 0.01 * expected_s, (seen, expected_s)


def run_servers(requests: np.ndarray, servers: int, episodes: Rows, seed: int) -> Result:
    """Requests (arrival, prompt, output) wait in one line at the gateway for replicas that serve one at a time."""
    pool = PoolRow(
        base_ps=np.full(2, STEP_PS),
        slope_ps=np.zeros(2, dtype=np.int64),
        prefill_ps=0,
        attention_q16=0,
        n_blocks=PLENTY,
        max_num_seqs=1,
        max_num_batched_tokens=PLENTY,
        max_model_len=2 * PLENTY,
    )
    p = make_params(
        RunRow(seed=seed, duration_ps=int(requests[-1, 0]) + 1, warmup_ps=0, end_ps=NEVER >> 3, sample_ps=0),
        Traffic(*requests.T, np.zeros(len(requests), dtype=np.int64)),
        [ClassRow()],
        [ServedModelRow(outstanding_max=1, hold_max=len(requests))],
        [pool] * servers,
        things=episodes,
    )
    return make_result(p, run_plan(p))


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "load"), [(2, 0.6), (3, 0.8)])
def test_servers_that_break_down_and_are_repaired(servers: int, load: float) -> None:
    """M/M/c with breakdowns: each server is up for 2 s and down for half a second in the mean, by itself, and does a
    thousandth of its work meanwhile. `load` is of what the servers do in the mean.
    """
    up_s, down_s, factor, n = 2.0, 0.5, 1000.0, 60_000
    speeds, leaves = (1 / MEAN_S, 1 / MEAN_S / factor), (1 / up_s, 1 / down_s)
    rate = load * servers * (speeds[0] * up_s + speeds[1] * down_s) / (up_s + down_s)
    expected_s = theory.breakdown_mmc_wait(rate, servers, speeds, leaves)
    assert expected_s > 2 * theory.mmc_wait(rate, MEAN_S, servers), "breakdowns matter"
    clock = {"gap_ps": exponential_table_ps(up_s), "lasts_ps": exponential_table_ps(down_s)}
    broken = [slow(NEVER, 0, factor, clock=1 + i, pool=1 + i) for i in range(servers)]
    means = []
    for replication in range(12):
        rng = np.random.default_rng([replication, 97, servers])
        arrival_ps = poisson_ps(rng, rate, n)
        requests = np.column_stack([arrival_ps, np.ones(n, dtype=np.int64), geometric_tokens(rng, n)])
        things = {"episode": broken, "fault_clock": [clock] * servers}
        found = run_servers(requests, servers, things, seed=replication)
        means.append(float((found.requests["scheduled_ps"] - arrival_ps)[5000:].mean() / 1e12))
    seen = theory.replication_interval(means, 0.999)
    assert seen.half_width < 0.12 * expected_s, f"too wide to tell: {seen} for {expected_s}"
    assert abs(seen.mean - expected_s) <= seen.half_width + 0.01 * expected_s, (seen, expected_s)
