"""Blame agrees with the plain model's walk to the picosecond, and the cases meet every cause."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sim.engine.result import _requests

from .compare import end_of, seed_case
from .naive import run
from .naive_blame import STREAM, TTFT, blame
from .random_cases import Case

SEEDS = range(400)
BLOCKS = 4
ELSEWHERE = ("retry", "cpu", "network", "neighbour", "stream_neighbour")  # met in tests of their own
#: every other cause that the plain model knows, and in how many of the seeds it is met at least
MET = {name: 20 for name in (*TTFT, *STREAM) if name not in ELSEWHERE} | {"gateway": 3}


def starts_of(case: Case, seed: int) -> list[tuple[int, int]]:
    """When the replicas that are not ready from the beginning begin to start: some long before, some at once."""
    draw = np.random.default_rng([seed, 7])
    ready_at = [at for pool in case["pools"] for at in pool["ready_at"]]
    spans = [(int(draw.integers(0, at)), r) for r, at in enumerate(ready_at) if at]
    return [span for span in spans if draw.integers(0, 4)]


def blamed_case(seed: int) -> Case:
    """The case of a seed; in some an empty step is dearer than a full one."""
    case = seed_case(seed, calm=True)
    if seed % 6 == 5:
        case["pools"] = [{**pool, "base_ps": pool["base_ps"][::-1]} for pool in case["pools"]]
    return case


def differences(seed: int, met: Counter[str]) -> list[str]:
    """Where product and plain model blame differently, one line each; `met` counts the causes of the case."""
    case = blamed_case(seed)
    starts = starts_of(case, seed)
    told = run(**case)
    expected = blame(case, told, starts)
    p, st, _ = end_of(case, 2, starts)
    rows = _requests(p, st)
    lines = []
    for i, parts in enumerate(expected):
        for name in (*TTFT, *STREAM):
            found = int(rows[f"blame_{name}_ps"][i])
            if found != parts.get(name, -1):
                lines.append(f"seed {seed}: request {i}: {name} is {found}, expected {parts.get(name, -1)}")
    met.update({name for parts in expected for name, part in parts.items() if part})
    return lines


@pytest.mark.parametrize("block", range(BLOCKS))
def test_blame_is_what_walking_every_step_finds(block: int) -> None:
    met: Counter[str] = Counter()
    assert [line for seed in SEEDS[block::BLOCKS] for line in differences(seed, met)][:10] == []
    assert {name: met[name] for name, least in MET.items() if met[name] < least // BLOCKS} == {}


def test_the_plain_models_parts_sum_to_the_whole() -> None:
    served = 0
    for seed in SEEDS[:100]:
        case = blamed_case(seed)
        told = run(**case)
        for asked, answer, parts in zip(
            case["requests"], told.requests, blame(case, told, starts_of(case, seed)), strict=True
        ):
            assert all(part >= 0 for part in parts.values())
            if answer["first_token_ps"] >= 0:
                assert sum(parts[name] for name in TTFT) == answer["first_token_ps"] - asked[0]
            if answer["last_token_ps"] >= 0:
                assert sum(parts.values()) == answer["last_token_ps"] - asked[0]
                served += 1
    assert served > 300
