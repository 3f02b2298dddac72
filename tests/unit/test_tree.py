"""A tree of matches names the smallest key and its first leaf, as a plain list looked through from end to end does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sim.compile.jit import entry_point
from sim.model.base.min_tree import tree_build, tree_first, tree_first_key, tree_next, tree_set
from sim.units import NEVER

rules = (tree_build, tree_first, tree_first_key, tree_next, tree_set)
build, first, first_key, following, change = (entry_point(rule) for rule in rules)
OFFSET = 3  # a tree lies somewhere in a longer array


@settings(deadline=None)
@pytest.mark.parametrize("leaves", [2, 4, 8, 16, 32, 64])
@given(
    changes=some.lists(some.tuples(some.integers(0, 63), some.one_of(some.integers(0, 9), some.just(NEVER)))),
    keys=some.lists(some.integers(0, 9), min_size=64, max_size=64),
)
def test_the_first_of_the_smallest(leaves: int, changes: list[tuple[int, int]], keys: list[int]) -> None:
    tree = np.full(OFFSET + 2 * leaves, -1, dtype=np.int64)
    plain = keys[:leaves]
    tree[OFFSET + leaves :] = plain
    build(tree[OFFSET:], leaves)
    for leaf, key in [(0, keys[0]), *changes]:
        plain[leaf % leaves] = key
        change(tree[OFFSET:], leaves, leaf % leaves, key)
        assert first_key(tree[OFFSET:]) == min(plain)
        assert first(tree[OFFSET:], leaves) == plain.index(min(plain))
        for bound in (min(plain), min(plain) + 1 if min(plain) < NEVER else NEVER, key):
            found = [j for j in range(leaf % leaves, leaves) if plain[j] < bound]
            assert following(tree[OFFSET:], leaves, leaf % leaves, bound) == (found[0] if found else -1)
    assert tree[:OFFSET].tolist() == [-1] * OFFSET
