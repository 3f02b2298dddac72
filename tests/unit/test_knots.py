"""The time of a step by its tokens: the model's rule, the host's array form, and exact fractions agree."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.compile.jit import plain
from sim.fill.knots import knot_tokens, linear_work, prompt_table, work_at
from sim.model.base.step_time import work_ps
from sim.model.tables.pool import N_WORK, TOKENS_BITS
from sim.units import NEVER

KNOTS = [int(k) for k in knot_tokens()]
rises = st.lists(st.integers(0, 10**9), min_size=N_WORK, max_size=N_WORK)


def test_knots_are_every_number_up_to_16_and_then_eight_an_octave() -> None:
    assert KNOTS[:20] == [*range(16), 16, 18, 20, 22]
    octaves = [k for k in KNOTS if k >= 16]
    assert all(octaves[i + 8] == 2 * octaves[i] for i in range(len(octaves) - 8))
    assert KNOTS[-1] == 1 << TOKENS_BITS


@given(rises, st.integers(0, (1 << TOKENS_BITS) - 1))
def test_between_knots_the_time_is_linear_rounded_down(steps: list[int], tokens: int) -> None:
    curve = np.cumsum([0, *steps[1:]], dtype=np.int64)
    i = max(k for k, knot in enumerate(KNOTS) if knot <= tokens)
    share = Fraction(tokens - KNOTS[i], KNOTS[i + 1] - KNOTS[i])
    exact = int(curve[i]) + int(share * int(curve[i + 1] - curve[i]))
    assert plain(work_ps)([int(x) for x in curve], tokens) == exact
    assert work_at(curve, np.array([tokens]))[0] == exact


def test_a_token_that_takes_so_long_each_does_so_at_every_number() -> None:
    curve = linear_work(1234)
    tokens = np.array([0, 1, 17, 1000, 123_457])
    assert np.array_equal(work_at(curve, tokens), 1234 * tokens)
    assert linear_work(NEVER)[1] == NEVER


@pytest.mark.parametrize("n", [0, 1, 3])
def test_what_is_laid_out_gives_the_step_with_prompts(n: int) -> None:
    base, curve = np.array([50, 100, 110, 120]), np.cumsum(np.arange(N_WORK))
    table = prompt_table(base, curve, 0, 7)
    assert len(table) == N_WORK + 4
    added = int(curve[n + 5] - curve[n])  # below 16 every number is a knot
    assert table[N_WORK + n] + table[n + 5] == base[n] + added + (7 if n else 0)
