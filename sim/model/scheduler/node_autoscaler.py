"""The node autoscaler: every scan it asks for nodes where replicas wait in vain, and gives back those that are not needed.

As the Kubernetes cluster autoscaler: replicas that nodes on their way will hold are left to them; for the others each group
is tried with fresh nodes, and an expander chooses one group a scan. Its settings have the names of that program's flags.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import is_upcoming, request_node
from sim.model.capacity.queue_quota import alike_of, may_use_group
from sim.model.capacity.slices import bind_member, holds_member
from sim.model.capacity.workloads import first_member
from sim.model.scheduler.consolidation import consolidate
from sim.model.scheduler.placement import release_gang
from sim.model.scheduler.scale_down import replace_broken, scale_down
from sim.model.tables.cause import CAUSE_NODE_AUTOSCALER
from sim.model.tables.node import (
    AT_RANDOM,
    BY_PRIORITY,
    CHEAPEST,
    NO_CONSOLIDATION,
    NODE_ABSENT,
)
from sim.model.telemetry.causes import act_because
from sim.rng import STREAM_EXPANDER, draw_below
from sim.units import NEVER

UPCOMING = -1  # instead of a group: the nodes that are on their way


@jit_call
def on_scan(params, state, t):
    """The node autoscaler looks at t."""
    cluster = params.cluster[0]
    state.next_scan_ps = t + cluster.scan_ps
    if plan_upcoming(params, state, t) > 0:
        group_id = expand(params, state, t)
        if group_id >= 0:
            request_nodes(params, state, group_id, t)
    clear_plans(params, state, t)
    if cluster.replace_after_ps < NEVER:
        replace_broken(params, state, t)
    if cluster.consolidation == NO_CONSOLIDATION:
        scale_down(params, state, t)
    else:
        consolidate(params, state, t)


# ---- packing what waits into nodes ----------------------------------------------------------------------
@jit_call
def pack_member(params, state, r, number, group_id, t):
    """Let a member of workload r's gang take slices of the first node that has them: of those on their way (UPCOMING), or
    of the absent nodes of a group; whether one has.

    A packing only takes, so a node that had nothing for one workload of a pool or job has nothing for the next.
    """
    pool_id = state.workload[r].place
    alike = alike_of(params, state, r)
    while alike.cursor < params.n_node:
        node = state.node[alike.cursor]
        is_one = node.stage == NODE_ABSENT and node.group == group_id
        if group_id == UPCOMING:
            is_one = is_upcoming(node.stage)
        is_one = is_one and may_use_group(params, state, r, node.group)
        if is_one and holds_member(params, state, pool_id, alike.cursor):
            bind_member(params, state, r, number, alike.cursor, t)
            return True
        alike.cursor += 1
    return False


@jit_call
def pack_gang(params, state, r, group_id, t):
    """Let all members of workload r's gang take slices as a plan; whether that was possible."""
    pool_id = state.workload[r].place
    first = first_member(params, state, r)
    for number in range(first, first + params.pool_place[pool_id].n_member):
        if not pack_member(params, state, r, number, group_id, t):
            release_gang(params, state, pool_id, first, t)
            return False
    return True


@jit_call
def pack_waiting(params, state, group_id, t):
    """Pack the workloads that a placement has found nothing for and that no plan holds; how many found room.

    As in a placement, the others of a pool are not looked at once one of it finds none.
    """
    state.n_pass += 1
    for i in range(params.n_alike):
        state.alike[i].cursor = 0 if group_id == UPCOMING else params.node_group[group_id].first_node
    packed = 0
    r = state.first_waiting
    while r >= 0:
        alike = alike_of(params, state, r)
        if (
            state.workload[r].was_tried == 1
            and state.workload[r].is_planned == 0
            and alike.failed_pass != state.n_pass
        ):
            if pack_gang(params, state, r, group_id, t):
                packed += 1
            else:
                alike.failed_pass = state.n_pass
        r = state.workload[r].next
    return packed


