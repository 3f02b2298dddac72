"""Faults that begin and end: brown-outs, throttled GPUs, slow links.

What they strike, when and for how long is drawn by fault and number, not by what happens in the run: every policy meets
the same ones.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.capacity.nodes import node_of_gpu, strikes_group
from sim.model.capacity.speed import is_victim, set_speeds, strikes_place, strikes_pool
from sim.model.faults.gpu_lost import can_lose_gpu, lose_gpus, repair_gpus
from sim.model.faults.restarts import crash_replica, hang_replica
from sim.model.tables.cause import CAUSE_LASTING_FAULT, NO_EVENT
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.fault import CRASH, GPU_LOST, HANG, SLOW_LINK, SLOW_STEPS
from sim.model.tables.node import EVENT_FAULT_BEGINS, EVENT_FAULT_ENDS, NODE_ABSENT
from sim.model.tables.pool import N_QUANTILE_BITS
from sim.model.telemetry.causes import act_because
from sim.model.telemetry.cluster_log import log_event
from sim.model.transfers.links import settle_transfers, wake_for_transfers
from sim.rng import STREAM_EPISODE, STREAM_LASTS, STREAM_STRUCK, draw, draw_below
from sim.units import NEVER


# ---- when ----------------------------------------------------------------------
@jit
def drawn_ps(params, quantile_ps, stream, e, n):
    """One of N_QUANTILE equally likely durations, of the n-th time of the e-th episode."""
    return quantile_ps[draw(params.seed, stream, e, n) >> (63 - N_QUANTILE_BITS)]


@jit_call
def begin_episodes(params, state):
    """Set when each episode begins first."""
    for e in range(params.n_episode):
        episode = params.episode[e]
        at_ps = episode.at_ps
        if at_ps == NEVER and episode.clock > 0:
            clock = params.fault_clock[episode.clock - 1]
            at_ps = drawn_ps(params, clock.gap_ps, STREAM_EPISODE, e, 0)
        state.episode[e].next_ps = at_ps


@jit_call
def next_episode_ps(params, state):
    """When the next of them begins or ends."""
    at_ps = NEVER
    for e in range(params.n_episode):
        at_ps = min(at_ps, state.episode[e].next_ps)
    return at_ps


@jit_call
def on_episode(params, state, t):
    """Of the episodes that begin or end at t, the first does."""
    for e in range(params.n_episode):
        if state.episode[e].next_ps <= t:
            if state.episode[e].is_on == 1:
                end_episode(params, state, e, t)
            else:
                begin_episode(params, state, e, t)
            return


@jit_call
def begin_episode(params, state, e, t):
    """The e-th episode begins at t."""
    episode = params.episode[e]
    struck = state.episode[e]
    lasts_ps = episode.lasts_ps
    if episode.clock > 0:
        clock = params.fault_clock[episode.clock - 1]
        lasts_ps = drawn_ps(params, clock.lasts_ps, STREAM_LASTS, e, struck.n)
    struck.is_on = 1
    struck.next_ps = t + max(1, lasts_ps)
    struck.n_struck = 0
    if episode.units < NEVER:
        choose_struck(params, state, e)
    struck.n += 1
    act_because(state, CAUSE_LASTING_FAULT, e, NO_EVENT)
    log_event(params, state, EVENT_FAULT_BEGINS, -1, -1, e, t)
    struck.event = state.n_event - 1
    state.because = struck.event
    take_effect(params, state, e, t)
    if episode.kind == CRASH:
        crash_struck(params, state, e, t)
    elif episode.kind == HANG:
        hang_struck(params, state, e, t)
    elif episode.kind == GPU_LOST:
        lose_gpus(params, state, e, t)


@jit_call
def end_episode(params, state, e, t):
    """The e-th episode is over at t; when it comes again is drawn."""
    episode = params.episode[e]
    struck = state.episode[e]
    struck.is_on = 0
    struck.next_ps = NEVER
    if episode.at_ps == NEVER and episode.clock > 0:
        clock = params.fault_clock[episode.clock - 1]
        struck.next_ps = t + max(1, drawn_ps(params, clock.gap_ps, STREAM_EPISODE, e, struck.n))
    act_because(state, CAUSE_LASTING_FAULT, e, struck.event)
    log_event(params, state, EVENT_FAULT_ENDS, -1, -1, e, t)
    take_effect(params, state, e, t)
    if params.episode[e].kind == HANG:
        crash_struck(params, state, e, t)
    elif params.episode[e].kind == GPU_LOST:
        repair_gpus(params, state, e, t)


@jit_call
def take_effect(params, state, e, t):
    """What is as it is while the e-th episode lasts is so from t on, or no longer."""
    if params.episode[e].kind == SLOW_LINK:
        slow_link(params, state, params.episode[e].link - 1, t)
    elif params.episode[e].kind == SLOW_STEPS:
        set_speeds(params, state, t)


# ---- processes ----------------------------------------------------------------------
@jit
def is_struck(params, state, e, r):
    """Whether the e-th episode strikes replica r, which serves, now."""
    return (
        state.replica[r].stage >= STAGE_READY
        and strikes_pool(params, state, e, r)
        and strikes_place(params, state, e, r)
    )


@jit_call
def crash_struck(params, state, e, t):
    """What the e-th episode strikes crashes at t; where it made replicas hang, those that still do."""
    for r in range(params.n_replica):
        was_hung = params.episode[e].kind == CRASH or state.replica[r].is_hung == 1
        if was_hung and is_struck(params, state, e, r):
            act_because(
                state, CAUSE_LASTING_FAULT, e, state.episode[e].event
            )  # not because another one crashed
            crash_replica(params, state, r, t)


@jit_call
def hang_struck(params, state, e, t):
    """What the e-th episode strikes stands still from t on."""
    for r in range(params.n_replica):
        if is_struck(params, state, e, r):
            hang_replica(params, state, r, t)


# ---- what is struck ----------------------------------------------------------------------
@jit_call
def could_strike(params, state, e, unit):
    """Whether the e-th episode could strike a GPU, a node or a replica that it does not strike yet."""
    if params.episode[e].kind == GPU_LOST:
        birth = state.node[node_of_gpu(params, unit)].request
        return can_lose_gpu(params, state, e, unit) and not is_victim(params, state, e, unit, birth)
    if params.episode[e].is_of_nodes == 1:
        node = state.node[unit]
        is_there = node.stage != NODE_ABSENT and strikes_group(params, params.episode[e], node.group)
        return is_there and not is_victim(params, state, e, unit, node.request)
    replica = state.replica[unit]
    is_there = replica.stage >= STAGE_READY and strikes_pool(params, state, e, unit)
    return is_there and not is_victim(params, state, e, unit, replica.start)


@jit_call
def birth_of(params, state, e, unit):
    """Which request of a node, or start of a replica, a unit is, or that of a GPU's node."""
    if params.episode[e].kind == GPU_LOST:
        return state.node[node_of_gpu(params, unit)].request
    return state.node[unit].request if params.episode[e].is_of_nodes == 1 else state.replica[unit].start


