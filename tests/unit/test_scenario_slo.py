"""Limits with a verdict: what can be said, and what is wrong with the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import InputError
from sim.measures.levels import STATISTICS
from sim.measures.listed import LATENCIES
from sim.scenario.slo import SECONDS, parse_slo

READ = [
    ("ttft.p99 < 0.5 s", (None, "ttft", "p99", "<", 0.5)),
    ("ttft.p99<500ms", (None, "ttft", "p99", "<", 0.5)),
    ("tpot.mean <= 30 ms", (None, "tpot", "mean", "<=", 0.03)),
    ("e2e.p99.9 < 1 min", (None, "e2e", "p99.9", "<", 60.0)),
    ("e2e.p99_9 < 1 h", (None, "e2e", "p99.9", "<", 3600.0)),
    ("ttft.p50_served < 1 s", (None, "ttft", "p50_served", "<", 1.0)),
    ("slo_attainment >= 0.999", (None, "slo_attainment", None, ">=", 0.999)),
    ("slo_attainment >= 99.9 %", (None, "slo_attainment", None, ">=", 0.999)),
    ("usd_per_hour < 40", (None, "usd_per_hour", None, "<", 40.0)),
    ("usd < 40 USD", (None, "usd", None, "<", 40.0)),
    ("rejected <= 0", (None, "rejected", None, "<=", 0.0)),
    ("prefix_hit_ratio > 80 %", (None, "prefix_hit_ratio", None, ">", 0.8)),
    ("chat.blocked < 5", ("chat", "blocked", None, "<", 5.0)),
    ("itl_max.p99 < 500 ms", (None, "itl_max", "p99", "<", 0.5)),
    ("chat.ttft.p99 < 1 s", ("chat", "ttft", "p99", "<", 1.0)),
    ("chat.slo_attainment > 0.9", ("chat", "slo_attainment", None, ">", 0.9)),
]

WRONG = [
    ("ttft < 1 s", "ttft needs one of mean, p50"),
    ("ttft.p98 < 1 s", "did you mean 'p9"),
    ("ttft.p99 < 1", "is a time and needs a unit"),
    ("ttft.p99 < 1 days", "is a time and needs a unit"),
    ("tttf.p99 < 1 s", "did you mean 'ttft'"),
    ("usd_per_hour < 3 s", "usd_per_hour is in USD, not in 's'"),
    ("slo_attainment.p99 > 1", "is one number and has no 'p99'"),
    ("chatt.ttft.p99 < 1 s", "'chatt' is no class; allowed: chat; did you mean 'chat'"),
    ("chat.usd < 3", "for the whole fleet"),
    ("ttft.p99 = 1 s", "is not a limit"),
    ("ttft.p99 < 1e999 s", "finite"),
    ("ttft.p99 < 1.2.3 s", "not a number"),
    ("", "is not a limit"),
    ("__import__('os')", "is not a limit"),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_reads(text: str, expected: tuple) -> None:
    limit = parse_slo(text, ["chat"])
    assert limit[1:5] == expected[:4]
    assert limit.value == pytest.approx(expected[4])


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_slo(text, ["chat"])
    assert said in str(caught.value)
    assert str(caught.value).startswith("slo: ")


@given(
    st.sampled_from([measure.name for measure in LATENCIES]),
    st.sampled_from(STATISTICS),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(1e-3, 1e3),
    st.sampled_from(sorted(SECONDS)),
)
def test_any_latency_limit_reads_in_seconds(
    metric: str, level: str, op: str, value: float, unit: str
) -> None:
    limit = parse_slo(f"{metric}.{level} {op} {value!r} {unit}")
    assert limit.value == pytest.approx(value * SECONDS[unit])
    assert limit.is_met(limit.value) == (op in ("<=", ">="))
    assert limit.path == (metric, f"{level.replace('.', '_')}_s")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    assert n_problems(text) <= 1


def n_problems(text: str) -> int:
    """How many lines say that the text is no limit; any exception but bad input is a failure."""
    try:
        parse_slo(text)
    except InputError as error:
        return len(error.problems)
    return 0
