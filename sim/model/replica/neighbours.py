"""Replicas that share a GPU: how much longer a step takes beside the steps of its neighbours.

By time-slicing replicas take turns: beside n − 1 others with a step in progress a step takes n times as long, and what
the switching costs. By MPS they run at once: the part of a step in which sequences decode shares the bandwidth with the
neighbours whose steps decode, the part that computes prompts shares the multiprocessors with those whose steps compute
prompts, in parts of their thread_percent; beside a neighbour's step of the other kind it takes a given part longer.

What a step takes is settled when it starts, by the steps that are in progress then: one that is in progress is never timed
anew. A jump of many steps ends at the first boundary after what decides that has changed, so that jumps equal stepping.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.min_tree import tree_set
from sim.model.base.step_time import slowed, span_ps
from sim.model.replica.jump import cut_jump
from sim.model.replica.schedule import missing_of
from sim.model.tables.codes import SEQ_SINGLE, STEP_DECODES, STEP_PROMPTS
from sim.model.tables.node import TENANTS_MAX, TIME_SLICING

WHOLE_Q10 = 1024
WHOLE_PERCENT = 100


# ---- who has which place ----------------------------------------------------------------------
@jit_call
def take_share(params, state, r, member):
    """The one member of replica r has been given a place of a GPU that is shared."""
    node = state.node[member.node]
    for i in range(params.node_group[node.group].gpus):
        if (member.gpus >> i) & 1 == 1:
            gpu = state.gpu_share[node.first_gpu + i]
            gpu.group = node.group
            gpu.tenant[(member.starts >> (3 * i)) & 7] = r + 1
            state.replica[r].shared_gpu = node.first_gpu + i + 1


@jit_call
def break_off_step(params, state, r, t):
    """The step that a replica on a shared GPU may have in progress is over for its neighbours at t."""
    replica = state.replica[r]
    if replica.shared_gpu == 0 or replica.step_kind == 0:
        return
    count_step(params, state, r, 0)
    gpu = state.gpu_share[replica.shared_gpu - 1]
    for place in range(TENANTS_MAX):
        if gpu.tenant[place] > 0 and gpu.tenant[place] != r + 1:
            cut_jump(params, state, gpu.tenant[place] - 1, t)


@jit_call
def leave_share(params, state, member, t):
    """A replica gives its place back at t: the step that it may have had in progress is over for its neighbours."""
    r = member.replica
    replica = state.replica[r]
    gpu = state.gpu_share[replica.shared_gpu - 1]
    break_off_step(params, state, r, t)
    for place in range(TENANTS_MAX):
        if gpu.tenant[place] == r + 1:
            gpu.tenant[place] = 0
    replica.shared_gpu = 0
    replica.alone_first_ps = 0
    replica.alone_growth_ps = 0
    replica.jump_lost_ps = 0


# ---- steps ----------------------------------------------------------------------
@jit_call
def share_gpu(params, state, r, t):
    """Replica r has come to a boundary at t: if its next step has begun it takes as long as its neighbours let it, and
    their jumps end at their next boundary if what they feel of it has changed.

    Boundaries of one instant come in the order of the replicas: those before r have had theirs.
    """
    replica = state.replica[r]
    was = replica.step_kind
    now = kind_of_step(replica)
    count_step(params, state, r, now)
    if now != 0:
        stretch(params, state, r, t)
    gpu = state.gpu_share[replica.shared_gpu - 1]
    if params.node_group[gpu.group].sharing == TIME_SLICING:
        was = min(was, 1)
        now = min(now, 1)
    if was != now:
        for place in range(TENANTS_MAX):
            other = gpu.tenant[place] - 1
            if other > r:
                cut_jump(params, state, other, t)
            elif 0 <= other < r:
                cut_jump(params, state, other, t + 1)


@jit_call
def kind_of_step(replica):
    """What the step in progress does: STEP_DECODES, STEP_PROMPTS, or both; 0 where there is none."""
    if replica.jump_steps == 0:
        return 0
    if replica.n_chunk == 0:
        return STEP_DECODES
    kind = STEP_DECODES if replica.jump_decode_ps > 0 else 0
    if replica.jump_first_ps > replica.jump_decode_ps:
        kind |= STEP_PROMPTS
    return kind


@jit_call
def count_step(params, state, r, kind):
    """From now on replica r has a step of a kind in progress, or none (0)."""
    replica = state.replica[r]
    gpu = state.gpu_share[replica.shared_gpu - 1]
    was = replica.step_kind
    percent = params.pool_place[replica.pool].thread_percent
    gpu.n_busy += (kind != 0) * 1 - (was != 0) * 1
    gpu.n_decoding += (kind & STEP_DECODES) - (was & STEP_DECODES)
    gpu.prompt_percent += ((kind & STEP_PROMPTS) - (was & STEP_PROMPTS)) // STEP_PROMPTS * percent
    replica.step_kind = kind


@jit
def times_q10(value, factor_q10):
    """A time, times so many 1024ths, rounded up; what it is made of stays within an int64."""
    return (value >> 10) * factor_q10 + (((value & 1023) * factor_q10 + 1023) >> 10)


@jit_call
def decode_factor_q10(params, state, r):
    """How much longer the decoding part of a step of replica r takes beside neighbours' steps than alone, in 1024ths."""
    gpu = state.gpu_share[state.replica[r].shared_gpu - 1]
    group = params.node_group[gpu.group]
    if gpu.n_busy == 1:
        return WHOLE_Q10
    if group.sharing == TIME_SLICING:
        return gpu.n_busy * (WHOLE_Q10 + group.beside_q10)
    own = own_percent(params, state.replica[r])
    if gpu.prompt_percent > own:
        return gpu.n_decoding * (WHOLE_Q10 + group.beside_q10)
    return gpu.n_decoding * WHOLE_Q10


