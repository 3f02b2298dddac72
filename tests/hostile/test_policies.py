"""Laws of users' own that do anything but answer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sim.engine.host import Observation
from sim.engine.policies import load_law, targets
from sim.errors import InputError

from .drive import faults, fleetsim

LAWS = """
import math, os, sys
from os import _exit
import numpy as np


def raises(obs):
    raise ValueError("boom\\nsecond line \\x1b[31m")


def divides(obs):
    return 1 // 0


def recurses(obs):
    return recurses(obs)


def exits(obs):
    sys.exit(0)


def exits_with_text(obs):
    sys.exit("bye")


def exits_at_once(obs):
    os._exit(0)


def exits_by_name(obs):
    _exit(0)


def stops(obs):
    raise GeneratorExit


def asserts(obs):
    assert False


def misses(obs):
    return obs.no_such_field


def overflows(obs):
    return math.exp(1000)


def takes_two(obs, more):
    return 1


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def raises_unprintable(obs):
    raise Unprintable


class Odd:
    def __repr__(self):
        raise ValueError

    def __int__(self):
        return 3

    __index__ = __float__ = __int__


def an_object(obs):
    return Odd()


def nothing(obs):
    pass


def a_float(obs):
    return 2.5


def a_whole_float(obs):
    return 2.0


def a_string(obs):
    return "3"


def some_bytes(obs):
    return b"3"


def a_bool(obs):
    return True


def a_numpy_bool(obs):
    return np.True_


def not_a_number(obs):
    return float("nan")


def infinite(obs):
    return math.inf


def huge(obs):
    return 10**400


def too_long_to_print(obs):
    return 10**6000


def negative(obs):
    return -1


def complex_number(obs):
    return 3j


def too_many(obs):
    return [1] * (len(obs.wanted) + 1)


def too_few(obs):
    return []


def floats(obs):
    return [1.5] * len(obs.wanted)


def float_array(obs):
    return np.ones(len(obs.wanted))


def bool_array(obs):
    return np.ones(len(obs.wanted), dtype=bool)


def object_array(obs):
    return np.array([None] * len(obs.wanted))


def nested(obs):
    return [[1]] * len(obs.wanted)


def a_matrix(obs):
    return np.ones((2, 2), dtype=int)


def a_dict(obs):
    return {"main": 3}


def a_set(obs):
    return {1}


def a_generator(obs):
    yield 1


async def a_coroutine(obs):
    return 1


def a_function(obs):
    return a_function


# ---- factories
def makes_nothing():
    pass


def makes_a_number():
    return 3


def fails_to_make():
    raise KeyError("x")


def exits_instead():
    sys.exit(3)


# ---- laws
def good(obs):
    return 2


def numpy_good(obs):
    return (obs.outstanding + 19) // 20


def makes_good():
    return good


sign = max
"""
GOOD = ("good", "numpy_good", "makes_good")
MADE = ("makes_nothing", "makes_a_number", "fails_to_make", "exits_instead")
BAD = [
    line.split("def ")[1].split("(")[0]
    for line in LAWS.splitlines()
    if line.startswith(("def ", "async def ")) and line.split("def ")[1].split("(")[0] not in GOOD
]
ENDED = ("raises", "recurses", "a_float", "not_a_number", "huge", "too_many", "exits", "exits_at_once")
FILES = {
    "no Python": "def desired(obs:\n  return 3\n",
    "a zero byte": "x = '\x00'\n",
    "an exception": "raise RuntimeError('no')\n",
    "an exit": "import sys; sys.exit(0)\n",
    "an exit at once": "import os; os._exit(0)\n",
    "a missing module": "import no_such_module\n",
    "recursion": "def f():\n    f()\nf()\n",
    "deep brackets": "x = " + "(" * 5000 + ")" * 5000 + "\n",
    "no function": "desired = 3\n",
    "nothing": "",
    "another name": "def desires(obs):\n    return 1\n",
}


def seen(n: int) -> Observation:
    """What a policy might see of so many pools."""
    counts = np.arange(n, dtype=np.int64) + 1
    fields = [name for name in Observation._fields if name != "time_s"]
    return Observation(time_s=12.5, **dict.fromkeys(fields, counts))


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the laws."""
    path = tmp_path_factory.mktemp("laws") / "law.py"
    path.write_text(LAWS, encoding="utf-8")
    return path


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", BAD)
def test_a_law_that_does_anything_else_is_one_line(name: str, n: int, laws: Path) -> None:
    with pytest.raises(InputError) as said:
        targets(load_law(f"{laws}:{name}"), seen(n), n)
    (line,) = said.value.problems
    assert f"{laws}:{name}" in line
    assert f"{laws}:" in line.replace(f"{laws}:{name}", ""), "the file and its line"
    assert name in MADE or "at 12.5 s" in line
    assert len(line) < 700
    assert "\n" not in line


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", GOOD)
def test_a_law_that_answers_is_believed(name: str, n: int, laws: Path) -> None:
    answer = targets(load_law(f"{laws}:{name}"), seen(n), n)
    assert answer.dtype == np.int64
    assert answer.shape == (n,)


@pytest.mark.parametrize("what", list(FILES))
def test_a_file_that_is_no_policy_is_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "law.py"
    path.write_text(FILES[what], encoding="utf-8")
    answer = fleetsim("run", "first_run", f"autoscaler.law={path}:desired", f"output.dir={tmp_path / 'out'}")
    assert answer.code == 2
    assert not faults(answer)
    assert not (tmp_path / "out").exists()


def test_the_process_can_still_exit_afterwards(laws: Path) -> None:
    before = os._exit
    with pytest.raises(InputError):
        targets(load_law(f"{laws}:exits_at_once"), seen(1), 1)
    assert os._exit is before


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
@pytest.mark.parametrize(
    "name", ["raises", "recurses", "a_float", "not_a_number", "huge", "too_many", "exits", "exits_at_once"]
)
def test_engines_end_alike(engine: str, name: str, laws: Path, tmp_path: Path) -> None:
    words = ["duration_s=60", f"engine={engine}", f"autoscaler.law={laws}:{name}", f"output.dir={tmp_path}"]
    answer = fleetsim("run", "first_run", *words)
    assert answer.code == 2
    assert not faults(answer)
    assert f"law.py:{name}" in answer.err
    assert " at 15 s" in answer.err
    assert not list(tmp_path.iterdir())
