"""From where a node gets what it fetches for its cache: from another node that has it, or from what the stage goes over.

The node with the fewest uploads serves, the first of equals; one that serves as many as its stage lets it is not asked.
Where none can serve, the bytes come from elsewhere, unless so many starts fetch them there already: then the fetch waits,
first come first served, until a node has them, an upload ends or a place elsewhere is free. When a node that serves is
gone, the rest comes from another source.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.linked_list import link, unlink
from sim.model.tables.link import DISK, FROM_STORE, NIC_IN, NIC_OUT, THROUGH_NIC, THROUGH_NOTHING
from sim.model.tables.node import EVENT_PEER_SERVES, EVENT_PEER_STOPS, NODE_READY
from sim.model.tables.start import FROM_PEER
from sim.model.telemetry.cluster_log import log_event
from sim.model.transfers.clock import bytes_in, cap_of, ps_of
from sim.model.transfers.links import begin_moving, begin_transfer, count_moved, stop_transfer
from sim.model.transfers.ways import end_of


@jit
def artifact_of(params, transfer):
    """What a transfer fetches for a cache, counted from 0."""
    return (transfer.fetches - 1) % params.n_artifact


# ---- a source for a fetch ----------------------------------------------------------------------
@jit_call
def fetch(params, state, number, t):
    """A fetch gets its bytes, all or the rest, from the best source from t on, or waits for one."""
    if not begin_from_source(params, state, number, t):
        join_queue(params, state, number)


@jit_call
def begin_from_source(params, state, number, t):
    """Whether a fetch has found a source, and begins."""
    transfer = state.transfer[number]
    step = params.start_step[transfer.step]
    if step.peers == 1:
        peer = free_peer(params, state, number)
        if peer >= 0:
            begin_from_peer(params, state, number, peer, t)
            return True
        if state.artifact[artifact_of(params, transfer)].n_store >= step.seeds_max:
            return False
    begin_from_store(params, state, number, t)
    return True


@jit_call
def free_peer(params, state, number):
    """The node that serves a fetch: of those that have it and may serve more, the one with the fewest uploads, the first of
    equals; −1 where there is none.
    """
    transfer = state.transfer[number]
    artifact = artifact_of(params, transfer)
    best = -1
    fewest = params.start_step[transfer.step].uploads_max
    for node_id in range(params.n_node):
        node = state.node[node_id]
        is_able = (
            node.stage >= NODE_READY and state.cached[node_id * params.n_artifact + artifact].is_there == 1
        )
        if is_able and node.n_upload < fewest:
            best = node_id
            fewest = node.n_upload
    return best


@jit_call
def begin_from_peer(params, state, number, peer, t):
    """A node serves a fetch from t on."""
    transfer = state.transfer[number]
    cap_q40 = params.start_step[transfer.step].peer_q40
    transfer.source = 1 + peer
    transfer.served_by = 1 + peer
    state.node[peer].n_upload += 1
    transfer.links = 0
    transfer.in_end = end_of(params, state, transfer.node - 1, NIC_IN)
    transfer.out_end = end_of(params, state, peer, NIC_OUT)
    log_event(params, state, EVENT_PEER_SERVES, peer, transfer.replica, artifact_of(params, transfer), t)
    begin_moving(params, state, number, cap_q40, ps_of(transfer.source_bytes, cap_q40), t)
    transfer.how = FROM_PEER


@jit_call
def begin_from_store(params, state, number, t):
    """A fetch gets its bytes from what its stage goes over from t on."""
    transfer = state.transfer[number]
    transfer.source = FROM_STORE
    state.artifact[artifact_of(params, transfer)].n_store += 1
    go_through_own_ways(params, state, number)
    if transfer.source_bytes == transfer.moved_bytes:
        begin_transfer(params, state, number, transfer.own_ps, t)
        return
    cap_q40 = cap_of(transfer.moved_bytes, transfer.own_ps)
    begin_moving(params, state, number, cap_q40, ps_of(transfer.source_bytes, cap_q40), t)


@jit_call
def go_through_own_ways(params, state, number):
    """A transfer's bytes go over what its stage says, and to its node through the end that it says."""
    transfer = state.transfer[number]
    step = params.start_step[transfer.step]
    transfer.links = step.links
    transfer.out_end = 0
    transfer.in_end = 0
    if step.through != THROUGH_NOTHING and transfer.node > 0:
        end = NIC_IN if step.through == THROUGH_NIC else DISK
        transfer.in_end = end_of(params, state, transfer.node - 1, end)


