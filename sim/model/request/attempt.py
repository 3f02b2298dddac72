"""Where a request may take several attempts: their ends, their hedge peers, what is counted of them.

An attempt is one try at a request, numbered from 1. Two attempts of one request can live at once (a hedge); each has
a slot and knows the other's.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.admission.cpu_stations import n_after
from sim.model.admission.rate_limits import end_concurrency, note_completion
from sim.model.admission.response_cache import content_of, keep_answer
from sim.model.admission.tenant_shares import OUTPUT_WEIGHT, charge_tenant
from sim.model.base.histogram import N_BUCKET, add_wide, bucket_of
from sim.model.record.request_record import write_wasted_tokens
from sim.model.record.versions import note_failure
from sim.model.tables.codes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    LOST_HEDGE,
    MORE_ATTEMPT_TTFT,
    N_MORE,
    TIMED_OUT,
    WANTED,
)
from sim.model.timers.hedge_lists import NOT_LISTED, is_listed, unlist_hedge
from sim.model.timers.kinds import TIMER_CANCEL
from sim.model.timers.timer_heap import arm, disarm
from sim.units import NEVER


@jit
def is_counted(params, state, s):
    """Whether the request in slot s is measured: it arrived after warm-up and before the end."""
    return params.warmup_ps <= state.slot[s].arrival_ps < params.duration_ps


@jit
def begin_first_attempt(params, state, s):
    """Slot s holds a request that has not been tried yet."""
    slot = state.slot[s]
    slot.attempt = 1
    slot.attempts = 1
    slot.replica = -1
    slot.fate = WANTED
    slot.hedge_peer = -1
    slot.wasted_tokens = 0
    slot.is_counted = 0
    slot.from_cache = 0
    slot.served_model = params.klass[slot.traffic_class].served_model
    slot.due_ps = NEVER
    slot.hedge_prev = NOT_LISTED


@jit
def take_free(state):
    """A free slot; the caller has made sure that there is one."""
    s = state.free_slot
    state.free_slot = state.slot[s].next
    state.in_flight += 1
    return s


@jit
def drop_slot(state, s):
    """Give a slot back and record nothing of its request."""
    state.slot[s].next = state.free_slot
    state.free_slot = s
    state.in_flight -= 1


@jit
def measure_more(state, k, metric, value_ps):
    """Count a duration in one of the histograms that are kept where attempts are."""
    state.more[(k * N_MORE + metric) * N_BUCKET + bucket_of(value_ps)] += 1
    add_wide(state.counts[k].more_sums[2 * metric :], value_ps)


@jit
def disarm_all(params, state, s):
    """Disarm the timer and the hedge of the attempt in slot s."""
    disarm(state, s)
    if is_listed(state, s):
        unlist_hedge(params, state, s)


@jit
def overhead_of(params, state, r):
    """What a request waits at the servers of replica r beside its steps; nothing where no replica answered."""
    return params.pool[state.replica[r].pool].request_overhead_ps if r >= 0 else 0


@jit_call
def end_of_attempt(params, state, s, outcome):
    """End the attempt in slot s: its timer, its place in its limits, its link to a hedge peer. Returns the slot of that
    peer, or −1.
    """
    slot = state.slot[s]
    disarm_all(params, state, s)
    end_concurrency(params, state, s)
    if params.n_version > 0 and (outcome == FAILED or outcome == TIMED_OUT):
        note_failure(params, state, slot.replica)
    if is_counted(params, state, s):
        k = slot.traffic_class
        state.counts[k].ended[outcome - 1] += 1
        if slot.first_ps >= 0:
            waited = slot.first_ps - slot.taken_ps
            measure_more(state, k, MORE_ATTEMPT_TTFT, waited + overhead_of(params, state, slot.replica))
    peer_slot = slot.hedge_peer
    if peer_slot >= 0:
        state.slot[peer_slot].hedge_peer = -1
        slot.hedge_peer = -1
    return peer_slot


@jit_call
def count_waste(params, state, s, tokens):
    """Count computed tokens of an attempt as wasted. One that lost to its hedge peer has no record of its own."""
    slot = state.slot[s]
    if slot.fate == LOST_HEDGE:
        write_wasted_tokens(params, state, slot.request, tokens)
    else:
        slot.wasted_tokens += tokens
    if is_counted(params, state, s):
        state.counts[slot.traffic_class].wasted_tokens += tokens


@jit
def end_if_lost_hedge(params, state, s):
    """Whether an attempt that has emitted its last token had lost to its hedge peer: then it ends here, cancelled."""
    slot = state.slot[s]
    if slot.fate == LOST_HEDGE:
        end_of_attempt(params, state, s, CANCELLED)
        count_waste(params, state, s, slot.computed)
        drop_slot(state, s)
        return True
    return False


@jit
def has_more_to_do(params, state, s):
    """Whether more follows the last token: stations after the GPU, the verdict of a guardrail, a place in the cache.

    Answers of one boundary come to the cache in the order of their requests, not in that of a replica's slots.
    """
    k = state.slot[s].traffic_class
    is_kept = params.cache_entries > 0 and content_of(params, state, s) >= 0
    return is_kept or n_after(params, k) > 0 or params.klass[k].blocked_q20 > 0


@jit_call
def is_withheld(params, state, s):
    """Whether the client of slot s sees nothing before its answer is complete."""
    return params.klass[state.slot[s].traffic_class].is_withheld == 1


@jit_call
def gives_up_at(params, state, s, t):
    """Whether the client of slot s, whose last token is computed but whose answer is not out, gives up at t."""
    slot = state.slot[s]
    return slot.total_ps == t or (is_withheld(params, state, s) and slot.give_up_ps == t)


@jit_call
def first_seen_ps(params, state, s):
    """When the client of slot s, whose answer is not complete, saw its first token; −1 = not yet."""
    return -1 if is_withheld(params, state, s) else state.slot[s].first_ps


@jit
def end_answered_attempt(params, state, s, t):
    """An attempt has answered its request at t: end it, charge its tenant, keep its answer in the cache."""
    slot = state.slot[s]
    end_of_attempt(params, state, s, COMPLETED)
    if slot.from_cache == 1:
        if is_counted(params, state, s):
            state.counts[slot.traffic_class].from_cache += 1
        return
    g = slot.served_model
    note_completion(state, g, t)
    charge_tenant(params, state, g, s, OUTPUT_WEIGHT * slot.output)
    keep_answer(params, state, content_of(params, state, s), t)


@jit_call
def cancel_hedge_peer(params, state, s, t):
    """An attempt has emitted its first token at t: its hedge peer, if it has one, is cancelled one picosecond later."""
    slot = state.slot[s]
    peer_slot = slot.hedge_peer
    if peer_slot >= 0:
        peer = state.slot[peer_slot]
        slot.hedge_peer = -1
        peer.hedge_peer = -1
        peer.fate = LOST_HEDGE
        slot.wasted_tokens += peer.wasted_tokens
        peer.wasted_tokens = 0
        disarm_all(params, state, peer_slot)
        arm(state, peer_slot, TIMER_CANCEL, t + 1)


@jit_call
def is_extra(state, s):
    """Whether slot s, in flight at the end of the run, is not the one that its record is about: it is abandoned, or the
    earlier of two hedged attempts.
    """
    slot = state.slot[s]
    if slot.hedge_peer < 0:
        return slot.fate != WANTED
    return slot.attempt < state.slot[slot.hedge_peer].attempt


@jit_call
def take_over_waste(state, s):
    """The later of two hedged attempts takes over what the earlier wasted: its record is about both."""
    slot = state.slot[s]
    if slot.hedge_peer >= 0:
        slot.wasted_tokens += state.slot[slot.hedge_peer].wasted_tokens
