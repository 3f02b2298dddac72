"""Slices of a node's GPUs: which of them a workload could take, and who holds what."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.linked_list import link, unlink
from sim.model.placement.mig import N_SLICE, choose_start, count_slices, slice_mask
from sim.model.replica.neighbours import leave_share, take_share
from sim.model.tables.node import EVENT_MIG_MODE_SWITCHED, NODE_READY, NOT_SHARED
from sim.model.telemetry.cluster_log import log_event, settle_nodes


@jit
def ask_of(params, pool_id, group_id):
    """What a workload of a pool, or of a job, takes of each of its GPUs in a group."""
    return params.slice_ask[group_id * params.n_pool_place + pool_id]


# ---- which GPUs could hold a slice ----------------------------------------------------------------------
@jit
def is_switched_for(params, state, pool_id, group_id, u):
    """Whether the MIG mode of the u-th GPU would have to be switched for a pool."""
    group = params.node_group[group_id]
    return group.switches == 1 and state.gpu[u].is_whole != ask_of(params, pool_id, group_id).is_whole


@jit
def is_node_idle(params, state, group_id, u):
    """Whether the node of a group's u-th GPU holds nothing."""
    group = params.node_group[group_id]
    return state.node[group.first_node + (u - group.first_gpu) // group.gpus].used_slices == 0


@jit_call
def start_on_gpu(params, state, pool_id, group_id, u):
    """Where on the u-th GPU a slice for a pool could start, or −1."""
    gpu = state.gpu[u]
    if (
        params.node_group[group_id].mode_of_node == 1
        and is_switched_for(params, state, pool_id, group_id, u)
        and not is_node_idle(params, state, group_id, u)
    ):
        return -1
    first = params.slice_ask[group_id * params.n_pool_place]
    policy = params.cluster[0].mig_placement
    return choose_start(policy, gpu.busy, gpu.compute, gpu.media, first, params.n_pool_place, pool_id)


@jit_call
def holds_member(params, state, pool_id, node_id):
    """Whether a node has slices for a member of a pool's gang."""
    node = state.node[node_id]
    group = params.node_group[node.group]
    ask = ask_of(params, pool_id, node.group)
    missing = params.pool_place[pool_id].member_gpus
    free = group.gpus * group.slices - node.used_slices
    if ask.starts == 0 or missing > group.gpus or missing * ask.memory_slices > free:
        return False
    for u in range(node.first_gpu, node.first_gpu + group.gpus):
        if start_on_gpu(params, state, pool_id, node.group, u) >= 0:
            missing -= 1
            if missing == 0:
                return True
    return False


@jit_call
def fullest_gpu(params, state, pool_id, node_id, taken):
    """Of a node's GPUs that could hold a slice for a pool, but those of `taken`, the one with the fewest free memory
    slices, best one whose MIG mode needs no switch; the first of equals.
    """
    node = state.node[node_id]
    best = -1
    least_free = 2 * (N_SLICE + 1)
    for i in range(params.node_group[node.group].gpus):
        u = node.first_gpu + i
        if (taken >> i) & 1 == 0 and start_on_gpu(params, state, pool_id, node.group, u) >= 0:
            free = N_SLICE - count_slices(state.gpu[u].busy)
            free += (N_SLICE + 1) * is_switched_for(params, state, pool_id, node.group, u)
            if free < least_free:
                best = i
                least_free = free
    return best


@jit_call
def next_on_node(state, node_id, r):
    """The lowest workload above r that holds slices of a node, or −1."""
    best = -1
    number = state.node[node_id].first_held
    while number >= 0:
        other = state.member[number].replica
        if other > r and (best < 0 or other < best):
            best = other
        number = state.member[number].next
    return best


# ---- members take slices and give them back ----------------------------------------------------------------------
@jit_call
def hold_slices(params, state, pool_id, member):
    """What a member of a pool's gang has been given is held."""
    node = state.node[member.node]
    ask = ask_of(params, pool_id, node.group)
    for i in range(params.node_group[node.group].gpus):
        if (member.gpus >> i) & 1 == 1:
            gpu = state.gpu[node.first_gpu + i]
            gpu.busy |= slice_mask(ask, (member.starts >> (3 * i)) & 7)
            gpu.compute += ask.compute_slices
            gpu.media += ask.media


@jit_call
def free_slices(params, state, pool_id, member):
    """What a member of a pool's gang has been given is free."""
    node = state.node[member.node]
    ask = ask_of(params, pool_id, node.group)
    for i in range(params.node_group[node.group].gpus):
        if (member.gpus >> i) & 1 == 1:
            gpu = state.gpu[node.first_gpu + i]
            gpu.busy ^= slice_mask(ask, (member.starts >> (3 * i)) & 7)
            gpu.compute -= ask.compute_slices
            gpu.media -= ask.media


@jit
def slices_of(params, pool_id, group_id):
    """How many memory slices a member of a pool's gang holds in a group."""
    return params.pool_place[pool_id].member_gpus * ask_of(params, pool_id, group_id).memory_slices


@jit_call
def take_slices(params, state, pool_id, number):
    """A member of a pool's gang is given slices of its node, which has them."""
    member = state.member[number]
    node = state.node[member.node]
    ask = ask_of(params, pool_id, node.group)
    member.gpus = 0
    member.starts = 0
    for _ in range(params.pool_place[pool_id].member_gpus):
        i = fullest_gpu(params, state, pool_id, member.node, member.gpus)
        u = node.first_gpu + i
        start = start_on_gpu(params, state, pool_id, node.group, u)
        member.gpus |= 1 << i
        member.starts |= start << (3 * i)
        gpu = state.gpu[u]
        gpu.busy |= slice_mask(ask, start)
        gpu.compute += ask.compute_slices
        gpu.media += ask.media


@jit_call
def bind_member(params, state, r, number, node_id, t):
    """A member of workload r's gang takes its slices on a node that has them."""
    pool_id = state.workload[r].place
    node = state.node[node_id]
    member = state.member[number]
    member.node = node_id
    member.replica = r
    member.is_victim = 0
    take_slices(params, state, pool_id, number)
    if params.node_group[node.group].sharing != NOT_SHARED:
        take_share(params, state, r, member)
    node.n_member += 1
    link(state.member, -1, number, node.first_held)
    node.first_held = number
    change_used(params, state, node_id, pool_id, slices_of(params, pool_id, node.group), t)


@jit_call
def make_slices(params, state, w, t):
    """Workload w has its slices: MIG modes of its GPUs are switched where need be, and how long that and making its
    instance take is noted. At time 0 all is as it has to be.
    """
    workload = state.workload[w]
    first = workload.first_member
    of_first = params.node_group[state.node[state.member[first].node].group]
    ask = ask_of(params, workload.place, state.node[state.member[first].node].group)
    workload.created_ps = 0 if ask.is_whole == 1 else of_first.create_ps
    mode_ps = 0
    for number in range(first, first + params.pool_place[workload.place].n_member):
        if switch_modes(params, state, w, number, t):
            mode_ps = max(mode_ps, params.node_group[state.node[state.member[number].node].group].mode_ps)
    workload.created_ps += mode_ps


@jit_call
def switch_modes(params, state, w, number, t):
    """Switch the MIG modes of a member's GPUs where need be; whether any was."""
    member = state.member[number]
    node = state.node[member.node]
    pool_id = state.workload[w].place
    is_any = False
    for i in range(params.node_group[node.group].gpus):
        u = node.first_gpu + i
        if (member.gpus >> i) & 1 == 1 and is_switched_for(params, state, pool_id, node.group, u):
            state.gpu[u].is_whole = ask_of(params, pool_id, node.group).is_whole
            is_any = True
            if t > 0:
                log_event(params, state, EVENT_MIG_MODE_SWITCHED, member.node, w, i, t)
    return is_any


@jit_call
def release_member(params, state, number, t):
    """A member gives its slices back, or what was only planned for it or tried."""
    member = state.member[number]
    node_id = member.node
    node = state.node[node_id]
    pool_id = state.workload[member.replica].place
    free_slices(params, state, pool_id, member)
    if params.node_group[node.group].sharing != NOT_SHARED:
        leave_share(params, state, member, t)
    member.node = -1
    node.n_member -= 1
    unlink(state.member, number)
    if member.prev < 0:
        node.first_held = member.next
    change_used(params, state, node_id, pool_id, -slices_of(params, pool_id, node.group), t)


@jit_call
def change_used(params, state, node_id, pool_id, slices, t):
    """Those of a pool, or a job, hold so many memory slices more of a node from t on. Of one not ready it is a plan."""
    node = state.node[node_id]
    node.used_slices += slices
    if node.stage >= NODE_READY:
        settle_nodes(state, node.group, t)
        state.node_group[node.group].used_slices += slices
        if pool_id >= params.n_pool:
            state.node_group[node.group].job_slices += slices
