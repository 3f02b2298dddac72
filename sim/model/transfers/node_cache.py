"""What nodes keep: weights and images that came for one start are there for the next one on the same node.

A start that finds what it needs on its node moves no bytes; one that needs what another start is fetching to the same node
waits for those bytes. What was used longest ago makes room. Gangs that spread over several nodes use no cache.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.tables.node import (
    EVENT_CACHE_EVICTED,
    EVENT_CACHE_FILLED,
    EVENT_CACHE_HIT,
    EVENT_CACHE_JOINED,
)
from sim.model.tables.start import FOUND, JOINED
from sim.model.telemetry.cluster_log import log_event
from sim.model.transfers.links import stop_transfer
from sim.model.transfers.peers import (
    count_served,
    fetch,
    leave_source,
    leave_source_queue,
    serve_waiting,
    take_over,
)


@jit
def cached_row(params, node_id, artifact):
    """The row of `cached` of an artifact, counted from 1, on a node."""
    return node_id * params.n_artifact + artifact - 1


# ---- a start needs an artifact ----------------------------------------------------------------------
@jit_call
def find_cached(params, state, node_id, artifact, number, t):
    """Whether a node has what a start's transfer would bring: then the transfer ends without a byte over a link, as soon as
    the start has read it there.
    """
    entry = state.cached[cached_row(params, node_id, artifact)]
    if entry.is_there == 0:
        return False
    entry.used_ps = t
    state.transfer[number].end_ps = t + state.transfer[number].hit_ps
    state.transfer[number].how = FOUND
    log_event(params, state, EVENT_CACHE_HIT, node_id, state.transfer[number].replica, artifact - 1, t)
    state.artifact[artifact - 1].hits += 1
    add_wide(state.artifact[artifact - 1].saved_bytes, state.transfer[number].moved_bytes)
    return True


@jit_call
def fetch_or_join(params, state, node_id, artifact, number, t):
    """A start's transfer brings an artifact to a node from t on, or waits for the one that does."""
    at = cached_row(params, node_id, artifact)
    entry = state.cached[at]
    transfer = state.transfer[number]
    transfer.fetches = 1 + at
    if entry.fetcher == 0:
        entry.fetcher = 1 + number
        fetch(params, state, number, t)
        return
    transfer.is_joined = 1
    log_event(params, state, EVENT_CACHE_JOINED, node_id, transfer.replica, artifact - 1, t)
    transfer.next = -1
    if entry.first_joined == 0:
        entry.first_joined = 1 + number
        return
    last = entry.first_joined - 1
    while state.transfer[last].next >= 0:
        last = state.transfer[last].next
    state.transfer[last].next = number


# ---- its last byte has come, or it is stopped ----------------------------------------------------------------------
@jit_call
def end_fetch(params, state, number, t):
    """A transfer has brought its artifact: the node keeps it. Returns the first of those that waited for it, −1 = none."""
    transfer = state.transfer[number]
    at = transfer.fetches - 1
    peer = transfer.source
    count_served(params, state, number, transfer.source_bytes)
    transfer.fetches = 0
    entry = state.cached[at]
    first = entry.first_joined - 1
    entry.fetcher = 0
    entry.first_joined = 0
    node_id = at // params.n_artifact
    artifact = at - node_id * params.n_artifact
    state.artifact[artifact].fetches += 1
    state.artifact[artifact].from_peers += (peer > 0) * 1
    keep_artifact(params, state, node_id, artifact, t)
    serve_waiting(params, state, t)
    return first


@jit_call
def end_joined(params, state, number, fetcher, t):
    """What a transfer waited for, which the fetcher brought, is on its node, where its start reads it. Returns the next
    that waits, −1 = none.
    """
    transfer = state.transfer[number]
    transfer.how = JOINED
    for j in range(params.n_way):
        state.bound_ps[number * params.n_way + j] = state.bound_ps[fetcher * params.n_way + j]
    artifact = (transfer.fetches - 1) % params.n_artifact
    transfer.fetches = 0
    transfer.is_joined = 0
    transfer.end_ps = t + transfer.hit_ps
    state.artifact[artifact].joins += 1
    add_wide(state.artifact[artifact].saved_bytes, transfer.moved_bytes)
    return transfer.next


@jit_call
def leave_fetch(params, state, number, t):
    """A transfer is not wanted any longer. If others wait for its bytes, the first of them goes on where it stopped."""
    transfer = state.transfer[number]
    entry = state.cached[transfer.fetches - 1]
    if transfer.is_joined == 1:
        transfer.fetches = 0
        transfer.is_joined = 0
        leave_queue(state, entry, number)
        return
    is_moving = transfer.is_moving == 1
    if is_moving:
        stop_transfer(params, state, number, t)
    else:
        leave_source_queue(params, state, number)
    entry.fetcher = entry.first_joined
    if entry.fetcher > 0:
        heir = state.transfer[entry.fetcher - 1]
        entry.first_joined = 1 + heir.next
        heir.is_joined = 0
        heir.source_bytes = max(1, heir.moved_bytes - (transfer.moved_bytes - transfer.source_bytes))
        if is_moving:
            take_over(params, state, number, entry.fetcher - 1, t)
        else:
            fetch(params, state, entry.fetcher - 1, t)
    leave_source(params, state, number)
    transfer.fetches = 0
    serve_waiting(params, state, t)


@jit_call
def leave_queue(state, entry, number):
    """A transfer waits for another one's bytes no longer."""
    after = state.transfer[number].next
    if entry.first_joined == 1 + number:
        entry.first_joined = 1 + after
        return
    before = entry.first_joined - 1
    while state.transfer[before].next != number:
        before = state.transfer[before].next
    state.transfer[before].next = after


# ---- what a node keeps ----------------------------------------------------------------------
@jit_call
def keep_artifact(params, state, node_id, artifact, t):
    """A node keeps an artifact, counted from 0, if its cache is large enough: what was used longest ago makes room."""
    node = state.node[node_id]
    size_bytes = params.artifact[artifact].size_bytes
    room = params.node_group[node.group].cache_bytes
    entry = state.cached[node_id * params.n_artifact + artifact]
    if size_bytes > room or entry.is_there == 1:
        return
    while node.cached_bytes + size_bytes > room:
        drop_oldest(params, state, node_id, t)
    log_event(params, state, EVENT_CACHE_FILLED, node_id, -1, artifact, t)
    node.cached_bytes += size_bytes
    entry.is_there = 1
    entry.used_ps = t


@jit_call
def drop_oldest(params, state, node_id, t):
    """The artifact that was used longest ago leaves a node, the first of equals."""
    first = node_id * params.n_artifact
    oldest = -1
    for i in range(params.n_artifact):
        entry = state.cached[first + i]
        if entry.is_there == 1 and (oldest < 0 or entry.used_ps < state.cached[first + oldest].used_ps):
            oldest = i
    log_event(params, state, EVENT_CACHE_EVICTED, node_id, -1, oldest, t)
    state.cached[first + oldest].is_there = 0
    state.node[node_id].cached_bytes -= params.artifact[oldest].size_bytes
    state.artifact[oldest].evictions += 1


@jit_call
def fill_cache(params, state, node_id, t):
    """A node that has just become ready has what its group is preloaded with, in order, and nothing else."""
    node = state.node[node_id]
    node.cached_bytes = 0
    for i in range(params.n_artifact):
        state.cached[node_id * params.n_artifact + i].is_there = 0
        if (params.node_group[node.group].preloaded >> i) & 1 == 1:
            keep_artifact(params, state, node_id, i, t)
