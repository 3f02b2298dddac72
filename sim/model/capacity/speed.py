"""How fast a replica is: faults that last for a while make its steps slower, until they are over.

A step in progress is never timed anew: what changes holds from the next one on, and a jump is cut there. The factors of
several faults are multiplied; the members of a gang wait for the slowest of them.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.step_time import slowed
from sim.model.capacity.nodes import strikes_group
from sim.model.capacity.workloads import first_member
from sim.model.replica.jump import cut_jump
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.fault import FACTOR_MAX, FACTOR_ONE, SLOW_STEPS
from sim.units import NEVER


# ---- what an episode strikes ----------------------------------------------------------------------
@jit_call
def is_victim(params, state, e, unit, birth):
    """Whether the e-th episode, which does not strike all that it could, strikes a node or a replica."""
    first = params.episode[e].first_victim
    for i in range(first, first + state.episode[e].n_struck):
        if state.victim[i].unit == unit and state.victim[i].birth == birth:
            return True
    return False


@jit
def strikes_pool(params, state, e, r):
    """Whether replica r is of those that the e-th episode could strike, on whatever node."""
    episode = params.episode[e]
    pool_id = state.replica[r].pool
    if episode.is_of_tp == 1 and params.pool[pool_id].tp == 1:
        return False
    return episode.pool == 0 or episode.pool == 1 + pool_id


@jit_call
def strikes_node(params, state, e, node_id):
    """Whether the e-th episode, which strikes nodes, strikes one."""
    episode = params.episode[e]
    node = state.node[node_id]
    if not strikes_group(params, episode, node.group):
        return False
    return episode.units == NEVER or is_victim(params, state, e, node_id, node.request)


@jit_call
def strikes_place(params, state, e, r):
    """Whether the e-th episode, which strikes replicas of a pool, strikes replica r."""
    return params.episode[e].units == NEVER or is_victim(params, state, e, r, state.replica[r].start)


# ---- how slow a replica is ----------------------------------------------------------------------
@jit_call
def factor_on(params, state, r, node_id):
    """What the steps of replica r are multiplied by, as far as its member on a node goes; −1 = without nodes."""
    factor = FACTOR_ONE
    for e in range(params.n_episode):
        episode = params.episode[e]
        if episode.kind != SLOW_STEPS or state.episode[e].is_on == 0 or not strikes_pool(params, state, e, r):
            continue
        if episode.is_of_nodes == 0:
            is_struck = strikes_place(params, state, e, r)
        else:
            is_struck = node_id >= 0 and strikes_node(params, state, e, node_id)
        if is_struck:
            factor = min(FACTOR_MAX, slowed(factor, episode.factor_q20))
    return factor


@jit_call
def factor_of(params, state, r):
    """What the steps of replica r are multiplied by: that of its slowest member."""
    if params.n_cluster == 0:
        return factor_on(params, state, r, -1)
    factor = FACTOR_ONE
    first = first_member(params, state, r)
    for number in range(first, first + params.pool_place[state.replica[r].pool].n_member):
        factor = max(factor, factor_on(params, state, r, state.member[number].node))
    return factor


@jit_call
def set_speed(params, state, r, t):
    """Replica r, which serves, is as fast from its next step on as the episodes at t let it be."""
    replica = state.replica[r]
    factor = factor_of(params, state, r)
    slow_q20 = factor if factor != FACTOR_ONE else 0
    if slow_q20 != replica.slow_q20:
        replica.slow_q20 = slow_q20
        cut_jump(params, state, r, t)


@jit_call
def set_speeds(params, state, t):
    """All replicas that serve are as fast as the episodes at t let them be."""
    for r in range(params.n_replica):
        if state.replica[r].stage >= STAGE_READY:
            set_speed(params, state, r, t)
