"""Minimum trees: the smallest key among n leaves, ties to the lowest leaf, in O(log n) a change.

A tree with m leaves (a power of two ≥ 2) takes 2·m places from `o` on: place 1 is the root, places m … 2m − 1 the
keys, and every place between holds the smaller of its two children. A change plays all matches up to the root: no
branch depends on their outcome, which costs less than stopping early would save.
"""

from __future__ import annotations

from sim.jit import jit, jit_call


@jit
def tree_key(tree, o, m, leaf):
    """The key of a leaf."""
    return tree[o + m + leaf]


@jit
def tree_first(tree, o, m):
    """The leaf with the smallest key."""
    key = tree[o + 1]
    node = 1
    while 2 * node < m:  # two levels at once: their keys are read side by side, not one after the other
        node *= 4
        a = tree[o + node] == key
        b = tree[o + node + 1] == key
        c = tree[o + node + 2] == key
        node += 0 if a else 1 if b else 2 if c else 3
    if node < m:
        node *= 2
        if tree[o + node] != key:
            node += 1
    return node - m


@jit
def tree_first_key(tree, o):
    """The smallest key."""
    return tree[o + 1]


@jit
def tree_set(tree, o, m, leaf, key):
    """Give a leaf a new key and play its matches again."""
    node = m + leaf
    tree[o + node] = key
    while node > 1:
        other = tree[o + (node ^ 1)]
        key = other if other < key else key
        node >>= 1
        tree[o + node] = key


@jit_call
def tree_build(tree, o, m):
    """Play every match; the keys are in place."""
    for node in range(m - 1, 0, -1):
        left = tree[o + 2 * node]
        right = tree[o + 2 * node + 1]
        tree[o + node] = left if left <= right else right
