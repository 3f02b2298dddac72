"""The grammar of axes and rules: what it reads, what it refuses, and laws that hold for everything it reads."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.studies.axes import Span, Value, axis
from sim.studies.planning import cut
from sim.studies.points import as_word, grid
from sim.studies.reading import load_study, read_study
from sim.studies.rules import read_rule
from sim.studies.seeds import read_seeds
from sim.studies.study import Sampler, unit_cube


def values(said: Any, key: str = "pool.min_replicas") -> list[Any]:
    column = grid([axis(key, said)], [], []).columns[0]
    return [column.value(i) for i in range(len(column.codes))]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1,2,4", [1, 2, 4]),
        ([1, 2, 4], [1, 2, 4]),
        ("1..4", [1, 2, 3, 4]),
        ("-2..1", [-2, -1, 0, 1]),
        ("0..1 x 5", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("0..10 step 2.5", [0.0, 2.5, 5.0, 7.5, 10.0]),
        ("0..10 step 3", [0, 3, 6, 9]),
        ("log 1..64 x 7", [1, 2, 4, 8, 16, 32, 64]),
        ("whole log 1..100 x 7", [1, 2, 5, 10, 22, 46, 100]),
        ("1..3,8", [1, 2, 3, 8]),
        ("5", [5]),
        (5, [5]),
        ("true,false", [True, False]),
        ("null,3", [None, 3]),
        ('"a,b",c', ["a,b", "c"]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ("{at_s: 1, height: 2},null", [{"at_s": 1, "height": 2}, None]),
        ("1e-3,2.5", [0.001, 2.5]),
    ],
)
def test_axes_that_are_read(said: Any, expected: list[Any]) -> None:
    found = values(said)
    assert found == expected
    assert [type(x) for x in found] == [type(x) for x in expected]


def test_options_have_axes_of_their_own() -> None:
    text = "hpa{target: 4,8; tolerance: 0.1,0.2},queue{target_backlog_per_replica: 1,2, cooldown_s: 60},fixed"
    as_mapping = {
        "hpa": {"target": [4, 8], "tolerance": [0.1, 0.2]},
        "queue": {"target_backlog_per_replica": [1, 2], "cooldown_s": 60},
        "fixed": None,
    }
    points = grid([axis("autoscaler", text)], [], [])
    assert [points.varied(i) for i in range(points.n)] == [
        *(
            {"autoscaler": "hpa", "autoscaler.target": t, "autoscaler.tolerance": x}
            for t, x in itertools.product((4, 8), (0.1, 0.2))
        ),
        *(
            {"autoscaler": "queue", "autoscaler.target_backlog_per_replica": b, "autoscaler.cooldown_s": 60}
            for b in (1, 2)
        ),
        {"autoscaler": "fixed"},
    ]
    same = grid([axis("autoscaler", as_mapping)], [], [])
    assert [same.varied(i) for i in range(same.n)] == [points.varied(i) for i in range(points.n)]


def test_an_option_of_one_pool_and_keys_of_others() -> None:
    points = grid(
        [axis("autoscaler@pools.code.autoscaler", "hpa{target: 4; /pool.max_replicas: 8,9}")], [], []
    )
    assert [points.varied(i) for i in range(points.n)] == [
        {"autoscaler@pools.code.autoscaler": "hpa", "pools.code.autoscaler.target": 4, "pool.max_replicas": n}
        for n in (8, 9)
    ]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("1,,2", "axes.x: '1,,2' is not valid; allowed: no empty value"),
        ("3..1", "a range whose first number is at most its last"),
        ("log 0..10 x 3", "a log range above 0"),
        ("log 1..10 step 2", "a log range with a number of values"),
        ("1..2..3", "axes.x: '1..2..3' is not valid"),
        ("0..1 step 0", "a step above 0"),
        ("1..3,2", "names 2 twice"),
        ("a,b,a", "names 'a' twice"),
        ("hpa{target: 4", "brackets and quotes that are closed"),
        ("hpa{target: 4}", "axes of their own for options of a group"),
        ("1..99999999999", "at most 10000000 values"),
        ("*a,b", "axes.x: '*a': *a: aliases are not allowed"),
        ("${x},b", "interpolation is not allowed"),
        ([], "axes.x: [] is not valid"),
    ],
)
def test_axes_that_are_refused(said: Any, line: str) -> None:
    with pytest.raises(InputError) as refused:
        axis("x", said, "axes")
    assert len(refused.value.problems) == 1
    assert line in refused.value.problems[0]
    assert "\n" not in refused.value.problems[0]


def study(**said: Any) -> dict[str, Any]:
    return {"scenario": "first_run", "axes": {"gpu": "h100,l4", "pool.max_replicas": "2,4"}, **said}


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"axis": 1}, "axis: no such key; allowed: name, question, scenario"),
        ({"axes": {"pol.min_replicas": "1,2"}}, "did you mean 'pool'?"),
        ({"axes": {"seed": "1..3"}}, "axes.seed: is not an axis; allowed: seeds"),
        ({"axes": {"pool.tp": "0..1"}, "sampler": {"kind": "sobl", "points": 4}}, "did you mean 'sobol'?"),
        ({"sampler": {"kind": "sobol"}}, "sampler.points: 0 is not valid"),
        ({"sampler": {"kind": "grid", "points": 3}}, "a grid has all its points"),
        ({"sampler": {"kind": "sobol", "point": 3}}, "did you mean 'points'?"),
        ({"axes": {"duration_s": "0..1.5"}}, "axes.duration_s: 0..1.5 does not say how many values"),
        ({"seeds": "1-30"}, "seeds: '1-30' is not valid; allowed: a range as 1..30"),
        ({"seeds": [1, 1]}, "a seed is named twice"),
        ({"seeds": -1}, "seeds: -1 is not valid"),
        ({"baseline": {"gpu": "a100"}}, "baseline: gpu=a100 is not valid"),
        (
            {"baseline": {"gpo": "l4"}},
            "baseline.gpo: is no axis; allowed: gpu, pool.max_replicas; did you mean 'gpu'?",
        ),
        ({"constraints": ["max_replicas < 1"]}, "constraints: max_replicas < 1: none of 4 points keeps them"),
        ({"constraints": ["gpu < 3"]}, "gpu < 3: cannot be worked out"),
        ({"constraints": ["gpo == 'l4'"]}, "constraints[0]: 'gpo' in \"gpo == 'l4'\" is no axis"),
        ({"constraints": ["__import__('os')"]}, "is not allowed in a rule"),
        ({"constraints": ["(lambda: 1)()"]}, "is not allowed in a rule"),
        ({"constraints": ["gpu.__class__ == 1"]}, "'gpu.__class__'"),
        ({"constraints": ["max_replicas ** 99"]}, "is not allowed in a rule"),
        ({"constraints": ["'a' * 9 == gpu"]}, "arithmetic needs numbers"),
        ({"constraints": ["1 < 2"]}, "a rule that names an axis"),
        ({"constraints": ["gpu == [1, 2]"]}, "'[1, 2]' in 'gpu == [1, 2]' is not allowed in a rule"),
        ({"constraints": ["gpu, 1"]}, "is not allowed in a rule"),
        ({"constraints": ["gpu in 3"]}, "`in` needs a list"),
        ({"constraints": ["gpu =="]}, "constraints[0]: 'gpu ==' is not valid"),
        ({"zipped": [{"pool.tp": "1,2", "pool.pp": "1,2,3"}]}, "zipped[0]: pool.tp has 2, pool.pp has 3"),
        ({"zipped": [{"pool.tp": "1,2"}]}, "at least two that step together"),
        ({"zipped": [{"gpu": "l4,h100", "pool.tp": "1,2"}]}, "axes.gpu: is varied twice"),
        ({"when": [{"if": "gpu == 'l4'"}]}, "a mapping with if and axes"),
        ({"overrides": ["gpu=l4"]}, "overrides: gpu=l4: gpu is an axis too"),
        ({"overrides": ["seed=4"]}, "overrides: seed=4 is not valid; allowed: seeds"),
        (
            {"histograms": "cel"},
            "histograms: 'cel' is not valid; allowed: cell, run, none; did you mean 'cell'?",
        ),
        ({"name": "a/b"}, "name: 'a/b' is not valid"),
        ({"axes": {"pool.min_replicas": "1..9999999", "gpu": "h100,l4"}}, "19,999,998 points; allowed"),
    ],
)
def test_studies_that_are_refused(said: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as refused:
        read_study(study(**said)).points()
    assert any(line in problem for problem in refused.value.problems), refused.value.problems


def test_every_mistake_of_a_study_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        read_study({"scenario": 3, "axes": {"gpo": "a,b"}, "seeds": "x", "nme": 1}, "my.yaml")
    assert len(refused.value.problems) == 4
    assert all(line.startswith("my.yaml: ") for line in refused.value.problems)


def test_zipped_conditional_and_constrained_axes() -> None:
    found = read_study(
        study(
            axes={"autoscaler": "fixed,hpa"},
            zipped=[{"pool.min_replicas": "1,2", "pool.max_replicas": "4,8"}],
            when=[{"if": "autoscaler == 'hpa' and min_replicas > 1", "axes": {"autoscaler.target": "4,8"}}],
            constraints=["autoscaler.target * 2 <= max_replicas"],
        )
    ).points()
    assert [found.label(i) for i in range(found.n)] == [
        "autoscaler=fixed min_replicas=1 max_replicas=4",
        "autoscaler=fixed min_replicas=2 max_replicas=8",
        "autoscaler=hpa min_replicas=1 max_replicas=4",
        "autoscaler=hpa min_replicas=2 max_replicas=8 target=4",
    ]


def test_words_of_the_command_line_are_axes_or_overrides() -> None:
    words = ["pool.max_replicas=4..6", "gpu=h100,l4", "traffic.spikes=[{at_s: 9, height: 2, length_s: 5}],[]"]
    fixed = ['slo=["ttft.p99 < 1 s"]', "pool.min_replicas=1", "price={usd_per_gpu_hour: 2}"]
    found = load_study("first_run", [*words, *fixed, "seed=3..5"])
    assert found.keys == ["pool.max_replicas", "gpu", "traffic.spikes"]
    assert list(found.overrides) == fixed
    assert found.seeds.numbers == range(3, 6)
    assert found.points().overrides(11) == ["pool.max_replicas=6", "gpu=l4", "traffic.spikes=[]"]
    light = load_study("light_chat_routers", ["router=random", "seed=1"])
    assert {light.points().varied(i)["router"] for i in range(light.points().n)} == {"random"}
    assert light.baseline == {}


def test_seeds() -> None:
    assert read_seeds("1..30").numbers == range(1, 31)
    assert read_seeds("1,5,7").numbers == (1, 5, 7)
    assert read_seeds(4).numbers == (4,)
    assert read_seeds("until decided").until_decided
    assert read_seeds("until decided, at most 50").numbers == range(1, 51)


NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6).filter(lambda x: not x.is_integer()))
NAMES = st.text("abcxyz_ ,;{}[]\"':#-0123\\é", min_size=1, max_size=12).filter(
    lambda s: s.strip() and "${" not in s
)


@given(st.lists(NUMBERS, min_size=1, max_size=8, unique=True))
def test_numbers_written_as_text_come_back(numbers: list[float]) -> None:
    found = values(",".join(map(repr, numbers)))
    assert found == numbers


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), NUMBERS, NAMES), lambda x: st.lists(x, max_size=3), max_leaves=5
    )
)
@settings(max_examples=100, deadline=None)
def test_a_value_as_a_word_is_the_value_again_for_hydra(value: Any) -> None:
    from sim.scenario.compose import parsed

    assert parsed(f"question={as_word(value)}").value == value


@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 40))
def test_a_span_holds_its_ends_and_as_many_as_it_says(low: int, width: int, n: int) -> None:
    whole = Span(low, low + width, width + 1, is_whole=True).values()
    assert whole.tolist() == list(range(low, low + width + 1))
    if width and n > 1:
        even = axis("x", f"{low}..{low + width} x {n}").parts[0]
        assert isinstance(even, Span)
        assert len(even.values()) == n
        assert (even.values()[0], even.values()[-1]) == (low, low + width)
        assert np.allclose(np.diff(even.values()), width / (n - 1))


@given(st.floats(0.001, 1000), st.floats(1.01, 1000), st.integers(2, 30))
def test_a_log_span_grows_by_one_factor(low: float, ratio: float, n: int) -> None:
    found = Span(low, low * ratio, n, is_log=True).values().astype(float)
    assert len(found) == n
    if not np.all(found == np.round(found)):
        assert np.allclose(np.diff(np.log(found)), math.log(ratio) / (n - 1), rtol=1e-6)


SHARES = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50).map(np.array)


@given(
    SHARES,
    st.sampled_from(["1..7", "0..1", "log 1..100", "log 0.1..2.5", "whole log 1..64", "0..9 step 3", "2..2"]),
)
def test_what_a_sampler_draws_of_a_span_lies_in_it(u: np.ndarray, text: str) -> None:
    span = axis("x", text).parts[0]
    assert isinstance(span, Span)
    found = span.at(u)
    assert found.min() >= span.low - 1e-12
    assert found.max() <= span.high + 1e-12
    if text in ("1..7", "0..9 step 3", "whole log 1..64"):
        assert found.dtype.kind == "i"
    assert np.all(np.diff(found[np.argsort(u)]) >= 0), "a larger share is a larger number"


@settings(deadline=None)  # the first imports scipy
@given(st.integers(1, 200), st.integers(1, 6), st.integers(0, 2**32))
def test_a_latin_hypercube_has_one_point_in_every_slice(n: int, dims: int, seed: int) -> None:
    cube = unit_cube(Sampler("latin_hypercube", n, seed), dims)
    assert cube.shape == (n, dims)
    for column in cube.T:
        assert sorted((column * n).astype(int).tolist()) == list(range(n))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32))
def test_a_sobol_sequence_has_as_many_points_in_every_slice(power: int, dims: int, seed: int) -> None:
    cube = unit_cube(Sampler("sobol", 2**power, seed), dims)
    for column in cube.T:
        assert np.bincount((column * 2**power).astype(int), minlength=2**power).tolist() == [1] * 2**power
    assert np.array_equal(cube, unit_cube(Sampler("sobol", 2**power, seed), dims))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_is_the_product_of_its_axes(sizes: list[int]) -> None:
    keys = ["pool.tp", "pool.pp", "pool.min_replicas", "pool.max_replicas"][: len(sizes)]
    points = grid([axis(key, f"1..{n}") for key, n in zip(keys, sizes, strict=True)], [], [])
    wanted = itertools.product(*(range(1, n + 1) for n in sizes))
    assert [tuple(points.varied(i).values()) for i in range(points.n)] == list(wanted)


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "2", "0.5", "min(a, b)", "abs(a - 3)"]),
    lambda x: st.one_of(
        st.tuples(x, st.sampled_from(["+", "-", "*"]), x).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(x, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), x).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(x, st.sampled_from(["and", "or"]), x).map(lambda t: f"bool({t[0]} {t[1]} {t[2]})"),
        x.map(lambda t: f"(not {t})"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
@settings(max_examples=100, deadline=None)
def test_a_rule_says_for_all_points_what_python_says_for_each(text: str) -> None:
    """The oracle is Python itself, which a test may ask what the product must not."""
    a, b = np.array([0, 1, 2, 3, 5]), np.array([3.0, 1.0, 0.5, 2.0, 5.0])
    shown = f"{text} or a == 99"
    rule = read_rule(shown.replace("bool", ""), ["a", "b"], "rule")
    there = {"a": np.ones(5, dtype=bool), "b": np.ones(5, dtype=bool)}
    wanted = [
        bool(eval(shown, {}, {"a": x, "b": y, "min": min, "abs": abs, "bool": bool}))
        for x, y in zip(a, b, strict=True)
    ]
    assert rule.holds({"a": a, "b": b}, there, 5).tolist() == wanted


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_shards_cover_every_run_once(n_point: int, n_seed: int) -> None:
    shards = cut(n_point, n_seed)
    assert int((shards[:, 1] * shards[:, 3]).sum()) == n_point * n_seed
    corners = shards[:, 0] * n_seed + shards[:, 2]
    assert len(np.unique(corners)) == len(shards)
    assert (shards[:, 0] + shards[:, 1]).max() == n_point
    assert (shards[:, 2] + shards[:, 3]).max() == n_seed
    assert (shards[:, 1] * shards[:, 3]).max() <= 4096


def test_values_keep_their_options() -> None:
    parts = axis("autoscaler", "hpa{target: 4,8},queue").parts
    assert [part.value for part in parts if isinstance(part, Value)] == ["hpa", "queue"]
