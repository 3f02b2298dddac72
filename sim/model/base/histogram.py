"""What is measured: integer log-histograms, two-limb sums and the digest.

A histogram has 64 buckets per octave above 128 units of 2¹⁴ ps (16.4 ns), so that a bucket's midpoint is within
0.8 % of every value in it. Counts and sums are integers: the order in which they are added cannot matter.
"""

from __future__ import annotations

import numpy as np

from sim.compile.jit import bit_length, jit, plain
from sim.model.tables.codes import LIMB, LIMB_BITS, N_METRIC

UNIT_BITS = 14
SUB_BITS = 6
N_BUCKET = (42 << SUB_BITS) + (1 << SUB_BITS)  # values up to 2⁶² ps

_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xBF58476D1CE4E5B9)
_MIX_C = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


@jit
def bucket_of(value_ps):
    """The bucket of a non-negative duration."""
    u = value_ps >> UNIT_BITS
    e = bit_length(u >> (SUB_BITS + 1))
    return (e << SUB_BITS) + (u >> e)


@jit
def bucket_low_ps(bucket):
    """The smallest duration of a bucket."""
    e = (bucket >> SUB_BITS) - 1
    if e < 0:
        e = 0
    return (bucket - (e << SUB_BITS)) << (e + UNIT_BITS)


def bucket_edges_ps() -> np.ndarray:
    """Lower edges of all buckets and the upper edge of the last, (N_BUCKET + 1,) int64 ps."""
    low_ps = plain(bucket_low_ps)
    return np.array([low_ps(b) for b in range(N_BUCKET + 1)], dtype=np.int64)


@jit
def add_wide(wide, value):
    """Add 0 ≤ value < 2⁶² to a two-limb sum (low, high)."""
    low = wide[0] + value
    if low >= LIMB:
        low -= LIMB
        wide[1] += 1
    wide[0] = low


@jit
def take_wide(wide, value):
    """Take 0 ≤ value < 2⁶² from a two-limb sum (low, high)."""
    low = wide[0] - value
    if low < 0:
        low += LIMB
        wide[1] -= 1
    wide[0] = low


def wide(low: int, high: int) -> int:
    """A two-limb sum as one integer."""
    return (int(high) << LIMB_BITS) + int(low)


@jit
def observe(hist, k, metric, value_ps):
    """Count one value of a metric for class k in the histograms `hist`."""
    hist[(k * N_METRIC + metric) * N_BUCKET + bucket_of(value_ps)] += 1


@jit
def observe_series(hist, first_ps, growth_ps, n_steps, weight):
    """Count the gaps first, first + growth, … of n_steps steps, each `weight` times, bucket by bucket. The
    growth is above 0; `hist` is the histogram of the metric.
    """
    j = 0
    while j < n_steps:
        b = bucket_of(first_ps + growth_ps * j)
        # the first step whose gap lies past this bucket
        past = (bucket_low_ps(b + 1) - first_ps + growth_ps - 1) // growth_ps
        if past > n_steps:
            past = n_steps
        hist[b] += weight * (past - j)
        j = past


@jit
def meets_objectives(params, k, ttft_ps, gap_max_ps, tpot_ps, e2e_ps):
    """Whether a served request met every objective of its class."""
    klass = params.klass[k]
    return (
        ttft_ps <= klass.ttft_ps
        and gap_max_ps <= klass.itl_ps
        and tpot_ps <= klass.tpot_ps
        and e2e_ps <= klass.e2e_ps
    )


@jit
def mixed(h, value):
    """Fold one int64 into a running uint64 hash."""
    return (h ^ np.uint64(np.int64(value))) * _MIX_B + _MIX_A


@jit
def finished(h):
    """The final avalanche (splitmix64), as int64; row hashes are then summed mod 2⁶⁴, in any order."""
    h = (h ^ (h >> _30)) * _MIX_B
    h = (h ^ (h >> _27)) * _MIX_C
    return np.int64(h ^ (h >> _31))