@jit_call
def choose_struck(params, state, e):
    """Draw what the e-th episode strikes this time, as many as it takes or there are."""
    episode = params.episode[e]
    struck = state.episode[e]
    n_unit = params.n_node if episode.is_of_nodes == 1 else params.n_replica
    if episode.kind == GPU_LOST:
        n_unit = params.n_gpu
    while struck.n_struck < episode.n_victim:
        n = 0
        for unit in range(n_unit):
            n += int(could_strike(params, state, e, unit))
        if n == 0:
            return
        which = draw_below(params.seed, STREAM_STRUCK, e, (struck.n << 16) + struck.n_struck, n)
        unit = 0
        while which > 0 or not could_strike(params, state, e, unit):
            which -= int(could_strike(params, state, e, unit))
            unit += 1
        victim = state.victim[episode.first_victim + struck.n_struck]
        victim.unit = unit
        victim.birth = birth_of(params, state, e, unit)
        struck.n_struck += 1


# ---- links ----------------------------------------------------------------------
@jit_call
def slow_link(params, state, i, t):
    """The i-th link carries from t on what the episodes leave of it; the rates of all transfers follow."""
    settle_transfers(params, state, t)
    carrier = state.link[i]
    carrier.is_slow = 0
    carrier.factor_q20 = 0
    for e in range(params.n_episode):
        episode = params.episode[e]
        if episode.kind == SLOW_LINK and episode.link == 1 + i and state.episode[e].is_on == 1:
            is_less = carrier.is_slow == 0 or episode.factor_q20 < carrier.factor_q20
            if is_less:
                carrier.factor_q20 = episode.factor_q20
            carrier.is_slow = 1
    state.rates_ps = t
    wake_for_transfers(state, t + 1)
