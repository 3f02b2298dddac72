"""Words of the command line: what is read here is what hydra reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario import hydra_words
from sim.scenario.override import by_hydra, plain_override, read_override, swept

PIECES = [
    "a",
    "Z",
    "_",
    "-",
    ".",
    "/",
    ":",
    ",",
    "0",
    "7",
    "12",
    "+",
    "~",
    "@",
    "=",
    " ",
    "e",
    "inf",
    "nan",
    "null",
]
PIECES += [
    "true",
    "False",
    "1.5",
    ".5",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "'",
    '"',
    "range",
    "$",
    "\\",
    "pool",
    "gpu",
    "é",
]
LINES = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
PLAIN = [
    ("autoscaler=hpa_fast", "hpa_fast"),
    ("pool.max_replicas=12", 12),
    ("traffic.arrivals.rate_per_s=1.50", 1.5),
    ("a.b=-3", -3),
    ("a.b=-0.25", -0.25),
    ("a.b=TRUE", True),
    ("a.b=null", None),
    ("autoscaler.law=my_policy.py:desired", "my_policy.py:desired"),
    ("gpu@pools.code.gpu=h100", "h100"),
    ("traffic.spikes.0.height=3", 3),
    (
        "traffic.trace.file=recorded/AzureLLMInferenceTrace_conv.csv",
        "recorded/AzureLLMInferenceTrace_conv.csv",
    ),
]


@pytest.mark.parametrize(("line", "value"), PLAIN)
def test_usual_words_need_no_hydra(line: str, value: object) -> None:
    override = plain_override(line)
    assert override is not None
    assert (override.value, type(override.value)) == (value, type(value))
    assert override == by_hydra(line)


@settings(max_examples=1500, deadline=None)
@given(key=LINES, value=LINES)
def test_plain_words_mean_what_hydra_reads(key: str, value: str) -> None:
    line = f"{key or 'k'}={value}"
    mine = plain_override(line)
    if mine is None:
        return
    theirs = by_hydra(line)
    assert theirs is not None, line
    assert repr(mine) == repr(theirs)
    if mine.is_sweep:
        assert [f"{mine.element}={word}" for word in hydra_words.several(line) or ()] == all_of(line)


def all_of(line: str) -> list[str]:
    """The single words of a list; what is there twice is refused, and then hydra has it twice too."""
    override = read_override(line)
    assert override is not None
    several = hydra_words.several(line)
    assert several is not None
    if len(set(several)) < len(several):
        with pytest.raises(Exception, match="twice"):
            swept(override)
        return [f"{override.element}={word}" for word in several]
    return swept(override)


NOT_PLAIN = (
    "a=inf a=.5 a=1e3 a=1_000 a=007 a=+5 a=[1,2] a={b:1} a='x' a= a ~a +a=1 a=range(1,3) a/b=c a=b:c:d a=$x"
)
NOT_PLAIN += " é=1 1a=2 a=12345678901234567890"


@pytest.mark.parametrize("line", [*NOT_PLAIN.split(), "a=x y", ""])
def test_what_is_not_plain_is_left_to_hydra(line: str) -> None:
    assert plain_override(line) is None
    assert read_override(line) == by_hydra(line)
