"""A scenario file is data: what is more, or reads differently from how it looks, is refused with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import InputError
from sim.scenario.yaml_file import BYTES_MAX, DEPTH_MAX, parse_yaml, read_yaml

REFUSED = [
    ("a: 12:30:00", "f:1: a: YAML reads 12:30:00 as a number in base 60"),
    ("a: 1:30.5", "f:1: a: YAML reads 1:30.5 as a number in base 60"),
    ("a: 1\nb: 012", "f:2: b: YAML reads 012 as an octal number"),
    ("a: no", "f:1: a: YAML reads no as false"),
    ("a: On", "f:1: a: YAML reads On as true"),
    ("a: [1, .nan]", "f:1: a[1]: .nan is not a finite number"),
    ("a: -.inf", "f:1: a: -.inf is not a finite number"),
    ("a: 1e999", "f:1: a: 1e999 is not a finite number"),
    ("a: 1" + "0" * 60, "f:1: a: is too large to be a number"),
    ("a:\n  _target_: os.system", "f:2: a._target_: keys that start with _"),
    ("a: {b: 1, b: 2}", "f:1: a.b: this key is there twice"),
    ("a: ${oc.env:SECRET}", "f:1: a: '${oc.env:SECRET}': interpolation is not allowed"),
    ("a: 'x ${b} y'", "interpolation is not allowed"),
    ("${a}: 1", "interpolation is not allowed"),
    ("a: ???", "f:1: a: '???' is not a value"),
    ("a: &x 1\nb: *x", "f:1: &x: anchors are not allowed"),
    ("a: *x", "f:1: *x: aliases are not allowed"),
    ("<<: {a: 1}", "f:1: <<: merge keys are not allowed"),
    ("a: !!python/object/apply:os.system [x]", "tags are not allowed"),
    ("a: !!int 3", "tags are not allowed"),
    ("a: [", "f:1: not valid YAML"),
    ("a: 1\n\tb: 2", "f:2: not valid YAML"),
    ("- a", "f:1: must be a mapping"),
    ("a: 1\n---\nb: 2", "not valid YAML"),
    ("[a]: 1", "a key must be a plain name"),
    ("a: " + "[" * (DEPTH_MAX + 1), "too big"),
    ("a: [" + "1," * 60_000 + "]", "too big"),
    ("a: \x00", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f")
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml("a: no\nb: 012\nc: .nan\nd: 3", "f")
    assert [line[:5] for line in caught.value.problems] == ["f:1: ", "f:2: ", "f:3: "]


def test_billion_laughs_is_refused_before_it_grows() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(InputError, match="anchors are not allowed"):
        parse_yaml("\n".join(lines), "bomb")


def test_plain_values_are_what_they_look_like() -> None:
    text = "a: 1e-3\nb: 1_000\nc: .5\nd: 2023-11-16\ne: [1.5, x, ~]\nf: '012'\ng: 'no'\nh: true\non: 3\ni: -7"
    assert parse_yaml(text, "f") == {
        "a": 0.001,
        "b": 1000,
        "c": 0.5,
        "d": "2023-11-16",
        "e": [1.5, "x", None],
        "f": "012",
        "g": "no",
        "h": True,
        "on": 3,
        "i": -7,
    }


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).filter(
    lambda text: re.match(r"[-+.]?[0-9]", text) is None  # 08, 0E0 and 0:0 are read another way, on purpose
)
leaves = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | printable
names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
plain_data = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(names, plain_data, max_size=4))
def test_reads_back_what_pyyaml_writes(data: dict) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    if "${" not in text and "???" not in text:
        assert parse_yaml(text, "f") == data


def test_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("# " + "x" * BYTES_MAX)
    with pytest.raises(InputError, match="larger than 256 KiB"):
        read_yaml(path)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_yaml(path)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)
