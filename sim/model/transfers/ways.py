"""The ways of a transfer: the links that its step names, then the end of the node that its bytes come to, then the end of
one that serves them. Of the ends those in use are a list.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.tables.link import DISK, N_END


@jit
def way(params, transfer, j):
    """The link, or the end of a node behind all links, that is the j-th of a transfer's ways; −1 = it has none there."""
    if j < params.n_link:
        return j if (transfer.links >> j) & 1 == 1 else -1
    return transfer.in_end - 1 if j == params.n_link else transfer.out_end - 1


@jit
def way_number(params, transfer, i):
    """Which of a transfer's ways the i-th link is."""
    return i if i < params.n_link else params.n_link + (transfer.out_end == 1 + i) * 1


@jit_call
def end_of(params, state, node_id, end):
    """1 + the row of `link` of an end of a node, 0 where it carries whatever comes."""
    group = params.node_group[state.node[node_id].group]
    limit_q40 = group.disk_q40 if end == DISK else group.nic_q40
    return 1 + params.n_link + node_id * N_END + end if limit_q40 > 0 else 0


@jit_call
def use_end(state, i):
    """An end of a node carries something from now on."""
    state.link[i].prev = 0
    state.link[i].next = state.first_end
    if state.first_end > 0:
        state.link[state.first_end - 1].prev = 1 + i
    state.first_end = 1 + i


@jit_call
def leave_end(state, i):
    """An end of a node carries nothing any longer."""
    end = state.link[i]
    end.rate_q40 = 0
    end.is_full = 0
    if end.prev == 0:
        state.first_end = end.next
    else:
        state.link[end.prev - 1].next = end.next
    if end.next > 0:
        state.link[end.next - 1].prev = end.prev


@jit
def goes_over(params, transfer, i):
    """Whether a transfer's bytes go over the i-th link, or through that end."""
    if i < params.n_link:
        return (transfer.links >> i) & 1 == 1
    return transfer.in_end == 1 + i or transfer.out_end == 1 + i
