"""Which version answered, whether the answer was bad, and what the gates of its deployment see of it.

Whether a version's answer to a request is bad is drawn by request: where one version has more bad answers than another,
it has those of the other too.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.tables.codes import M_E2E, M_ITL_MAX, M_QUEUE_WAIT, M_TPOT, M_TTFT
from sim.model.tables.gate import GATE_ERRORS
from sim.rng import STREAM_ANSWER, draw

SHARE_SHIFT = 33  # of a draw's 63 bits, to 30


@jit
def is_bad(params, pool_id, i):
    """Whether a pool's answer to request i is bad."""
    return (draw(params.seed, STREAM_ANSWER, i, 0) >> SHARE_SHIFT) < params.version[pool_id].bad_q30


@jit_call
def note_answer(params, state, slot, r, ttft_ps, tpot_ps, e2e_ps):
    """Replica r has answered a request in full: count it for its version, and for the gates that look at that."""
    if r < 0:
        return  # the response cache did
    pool_id = state.replica[r].pool
    version = params.version[pool_id]
    own = state.version[pool_id]
    own.answered += 1
    if version.bad_q30 > 0 and is_bad(params, pool_id, slot.request):
        own.bad += 1
    for number in range(version.first_gate, version.first_gate + version.n_gate):
        measure = params.gate[number].measure
        value = -1
        if measure == M_TTFT:
            value = ttft_ps
        elif measure == M_E2E:
            value = e2e_ps
        elif measure == M_QUEUE_WAIT:
            value = slot.scheduled_ps - slot.taken_ps
        elif measure == GATE_ERRORS:
            value = 0
        elif slot.output > 1 and measure == M_TPOT:
            value = tpot_ps
        elif slot.output > 1 and measure == M_ITL_MAX:
            value = slot.gap_max
        if value >= 0:
            count_value(params.gate[number], state.gate[number], value)


@jit
def count_value(gate, own, value):
    """A gate sees one more request."""
    own.seen += 1
    own.over += (value > gate.at_most) * 1
    own.far_over += (value > gate.fail_above) * 1


@jit_call
def note_failure(params, state, r):
    """An attempt at replica r failed or ran out of time."""
    if r < 0:
        return
    pool_id = state.replica[r].pool
    version = params.version[pool_id]
    state.version[pool_id].failed += 1
    for number in range(version.first_gate, version.first_gate + version.n_gate):
        if params.gate[number].measure == GATE_ERRORS:
            state.gate[number].seen += 1
            state.gate[number].over += 1
            state.gate[number].far_over += 1
