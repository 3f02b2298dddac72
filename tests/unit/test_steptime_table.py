"""From a curve in seconds to whole picoseconds, and from a pool to its table."""

from __future__ import annotations

import numpy as np
import pytest
from hardware_kit import pool, step_ps
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.scenario.hardware import Coefficients, Grid, Law
from sim.steptime import make_step_table, simple_table
from sim.steptime.table import Curve, check_fits_clock, linear_work_s, longest_step_ps, rounded

LINEAR = Coefficients(d0_ms=6.0, d1_ms=0.01, d2_ms=4e-5, p0_ms=3.0, p1_ms=0.02, p2_ms=5e-7)


def test_published_coefficients_come_out_of_the_step_formula() -> None:
    table = make_step_table(pool(steptime=LINEAR))
    assert step_ps(table, 10, 5_000, []) == pytest.approx((6.0 + 0.1 + 0.2) * 1e9, abs=10_000)
    whole_ms = 3.0 + 0.02 * 4096 + 5e-7 * 4096**2
    assert step_ps(table, 0, 0, [(0, 4096)]) == pytest.approx(whole_ms * 1e9, rel=1e-6)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_prompt_in_chunks_costs_its_attention_once(chunks: list[int]) -> None:
    """Attention over the chunks of a prompt adds up to that of the whole, to within a rounding a chunk."""
    table = make_step_table(pool(steptime=LINEAR))
    starts = np.concatenate([[0], np.cumsum(chunks)[:-1]])
    apart = sum(step_ps(table, 0, 0, [(int(c), k)]) for c, k in zip(starts, chunks, strict=True))
    together = step_ps(table, 0, 0, [(0, sum(chunks))])
    fixed = int(table.base_ps[0]) * (len(chunks) - 1)
    assert 0 <= together + fixed - apart <= len(chunks)


def test_a_grid_goes_through_its_points_and_on_past_the_last() -> None:
    grid = Grid(
        batch_size=(1, 4, 8),
        base_ms=(5.0, 6.0, 8.0),
        slope_ms=(1e-4, 1e-4, 2e-4),
        p0_ms=2.0,
        p1_ms=0.01,
        p2_ms=0.0,
    )
    table = make_step_table(pool(steptime=grid, max_num_seqs=16))
    assert list(table.base_ps[[0, 1, 4, 6, 8, 16]]) == [2e9, 5e9, 6e9, 7e9, 8e9, 12e9]
    assert list(table.slope_ps[[0, 1, 4, 6, 8, 16]]) == [0, 1e5, 1e5, 1.5e5, 2e5, 2e5]


@pytest.mark.parametrize("kind", [Law(), LINEAR])
def test_every_table_is_whole_positive_and_rising(kind: Law | Coefficients) -> None:
    table = make_step_table(pool(steptime=kind))
    assert table.base_ps.dtype == table.slope_ps.dtype == np.int64
    assert table.base_ps.shape == table.slope_ps.shape == (257,)
    assert table.slope_ps[0] == 0
    assert (table.base_ps >= 1).all()
    assert (np.diff(table.base_ps[1:]) >= 0).all()
    assert (table.slope_ps >= 0).all()
    assert (np.diff(table.work_ps) >= 0).all()
    for name in ("mixed_ps", "attention_q16", "n_kv_blocks"):
        assert isinstance(getattr(table, name), int)


def test_the_table_knows_what_utilisation_needs() -> None:
    table = make_step_table(pool("h200", "llama_3_1_70b", tp=2))
    assert table.peak_flops == 2 * 989e12
    assert table.peak_bytes_per_s == 2 * 4800e9
    assert table.weight_bytes == pytest.approx(2 * 70.55e9, rel=1e-3)
    assert table.kv_bytes_per_token == 327_680
    assert table.flops_per_token == pytest.approx(2 * 69.5e9, rel=1e-3)
    assert table.flops_per_attended_token == 4 * 80 * 64 * 128
    assert "tp 2" in table.source


def test_simple_table_is_flat() -> None:
    table = simple_table(4, base_us=10.0, slope_ns=2.5, prefill_us_per_token=1.5, n_kv_blocks=99)
    assert list(table.base_ps) == [10_000_000] * 5
    assert list(table.slope_ps) == [0, 2500, 2500, 2500, 2500]
    assert list(table.work_ps[:3]) == [0, 1_500_000, 3_000_000]
    assert (table.mixed_ps, table.attention_q16, table.n_kv_blocks) == (0, 0, 99)


def test_rounding_keeps_a_step_alive_and_its_base_rising() -> None:
    curve = Curve(np.array([9.0, 0.0, 3e-12, 2e-12]), np.zeros(4), linear_work_s(0.0), 0.0)
    assert list(rounded(curve, 1).base_ps) == [9 * 10**12, 1, 3, 3]


def test_a_step_that_could_pass_the_clock_is_refused() -> None:
    slow = Coefficients(d0_ms=1.0, d1_ms=0.0, d2_ms=0.0, p0_ms=1.0, p1_ms=0.1, p2_ms=1.0)
    with pytest.raises(InputError, match=r"pools\.main.*max_model_len"):
        make_step_table(pool(steptime=slow))
    endless = Coefficients(d0_ms=1.0, d1_ms=0.0, d2_ms=0.0, p0_ms=1.0, p1_ms=3.6e6, p2_ms=0.0)
    with pytest.raises(InputError, match="clock"):
        make_step_table(pool(steptime=endless))
    fine = make_step_table(pool())
    check_fits_clock("pools.main", fine, 8192, 131_072, fine.n_kv_blocks * 16)
    assert longest_step_ps(fine, 8192, 131_072, 10**6) > step_ps(fine, 256, 10**6, [(131_072 - 8192, 8192)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "bf17"}, "pools.main.precision.*bf17.*bf16"),
        ({"kv_precision": "f8"}, "pools.main.kv_precision.*fp8"),
        ({"tp": 3}, "pools.main.tp.*32 heads"),
        ({"pp": 33}, "pools.main.pp.*32 layers"),
    ],
)
def test_a_pool_that_cannot_be_split_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_step_table(pool(**changes))
