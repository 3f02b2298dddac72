"""Victims of a preemption on a node: which of them goes last, and whose going a disruption budget forbids."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.workloads import first_member, place_of
from sim.model.cluster.batch_jobs import is_run
from sim.model.rollout.disruption_budget import budget_status
from sim.model.tables.codes import STAGE_DRAINING

ANY, VICTIM, BREAKS = 0, 1, 2  # of victims: whichever; those that may be taken, those whose budget forbids it


@jit
def priority_of(params, state, r):
    """The priority of workload r."""
    return place_of(params, state, r).priority


@jit
def drains(params, state, w):
    """Whether a workload is a replica that drains."""
    return w < params.n_replica and state.replica[w].stage == STAGE_DRAINING


@jit
def held_since_ps(params, state, w):
    """Since when a workload has held its slices."""
    if is_run(params, w):
        return state.job_run[w - params.n_replica].begun_ps
    return state.replica[w].placed_ps


@jit
def is_of(victim, kind):
    """Whether Member.is_victim says that a member is a victim of a kind."""
    return victim > 0 and (kind == ANY or victim == kind)


@jit_call
def is_spared_before(params, state, number, other):
    """Whether one member is spared before another."""
    a = state.member[number].replica
    b = state.member[other].replica
    if priority_of(params, state, a) != priority_of(params, state, b):
        return priority_of(params, state, a) > priority_of(params, state, b)
    if held_since_ps(params, state, a) != held_since_ps(params, state, b):
        return held_since_ps(params, state, a) < held_since_ps(params, state, b)
    return number < other


@jit_call
def most_important_victim(params, state, node_id, kind, below):
    """The member on a node that would be spared first, of a kind of victims: of the highest priority, then the oldest, then
    the lowest. `below` is the one that was looked at before, −1 at first.
    """
    best = -1
    number = state.node[node_id].first_held
    while number >= 0:
        if (
            is_of(state.member[number].is_victim, kind)
            and (below < 0 or is_spared_before(params, state, below, number))
            and (best < 0 or is_spared_before(params, state, number, best))
        ):
            best = number
        number = state.member[number].next
    return best


@jit_call
def refresh_budget(params, state, pool_id):
    """Bring the budget of a pool up to date: replicas that drain are not counted."""
    asked = params.budget[pool_id]
    budget = state.budget[pool_id]
    budget.bound = asked.bound
    budget.is_percent = asked.is_percent
    budget.is_max = asked.is_max
    pool = state.pool[pool_id]
    budget_status(budget, pool.n_ready + pool.n_starting, pool.n_ready, pool.wanted)
    budget.left = budget.allowed


@jit_call
def mark_broken(params, state, node_id):
    """Mark the victims on a node whose budget does not allow them all to go: the most important use up what it allows. As
    upstream, for which a pod that is not ready counts like others (filterPodsWithPDBViolation).
    """
    for pool_id in range(params.n_budget):
        refresh_budget(params, state, pool_id)
    number = most_important_victim(params, state, node_id, ANY, -1)
    while number >= 0:
        if not is_run(params, state.member[number].replica):  # jobs have no budgets
            mark_member(params, state, node_id, number)
        number = most_important_victim(params, state, node_id, ANY, number)


@jit_call
def mark_member(params, state, node_id, number):
    """Mark a member of a replica; of a gang that has several members on the node the first one counts."""
    member = state.member[number]
    pool_id = state.replica[member.replica].pool
    first = first_member(params, state, member.replica)
    while state.member[first].node != node_id:
        first += 1
    if first < number:
        member.is_victim = state.member[first].is_victim
    elif params.budget[pool_id].is_set == 1:
        state.budget[pool_id].left -= 1
        if state.budget[pool_id].left < 0:
            member.is_victim = BREAKS


@jit_call
def count_broken(state, node_id):
    """How many victims on a node would break a budget."""
    n = 0
    number = state.node[node_id].first_held
    while number >= 0:
        n += (state.member[number].is_victim == BREAKS) * 1
        number = state.member[number].next
    return n
