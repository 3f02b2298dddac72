"""Minimum trees: the smallest key among n leaves, ties to the lowest leaf, in O(log n) a change.

A tree with m leaves (a power of two ≥ 2) takes 2·m places: place 1 is the root, places m … 2m − 1 the
keys, and a node between holds the smallest key below it. A node is computed from four at once, two levels below, which
are read side by side; with an odd number of levels the root has two below it. The levels in between are not kept.
A change computes all nodes up to the root: no branch depends on what it finds, which costs less than stopping early
would save.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call

ODD_LEVELS = sum(
    1 << level for level in range(1, 62, 2)
)  # the numbers of leaves below an odd number of levels


@jit
def tree_key(tree, m, leaf):
    """The key of a leaf."""
    return tree[m + leaf]


@jit
def tree_first(tree, m):
    """The leaf with the smallest key."""
    key = tree[1]
    node = 1
    if m & ODD_LEVELS:
        node = 2 + int(tree[2] != key)
    while node < m:
        node *= 4
        a = tree[node] != key
        ab = a & (tree[node + 1] != key)
        abc = ab & (tree[node + 2] != key)
        node += (
            int(a) + int(ab) + int(abc)
        )  # sums: a choice would become a branch, and which key is smallest cannot be predicted
    return node - m


@jit
def tree_first_key(tree):
    """The smallest key."""
    return tree[1]


@jit
def tree_set(tree, m, leaf, key):
    """Give a leaf a new key and compute the nodes above it."""
    node = m + leaf
    tree[node] = key
    while node > 3:
        others = smaller(tree[node ^ 2], tree[node ^ 3])
        key = smaller(smaller(key, tree[node ^ 1]), others)  # never read again what has just been written
        node >>= 2
        tree[node] = key
    if node > 1:
        tree[1] = smaller(key, tree[node ^ 1])


@jit_call
def tree_next(tree, m, leaf, bound):
    """The first leaf from `leaf` on with a key below `bound`, or −1."""
    if leaf >= m:
        return -1
    node = m + leaf
    while tree[node] >= bound:
        while node & 3 == 3 or node == 1:  # the last of its four: go on behind their node
            if node <= 3:
                return -1
            node >>= 2
        node += 1
    while node < m:
        node *= 4
        while tree[node] >= bound:
            node += 1
    return node - m


@jit
def smaller(a, b):
    """The smaller of two keys."""
    return a if a < b else b


@jit_call
def tree_build(tree, m):
    """Compute every node; the keys are in place."""
    for node in range(m - 1, 0, -1):
        tree[node] = smaller(tree[2 * node], tree[2 * node + 1])
