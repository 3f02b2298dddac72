"""Descriptions of traffic at the door: what is refused, all of it at once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sim.scenario.dist import Constant, Dist
from sim.scenario.traffic import TrafficClass


def complaints(data: dict[str, Any]) -> list[tuple[str, str]]:
    """(key path, message) of everything wrong with a class."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(TrafficClass).validate_python(data)
    return [(".".join(str(part) for part in e["loc"]), e["msg"]) for e in caught.value.errors()]


def dist(data: Any) -> Any:
    return TypeAdapter(Dist).validate_python(data)


def test_a_bare_number_is_a_constant() -> None:
    assert dist(7) == Constant(value=7.0)


@pytest.mark.parametrize(
    "data",
    [
        True,
        "7",
        {"kind": "exponential", "mean": 0},
        {"kind": "exponential", "mean": False},
        {"kind": "exponential", "mean": "3"},
        {"kind": "exponential", "mean": float("nan")},
        {"kind": "uniform", "low": 3, "high": 1},
        {"kind": "uniform", "low": 0, "high": float("inf")},
        {"kind": "lognormal", "mu": 1},
        {"kind": "lognormal", "mu": 1, "sigma": 1, "median": 3, "p99": 4},
        {"kind": "lognormal", "median": 5, "p99": 4},
        {"kind": "lognormal_mixture", "w": [1], "mu": [1, 2], "sigma": [1, 1]},
        {"kind": "lognormal_mixture", "w": [0, 0], "mu": [1, 2], "sigma": [1, 1]},
        {"kind": "geometric", "p": 0},
        {"kind": "quantiles", "q": [0, 50], "v": [1]},
        {"kind": "quantiles", "q": [50, 50], "v": [1, 2]},
        {"kind": "quantiles", "q": [0, 50], "v": [2, 1]},
        {"kind": "quantiles", "q": [0, 101], "v": [1, 2]},
        {"kind": "constant", "value": 1, "min": 3, "max": 2},
        {"kind": "constant", "value": 1, "unit": "s"},
        {"kind": "cauchy", "value": 1},
        {"value": 1},
    ],
)
def test_distributions_that_make_no_sense_are_refused(data: Any) -> None:
    with pytest.raises(ValidationError):
        dist(data)


@pytest.mark.parametrize(
    ("arrivals", "word"),
    [
        ({"kind": "poisson", "rate_per_s": -1}, "greater than or equal to 0"),
        ({"kind": "poisson"}, "required"),
        ({"kind": "gamma", "rate_per_s": 1}, "cv or shape"),
        ({"kind": "gamma", "rate_per_s": 1, "cv": 1, "shape": 1}, "exactly one"),
        ({"kind": "weibull", "rate_per_s": 1, "cv": 1000}, "less than or equal"),
        ({"kind": "mmpp", "rates": [1, 2], "sojourn_s": [1, 2, 3]}, "2 rates need 2 sojourn_s"),
        ({"kind": "mmpp", "rates": [0, 0], "sojourn_s": [1, 2]}, "every state has rate 0"),
        ({"kind": "mmpp", "rates": [1, 2], "sojourn_s": [1, 2], "jumps": [[0, 1]]}, "2 rows of 2"),
        ({"kind": "mmpp", "rates": [1, 2], "sojourn_s": [1, 2], "jumps": [[1, 1], [1, 0]]}, "row 0"),
        ({"kind": "on_off", "rate_per_s": 1, "on_s": 0, "off_s": 1}, "greater than"),
        ({"kind": "batch", "requests": 0}, "greater than or equal to 1"),
        ({"kind": "superposition", "components": []}, "at least 1"),
        (
            {"kind": "superposition", "rate_per_s": 5, "components": [{"kind": "batch", "requests": 1}]},
            "batch",
        ),
    ],
)
def test_arrivals_that_make_no_sense_are_refused(arrivals: dict[str, Any], word: str) -> None:
    assert any(word in message for _, message in complaints({"arrivals": arrivals}))


def test_everything_wrong_is_said_at_once() -> None:
    found = complaints(
        {
            "priority": 1.5,
            "arrivals": {"kind": "poisson", "rate_per_s": "ten"},
            "spikes": [{"at_s": 1, "height": -2, "length_s": 3, "ramp": 4}],
            "curves": {"day": [1.0] * 23},
            "prompt_output_spearman": 1,
            "trace": {"file": "x", "speed_up": 0, "start_s": -1},
            "objectives": {"ttft_s": 0},
        }
    )
    assert {path for path, _ in found} == {
        "priority",
        "arrivals.poisson.rate_per_s",
        "spikes.0.height",
        "spikes.0.ramp",
        "curves.day",
        "prompt_output_spearman",
        "trace.speed_up",
        "trace.start_s",
        "objectives.ttft_s",
    }


def test_a_window_must_not_end_before_it_starts() -> None:
    assert (
        "end_s 5 must be after start_s 5"
        in complaints({"trace": {"file": "x", "start_s": 5, "end_s": 5}})[0][1]
    )


def test_columns_are_for_files_without_a_format_of_their_own() -> None:
    columns = {"prompt_tokens": "p", "output_tokens": "o"}
    assert "has its own" in complaints({"trace": {"file": "x", "format": "azure", "columns": columns}})[0][1]
