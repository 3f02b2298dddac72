"""What is done to a trace: window, speed-up, thinning, superposition, repetition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import InputError
from sim.scenario.arrivals import Poisson
from sim.scenario.trace import Trace
from sim.scenario.traffic import Spike, TrafficClass
from sim.workload.formats import TraceRows
from sim.workload.recorded import replay
from sim.workload.requests import class_requests

N = 20_000
PS = 10**12


def rows(times_s: list[float] | np.ndarray) -> TraceRows:
    """A trace with these arrivals; prompt and output tokens tell the row."""
    n = len(times_s)
    at_ns = np.rint(np.asarray(times_s) * 1e9).astype(np.int64)
    tokens = np.arange(1, n + 1, dtype=np.int32)
    return TraceRows(at_ns, tokens, tokens, np.arange(n))


def uniform_rows() -> TraceRows:
    return rows(np.sort(np.random.default_rng(1).random(N)) * 1000.0)


def play(
    trace: TraceRows, duration_s: float = 1000.0, seed: int = 1, name: str = "chat", **options: object
) -> tuple[np.ndarray, np.ndarray]:
    return replay(Trace(file="x", **options), trace, duration_s, seed, name)


def test_a_trace_is_replayed_as_it_stands() -> None:
    at_ps, index = play(rows([0.0, 0.5, 0.5, 7.25]), 10.0)
    assert at_ps.tolist() == [0, PS // 2, PS // 2, 7_250_000_000_000]
    assert index.tolist() == [0, 1, 2, 3]


def test_what_comes_after_the_run_is_left_out() -> None:
    assert play(rows([0.0, 5.0, 10.0]), 10.0)[1].tolist() == [0, 1]


def test_a_window_starts_at_zero() -> None:
    at_ps, index = play(rows([0.0, 5.0, 6.5, 10.0]), 100.0, start_s=5.0, end_s=10.0)
    assert at_ps.tolist() == [0, 1_500_000_000_000]
    assert index.tolist() == [1, 2]


def test_an_empty_window_is_said() -> None:
    with pytest.raises(InputError, match=r"trace.start_s: 50.0 is not valid; allowed: .* ends at 10 s"):
        play(rows([0.0, 10.0]), start_s=50.0)


@given(
    st.lists(st.integers(0, 3600 * 10**9), min_size=1, max_size=50),
    st.sampled_from([1.0, 2.0, 4.0, 0.5, 10.0]),
)
def test_speed_up_divides_every_time(at_ns: list[int], factor: float) -> None:
    trace = rows(np.sort(at_ns) / 1e9)
    at_ps, index = play(trace, 1e5, speed_up=factor)
    expected = [round(int(ns) * 1000 / factor) for ns in trace.arrival_ns]
    assert np.abs(at_ps - np.array(expected)).max() <= 1  # ps
    assert index.tolist() == list(range(len(at_ns)))


@pytest.mark.parametrize("scale", [0.1, 0.5, 0.93])
def test_thinning_keeps_a_share_of_the_very_rows(scale: float) -> None:
    trace = uniform_rows()
    at_ps, index = play(trace, scale=scale)
    assert len(index) == pytest.approx(N * scale, abs=4 * np.sqrt(N * scale * (1 - scale)))
    assert len(np.unique(index)) == len(index)
    assert np.array_equal(at_ps, trace.arrival_ns[index] * 1000)


def test_a_lower_scale_keeps_a_subset() -> None:
    kept = [set(play(uniform_rows(), scale=scale)[1]) for scale in (0.2, 0.5, 0.9)]
    assert kept[0] < kept[1] < kept[2]


def test_thinning_is_the_same_row_by_row_in_any_window() -> None:
    whole = play(uniform_rows(), scale=0.5)[1]
    part = play(uniform_rows(), scale=0.5, start_s=500.0)[1]
    assert np.array_equal(part, whole[whole >= part[0]])


def test_thinning_depends_on_seed_and_class_alone() -> None:
    same = [play(uniform_rows(), scale=0.5)[1].tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert play(uniform_rows(), scale=0.5, seed=2)[1].tolist() != same[0]
    assert play(uniform_rows(), scale=0.5, name="code")[1].tolist() != same[0]


@pytest.mark.parametrize("scale", [2.0, 3.5])
def test_superposition_multiplies(scale: float) -> None:
    trace = uniform_rows()
    at_ps, index = play(trace, 1001.0, scale=scale)
    times_each = np.bincount(index, minlength=N)
    assert len(index) == pytest.approx(N * scale, rel=0.01)
    assert set(times_each) <= {int(scale), int(np.ceil(scale))}
    assert np.all(np.diff(at_ps) >= 0)
    first = at_ps[np.searchsorted(at_ps, 0) :]
    assert np.all(np.isin(trace.arrival_ns * 1000, first))  # one copy is not shifted
    assert np.histogram(at_ps / PS, 10, (0, 1000))[0] == pytest.approx(N * scale / 10, rel=0.06)


def test_copies_can_be_kept_close() -> None:
    at_ps, index = play(rows(np.arange(0.0, 100.0, 10.0)), 1000.0, scale=5.0, copy_shift_s_max=2.0)
    late_s = (at_ps / PS - 10.0 * index) % 100.0
    assert len(index) == 50
    assert np.all(late_s <= 2.0 + 1e-9)
    assert late_s.max() > 0


def test_repeating_fills_the_run() -> None:
    at_ps, index = play(rows([0.0, 2.0, 4.0]), 15.0, repeat=True)  # a period is 4 s and a mean gap of 2 s
    assert (at_ps / PS).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert index.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_repeating_keeps_the_window_and_the_speed() -> None:
    at_ps, _ = play(rows([0.0, 5.0, 6.0]), 12.0, repeat=True, start_s=5.0, end_s=9.0, speed_up=2.0)
    assert (at_ps / PS).tolist() == [0, 0.5, 2, 2.5, 4, 4.5, 6, 6.5, 8, 8.5, 10, 10.5]


def test_too_many_repetitions_are_refused() -> None:
    with pytest.raises(InputError, match=r"trace.repeat"):
        play(rows([0.0, 1e-9]), 3600.0, repeat=True)


def test_a_trace_of_many_months_can_be_windowed_and_sped_up() -> None:
    day_s = 86_400.0
    trace = rows(np.array([0.0, 60.0, 120.0]) * day_s)
    assert (play(trace, 2 * day_s, speed_up=100.0)[0] / PS).tolist() == [0, 0.6 * day_s, 1.2 * day_s]
    assert play(trace, day_s, start_s=119.5 * day_s)[0].tolist() == [43_200 * PS]


@pytest.fixture
def lengths_only(tmp_path: Path) -> str:
    path = tmp_path / "lengths.csv"
    path.write_text("num_prefill_tokens,num_decode_tokens\n10,1\n20,2\n30,0\n")
    return str(path)


def test_lengths_without_times_go_round_over_made_arrivals(lengths_only: str) -> None:
    made = TrafficClass(arrivals=Poisson(rate_per_s=5.0))
    traffic = TrafficClass(arrivals=Poisson(rate_per_s=5.0), trace=Trace(file=lengths_only))
    requests = class_requests(traffic, 0, 100.0, 1)
    assert np.array_equal(requests.arrival_ps, class_requests(made, 0, 100.0, 1).arrival_ps)
    assert requests.prompt_tokens[:5].tolist() == [10, 20, 30, 10, 20]
    assert requests.output_tokens[:5].tolist() == [1, 2, 0, 1, 2]


def test_lengths_without_times_take_no_time_options(lengths_only: str) -> None:
    trace = Trace(file=lengths_only, speed_up=2.0, scale=3.0)
    with pytest.raises(InputError) as caught:
        class_requests(TrafficClass(trace=trace), 0, 100.0, 1)
    assert [line.split(":")[0] for line in caught.value.problems] == ["trace.speed_up", "trace.scale"]


def test_spikes_do_not_go_over_recorded_times(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n")
    traffic = TrafficClass(trace=Trace(file=str(path)), spikes=(Spike(at_s=1.0, height=2.0, length_s=1.0),))
    with pytest.raises(InputError, match="has its own arrival times"):
        class_requests(traffic, 0, 100.0, 1)
