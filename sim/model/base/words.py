"""Rows as plain int64s: cleared, copied."""

from __future__ import annotations

from sim.compile.jit import jit


@jit
def clear_row(words, n):
    """Set n int64s to 0."""
    for j in range(n):
        words[j] = 0


@jit
def copy_row(source, target, n):
    """Copy n int64s."""
    for j in range(n):
        target[j] = source[j]
