"""Laws of the request table: order, bounds, determinism, and classes that never disturb each other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario import arrivals as a
from sim.scenario.dist import Constant, Exponential, Gamma, Lognormal, Quantiles, Uniform
from sim.scenario.limits import Caps
from sim.scenario.trace import Columns, Trace
from sim.scenario.traffic import Curves, Spike, TrafficClass
from sim.workload.calls import to_ps
from sim.workload.requests import Requests, make_requests

PS = 10**12

processes = st.one_of(
    st.builds(a.Poisson, rate_per_s=st.floats(0.0, 20.0)),
    st.builds(a.GammaRenewal, rate_per_s=st.floats(0.1, 20.0), cv=st.floats(0.1, 10.0)),
    st.builds(a.WeibullRenewal, rate_per_s=st.floats(0.1, 20.0), cv=st.floats(0.1, 10.0)),
    st.builds(
        a.OnOff, rate_per_s=st.floats(0.1, 20.0), on_s=st.floats(0.5, 50.0), off_s=st.floats(0.5, 50.0)
    ),
    st.builds(a.Batch, requests=st.integers(1, 50), at_s=st.floats(0.0, 200.0)),
)
dists = st.sampled_from(
    [
        Constant(value=0.0),
        Exponential(mean=100.0),
        Uniform(low=-5.0, high=5.0),
        Lognormal(mu=5.0, sigma=2.0),
        Gamma(shape=0.1, scale=1000.0, min=2.0, max=50.0),
        Quantiles(q=(0.0, 100.0), v=(1.0, 100.0)),
    ]
)
spikes = st.builds(
    Spike, at_s=st.floats(0.0, 100.0), height=st.floats(0.0, 8.0), length_s=st.floats(0.0, 60.0)
)
classes = st.builds(
    TrafficClass,
    name=st.sampled_from(["chat", "code", "batch"]),
    arrivals=processes,
    spikes=st.lists(spikes, max_size=2).map(tuple),
    prompt_tokens=dists,
    output_tokens=dists,
    prompt_output_spearman=st.sampled_from([0.0, 0.5, -0.9]),
)


def make(traffic: list[TrafficClass], duration_s: float = 100.0, seed: int = 1) -> Requests:
    scenario: Any = SimpleNamespace(classes=tuple(traffic), duration_s=duration_s, pools=())
    return make_requests(scenario, seed)


def of_class(requests: Requests, class_id: int) -> list[list[int]]:
    mine = requests.class_id == class_id
    return [column[mine].tolist() for column in requests[:3]]


@settings(deadline=None, max_examples=60)
@given(st.lists(classes, min_size=1, max_size=3, unique_by=lambda c: c.name), st.integers(0, 2**63 - 1))
def test_requests_are_sorted_bounded_typed_and_repeatable(traffic: list[TrafficClass], seed: int) -> None:
    requests = make(traffic, seed=seed)
    assert [column.dtype for column in requests[:4]] == [np.int64, np.int32, np.int32, np.int32]
    assert len({len(column) for column in requests[:4]}) == 1
    order = np.lexsort((requests.class_id, requests.arrival_ps))
    assert np.array_equal(order, np.arange(len(order)))
    assert np.all((requests.arrival_ps >= 0) & (requests.arrival_ps < 100 * PS))
    assert np.all(requests.prompt_tokens >= 1)
    assert np.all(requests.output_tokens >= 0)
    again = make(traffic, seed=seed)
    assert all(np.array_equal(x, y) for x, y in zip(requests[:4], again[:4], strict=True))


@settings(deadline=None, max_examples=60)
@given(classes, classes, classes)
def test_one_class_never_changes_another(
    kept: TrafficClass, before: TrafficClass, after: TrafficClass
) -> None:
    kept, before, after = (replace(c, name=n) for c, n in ((kept, "kept"), (before, "x"), (after, "y")))
    assert of_class(make([kept, before]), 0) == of_class(make([kept, after]), 0)
    assert of_class(make([before, kept]), 1) == of_class(make([kept]), 0)


@settings(deadline=None, max_examples=60)
@given(classes)
def test_a_longer_run_begins_with_the_shorter(traffic: TrafficClass) -> None:
    short, long = make([traffic], 50.0), make([traffic], 100.0)
    n = len(short.arrival_ps)
    assert all(np.array_equal(x, y[:n]) for x, y in zip(short[:4], long[:4], strict=True))
    assert np.all(long.arrival_ps[n:] >= 50 * PS)


def test_another_seed_and_another_name_make_other_requests() -> None:
    base = TrafficClass(arrivals=a.Poisson(rate_per_s=10.0))
    seen = [
        make([base]).arrival_ps.tolist(),
        make([base], seed=2).arrival_ps.tolist(),
        make([TrafficClass(name="b", arrivals=base.arrivals)]).arrival_ps.tolist(),
    ]
    assert len({tuple(x) for x in seen}) == 3


def test_lengths_stay_when_arrivals_change() -> None:
    """Common random numbers: request i is as long at any rate and burstiness."""
    prompt = Exponential(mean=100.0)
    slow, fast = (
        make([TrafficClass(arrivals=arrivals, prompt_tokens=prompt)])
        for arrivals in (a.Poisson(rate_per_s=5.0), a.GammaRenewal(rate_per_s=9.0, cv=3.0))
    )
    n = min(len(slow.arrival_ps), len(fast.arrival_ps))
    assert np.array_equal(slow.prompt_tokens[:n], fast.prompt_tokens[:n])


def test_equal_times_are_ordered_by_class_and_then_as_made() -> None:
    batch = a.Batch(requests=2, at_s=1.0)
    requests = make([TrafficClass(name=name, arrivals=batch) for name in ("a", "b")])
    assert requests.class_id.tolist() == [0, 0, 1, 1]
    assert requests.arrival_ps.tolist() == [PS] * 4


def test_embeddings_have_no_output_and_every_prompt_a_token() -> None:
    requests = make([TrafficClass(prompt_tokens=Constant(value=0.2), output_tokens=Constant(value=0.0))])
    assert set(requests.prompt_tokens) == {1}
    assert set(requests.output_tokens) == {0}


def test_rounding_to_picoseconds_keeps_order_and_the_end() -> None:
    times = np.array([0.0, 1.0, 1.0 - 2e-12, 2.0 - 1e-12, 2.0 - 1e-13, 2.0])
    assert to_ps(times, 2.0).tolist() == [0, PS, PS, 2 * PS - 1]


@pytest.mark.parametrize("spearman", [0.8, -0.5])
def test_prompts_and_outputs_correlate_as_asked(spearman: float) -> None:
    traffic = TrafficClass(
        arrivals=a.Poisson(rate_per_s=500.0),
        prompt_tokens=Lognormal(mu=7.0, sigma=1.0),
        output_tokens=Exponential(mean=500.0),
        prompt_output_spearman=spearman,
    )
    requests = make([traffic])
    prompt, output = (np.argsort(np.argsort(x)) for x in (requests.prompt_tokens, requests.output_tokens))
    assert np.corrcoef(prompt, output)[0, 1] == pytest.approx(spearman, abs=0.02)


def test_a_day_curve_moves_the_requests() -> None:
    hours = (0.0,) * 12 + (2.0,) * 12
    traffic = TrafficClass(arrivals=a.Poisson(rate_per_s=1.0), curves=Curves(day=hours, shape="step"))
    arrivals_h = make([traffic], 86_400.0).arrival_ps / PS / 3600.0
    assert arrivals_h.min() >= 12.0
    assert len(arrivals_h) == pytest.approx(86_400, rel=0.02)


# ---- shares and caps -------------------------------------------------------------------------------------------------
def sharing(shares: list[float], **more: Any) -> list[TrafficClass]:
    """Classes that split one bursty process; the n-th has prompts of n + 1 tokens."""
    process = a.GammaRenewal(rate_per_s=50.0, cv=3.0)
    return [
        TrafficClass(
            name=f"c{i}", share=s, arrivals=process, prompt_tokens=Constant(value=float(i + 1)), **more
        )
        for i, s in enumerate(shares)
    ]


def test_classes_with_a_share_split_one_process() -> None:
    whole, parts = make(sharing([1.0]), 1000.0), make(sharing([0.7, 0.2, 0.1]), 1000.0)
    assert np.array_equal(parts.arrival_ps, whole.arrival_ps)
    n = len(whole.arrival_ps)
    for class_id, share in enumerate((0.7, 0.2, 0.1)):
        mine = parts.class_id == class_id
        assert abs(mine.mean() - share) < 5 * np.sqrt(share * (1 - share) / n)
        assert set(parts.prompt_tokens[mine]) == {class_id + 1}


def test_a_share_comes_from_the_same_calls_whatever_else_there_is() -> None:
    own = TrafficClass(name="own", arrivals=a.Poisson(rate_per_s=5.0))
    alone, beside = make(sharing([0.5, 0.5])), make([own, *sharing([0.5, 0.5])])
    assert [of_class(alone, i) for i in (0, 1)] == [of_class(beside, i) for i in (1, 2)]
    assert of_class(make([own]), 0) == of_class(beside, 0)


def test_a_larger_share_keeps_the_calls_of_the_smaller() -> None:
    small, large = (set(of_class(make(sharing([share, 1 - share])), 0)[0]) for share in (0.3, 0.6))
    assert small < large


def test_a_shared_trace_gives_lengths_to_whoever_gets_the_call(tmp_path: Any) -> None:
    path = tmp_path / "calls.csv"
    rows = [f"{i / 10},{i + 1},{2 * i}" for i in range(500)]
    path.write_text("arrival,prompt,output\n" + "\n".join(rows) + "\n")
    columns = Columns(arrival="arrival", prompt_tokens="prompt", output_tokens="output")
    parts = make(sharing([0.5, 0.5], trace=Trace(file=str(path), columns=columns)))
    assert parts.prompt_tokens.tolist() == list(range(1, 501))
    assert parts.output_tokens.tolist() == list(range(0, 1000, 2))
    assert 150 < int((parts.class_id == 0).sum()) < 350


def test_caps_cut_prompts_and_answers_or_leave_them_to_be_refused() -> None:
    free = TrafficClass(arrivals=a.Poisson(rate_per_s=10.0), prompt_tokens=Exponential(mean=100.0))
    caps = {
        "cut": Caps(input_tokens=90, output_tokens=50, long_input="truncate"),
        "refused": Caps(input_tokens=90, output_tokens=50, long_output="reject"),
    }
    plain, cut, refused = (
        make([replace(free, caps=c, output_tokens=Exponential(mean=70.0))])
        for c in (Caps(), caps["cut"], caps["refused"])
    )
    assert plain.prompt_tokens.max() > 90
    assert np.array_equal(cut.prompt_tokens, np.minimum(plain.prompt_tokens, 90))
    assert np.array_equal(cut.output_tokens, np.minimum(plain.output_tokens, 50))
    assert np.array_equal(refused.prompt_tokens, plain.prompt_tokens)
    assert np.array_equal(refused.output_tokens, plain.output_tokens)
    assert cut.prompt_tokens.dtype == cut.output_tokens.dtype == np.int32
