"""Consolidation: nodes go whose workloads fit on others, or make way for a cheaper node, which comes first.

As Karpenter's disruption controller: at each look empty nodes go; else the longest row of nodes, those that are cheapest
to disrupt first, that others and at most one cheaper fresh node can stand in for; else the first single one. Only so many
nodes may be going at a time.
Source: kubernetes-sigs/karpenter pkg/controllers/disruption (emptiness.go, multinodeconsolidation.go,
singlenodeconsolidation.go, consolidation.go) and pkg/utils/disruption/disruption.go (the cost of an eviction).
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import cordon_node, request_node, uncordon_node
from sim.model.capacity.slices import next_on_node
from sim.model.capacity.workloads import place_of
from sim.model.cluster.evictions import GIVEN_BACK, drain_node
from sim.model.cluster.victims import drains
from sim.model.rollout.limits import rounded_up
from sim.model.scheduler.moves import NO_FRESH, begin_trials, end_trials, go
from sim.model.scheduler.scale_down import is_going, remove_empty, spare_nodes
from sim.model.tables.cause import CAUSE_CONSOLIDATION
from sim.model.tables.node import NODE_ABSENT, NODE_CORDONED, NODE_READY, WHEN_EMPTY
from sim.model.telemetry.causes import act_because

EVICTION_COST = 1 << 25  # of a workload of priority 0; a priority counts as it is
ROW_MAX = 100  # nodes that are looked at together, at most
NO_NODE = -1
NOT_POSSIBLE = -2  # instead of a fresh node, or NO_FRESH


@jit_call
def consolidate(params, state, t):
    """One look at t: what waits for a fresh node goes on, and then one thing is done. While somebody waits for slices only
    empty nodes go.
    """
    cluster = params.cluster[0]
    follow_replacements(params, state, t)
    left = disruptions_left(params, state)
    if left <= 0:
        return
    if remove_empty(params, state, cluster.consolidate_after_ps, left, CAUSE_CONSOLIDATION, t) > 0:
        return
    if cluster.consolidation == WHEN_EMPTY or state.n_waiting > 0:
        return
    n = rate_nodes(params, state, t)
    first = next_rated(params, state, NO_NODE)
    row = longest_row(params, state, first, min(n, min(left, ROW_MAX)), t)
    if row >= 2:
        replace_row(params, state, first, row, t)
        return
    while first >= 0 and stand_in(params, state, first, 1, t) == NOT_POSSIBLE:
        first = next_rated(params, state, first)
    if first >= 0:
        replace_row(params, state, first, 1, t)


@jit_call
def disruptions_left(params, state):
    """How many nodes more may be going now."""
    total = 0
    going = 0
    for group_id in range(params.n_node_group):
        total += state.node_group[group_id].n_billed
    for node_id in range(params.n_node):
        going += int(is_going(state, node_id))
    cluster = params.cluster[0]
    return rounded_up(cluster.disrupted, cluster.is_percent, total) - going


# ---- who may go, in which order ----------------------------------------------------------------------
@jit_call
def rate_nodes(params, state, t):
    """Note of each node what it costs to disrupt what it holds; how many there are that may go."""
    n = 0
    for node_id in range(params.n_node):
        node = state.node[node_id]
        node.cost = 0
        if (
            node.stage == NODE_READY
            and node.n_promised == 0
            and node.is_awaited == 0
            and params.node_group[node.group].is_prepaid == 0
            and t - node.changed_ps >= params.cluster[0].consolidate_after_ps
            and spare_nodes(params, state, node.group) > 0
        ):
            node.cost = disruption_cost(params, state, node_id)
            n += int(node.cost > 0)
    return n


@jit_call
def disruption_cost(params, state, node_id):
    """What it costs to disrupt what a node holds: the sum over its workloads that do not drain anyway."""
    cost = 0
    w = next_on_node(state, node_id, -1)
    while w >= 0:
        if not drains(params, state, w):
            cost += EVICTION_COST + place_of(params, state, w).priority
        w = next_on_node(state, node_id, w)
    return cost


@jit_call
def next_rated(params, state, after):
    """The node that goes next after one, by cost and then by number, or NO_NODE; after NO_NODE the first."""
    best = NO_NODE
    for node_id in range(params.n_node):
        cost = state.node[node_id].cost
        is_behind = after == NO_NODE or cost > state.node[after].cost
        if after != NO_NODE and cost == state.node[after].cost:
            is_behind = node_id > after
        if cost > 0 and is_behind and (best == NO_NODE or cost < state.node[best].cost):
            best = node_id
    return best


@jit_call
def longest_row(params, state, first, n, t):
    """How many nodes, from the first on and at most n, others can stand in for: by halving, as upstream, where what holds
    for a row is taken to hold for a shorter one; less than 2 where they cannot.
    """
    most = 0
    low = 1
    high = n - 1
    while low <= high:
        mid = (low + high) // 2
        if stand_in(params, state, first, mid + 1, t) != NOT_POSSIBLE:
            most = mid + 1
            low = mid + 1
        else:
            high = mid - 1
    return most


# ---- who stands in for them ----------------------------------------------------------------------
@jit_call
def stand_in(params, state, first, n, t):
    """Who stands in for n nodes, from the first on: NO_FRESH where the others are enough, else a fresh node that costs less
    than they do together, or NOT_POSSIBLE.
    """
    for group_id in range(params.n_node_group):
        state.node_group[group_id].n_going = 0
    price = 0
    node_id = first
    for _ in range(n):
        group_id = state.node[node_id].group
        state.node_group[group_id].n_going += 1
        if state.node_group[group_id].n_going > spare_nodes(params, state, group_id):
            return NOT_POSSIBLE
        price += price_of(params, group_id)
        node_id = next_rated(params, state, node_id)
    if can_go(params, state, first, n, NO_FRESH):
        return NO_FRESH
    group_id = next_cheaper(params, state, NO_NODE, price, t)
    while group_id >= 0:
        fresh = absent_node(params, state, group_id)
        if can_go(params, state, first, n, fresh):
            return fresh
        group_id = next_cheaper(params, state, group_id, price, t)
    return NOT_POSSIBLE


@jit
def price_of(params, group_id):
    """What one node more of a group costs in an hour, in millionths of usd: nothing where it is paid for anyway."""
    return 0 if params.node_group[group_id].is_prepaid == 1 else params.node_group[group_id].price_micro


@jit_call
def absent_node(params, state, group_id):
    """The lowest node place of a group that is free, or NO_NODE."""
    group = params.node_group[group_id]
    for node_id in range(group.first_node, group.first_node + group.n_node):
        if state.node[node_id].stage == NODE_ABSENT:
            return node_id
    return NO_NODE


@jit_call
def next_cheaper(params, state, after, price, t):
    """The group behind one, by price and then by number, of which a fresh node costs less than `price` and can be asked
    for; −1 where there is none. Of a group of which nodes go none comes.
    """
    best = -1
    for group_id in range(params.n_node_group):
        group = state.node_group[group_id]
        own = price_of(params, group_id)
        is_behind = after < 0 or own > price_of(params, after)
        if after >= 0 and own == price_of(params, after):
            is_behind = group_id > after
        if (
            is_behind
            and own < price
            and group.n_going == 0
            and group.retry_ps <= t
            and absent_node(params, state, group_id) >= 0
            and (best < 0 or own < price_of(params, best))
        ):
            best = group_id
    return best


@jit_call
def can_go(params, state, first, n, fresh):
    """Whether what n nodes hold, from the first on, fits on the others and on a fresh node."""
    begin_trials(params, state)
    for_all = True
    node_id = first
    for _ in range(n):
        state.node[node_id].goes = 1  # none of them takes what another one held
        node_id = next_rated(params, state, node_id)
    node_id = first
    for _ in range(n):
        for_all = for_all and go(params, state, node_id, fresh)
        node_id = next_rated(params, state, node_id)
    end_trials(params, state)
    return for_all


# ---- they go ----------------------------------------------------------------------
@jit_call
def replace_row(params, state, first, n, t):
    """N nodes go, from the first on: they are drained at once, or take nothing new until the fresh node is ready. Where the
    provider has none they stay.
    """
    fresh = stand_in(params, state, first, n, t)
    if fresh >= 0:
        state.node[fresh].wanted_by = next_on_node(state, first, -1)
        act_because(state, CAUSE_CONSOLIDATION, 0, state.node[first].freed_event)
        if not request_node(params, state, fresh, t):
            return
    node_id = first
    for _ in range(n):
        node = state.node[node_id]
        after = next_rated(params, state, node_id)
        act_because(state, CAUSE_CONSOLIDATION, 0, node.freed_event)
        if fresh >= 0:
            state.because = state.node[fresh].event
            cordon_node(params, state, node_id, t)
            node.awaits = 1 + fresh
        else:
            drain_node(params, state, node_id, GIVEN_BACK, t)
        node_id = after


@jit_call
def follow_replacements(params, state, t):
    """Nodes whose fresh node is ready are drained; those whose fresh node is gone take replicas again."""
    for node_id in range(params.n_node):
        state.node[node_id].is_awaited = 0
    for node_id in range(params.n_node):
        node = state.node[node_id]
        if node.awaits == 0 or node.is_doomed == 1:
            continue
        fresh = state.node[node.awaits - 1]
        act_because(state, CAUSE_CONSOLIDATION, 0, fresh.event)
        if node.is_draining < GIVEN_BACK and (fresh.stage == NODE_ABSENT or fresh.stage == NODE_CORDONED):
            uncordon_node(params, state, node_id, t)
            continue
        fresh.is_awaited = 1
        if node.is_draining < GIVEN_BACK and fresh.stage == NODE_READY:
            drain_node(params, state, node_id, GIVEN_BACK, t)
