"""The signals that autoscalers see, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.errors import InputError
from sim.model.autoscaler.hpa_rows import TARGET_CAP
from sim.model.tables.codes import MEAN, SRC_OUTSTANDING
from sim.model.tables.pool import Signal
from sim.units import PS_PER_S


class SignalRow(NamedTuple):
    """A signal in numbers: what of a pool is read, how often, and how its autoscaler sees it."""

    source: int = SRC_OUTSTANDING
    scrape_ps: int = 15 * PS_PER_S
    window_ps: int = 0
    lag_ps: int = 0
    aggregation: int = MEAN

    @property
    def n_sample(self) -> int:
        """Samples that its ring has room for: those of the window, and those that are too new to be seen."""
        return (self.window_ps + self.lag_ps) // self.scrape_ps + 2


def signal_table(pools: Sequence[Sequence[SignalRow]]) -> np.ndarray:
    """The signals of each pool, in words; their samples lie behind one another. InputError where a pool has too many."""
    for wrong in [len(mine) for mine in pools if not 1 <= len(mine) <= TARGET_CAP][:1]:
        raise InputError(f"pools: one has {wrong} signals; allowed: 1 to {TARGET_CAP}")
    signals = [(pool, signal) for pool, mine in enumerate(pools) for signal in mine]
    words = np.zeros(len(signals) * Signal.SIZE, dtype=np.int64)
    at = 0
    for i, (pool, signal) in enumerate(signals):
        row = Signal(words, i * Signal.SIZE)
        for name in signal._fields:
            setattr(row, name, getattr(signal, name))
        row.pool, row.first_sample, row.n_sample = pool, at, signal.n_sample
        at += signal.n_sample
    return words