@jit_call
def leave_source(params, state, number):
    """A fetch gets nothing any longer from where it did."""
    transfer = state.transfer[number]
    if transfer.source == FROM_STORE:
        state.artifact[artifact_of(params, transfer)].n_store -= 1
    elif transfer.source > 0:
        state.node[transfer.source - 1].n_upload -= 1
    transfer.source = 0


@jit_call
def count_served(params, state, number, n_bytes):
    """A fetch has got so many bytes from its source, which it leaves."""
    transfer = state.transfer[number]
    if transfer.source > 0:
        add_wide(state.artifact[artifact_of(params, transfer)].peer_bytes, n_bytes)
        add_wide(state.node_group[state.node[transfer.source - 1].group].served_bytes, n_bytes)
    leave_source(params, state, number)


@jit_call
def take_over(params, state, number, heir_number, t):
    """A fetch that is not wanted any longer has moved some of its bytes: another one for the same node goes on where it
    stopped, from the same source.
    """
    transfer = state.transfer[number]
    heir = state.transfer[heir_number]
    heir.source = transfer.source
    transfer.source = 0
    if heir.source == FROM_STORE:
        go_through_own_ways(params, state, heir_number)
        begin_moving(params, state, heir_number, transfer.cap_q40, transfer.left_ps, t)
        return
    heir.served_by = heir.source
    heir.links = 0
    heir.in_end = transfer.in_end
    heir.out_end = transfer.out_end
    begin_moving(params, state, heir_number, transfer.cap_q40, transfer.left_ps, t)
    heir.how = FROM_PEER


# ---- fetches that wait for a source ----------------------------------------------------------------------
@jit_call
def join_queue(params, state, number):
    """A fetch waits until somebody can serve it, behind all that wait for the same."""
    wanted = state.artifact[artifact_of(params, state.transfer[number])]
    state.transfer[number].is_queued = 1
    state.n_queued += 1
    link(state.transfer, wanted.last_queued - 1, number, -1)
    if wanted.first_queued == 0:
        wanted.first_queued = 1 + number
    wanted.last_queued = 1 + number


@jit_call
def leave_source_queue(params, state, number):
    """A fetch waits for a source no longer."""
    transfer = state.transfer[number]
    wanted = state.artifact[artifact_of(params, transfer)]
    transfer.is_queued = 0
    state.n_queued -= 1
    unlink(state.transfer, number)
    if transfer.prev < 0:
        wanted.first_queued = 1 + transfer.next
    if transfer.next < 0:
        wanted.last_queued = 1 + transfer.prev


@jit_call
def serve_waiting(params, state, t):
    """Fetches that wait for a source begin as far as there is one now, those for the first artifact first; nobody overtakes
    one that came before it for the same.
    """
    if state.n_queued == 0:
        return
    for artifact in range(params.n_artifact):
        number = state.artifact[artifact].first_queued - 1
        while number >= 0:
            after = state.transfer[number].next
            if not begins_from_queue(params, state, number, t):
                break
            number = after


@jit_call
def begins_from_queue(params, state, number, t):
    """Whether a fetch that waits finds a source at t; then it begins."""
    transfer = state.transfer[number]
    step = params.start_step[transfer.step]
    has_place = state.artifact[artifact_of(params, transfer)].n_store < step.seeds_max
    if free_peer(params, state, number) < 0 and not has_place:
        return False
    leave_source_queue(params, state, number)
    begin_from_source(params, state, number, t)
    return True


# ---- a node that serves is gone ----------------------------------------------------------------------
@jit_call
def first_served_by(state, node_id):
    """The transfer with the lowest number of those that a node serves, −1 = it serves none."""
    first = -1
    u = state.first_moving
    while u >= 0:
        if state.transfer[u].source == 1 + node_id and (first < 0 or u < first):
            first = u
        u = state.transfer[u].next
    return first


@jit_call
def stop_uploads(params, state, node_id, t):
    """A node is gone: those that it served get the rest from another source."""
    while state.node[node_id].n_upload > 0:
        number = first_served_by(state, node_id)
        transfer = state.transfer[number]
        stop_transfer(params, state, number, t)
        left_bytes = min(transfer.source_bytes, bytes_in(transfer.left_ps, transfer.cap_q40))
        count_moved(params, state, number, transfer.source_bytes - left_bytes)
        count_served(params, state, number, transfer.source_bytes - left_bytes)
        transfer.source_bytes = left_bytes
        log_event(
            params, state, EVENT_PEER_STOPS, node_id, transfer.replica, artifact_of(params, transfer), t
        )
        fetch(params, state, number, t)