@jit_call
def prompt_factor_q10(params, state, r):
    """The same of the part that computes prompts."""
    replica = state.replica[r]
    gpu = state.gpu_share[replica.shared_gpu - 1]
    group = params.node_group[gpu.group]
    if gpu.n_busy == 1:
        return WHOLE_Q10
    if group.sharing == TIME_SLICING:
        return gpu.n_busy * (WHOLE_Q10 + group.beside_q10)
    factor = WHOLE_Q10
    if gpu.prompt_percent > WHOLE_PERCENT:
        factor = (WHOLE_Q10 * gpu.prompt_percent + WHOLE_PERCENT - 1) // WHOLE_PERCENT
    if gpu.n_decoding > (replica.step_kind & STEP_DECODES):
        factor = times_q10(factor, WHOLE_Q10 + group.beside_q10)
    return factor


@jit
def own_percent(params, replica):
    """What the step in progress of a replica adds to prompt_percent of its GPU."""
    if replica.step_kind & STEP_PROMPTS == 0:
        return 0
    return params.pool_place[replica.pool].thread_percent


@jit_call
def stretch(params, state, r, t):
    """Replica r has begun a jump or a step at t, timed as if it had the GPU alone: it takes as long as neighbours let it.

    Base and slope of decoding are each made longer, so that a jump's steps grow by a fixed amount as before. Of a step that
    computes prompts, all but these alone counts as time of decoding: `book_lost` takes what neighbours took.
    """
    replica = state.replica[r]
    first = replica.jump_first_ps
    replica.alone_first_ps = first
    replica.alone_growth_ps = replica.jump_growth_ps
    decode_q10 = decode_factor_q10(params, state, r)
    prompt_q10 = prompt_factor_q10(params, state, r)
    if decode_q10 == WHOLE_Q10 and prompt_q10 == WHOLE_Q10:
        return
    prompt_ps = first - replica.jump_decode_ps if replica.n_chunk > 0 else 0
    first = times_q10(prompt_ps, prompt_q10)
    if replica.step_kind & STEP_DECODES > 0:
        n = replica.n_decode + caught_up(state, replica, False)
        at = params.pool[replica.pool].table_at + n
        slope = times_q10(own_pace(replica, params.slope[at]), decode_q10)
        first += times_q10(own_pace(replica, params.base[at]), decode_q10)
        first += slope * (replica.kv + caught_up(state, replica, True))
        if replica.n_chunk == 0:
            replica.jump_growth_ps = slope * n
    if replica.n_chunk > 0:
        replica.jump_decode_ps = first - prompt_ps
    replica.jump_first_ps = first
    tree_set(
        state.boundary_tree, params.leaves, r, t + span_ps(replica.jump_steps, first, replica.jump_growth_ps)
    )


@jit
def own_pace(replica, value):
    """A time as the replica takes alone: more than it should where a fault slows it."""
    return slowed(value, replica.slow_q20) if replica.slow_q20 > 0 else value


@jit_call
def caught_up(state, replica, is_kv):
    """Sequences outside the decode set that decode in the step in progress, or the KV tokens that they attend."""
    total = 0
    left = replica.n_chunk
    s = replica.run_tail
    while left > 0:
        slot = state.slot[s]
        if slot.state == SEQ_SINGLE and slot.chunk > 0:
            left -= 1
            if slot.generated > 0 and missing_of(slot) == 1:
                total += slot.computed + 1 if is_kv else 1
        s = slot.prev
    return total
