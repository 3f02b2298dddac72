"""Winner trees: the smallest key among n leaves, ties to the lowest leaf, in O(log n) a change.

A tree with m leaves (a power of two ≥ 2) takes 2·m places from `o` on: winners (1 = root), then the keys.
"""

from __future__ import annotations

from sim.jit import jit, jit_call


@jit
def tree_key(tree, o, m, leaf):
    """The key of a leaf."""
    return tree[o + m + leaf]


@jit
def tree_first(tree, o):
    """The leaf with the smallest key."""
    return tree[o + 1]


@jit
def tree_first_key(tree, o, m):
    """The smallest key."""
    return tree[o + m + tree[o + 1]]


@jit
def tree_set(tree, o, m, leaf, key):
    """Give a leaf a new key and play its matches again, as far up as the outcome can change."""
    keys = o + m
    tree[keys + leaf] = key
    a = leaf & ~1
    winner = a if tree[keys + a] <= tree[keys + a + 1] else a + 1
    node = (m + leaf) >> 1
    while True:
        if tree[o + node] == winner and winner != leaf:
            break
        tree[o + node] = winner
        if node == 1:
            break
        # the left of two subtrees holds the lower leaves, so `<=` from the left settles ties
        node >>= 1
        left = tree[o + 2 * node]
        right = tree[o + 2 * node + 1]
        winner = left if tree[keys + left] <= tree[keys + right] else right


@jit_call
def tree_build(tree, o, m):
    """Play every match; the keys are in place."""
    keys = o + m
    for node in range(m - 1, 0, -1):
        if 2 * node >= m:
            left = 2 * node - m
            right = left + 1
        else:
            left = tree[o + 2 * node]
            right = tree[o + 2 * node + 1]
        tree[o + node] = left if tree[keys + left] <= tree[keys + right] else right
