"""Recorded block hashes folded into a tree of segments: what prompts begin with, in a few words each.

A hash names a block of `block_tokens` tokens (the last one of a prompt may be shorter). Prompts that begin with the
same hashes go the same way through the tree; where they part, a segment ends.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim.fill.trace import Chains
from sim.workload.formats import TraceRows

Ints = NDArray[np.int64]
PIECE_BITS = 20  # of the tokens of a piece
Runs = list[tuple[int, int]]  # (first hash, how many that follow one another)


class Tree:
    """Lists of hashes, put in one after the other; what they have in common is kept once."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.start: list[int] = []  # in blocks
        self._runs: list[Runs] = []
        self._child: dict[tuple[int, int], int] = {}  # (segment, first hash behind it) → segment

    def add(self, runs: Runs) -> int:
        """Put a list of hashes in; returns the segment that it ends in (or begins to end in, should that be cut)."""
        at, depth = -1, 0
        while runs:
            child = self._child.get((at, runs[0][0]))
            if child is None:
                return self._append(at, depth, runs)
            n, left, mine = common(self._runs[child], runs)
            if left and mine:
                child = self._cut(child, n, left)
            if not mine:
                return child
            at, depth, runs = child, depth + n, mine
        return at

    def _append(self, parent: int, start: int, runs: Runs) -> int:
        self.parent.append(parent)
        self.start.append(start)
        self._runs.append(runs)
        self._child[parent, runs[0][0]] = len(self.parent) - 1
        return len(self.parent) - 1

    def _cut(self, segment: int, n: int, left: Runs) -> int:
        """Cut a segment after n blocks: its head becomes a new one, the rest keeps its number and all who end in it."""
        parent, runs = self.parent[segment], self._runs[segment]
        head = self._append(parent, self.start[segment], first_of(runs, n))
        self.parent[segment], self.start[segment], self._runs[segment] = head, self.start[segment] + n, left
        self._child[head, left[0][0]] = segment
        return head


def common(a: Runs, b: Runs) -> tuple[int, Runs, Runs]:
    """(how many hashes two lists begin alike with, what is left of the first, of the second)."""
    n = i = 0
    while i < min(len(a), len(b)) and a[i][0] == b[i][0]:
        same = min(a[i][1], b[i][1])
        n += same
        if a[i][1] != b[i][1]:
            return n, behind(a[i], same) + a[i + 1 :], behind(b[i], same) + b[i + 1 :]
        i += 1
    return n, a[i:], b[i:]


def behind(run: tuple[int, int], n: int) -> Runs:
    """A run without its first n hashes."""
    return [(run[0] + n, run[1] - n)] if run[1] > n else []


def first_of(runs: Runs, n: int) -> Runs:
    """The first n hashes."""
    kept: Runs = []
    for first, length in runs:
        if n > 0:
            kept.append((first, min(length, n)))
        n -= length
    return kept


def runs_of(hash_ids: Ints, hash_start: Ints) -> list[Runs]:
    """Lists of hashes, row after row, as runs of hashes that follow one another."""
    n = len(hash_ids)
    is_first = np.ones(n, dtype=bool)
    is_first[1:] = np.diff(hash_ids) != 1
    is_first[hash_start[:-1][hash_start[:-1] < n]] = True
    at = np.flatnonzero(is_first)
    length = np.diff(np.append(at, n))
    pairs = list(zip(hash_ids[at].tolist(), length.tolist(), strict=True))
    row = np.searchsorted(at, hash_start)
    return [pairs[row[i] : row[i + 1]] for i in range(len(hash_start) - 1)]


def recorded_chains(rows: TraceRows) -> Chains | None:
    """What a trace's prompts begin with, by their hashes; None where it has none.

    Where hashes name blocks of one size they are folded block by block; where they name pieces of any length, token
    by token.
    """
    if rows.hash_ids is None or rows.hash_start is None or rows.hash_tokens is None or not len(rows.hash_ids):
        return None
    tokens = int(rows.hash_tokens[0])
    if (rows.hash_tokens == tokens).all():
        return fold(runs_of(rows.hash_ids, rows.hash_start), rows.prompt_tokens, tokens)
    pairs = list(zip((rows.hash_ids << PIECE_BITS).tolist(), rows.hash_tokens.tolist(), strict=True))
    start = rows.hash_start.tolist()
    lists = [pairs[first:end] for first, end in pairwise(start)]
    return fold(lists, rows.prompt_tokens, 1)


def fold(rows: list[Runs], prompt_tokens: NDArray[np.int32], block_tokens: int) -> Chains:
    """The rows' hashes as a tree of segments. What a prompt has beyond its hashes is its own."""
    tree = Tree()
    leaf = np.array([tree.add(runs) for runs in rows], dtype=np.int64)
    hashed = np.array([sum(n for _, n in runs) for runs in rows], dtype=np.int64) * block_tokens
    shared = np.minimum(hashed, np.asarray(prompt_tokens, dtype=np.int64))
    start = np.array(tree.start, dtype=np.int64) * block_tokens
    return Chains(leaf, shared, np.array(tree.parent, dtype=np.int64), start)


def same_beginning(n: int, tokens: int) -> Chains:
    """`n` prompts that begin with the same tokens and have nothing else in common."""
    return Chains(np.zeros(n, dtype=np.int64), np.full(n, tokens), np.array([-1]), np.array([0]))


def picked(chains: Chains, index: Ints, copy: Ints | None = None) -> Chains:
    """The rows at `index`. Rows of another copy have nothing in common with the first one's: they are other people's."""
    n = len(chains.parent)
    leaf, shared = chains.leaf[index], chains.shared_tokens[index]
    if copy is None or not copy.any():
        return Chains(leaf, shared, chains.parent, chains.start)
    times = int(copy.max()) + 1
    offset = np.repeat(np.arange(times) * n, n)
    parent = np.tile(chains.parent, times)
    return Chains(
        np.where(leaf >= 0, leaf + copy * n, -1),
        shared,
        np.where(parent >= 0, parent + offset, -1),
        np.tile(chains.start, times),
    )


def cut(chains: Chains, prompt: NDArray[np.int32], output: NDArray[np.int32]) -> Chains:
    """The same where prompts and answers have been cut to these lengths."""
    return chains._replace(shared_tokens=np.minimum(chains.shared_tokens, prompt.astype(np.int64) + output))


def joined(parts: list[Chains | None], sizes: list[int]) -> Chains | None:
    """Several classes' chains, one after the other; None where none has any."""
    if all(part is None for part in parts):
        return None
    nothing = np.zeros(0, dtype=np.int64)
    whole = [
        part or Chains(np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64), nothing, nothing)
        for part, n in zip(parts, sizes, strict=True)
    ]
    offset = np.cumsum([0] + [len(part.parent) for part in whole])
    return Chains(
        np.concatenate(
            [np.where(c.leaf >= 0, c.leaf + at, -1) for c, at in zip(whole, offset, strict=False)]
        ),
        np.concatenate([c.shared_tokens for c in whole]),
        np.concatenate(
            [np.where(c.parent >= 0, c.parent + at, -1) for c, at in zip(whole, offset, strict=False)]
        ),
        np.concatenate([c.start for c in whole]),
    )
