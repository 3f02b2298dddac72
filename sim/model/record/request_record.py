"""The row that a request leaves: folded into the digest, kept where records are on."""

from __future__ import annotations

import numpy as np

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import finished, mixed
from sim.model.record.latency_attribution import write_spent
from sim.model.tables.codes import REJECTED

SEED = np.uint64(0x5851F42D4C957F2D)


@jit
def hash_of(words, n):
    """The running hash of a row of n int64s."""
    h = SEED
    for j in range(n):
        h = mixed(h, words[j])
    return h


@jit
def hash_of_request(i, routed, scheduled, first, last, replica, preemptions, gap_max, end):
    """The running hash of what the digest covers of a request; `end` is its outcome · 256 + its reason."""
    h = mixed(mixed(mixed(mixed(SEED, i), routed), scheduled), first)
    h = mixed(mixed(mixed(mixed(h, last), replica), preemptions), gap_max)
    return mixed(h, end)


@jit
def write_request(params, state, s, outcome, reason, tried):
    """Fold the request in a slot into the digest and keep its row where records are on.

    The slot holds all of it: when its first and last token came, its longest gap, its replica. `tried` is whether
    attempts are kept apart (Params.has_attempts). A caller that knows passes True or False: the compiler then leaves
    the rest out of that copy of the rule.
    """
    slot = state.slot[s]
    i = slot.request
    first, last, replica, gap_max = slot.first_ps, slot.last_ps, slot.replica, slot.gap_max
    routed, scheduled, preemptions = slot.routed_ps, slot.scheduled_ps, slot.preemptions
    h = hash_of_request(
        i, routed, scheduled, first, last, replica, preemptions, gap_max, outcome * 256 + reason
    )
    if tried:
        h = write_attempts(params, state, i, s, h)
    state.digest += finished(h)
    if params.keeps_records == 1:
        record = state.record[i]
        record.routed_ps = routed
        record.scheduled_ps = scheduled
        record.first_ps = first
        record.last_ps = last
        record.replica = replica
        record.preemptions = preemptions
        record.gap_max_ps = gap_max
        record.outcome = outcome
        record.reason = reason
        write_spent(params, state, i, s)


@jit
def write_refused(params, state, i, reason):
    """`write_request` for a request that was refused on arrival and never had a slot: its record gets its reason alone."""
    h = hash_of_request(i, -1, -1, -1, -1, -1, 0, -1, REJECTED * 256 + reason)
    state.digest += finished(h)
    if params.keeps_records == 1:
        state.record[i].outcome = REJECTED
        state.record[i].reason = reason


@jit_call
def write_wasted_tokens(params, state, i, tokens):
    """Add what was computed for an attempt whose hedge peer answered first to the row of its request, which may be
    written already.
    """
    state.digest += finished(mixed(mixed(SEED, i), tokens))
    if params.keeps_records == 1:
        state.attempt[i].wasted_tokens += tokens


@jit_call
def write_attempts(params, state, i, s, h):
    """What a request's row says of its attempts; returns the row's hash with it."""
    slot = state.slot[s]
    if params.keeps_records == 1:
        record = state.attempt[i]
        record.attempts = slot.attempts
        record.taken_ps = slot.taken_ps
        record.wasted_tokens += slot.wasted_tokens
    return mixed(mixed(mixed(h, slot.attempts), slot.taken_ps), slot.wasted_tokens)


@jit_call
def note_arrival(params, state, i, t):
    """Record that a request without an arrival time of its own arrives at t."""
    state.digest += finished(mixed(mixed(SEED, i), t))
    if params.keeps_records == 1:
        state.arrived[i] = t


@jit_call
def note_cached(params, state, slot):
    """Record how much of its prompt a request, which is about to be written, found in a prefix cache."""
    i = slot.request
    state.digest += finished(mixed(mixed(SEED, -1 - i), slot.cached_tokens))
    if params.keeps_records == 1:
        state.attempt[i].cached_tokens = slot.cached_tokens
