"""Closed loops: the product sends what a plain model sends, and is the closed queue that theory knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.result import Result, make_result
from sim.errors import InputError
from sim.fill.params import ClassRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import PoolRow
from sim.fill.trace import Turns
from sim.units import NEVER

from . import closed_forms as theory
from .compare import case_differences, repeat, seed_case
from .queues import MEAN_TOKENS, PLENTY, TOKEN_PS, exponential_tokens
from .turns import with_lines

CONFIDENCE = 0.999


# ---- against the plain model ----------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3, 163, 4))
def test_lines_end_as_in_the_plain_model(seed: int) -> None:
    assert case_differences(seed_case(seed)) == [], repeat(seed)


@pytest.mark.parametrize("seed", [1, 2, 4, 5, 6, 8])
def test_lines_in_calm_fleets(seed: int) -> None:
    assert case_differences(with_lines(seed_case(seed, calm=True), seed)) == []


def test_some_of_these_runs_close_and_some_are_cut() -> None:
    closes = [case for seed in range(3, 163, 4) if (case := seed_case(seed)).get("closes")]
    assert len(closes) > 5


# ---- closed queues ----------------------------------------------------------------------
def loop_of(n_client: int, tokens: np.ndarray, pause_ps: np.ndarray | int = 0) -> Result:
    """`n_client` clients in front of a single server whose service takes as long as the request has tokens."""
    n = len(tokens)
    turns = Turns(
        np.full(n, -2), np.full(n, pause_ps) if np.ndim(pause_ps) == 0 else pause_ps, np.zeros(n, np.int64)
    )
    far_ps = int(tokens.sum()) * TOKEN_PS * 4 + 4 * int(np.sum(turns.pause_ps)) + n
    params = make_params(
        RunRow(seed=1, duration_ps=far_ps, warmup_ps=0, end_ps=far_ps, sample_ps=0, closes=1),
        Traffic(
            np.where(np.arange(n) < n_client, 0, NEVER),
            tokens,
            np.zeros(n, dtype=np.int64),
            np.zeros(n, dtype=np.int64),
            turns=turns,
        ),
        [ClassRow()],
        [ServedModelRow()],
        [
            PoolRow(
                base_ps=np.zeros(2, dtype=np.int64),
                slope_ps=np.zeros(2, dtype=np.int64),
                prefill_ps=TOKEN_PS,
                attention_q16=0,
                n_blocks=PLENTY,
                max_num_seqs=1,
                max_num_batched_tokens=PLENTY,
                max_model_len=PLENTY,
            )
        ],
    )
    result = make_result(params, run_plan(params))
    assert result.counts["completed"][0] == n
    return result


@pytest.mark.parametrize("n_client", [2, 5, 16])
def test_one_server_and_a_constant_service_to_the_picosecond(n_client: int) -> None:
    n, service_ps = 200, 1000 * TOKEN_PS
    found = loop_of(n_client, np.full(n, 1000))
    k = np.arange(n)
    assert np.array_equal(found.requests["last_token_ps"], (k + 1) * service_ps)  # the server never waits
    sent = np.where(k < n_client, 0, (k - n_client + 1) * service_ps + 1)
    assert np.array_equal(found.requests["arrival_ps"], sent)
    assert found.end_ps == found.window_end_ps == n * service_ps + 1
    assert np.array_equal(found.requests["scheduled_ps"], k * service_ps)


def test_a_client_alone_waits_for_nobody() -> None:
    found = loop_of(1, np.array([3, 1, 2]), 5)
    assert found.requests["arrival_ps"].tolist() == [0, 3 * TOKEN_PS + 5, 4 * TOKEN_PS + 10]
    assert found.end_ps == 6 * TOKEN_PS + 11


@pytest.mark.parametrize(("n_client", "think"), [(3, 1.0), (8, 4.0), (20, 16.0)])
def test_exponential_service_and_pauses_are_the_machine_repairman(n_client: int, think: float) -> None:
    """M/M/1//N: throughput and time at the server of N clients that pause `think` services on average."""
    service_s = MEAN_TOKENS * TOKEN_PS / 1e12
    rates, stays = [], []
    for replication in range(20):
        rng = np.random.default_rng([replication, n_client])
        n = 20_000
        pause_ps = np.rint(rng.exponential(think * service_s * 1e12, n)).astype(np.int64)
        found = loop_of(n_client, exponential_tokens(rng, n), pause_ps)
        late = found.requests["arrival_ps"] > 200 * service_s * 1e12
        ends = found.requests["last_token_ps"][late]
        rates.append((len(ends) - 1) / (ends.max() - ends.min()) * 1e12)
        stays.append((ends - found.requests["arrival_ps"][late]).mean() / 1e12)
    expected = theory.closed_throughput(n_client, service_s, think * service_s)
    for values, truth in ((rates, expected), (stays, n_client / expected - think * service_s)):
        interval = theory.replication_interval(values, CONFIDENCE)
        assert interval.half_width < 0.03 * truth
        assert abs(interval.mean - truth) <= interval.half_width


# ---- what is refused ----------------------------------------------------------------------
def test_a_line_stands_together() -> None:
    arrival = np.array([0, 0, NEVER, NEVER, NEVER])
    columns: dict[str, Any] = {"pause_ps": np.zeros(5, np.int64), "tokens": np.zeros(5, np.int64)}
    ones = np.ones(5, dtype=np.int64)
    for after, wrong in (([-2, -3, -2, -3, -2], True), ([-2, -3, -2, -2, -3], False)):
        traffic = Traffic(arrival, ones, ones, 0 * ones, turns=Turns(np.array(after), **columns))
        rows = [ClassRow()], [ServedModelRow()], [_pool()]
        if wrong:
            with pytest.raises(InputError, match="side by side"):
                make_params(RunRow(1, 10, 0, 10, 0), traffic, *rows)
        else:
            make_params(RunRow(1, 10, 0, 10, 0), traffic, *rows)


def _pool() -> PoolRow:
    return PoolRow(np.ones(2, np.int64), np.zeros(2, np.int64), 1, 0, 100, 1, 100, 100)
