"""Clients that leave a stalled stream, attempts refused for the ttft they would have: by hand, to the picosecond."""

from __future__ import annotations

import numpy as np
import pytest
from parity.engines import run_on_loop, run_on_simpy
from parity.fleets import ClassRow, Fleet

from sim.engine.result import Result, make_result
from sim.fill.params import PoolRow, RunRow, ServedModelRow, Traffic
from sim.model.tables.codes import COMPLETED, OUTCOMES, REASONS, REJECTED, TIMED_OUT

MS = 10**9


def told(
    requests: list[tuple[int, int, int, int]], users: ClassRow, engine: object = run_on_loop, **changes: int
) -> Result:
    """Requests (arrival_ps, prompt, output, class) on one replica: a step takes 10 ms, a prompt token 1 ms more."""
    arrival, prompt, output, klass = (np.array(column) for column in zip(*requests, strict=True))
    speed = np.full(9, 10 * MS)
    pool = PoolRow(speed, 0 * speed, MS, 0, 10_000, 8, 8192, 8192)._replace(**changes)
    run = RunRow(seed=5, duration_ps=10_000 * MS, warmup_ps=0, end_ps=10**6 * MS, sample_ps=0)
    traffic = Traffic(arrival, prompt, output, klass)
    made = Fleet(run, traffic, [ClassRow(), users], [ServedModelRow()], [pool], [], {}, 1)
    return make_result(made.params, engine(made))  # type: ignore[operator]


@pytest.mark.parametrize("engine", [run_on_loop, run_on_simpy])
def test_a_client_leaves_when_its_stream_stalls(engine: object) -> None:
    """Tokens at 11, 21, … 101 ms, then a prompt of 500 tokens is computed in the step from 101 to 611 ms."""
    requests = [(0, 1, 100, 1), (95 * MS, 500, 2, 0)]
    for gap_ps, outcome in ((511 * MS, "completed"), (510 * MS, "timed_out"), (200 * MS, "timed_out")):
        found = told(requests, ClassRow(stall_ps=gap_ps), engine).requests
        assert OUTCOMES[found["outcome"][0]] == outcome
        assert found["outcome"][1] == COMPLETED
        if outcome == "timed_out":
            assert REASONS[found["reason"][0]] == "stalled"
            assert found["first_token_ps"][0] == 11 * MS
            assert found["itl_max_ps"][0] == 10 * MS, "it never saw the end of the long gap"
            assert found["wasted_tokens"][0] == 10, "a prompt of one token and nine of ten answer tokens"
        else:
            assert found["itl_max_ps"][0] == 510 * MS


def test_a_stream_that_flows_is_never_left() -> None:
    """A client that would leave after a gap of 11 ms looks at its watch all along, and stays."""
    users = ClassRow(stall_ps=11 * MS)
    found = told([(7 * MS * i, 1, 50, 1) for i in range(6)], users)
    slow = told([(7 * MS * i, 1, 50, 0) for i in range(6)], users)
    fates = found.requests["outcome"].tolist()
    assert fates[0] == TIMED_OUT, (
        "another's prompt makes a step of 11 ms: a token in the same instant is too late"
    )
    assert fates[-1] == COMPLETED
    spaced = told([(700 * MS * i, 1, 50, 1) for i in range(6)], users)
    assert set(spaced.requests["outcome"]) == {COMPLETED}
    assert set(slow.requests["outcome"]) == {COMPLETED}


def test_before_the_first_token_nothing_stalls() -> None:
    found = told([(0, 900, 3, 1)], ClassRow(stall_ps=15 * MS)).requests
    assert found["outcome"][0] == COMPLETED
    assert found["first_token_ps"][0] == 910 * MS


@pytest.mark.parametrize("budget", [8192, 100, 64])
def test_the_ttft_of_an_idle_replica_is_predicted_exactly(budget: int) -> None:
    """A prompt that is alone takes as long as was predicted: that is admitted, a picosecond less is not."""
    request = [(0, 300, 5, 1)]
    free = told(request, ClassRow(), max_num_batched_tokens=budget).requests
    ttft_ps = int(free["first_token_ps"][0])
    for most_ps, outcome in ((ttft_ps, COMPLETED), (ttft_ps - 1, REJECTED)):
        found = told(request, ClassRow(ttft_max_ps=most_ps), max_num_batched_tokens=budget).requests
        assert found["outcome"][0] == outcome
    assert REASONS[found["reason"][0]] == "predicted_ttft"


def test_a_line_makes_the_predicted_ttft_longer() -> None:
    """One seat, an answer in 11 + 90 ms: who finds three in line expects four such gaps, and is refused above that."""
    line = [(i * MS, 1, 10, 0) for i in range(5)] + [(450 * MS + i, 1, 10, 0) for i in range(3)]
    late = [(455 * MS, 1, 1, 1)]
    base = {"max_num_seqs": 1}
    for most_ms, outcome in ((10_000, COMPLETED), (150, REJECTED)):
        users = ClassRow(ttft_max_ps=most_ms * MS)
        found = told(line + late, users, **base).requests
        assert found["outcome"][-1] == outcome
