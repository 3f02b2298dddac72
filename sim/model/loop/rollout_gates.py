"""Gates of a deployment at its syncs: measurements that are due, and what comes of them.

A deployment that fails a gate goes back; one whose analysis is inconclusive waits for somebody, who never comes.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.loop.rollout_log import log_gate
from sim.model.rollout.gates import (
    ERROR,
    FAILED,
    INCONCLUSIVE,
    RUNNING,
    SUCCESSFUL,
    begin_analysis,
    count_phase,
    keep_sums,
    measure_window,
    phase_of,
    verdict_of,
)
from sim.model.tables.gate import GATE_BAD
from sim.model.tables.rollout import RollingSync
from sim.rng import STREAM_EVALUATION, draw
from sim.units import NEVER

SHARE_SHIFT = 33  # of a draw's 63 bits, to 30


@jit_call
def begin_gates(params, state, number):
    """At time 0: nothing is measured of a deployment."""
    rollout = params.rollout[number]
    for gate in range(rollout.first_gate, rollout.first_gate + rollout.n_gate):
        state.gate[gate].next_ps = NEVER


@jit_call
def evaluate(params, state, number):
    """What a measurement of answers says: each sample is bad as often as the new version's answers are, and is judged as
    often wrongly as the judge errs. The n-th measurement of a gate draws the same samples under every policy.
    """
    gate = params.gate[number]
    first = state.gate[number].n_measured * gate.samples
    n = 0
    for i in range(first, first + gate.samples):
        if (draw(params.seed, STREAM_EVALUATION, number, i) >> SHARE_SHIFT) < gate.seen_q30:
            n += 1
    return phase_of(gate, gate.samples, n, n)


@jit_call
def measure_gate(params, state, number, is_served, t):
    """One measurement at t, and what it says; `is_served` says whether the new version has a replica that is available."""
    gate = params.gate[number]
    own = state.gate[number]
    if gate.measure != GATE_BAD:
        phase = measure_window(gate, own, t)
    elif is_served:
        phase = evaluate(params, state, number)
    else:
        phase = ERROR
    count_phase(gate, own, phase, t)
    return phase


@jit
def begin_watching(params, state, number, t):
    """Gates that look all the time begin when the first replica of the new version is available."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    if own.available_ps < 0 and RollingSync(own.sync, 0).new_available > 0:
        own.available_ps = t
        for gate in range(rollout.first_gate, rollout.first_gate + rollout.n_gate):
            if params.gate[gate].count == 0:
                begin_analysis(params.gate[gate], state.gate[gate], t)


@jit_call
def judge(params, state, number, t):
    """Take the measurements that are due at t: RUNNING, or FAILED or INCONCLUSIVE by the first gate that says so."""
    rollout = params.rollout[number]
    is_served = RollingSync(state.rollout[number].sync, 0).new_available > 0
    begin_watching(params, state, number, t)
    found = RUNNING
    decided = state.rollout[number].event
    for i in range(rollout.n_gate):
        gate = params.gate[rollout.first_gate + i]
        own = state.gate[rollout.first_gate + i]
        keep_sums(gate, own, t)
        event = decided
        if own.next_ps <= t:
            phase = measure_gate(params, state, rollout.first_gate + i, is_served, t)
            event = log_gate(params, state, number, i, phase, t)
        verdict = verdict_of(gate, own)
        if found == RUNNING and (verdict == FAILED or verdict == ERROR or verdict == INCONCLUSIVE):
            state.rollout[number].because = 1 + i
            decided = event
            found = INCONCLUSIVE if verdict == INCONCLUSIVE else FAILED
    state.rollout[number].event = decided
    return found


@jit_call
def step_is_passed(params, state, number, t):
    """Whether the gates that look at each step have let the one in progress pass, whose pause is over at t."""
    rollout = params.rollout[number]
    own = state.rollout[number]
    is_new = own.is_analysed == 0
    own.is_analysed = 1
    is_passed = True
    for gate in range(rollout.first_gate, rollout.first_gate + rollout.n_gate):
        if params.gate[gate].count > 0:
            if is_new:
                begin_analysis(params.gate[gate], state.gate[gate], t)
            if verdict_of(params.gate[gate], state.gate[gate]) != SUCCESSFUL:
                is_passed = False
    if is_passed:
        own.is_analysed = 0
    return is_passed


@jit_call
def stop_gates(params, state, number):
    """Nothing more is measured of a deployment."""
    begin_gates(params, state, number)
