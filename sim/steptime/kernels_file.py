"""Reads a compact kernel table, conf/kernels/<name>.csv, as scripts/kernel_tables writes it.

Lines that begin with `# ` hold `key: value` about the measurement. A block begins with `= kind,variant,...`; its next
line names the row keys and then the points of the last axis; every further line is the keys of a row and the
microseconds at each of these points. A block holds every combination of its axes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

US = 1e-6


class Block(NamedTuple):
    """One table of a file."""

    axes: tuple[np.ndarray, ...]  # row keys first, the columns last; strictly increasing
    seconds: np.ndarray  # one axis for each of them


class KernelFile(NamedTuple):
    """A file's remarks and tables."""

    about: dict[str, str]
    blocks: dict[tuple[str, ...], Block]  # by kind and variant: ("matmul", "bf16")


def read_kernel_file(path: Path) -> KernelFile:
    """The file's tables; raises ValueError naming the file where it is not of this form."""
    about: dict[str, str] = {}
    blocks: dict[tuple[str, ...], Block] = {}
    head: tuple[str, ...] = ()
    body: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), "= "]:
        if line.startswith("# "):
            key, _, value = line[2:].partition(": ")
            about.setdefault(key, value)
        elif line.startswith("= "):
            if head:
                blocks[head] = _block(body, f"{path.name}: {','.join(head)}")
            head, body = tuple(line[2:].split(",")), []
        else:
            body.append(line)
    return KernelFile(about, blocks)


def _block(lines: list[str], where: str) -> Block:
    """A block's axes and times; raises ValueError where a combination is missing, out of order or not positive."""
    heads = lines[0].split(",") if lines else []
    n_keys = sum(not head.isdigit() for head in heads)
    columns = np.array(heads[n_keys:], dtype=float)
    if len(lines) < 2 or not len(columns) or np.any(np.diff(columns) <= 0):
        raise ValueError(f"{where}: no rows, or the points of the columns do not increase")
    rows = np.loadtxt(lines[1:], delimiter=",", ndmin=2)
    if rows.shape[1] != len(heads):
        raise ValueError(f"{where}: a row has {rows.shape[1]} values for {len(heads)} columns")
    if not np.all(np.isfinite(rows) & (rows > 0)):
        raise ValueError(f"{where}: every value must be above 0")
    keys = tuple(np.unique(rows[:, i]) for i in range(n_keys))
    expected = np.stack(np.meshgrid(*keys, indexing="ij"), axis=-1).reshape(-1, n_keys)
    if not np.array_equal(expected, rows[:, :n_keys]):
        raise ValueError(
            f"{where}: the rows are not every combination of {', '.join(heads[:n_keys])}, in order"
        )
    shape = (*(len(key) for key in keys), len(columns))
    return Block((*keys, columns), rows[:, n_keys:].reshape(shape) * US)
