"""The response cache keeps the answers used last, as an ordered dictionary of them does."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from sim.compile.jit import entry_point
from sim.fill.params import make_params
from sim.fill.rows import ClassRow, FrontRow, PoolRow, RunRow, ServedModelRow
from sim.fill.state import new_state
from sim.fill.trace import Traffic
from sim.model.admission.response_cache import find_answer, keep_answer
from sim.model.tables.run import Params

LIFE_PS = 50
find, keep = entry_point(find_answer), entry_point(keep_answer)


def with_cache(entries: int, questions: int) -> Params:
    """A run whose requests ask so many different questions."""
    ones = np.ones(questions, dtype=np.int64)
    traffic = Traffic(np.arange(questions), ones, ones, 0 * ones, content_id=np.arange(questions))
    pool = PoolRow(np.full(2, 10), np.zeros(2, dtype=np.int64), 0, 0, 100, 1, 64, 100)
    run = RunRow(seed=1, duration_ps=10**6, warmup_ps=0, end_ps=10**7, sample_ps=0)
    front = FrontRow(cache_entries=entries, cache_life_ps=LIFE_PS)
    return make_params(run, traffic, [ClassRow()], [ServedModelRow()], [pool], front=front)


@settings(deadline=None)
@given(
    entries=some.integers(1, 4),
    uses=some.lists(some.tuples(some.booleans(), some.integers(0, 5), some.integers(0, 20)), max_size=60),
)
def test_it_keeps_what_an_ordered_dictionary_keeps(entries: int, uses: list[tuple[bool, int, int]]) -> None:
    params = with_cache(entries, 6)
    state = new_state(params)
    expected: OrderedDict[int, int] = (
        OrderedDict()
    )  # question → when its answer was complete, last used first
    now_ps = 0
    for is_answer, question, wait_ps in uses:
        now_ps += wait_ps
        if is_answer:
            if question not in expected and len(expected) == entries:
                expected.popitem()
            expected[question] = now_ps
            expected.move_to_end(question, last=False)
            keep(params, state, question, now_ps)
        else:
            is_there = question in expected and now_ps - expected[question] < LIFE_PS
            if is_there:
                expected.move_to_end(question, last=False)
            else:
                expected.pop(question, None)
            assert bool(find(params, state, question, now_ps)) == is_there
        kept = [int(q) for q in np.flatnonzero(state.rows("answer", 6)["filled_ps"])]
        assert kept == sorted(expected)
        assert int(state.n_cached) == len(expected)
        if expected:
            assert (int(state.cache_first), int(state.cache_last)) == (
                next(iter(expected)),
                next(reversed(expected)),
            )
