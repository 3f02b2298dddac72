"""GPUs that replicas share: every instant of every request as in the plain model, which takes each step by itself."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest

from sim.engine.result import _requests

from .compare import end_of, ends_differ, seed_case
from .naive import Run, run
from .naive_blame import STREAM, TTFT, blame
from .naive_sharing import SharedReplica
from .random_cases import Case

SEEDS, BLOCKS = range(90), 3


def shared_case(seed: int, calm: bool = False) -> Case:
    """The case of a seed, most of its pools on one or two GPUs that they share; pools in the order of their groups, which
    is that of the product's replicas.
    """
    case = in_order(seed_case(seed, calm))
    rng = np.random.default_rng([seed, 61])
    cards = [
        {"sharing": ("time_slicing", "mps")[int(rng.integers(2))], "beside_q10": int(rng.integers(3)) * 77}
        for _ in range(int(rng.integers(1, 3)))
    ]
    room = [8] * len(cards)
    pools = []
    for pool in case["pools"]:
        card, threads = int(rng.integers(len(cards))), int(rng.integers(1, 101)) if rng.integers(2) else 100
        is_shared = rng.integers(8) > 0 and len(pool["ready_at"]) <= room[card]
        room[card] -= len(pool["ready_at"]) * int(is_shared)
        pools.append({**pool, **cards[card], "card": card, "threads": threads} if is_shared else pool)
    return {**case, "pools": pools}


def in_order(case: Case) -> Case:
    """The same case, its pools by group."""
    order = sorted(range(len(case["pools"])), key=lambda i: case["pools"][i].get("group", 0))
    sizes = [len(pool["ready_at"]) for pool in case["pools"]]
    replicas = [sum(sizes[:i]) + j for i in order for j in range(sizes[i])]
    moved = [(t, replicas.index(r), what) for t, r, what in case["interventions"]]
    return {**case, "pools": [case["pools"][i] for i in order], "interventions": moved}


def naive(case: Case) -> Run:
    """The plain model's."""
    return run(**case, make_replica=partial(SharedReplica, {}))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_steps_beside_neighbours_take_as_long_as_the_plain_model_says(block: int) -> None:
    for seed in SEEDS[block::BLOCKS]:
        case = shared_case(seed)
        lines = ends_differ(case, naive(case), *end_of(case))
        assert lines[:3] == [], f"seed {seed}: {len(lines)} differences"


#: Every cause that the plain model knows of neighbours, and in how many of the seeds it is met at least.
MET = {"neighbour": 15, "stream_neighbour": 15}


def test_blame_on_neighbours_is_what_walking_every_step_finds() -> None:
    met: Counter[str] = Counter()
    for seed in SEEDS:
        case = shared_case(seed, calm=True)
        case["pools"] = [
            {**pool, "slow": ()} for pool in case["pools"]
        ]  # blame of what faults slow is not told here
        told = naive(case)
        expected = blame(case, told, [])
        p, st, _ = end_of(case)
        rows = _requests(p, st)
        for i, parts in enumerate(expected):
            found = {name: int(rows[f"blame_{name}_ps"][i]) for name in (*TTFT, *STREAM)}
            assert found == {name: parts.get(name, -1) for name in found}, f"seed {seed}, request {i}"
        met.update({name for parts in expected for name, part in parts.items() if part})
    assert {name: met[name] for name, least in MET.items() if met[name] < least} == {}
