"""A slot: a request in flight, and the heap of timers."""

from __future__ import annotations

from sim.schema import Field, Row

# parts of a request's time that are kept, from Slot.cold_held_ps on
SPENT_COLD_HELD, SPENT_COLD_QUEUE, SPENT_PREFILL, SPENT_PREEMPTED_FIRST, SPENT_PREEMPTED, SPENT_INTERFERED = (
    range(6)
)
SPENT_CPU_BEFORE, SPENT_CPU_AFTER, SPENT_WITHHELD = range(6, 9)
SPENT_NEIGHBOUR_FIRST, SPENT_NEIGHBOUR = range(9, 11)
N_SPENT = 11


class Slot(Row):
    """A request in flight, in cache lines of eight int64s. Fields that are needed together stand together: by the time a
    slot is read again it has left the processor's nearest caches.
    """

    request = Field("number of the request")
    next = Field("the slot after it in its list, −1 = none; of a free slot: the next free one")
    prev = Field("the slot before it in its list, −1 = none")
    state = Field("SEQ_…")
    prompt = Field("prompt tokens", unit="tokens")
    output = Field("tokens of the answer", unit="tokens")
    computed = Field("computed tokens; in the decode set: computed − step", unit="tokens")
    generated = Field("tokens so far; in the decode set: so far when it joined", unit="tokens")
    #
    traffic_class = Field("its traffic class")
    arrival_ps = Field("when the request arrived")
    taken_ps = Field("when the gateway took this attempt")
    scheduled_ps = Field("when a step first computed some of it, −1 = not yet")
    first_ps = Field("when its first token came, −1 = not yet")
    joined_step = Field("the step at which it joined the decode set")
    gap_max = Field("its longest gap between tokens, −1 = none yet", unit="ps")
    fate = Field(
        "WANTED, ABANDONED or LOST_HEDGE; from here on there are fields that are kept only where attempts are"
    )
    #
    due_ps = Field("when its timer goes off, NEVER = it has none")
    due_key = Field("the order of its timer among those of one instant")
    give_up_ps = Field("when its client gives it up without a first token, NEVER = not at all")
    total_ps = Field("when its client gives it up whatever came")
    hedge_peer = Field("the slot of the other of two hedged attempts, or −1")
    is_counted = Field("1 = it counts against its limits' concurrency")
    from_cache = Field("1 = the response cache answers it")
    served_model = Field("the model that is asked: its class's, or the fallback")
    chunk = Field("tokens that the step in progress computes of it", unit="tokens")
    mark = Field("1 + the step in which it was scheduled by a walk over the batch")
    last_ps = Field("its last token, when that was not at the previous boundary")
    cached_tokens = Field("tokens found in the prefix cache when it was first scheduled")
    held_blocks = Field("leading blocks that it holds in the prefix cache")
    shared_blocks = Field(
        "blocks of its prompt that lie in segments, once a prefix cache was searched for them"
    )
    leaf = Field("the segment that its prompt ends in, likewise")
    range = Field(
        "waiting: the first range of the deepest segment found; in a batch: the range of what is its own, if any"
    )
    routed_ps = Field("when a replica got it, −1 = not yet")
    preemptions = Field("how often it was preempted")
    replica = Field("its replica, −1 = none")
    attempt = Field("number of this attempt, from 1")
    attempts = Field("attempts at the request so far")
    wasted_tokens = Field("tokens computed for earlier attempts")
    hedge_next = Field("1 + the slot after it in its hedge list, 0 = it is the last")
    hedge_prev = Field("1 + the slot before it, 0 = it is the first, −1 = it is in none")
    next_abandoned = Field(
        "1 + the slot of the next running attempt of its replica whose client has gone, 0 = none"
    )
    clock_ps = Field("the clock of its present part of life, read where that began")
    since_ps = Field("since when it has been preempted or passed over")
    lost_tokens = Field("computed tokens that preemption took and it has not got back, 0 = none")
    cold_held_ps = Field("held while no replica was ready: the first of N_SPENT parts of its time")
    cold_queue_ps = Field("queued while replicas of its pool were starting")
    prefill_ps = Field("its prompt's chunks, each alone in a step")
    preempted_first_ps = Field("preempted until caught up, before the first token")
    preempted_ps = Field("and after it")
    interfered_ps = Field("after the first token: others' chunks in its steps, and steps without it")
    cpu_before_ps = Field("at CPU stations before the GPU")
    cpu_after_ps = Field("and after it")
    withheld_ps = Field("the answer came and nothing of it was shown")
    visit = Field("which visit to a CPU station of its class it is at")
    visit_ps = Field("when that is done")
    seen = Field("tokens that had come by the start of the window, after its end those within it: see `see`")


class SlotNeighbour(Row):
    """What neighbours on a shared GPU took from the request of a slot, where GPUs are shared: beside the slots, whose lines
    are full.
    """

    first_ps = Field("before its first token")
    after_ps = Field("and after it; in the decode set: less the clock of its replica when it joined")


class Timer(Row):
    """Row j holds the j-th entry of the heap of timers, and where in the heap the entry of slot j is. Four entries are two
    cache lines.
    """

    time_ps = Field("when it goes off; NEVER behind the last entry", begin=2**63 - 1)
    key = Field("its order among those of one instant")
    slot = Field("whose timer it is")
    place = Field("1 + the place of the entry of slot j in the heap, 0 = that has none")


SLOT_SIZE = Slot.SIZE
SLOT_NEIGHBOUR_SIZE = SlotNeighbour.SIZE
TIMERS_TO_SPARE = 3  # rows behind the last, so that there are always four to choose from
