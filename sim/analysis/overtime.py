"""How a duration went over the run: percentiles of requests by when they arrived."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

N_BINS = 120
MIN_IN_BIN = 20  # below this a p99 is one request


class OverTime(NamedTuple):
    """One percentile per bin of arrival time; a bin without requests is left out."""

    time_s: np.ndarray  # (bin,) middle of the bin
    value: dict[str, np.ndarray]  # "p50", "p99" → (bin,) infinite where never served
    n: np.ndarray  # (bin,) requests


def percentiles_over_time(
    arrival_s: np.ndarray, values: np.ndarray, end_s: float, permilles: tuple[int, ...] = (500, 990)
) -> OverTime:
    """Nearest-rank percentiles in bins of arrival time over [0, end_s); NaN (never served) is infinite."""
    late = np.where(np.isnan(values), np.inf, values)
    bins = bin_of(arrival_s, end_s)
    if (bins[1:] < bins[:-1]).any():
        order = np.argsort(bins, kind="stable")
        bins, late = bins[order], late[order]
    starts = np.flatnonzero(np.concatenate([[len(bins) > 0], bins[1:] > bins[:-1]]))
    ends = np.append(starts[1:], len(bins))
    used, counts = bins[starts], ends - starts
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        late[start:end].sort()
    n_bins = bin_count(len(arrival_s))
    return OverTime(
        time_s=(used + 0.5) * end_s / n_bins,
        value={percent(p): late[starts + -(-p * counts // 1000) - 1] for p in permilles},
        n=counts,
    )


def bin_count(n_requests: int) -> int:
    """So many bins that an even spread puts enough requests in each, at most N_BINS."""
    return max(1, min(N_BINS, n_requests // MIN_IN_BIN))


def bin_of(arrival_s: np.ndarray, end_s: float) -> np.ndarray:
    """The bin of each arrival."""
    n_bins = bin_count(len(arrival_s))
    return np.clip((arrival_s * (n_bins / end_s)).astype(np.int64), 0, n_bins - 1)


def percent(permille: int) -> str:
    """500 → "p50", 999 → "p99_9"."""
    whole, rest = divmod(permille, 10)
    return f"p{whole}" if rest == 0 else f"p{whole}_{rest}"
