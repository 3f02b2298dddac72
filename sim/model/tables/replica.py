"""A replica: its engine, its totals, its prefix cache."""

from __future__ import annotations

from sim.schema import Field, Row, Wide


class Replica(Row):
    """A replica place of a pool, and the engine that runs there."""

    pool = Field("its pool")
    stage = Field("STAGE_…")
    started_ps = Field("when it was wanted")
    placed_ps = Field("when it got its slices: the first steps of its start begin")
    ready_ps = Field("since when it has been ready")
    start = Field("which start of its pool it is, −1 = ready from the beginning")
    jump_ps = Field("when the jump in progress began")
    jump_steps = Field("steps of the jump in progress, 0 = idle")
    jump_first_ps = Field("its first step", unit="ps")
    jump_growth_ps = Field("by how much each step is longer than the one before", unit="ps")
    jump_decode_ps = Field("the decode part of a step with prompt chunks")
    step = Field("steps so far")
    admit_step = Field(
        "a busy engine admits no waiting sequence before this step: see PoolParams.prefill_interval"
    )
    n_run = Field("sequences in the running batch")
    run_head = Field("first slot of the running batch, −1 = none", begin=-1)
    run_tail = Field("last slot of the running batch", begin=-1)
    n_wait = Field("sequences in the waiting queue")
    wait_head = Field("first slot of the waiting queue, −1 = none", begin=-1)
    wait_tail = Field("last slot of the waiting queue", begin=-1)
    free_blocks = Field("KV blocks that no sequence holds")
    n_decode = Field("sequences in the decode set, which is the size of the completion heap")
    kv = Field("Σ (computed + 1) over the decode set", unit="tokens")
    n_chunk = Field("sequences scheduled one by one in this step")
    batch_left = Field("static and dynamic batching: sequences that the open batch may still take")
    heap_at = Field("where its completion heap starts in State.m: finish step · 2²⁴ + slot")
    residue_at = Field("where its residue counts start: decode sequences by (computed − step) mod block_size")
    gaps_at = Field("where its stack of longest gaps starts: pairs of start step, longest gap since")
    n_gap = Field("entries of that stack")
    busy_ps = Field("time in steps")
    steps = Field("steps, over all its starts")
    prefill_tokens = Field("prompt tokens computed")
    prefill_squares = Field("Σ chunk · (2 · context + chunk) of the prompt chunks computed", unit="tokens²")
    decode_tokens = Field("tokens decoded")
    kv_read = Field("Σ KV tokens that decoding sequences attended", unit="tokens")
    prefill_ps = Field("time of steps that prompt chunks took")
    decode_ps = Field("time of steps that decoding took")
    slot_ps = Wide("Σ running sequences · time", unit="ps")
    drain_ps = Field("when it began to drain")
    abandoned = Field("1 + the first slot of the running attempts whose client has gone, 0 = none")
    slow_q20 = Field("what the time of its steps is multiplied by, 0 = they take as long as they should")
    is_hung = Field("1 = it stands still: no step ends or begins")
    n_crash = Field("how often it has crashed since it was last ready for long")
    is_in_place = Field("1 = it starts again where it was: what has come to its node is there")
    prefix_at = Field("where its prefix cache starts in State.m, 0 = it has none")
    shared_gpu = Field("1 + the GPU that it shares with others, 0 = none")
    step_kind = Field(
        "on a shared GPU: what the step in progress does, STEP_DECODES + STEP_PROMPTS, 0 = idle"
    )
    alone_first_ps = Field("on a shared GPU: the first step of the jump in progress, had it the GPU alone")
    alone_growth_ps = Field("and by how much each step would be longer than the one before", unit="ps")
    neighbour_ps = Field("time of steps that its neighbours on a shared GPU took from it")
    jump_lost_ps = Field("of this, in the jump that ended last")


class PrefixCache(Row, lines=1):
    """A replica's prefix cache: then come the buckets of a hash table (segment → its first range), then the ranges."""

    free = Field("first of the unused ranges, linked through next_range, 0 = none")
    n_free = Field("unused ranges")
    cached_blocks = Field("blocks that are cached and held by nobody")
    oldest = Field("of the ranges held by nobody, the first to be evicted, 0 = none")
    newest = Field("of these, the last to be evicted")
    leaver = Field(
        "1 + the first slot of the sequences that finished at this boundary, by request, linked through prev"
    )


class BlockRange(Row, lines=1):
    """Neighbouring cached blocks of a segment that the same sequences hold. Other ranges are named by where they are."""

    segment = Field("its segment, −1 = it is unused")
    first = Field("its first block, counted from the beginning of the prompt")
    last = Field("the block behind its last one")
    refs = Field("sequences that hold it")
    next_range = Field("the next range of its segment, towards the end, 0 = none")
    prev_range = Field(
        "the one before it; of a first range: minus the first range of the next segment in its bucket, or 0"
    )
    older = Field("the range that nobody holds and that is evicted before it, 0 = none")
    newer = Field("… and the one evicted after it")


PREFIX_CACHE_SIZE = PrefixCache.SIZE
BLOCK_RANGE_SIZE = BlockRange.SIZE
