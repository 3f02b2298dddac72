"""Blame where clients give up, try again and hedge: it is that of the attempt that answered, and retry is all before."""

from __future__ import annotations

import numpy as np
import pytest
from parity.engines import run_on_loop, run_on_simpy
from parity.fleets import Dice, Fleet, fleet

from sim.engine.result import make_result
from sim.fill.rows import ClassRow
from sim.model.tables.codes import BLAME_STREAM_COLUMNS, BLAME_TTFT_COLUMNS
from sim.model.tables.pool import N_QUANTILE

SEEDS = range(8000, 8080)
BLOCKS = 4


def impatient(seed: int) -> Fleet:
    """The fleet of a seed, with clients that neither wait for ever nor leave it at that.

    Who waits for given hours has not tried yet.
    """
    made = fleet(seed, no_records=False, warm_up=False, deferred=False)
    dice = Dice(seed)
    return made._replace(classes=[with_attempts(dice, row) for row in made.classes])


def with_attempts(dice: Dice, row: ClassRow) -> ClassRow:
    """A class whose clients give up after a few ticks, come back, and sometimes hedge."""
    attempts = dice.whole(1, 4)
    patience = np.sort([dice.ticks(1, 20) for _ in range(N_QUANTILE)])
    return row._replace(
        first_patience_ps=patience if dice.maybe() else None,
        total_patience_ps=patience * 3 if dice.maybe() else None,
        attempts_max=attempts,
        retry_on=dice.whole(1, 7),
        backoff_ps=tuple(dice.ticks(0, 5) for _ in range(attempts - 1)),
        hedge_ps=dice.ticks(1, 6) if dice.maybe(3) else row.hedge_ps,
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_blame_is_that_of_the_answering_attempt(block: int) -> None:
    assert sum(check(seed) for seed in SEEDS[block::BLOCKS]) > 10


def check(seed: int) -> int:
    """Every part where it should be, and their sums; returns how many requests were tried again."""
    made = impatient(seed)
    rows = make_result(made.params, run_on_loop(made)).requests
    first, last = rows["first_token_ps"] >= 0, rows["last_token_ps"] >= 0
    of_ttft, of_stream = (
        [rows[name] for name in names] for names in (BLAME_TTFT_COLUMNS, BLAME_STREAM_COLUMNS)
    )
    told = f"repeat with\ncd tests && python -c 'from laws.test_blame import check; check({seed})'"
    assert all(np.all(part[first] >= 0) and np.all(part[~first] == -1) for part in of_ttft), told
    assert all(np.all(part[last] >= 0) and np.all(part[~last] == -1) for part in of_stream), told
    asked_ps = rows["arrival_ps"] - rows["network_ps"]  # as its user sees it
    assert np.array_equal(sum(of_ttft)[first], (rows["first_token_ps"] - asked_ps)[first]), told
    assert np.array_equal(sum(of_ttft + of_stream)[last], (rows["last_token_ps"] - asked_ps)[last]), told
    retry = rows["blame_retry_ps"]
    assert np.array_equal(retry[first], (rows["taken_ps"] - rows["arrival_ps"])[first]), told
    assert np.all(rows["attempts"][retry > 0] > 1), told
    return int((retry > 0).sum())


def test_engines_blame_alike_where_clients_try_again() -> None:
    for seed in SEEDS[::8]:
        made = impatient(seed)
        one, other = (make_result(made.params, run(made)).requests for run in (run_on_loop, run_on_simpy))
        for name in (*BLAME_TTFT_COLUMNS, *BLAME_STREAM_COLUMNS):
            assert np.array_equal(one[name], other[name]), f"{name}, seed {seed}"
