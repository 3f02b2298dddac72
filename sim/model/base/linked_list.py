"""Doubly linked lists of rows that have `prev` and `next`: −1 = none. The owner of a list keeps its head and its tail."""

from __future__ import annotations

from sim.compile.jit import jit


@jit
def link(rows, before, i, after):
    """Put row i between two neighbours."""
    rows[i].prev = before
    rows[i].next = after
    if before >= 0:
        rows[before].next = i
    if after >= 0:
        rows[after].prev = i


@jit
def unlink(rows, i):
    """Join the neighbours of row i."""
    before = rows[i].prev
    after = rows[i].next
    if before >= 0:
        rows[before].next = after
    if after >= 0:
        rows[after].prev = before
