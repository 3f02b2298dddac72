"""The steps of a replica's start: when each begins, how long it takes, and the bytes that it moves."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import N_BUCKET, bucket_of
from sim.model.capacity.workloads import first_member
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.tables.start import BY_TIME, FROM_PEER, MOVED
from sim.model.transfers.links import begin_transfer, binding_way, clear_bound, stop_transfer
from sim.model.transfers.node_cache import fetch_or_join, find_cached, keep_artifact, leave_fetch
from sim.model.transfers.peers import go_through_own_ways
from sim.rng import STREAM_STAGE, draw
from sim.units import NEVER


@jit_call
def step_ps(params, step, pool, start):
    """How long a step of a pool's start of that number takes."""
    word = draw(params.seed, STREAM_STAGE + step.stream, pool, start)
    return step.quantile_ps[word >> (63 - N_QUANTILE_BITS)]


@jit
def step_begin(state, step, i, placed_ps):
    """When a start's i-th step begins: when the last of those that it waits for has ended; they come before it. The first
    begin when the replica has its slices.
    """
    begin_ps = placed_ps
    for j in range(i):
        if (step.waits_for >> j) & 1 == 1:
            begin_ps = max(begin_ps, state.step_ends[j])
    return begin_ps


@jit
def first_transfer(params, state, r):
    """The number of replica r's first transfer."""
    pool = params.pool[state.replica[r].pool]
    return pool.first_transfer + (r - pool.first_replica) * pool.n_transfer


@jit_call
def transfer_end(params, state, r, step, own_ps, begin_ps, t):
    """When the last byte of a step's transfer came, NEVER as long as it has not. Its first byte moves at begin_ps, unless
    the node has what it brings, or gets it by the transfer of another start.
    """
    number = first_transfer(params, state, r) + step.transfer - 1
    transfer = state.transfer[number]
    if transfer.end_ps >= 0:
        return transfer.end_ps
    if transfer.is_moving == 1 or transfer.is_joined == 1 or transfer.is_queued == 1:
        return NEVER
    node_id = caching_node(params, state, r, step)
    is_asked = t == begin_ps - step.setup_ps or begin_ps <= t  # as the step begins, and before its first byte
    transfer.hit_ps = step.hit_ps
    if node_id >= 0 and is_asked and find_cached(params, state, node_id, step.artifact, number, t):
        return transfer.end_ps
    if begin_ps <= t:
        transfer.own_ps = own_ps
        transfer.node = 1 + single_node(params, state, r)
        if node_id >= 0:
            fetch_or_join(params, state, node_id, step.artifact, number, t)
        else:
            go_through_own_ways(params, state, number)
            begin_transfer(params, state, number, own_ps, t)
    return NEVER


@jit
def single_node(params, state, r):
    """The node that all of replica r is on; −1 where its gang spreads over several, or without a cluster."""
    if params.n_cluster == 0 or params.pool_place[state.replica[r].pool].n_member > 1:
        return -1
    return state.member[first_member(params, state, r)].node


@jit
def caching_node(params, state, r, step):
    """The node that keeps what a step of replica r's start brings, or −1."""
    node_id = single_node(params, state, r)
    if step.artifact == 0 or node_id < 0 or params.node_group[state.node[node_id].group].cache_bytes == 0:
        return -1
    return node_id


@jit_call
def keep_what_it_brought(params, state, r):
    """The node of replica r, which is ready from the beginning, has what its start would have brought."""
    pool = params.pool[state.replica[r].pool]
    for i in range(pool.n_step):
        step = params.start_step[pool.first_step + i]
        node_id = caching_node(params, state, r, step)
        if node_id >= 0:
            keep_artifact(params, state, node_id, step.artifact - 1, 0)


@jit_call
def clear_transfers(params, state, r):
    """None of the transfers of replica r's start has begun."""
    pool = params.pool[state.replica[r].pool]
    for i in range(pool.n_step):
        step = params.start_step[pool.first_step + i]
        if step.transfer > 0:
            transfer = state.transfer[first_transfer(params, state, r) + step.transfer - 1]
            transfer.replica = r
            transfer.end_ps = -1
            transfer.how = BY_TIME
            clear_bound(params, state, first_transfer(params, state, r) + step.transfer - 1)
            transfer.step = pool.first_step + i
            transfer.links = step.links
            transfer.moved_bytes = step.moved_bytes
            transfer.source_bytes = step.moved_bytes


@jit_call
def stop_transfers(params, state, r, t):
    """Replica r is not wanted any longer: what it is moving stops at t."""
    first = first_transfer(params, state, r)
    for number in range(first, first + params.pool[state.replica[r].pool].n_transfer):
        if state.transfer[number].fetches > 0:
            leave_fetch(params, state, number, t)
        elif state.transfer[number].is_moving == 1:
            stop_transfer(params, state, number, t)


@jit_call
def keep_steps(params, state, r):
    """Keep what the steps of replica r's start were, which have all ended: the first of a run, as many as there are rows
    but one; those behind them share the last.
    """
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    for i in range(pool.n_step):
        step = params.start_step[pool.first_step + i]
        row = state.taken[min(state.n_taken, params.n_taken - 1)]
        state.n_taken += 1
        row.replica = r
        row.start = replica.start
        row.step = i
        row.wanted_ps = replica.started_ps
        row.got_ps = replica.placed_ps
        if params.n_cluster == 1:
            row.got_ps -= state.workload[r].created_ps
        row.placed_ps = replica.placed_ps
        row.begin_ps = step_begin(state, step, i, replica.placed_ps)
        row.end_ps = state.step_ends[i]
        row.how = BY_TIME
        row.moved_bytes = 0
        row.link = 0
        row.peer = 0
        row.bound_ps = 0
        if step.transfer > 0:
            keep_transfer(params, state, row, first_transfer(params, state, r) + step.transfer - 1)


@jit_call
def keep_transfer(params, state, row, number):
    """Keep how a step got what it brings, and what held its transfer back."""
    transfer = state.transfer[number]
    row.how = transfer.how
    if transfer.how == MOVED or transfer.how == FROM_PEER:
        row.moved_bytes = transfer.moved_bytes
    if transfer.how == FROM_PEER:
        row.peer = transfer.served_by
    way = binding_way(params, state, number)
    if way >= 0:
        row.link = 1 + way
        row.bound_ps = min(state.bound_ps[number * params.n_way + way], row.end_ps - row.begin_ps)


@jit_call
def note_start(params, state, r):
    """Count how long replica r's start took, and each of its steps, which have all ended."""
    replica = state.replica[r]
    pool = params.pool[replica.pool]
    hist = state.start_hist[pool.starts_at :]
    last_ps = replica.started_ps
    for i in range(pool.n_step):
        step = params.start_step[pool.first_step + i]
        begin_ps = step_begin(state, step, i, replica.placed_ps)
        last_ps = max(last_ps, state.step_ends[i])
        hist[(1 + i) * N_BUCKET + bucket_of(state.step_ends[i] - begin_ps)] += 1
    hist[bucket_of(last_ps - replica.started_ps)] += 1
