"""Counter-based randomness: a draw is a pure function of (seed, stream, entity, index).

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Nothing is stored, so the n-th
cold start of a pool takes the same time under every policy and on every engine: common random numbers for free.
"""

from __future__ import annotations

import numpy as np

from sim.compile.jit import jit

STREAM_STAGE = 1  # + 1 … 14: durations of a start's steps; entity = pool, index = n-th start
STREAM_ROUTE = 16  # router choices; entity = request, index = 2 · attempt from 0, and the next one
STREAM_PATIENCE = 17  # how patient a client is; entity = request
STREAM_RETRY = 18  # jitter of waits between attempts; entity = request, index = attempts so far
STREAM_GUARD = 19  # verdicts of guardrails; entity = request, index = attempt
STREAM_RING = 20  # virtual nodes of a ring; entity = place in the group, index = node
STREAM_KEY = 21  # keys on a ring; entity 0: index = session, entity 1: index = request
STREAM_TIE = 22  # which of equally good replicas; entity = request, index = attempt from 0
STREAM_ANSWER = 23  # whether an answer is bad; entity = request
STREAM_EVALUATION = (
    24  # what an evaluation of answers sees; entity = gate, index = sample, of all its measurements
)
STREAM_SPLIT = 25  # which version a request goes to; entity = request, index = deployment
STREAM_SHADOW = 26  # whether a request is copied to a new version; likewise
STREAM_NODE = (
    32  # whether the provider has a node, + 1 …: durations of its steps; entity = group, index = n-th request
)
STREAM_EXPANDER = 48  # which group gets nodes where the expander draws; index = placements so far
STREAM_GAP = 49  # time to a random fault; entity = fault, index = n-th strike
STREAM_OUTAGE = 50  # how long it lasts; likewise
STREAM_JOB = 52  # how long the work of a run takes; entity = job, index = n-th run
STREAM_VICTIM = 51  # which nodes it takes; entity = fault, index = 2¹⁶ · n-th strike + n-th node
STREAM_EPISODE = 52  # time to a fault that lasts for a while; entity = fault, index = n-th time
STREAM_LASTS = 53  # how long it lasts; likewise
STREAM_STRUCK = 54  # which nodes or replicas; entity = fault, index = 2¹⁶ · n-th time + n-th of them

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@jit
def draw(seed, stream, entity, index):
    """63 random bits (int64 ≥ 0) of one counter; all four arguments are non-negative integers."""
    key = np.uint64(np.int64(seed))
    k0 = key & _LOW
    k1 = key >> _32
    c0 = np.uint64(np.int64(index)) & _LOW
    c1 = np.uint64(np.int64(index)) >> _32
    c2 = np.uint64(np.int64(entity)) & _LOW
    c3 = np.uint64(np.int64(stream)) & _LOW
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return np.int64(((c0 << _32) | c1) >> np.uint64(1))


@jit
def draw_below(seed, stream, entity, index, n):
    """A whole number in [0, n), n < 2³¹: the top 31 bits of a draw, scaled (bias below n / 2³¹)."""
    return ((draw(seed, stream, entity, index) >> 32) * n) >> 31
