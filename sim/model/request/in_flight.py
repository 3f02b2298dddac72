"""A request in flight: its slot, and what is recorded when it ends."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.batch_queues import gap_longest
from sim.model.base.histogram import add_wide, meets_objectives, observe
from sim.model.record.latency_attribution import clear_neighbour, clear_spent
from sim.model.record.request_record import note_cached, write_refused, write_request
from sim.model.record.versions import note_answer, note_failure
from sim.model.request.attempt import first_seen_ps, is_extra, take_over_waste
from sim.model.tables.codes import (
    COMPLETED,
    FAILED,
    INSIDE,
    M_E2E,
    M_ITL_MAX,
    M_QUEUE_WAIT,
    M_TPOT,
    M_TTFT,
    NO_REASON,
    SEQ_AFTER,
    SEQ_DECODE,
    SEQ_WAITING,
)
from sim.model.tables.traffic import CLASS_BITS, CLASSES_MAX, TOKEN_BITS, TOKENS_MAX


@jit
def prompt_of(params, i):
    """Prompt tokens of request i of the trace."""
    return params.trace[params.n_request + i] >> (TOKEN_BITS + CLASS_BITS)


@jit
def output_of(params, i):
    """Output tokens of request i."""
    return (params.trace[params.n_request + i] >> CLASS_BITS) & TOKENS_MAX


@jit
def class_of(params, i):
    """The class of request i."""
    return params.trace[params.n_request + i] & CLASSES_MAX


@jit
def session_of(params, i):
    """The session of request i, or −1."""
    return params.trace[2 * params.n_request + i] if params.n_session > 0 else -1


@jit
def is_measured(params, arrival_ps):
    """Whether a request that arrived then counts: after warm-up, before the end."""
    return params.warmup_ps <= arrival_ps < params.duration_ps


@jit
def take_slot(params, state, i, t):
    """Give request i a slot; the caller has made sure that one is free."""
    s = state.free_slot
    slot = state.slot[s]
    state.free_slot = slot.next
    state.in_flight += 1
    slot.request = i
    slot.state = SEQ_WAITING
    slot.prompt = prompt_of(params, i)
    slot.output = output_of(params, i)
    slot.traffic_class = class_of(params, i)
    slot.arrival_ps = t
    slot.taken_ps = t
    clear_attempt(params, state, s)
    return s


@jit
def clear_attempt(params, state, s):
    """Clear a slot for an attempt: nothing has happened to it yet."""
    slot = state.slot[s]
    slot.generated = 0
    slot.computed = 0
    slot.chunk = 0
    slot.preemptions = 0
    slot.mark = 0
    slot.held_blocks = 0
    slot.cached_tokens = 0
    slot.range = 0
    slot.seen = 0
    slot.last_ps = -1
    slot.routed_ps = -1
    slot.scheduled_ps = -1
    slot.first_ps = -1
    slot.gap_max = -1
    clear_spent(params, slot)
    if params.n_gpu_share > 0:
        clear_neighbour(state, s)


@jit
def free_slot(state, s):
    """Give a slot back."""
    state.slot[s].next = state.free_slot
    state.free_slot = s
    state.in_flight -= 1


@jit
def measure(state, k, metric, value_ps):
    """Count a duration in its class's histogram and sum."""
    observe(state.hist, k, metric, value_ps)
    add_wide(state.counts[k].sums[2 * metric :], value_ps)


@jit
def network_of(params, state, k, r):
    """Between the users of class k and replica r and back, the gateway included, ps."""
    network = params.klass[k].network_at
    return params.m[network + state.replica[r].pool] if network > 0 and r >= 0 else 0