@jit_call
def plan_upcoming(params, state, t):
    """Plan which replicas the nodes on their way will hold; how many that wait in vain remain."""
    r = state.first_waiting
    tried = 0
    while r >= 0:
        state.workload[r].is_planned = 0
        tried += state.workload[r].was_tried
        r = state.workload[r].next
    planned = pack_waiting(params, state, UPCOMING, t)
    r = state.first_waiting
    while r >= 0:
        state.workload[r].is_planned = int(state.member[first_member(params, state, r)].node >= 0)
        r = state.workload[r].next
    return tried - planned


@jit_call
def undo_plans(params, state, t):
    """Waiting replicas give back what a trial with fresh nodes gave them."""
    r = state.first_waiting
    while r >= 0:
        if state.workload[r].is_planned == 0:
            release_gang(params, state, state.workload[r].place, first_member(params, state, r), t)
        r = state.workload[r].next


@jit_call
def clear_plans(params, state, t):
    """All waiting replicas give back what was planned for them."""
    r = state.first_waiting
    while r >= 0:
        release_gang(params, state, state.workload[r].place, first_member(params, state, r), t)
        r = state.workload[r].next


# ---- choosing a group ----------------------------------------------------------------------
@jit_call
def expand(params, state, t):
    """The group that gets nodes, or −1: of those that would hold some waiting replica, the expander's choice."""
    best = -1
    n = 0
    for g in range(params.n_node_group):
        option = state.node_group[g]
        option.packed = 0
        if option.retry_ps > t:
            continue
        option.packed = pack_waiting(params, state, g, t)
        count_planned(params, state, g)
        undo_plans(params, state, t)
        if option.packed > 0:
            n += 1
            if best < 0 or is_better(params, state, g, best):
                best = g
    if n > 1 and params.cluster[0].expander == AT_RANDOM:
        return nth_option(params, state, draw_below(params.seed, STREAM_EXPANDER, 0, state.n_pass, n))
    return best


@jit_call
def nth_option(params, state, n):
    """The n-th of the groups that would hold some waiting replica."""
    for g in range(params.n_node_group):
        if state.node_group[g].packed > 0:
            if n == 0:
                return g
            n -= 1
    return -1


@jit_call
def count_planned(params, state, g):
    """Count how many of a group's absent nodes a packing opened, and how many of their memory slices it planned."""
    group = params.node_group[g]
    option = state.node_group[g]
    option.opened = 0
    option.held_slices = 0
    for node_id in range(group.first_node, group.first_node + group.n_node):
        node = state.node[node_id]
        if node.stage == NODE_ABSENT and node.n_member > 0:
            option.opened += 1
            option.held_slices += node.used_slices
            number = node.first_held
            while state.member[number].next >= 0:
                number = state.member[number].next
            node.wanted_by = state.member[number].replica


@jit_call
def is_better(params, state, g, other):
    """Whether the expander prefers a group to another that comes before it: equals go to the first.

    `cheapest` compares the price of a slice that would be held, `least_waste` the share of slices that would be idle.
    """
    expander = params.cluster[0].expander
    if expander == BY_PRIORITY:
        return params.node_group[g].priority > params.node_group[other].priority
    held = state.node_group[g].held_slices
    others = state.node_group[other].held_slices
    if expander == CHEAPEST:
        return cost_of(params, state, g) * others < cost_of(params, state, other) * held
    return held * slices_opened(params, state, other) > others * slices_opened(params, state, g)


@jit
def cost_of(params, state, g):
    """What a group's fresh nodes would cost in an hour, usd/1000."""
    return params.node_group[g].price_micro // 1000 * state.node_group[g].opened


@jit
def slices_opened(params, state, g):
    """How many memory slices a group's fresh nodes would have."""
    return params.node_group[g].gpus * params.node_group[g].slices * state.node_group[g].opened


# ---- more nodes ----------------------------------------------------------------------
@jit_call
def request_nodes(params, state, group_id, t):
    """Ask the provider for as many nodes of a group as the packing opened, until it has none."""
    group = params.node_group[group_id]
    missing = state.node_group[group_id].opened
    for node_id in range(group.first_node, group.first_node + group.n_node):
        if missing > 0 and state.node[node_id].stage == NODE_ABSENT:
            missing -= 1
            state.node_added_ps = t
            wanted_by = state.node[node_id].wanted_by
            act_because(state, CAUSE_NODE_AUTOSCALER, 0, state.workload[wanted_by].event)
            if not request_node(params, state, node_id, t):
                return