@jit
def complete_request(params, state, s, r, last, t, tried):
    """A request is answered in full at t, its last token at `last`: measure it, record it, free its slot."""
    slot = state.slot[s]
    k = slot.traffic_class
    arrival = slot.arrival_ps
    scheduled = slot.scheduled_ps
    first = slot.first_ps
    gap_max = slot.gap_max
    output = slot.output
    counts = state.counts[k]
    counts.all_completed += 1
    asked = arrival - network_of(params, state, k, r)  # as its user sees it
    tpot = (last - first) // (output - 1) if output > 1 else 0
    met = 1 if meets_objectives(params, k, first - asked, gap_max, tpot, t - asked) else 0
    if is_measured(params, arrival):
        if output > 1:
            measure(state, k, M_TPOT, tpot)
            measure(state, k, M_ITL_MAX, gap_max)
        measure(state, k, M_TTFT, first - asked)
        measure(state, k, M_E2E, t - asked)
        measure(state, k, M_QUEUE_WAIT, scheduled - slot.taken_ps)
        counts.completed += 1
        counts.met += met
    if state.n_mark == 1:
        counts.done += 1
        counts.done_met += met
    if params.n_version > 0:
        note_answer(params, state, slot, r, first - asked, tpot, t - asked)
    count_tokens(state, s, output)
    slot.last_ps = t
    slot.replica = r
    write_request(params, state, s, COMPLETED, NO_REASON, tried)
    if slot.cached_tokens > 0:
        note_cached(params, state, slot)
    free_slot(state, s)


@jit
def count_tokens(state, s, n):
    """Count the tokens of an answer of n that came within the measured window, when the answer or the run ends."""
    slot = state.slot[s]
    marks = state.n_mark
    if marks > 0 and slot.from_cache == 0:
        counts = state.counts[slot.traffic_class]
        seen = slot.seen
        if marks == 1:
            counts.tokens_out += n - min(n, seen >> 1)
            counts.tokens_in += slot.prompt * (1 - (seen & 1))
        else:
            counts.tokens_out += min(n, seen >> 1)
            counts.tokens_in += slot.prompt * (seen & 1)


@jit
def reject_on_arrival(params, state, i, t, reason):
    """A request is rejected on arrival."""
    counts = state.counts[class_of(params, i)]
    counts.all_rejected += 1
    if is_measured(params, t):
        counts.rejected += 1
        counts.by_reason[reason] += 1
    write_refused(params, state, i, reason)


@jit
def count_arrival(params, state, i, t):
    """A request arrived: count it."""
    counts = state.counts[class_of(params, i)]
    counts.all_offered += 1
    if is_measured(params, t):
        counts.offered += 1


@jit_call
def fail_request(params, state, s, r, reason):
    """A request is lost with whatever it had received; its user sees an error."""
    slot = state.slot[s]
    counts = state.counts[slot.traffic_class]
    counts.all_failed += 1
    if is_measured(params, slot.arrival_ps):
        counts.failed += 1
        counts.by_reason[reason] += 1
    if params.n_version > 0:
        note_failure(params, state, r)
    write_unserved(params, state, s, r, FAILED, reason)


@jit_call
def write_unserved(params, state, s, r, outcome, reason):
    """Record a request that was not served in full, as far as it came, and free its slot."""
    slot = state.slot[s]
    longest = slot.gap_max
    if slot.state == SEQ_DECODE:
        longest = max(longest, gap_longest(state, state.replica[r], slot.joined_step))
    if longest == 0:
        longest = -1
    if slot.cached_tokens > 0:
        note_cached(params, state, slot)
    slot.first_ps = first_seen_ps(params, state, s)
    slot.last_ps = -1
    slot.replica = r
    slot.gap_max = longest
    write_request(params, state, s, outcome, reason, params.has_attempts == 1)
    free_slot(state, s)


@jit_call
def is_missed(params, state, s, r):
    """Whether a request that is still inside, at replica r or nowhere, can no longer meet an objective of its class."""
    slot = state.slot[s]
    klass = params.klass[slot.traffic_class]
    asked = slot.arrival_ps - network_of(params, state, slot.traffic_class, r)
    age = state.now_ps - asked
    first = first_seen_ps(params, state, s)
    ttft = first - asked if first >= 0 else age
    return ttft > klass.ttft_ps or slot.gap_max > klass.itl_ps or age > klass.e2e_ps


@jit_call
def leave_inside(params, state, s, r, reason):
    """The run is over and a request is still inside: record how far it came, and whether it is a miss already."""
    slot = state.slot[s]
    if params.has_attempts == 1:
        if is_extra(state, s):
            free_slot(state, s)
            return
        take_over_waste(state, s)
    if is_measured(params, slot.arrival_ps) and is_missed(params, state, s, r):
        state.counts[slot.traffic_class].inside_missed += 1
    if slot.state <= SEQ_DECODE or slot.state == SEQ_AFTER:
        count_tokens(state, s, slot.output)
    write_unserved(params, state, s, r, INSIDE, reason)
