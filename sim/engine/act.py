"""One rule at a time: what the SimPy engine and the host call in the middle of a run."""

from __future__ import annotations

from sim.model.control import apply_policy, control
from sim.model.faults import on_fault
from sim.model.fleet import begin, finish, on_replica
from sim.model.inputs import on_input
from sim.model.layout import L_BLOCKS, L_SIZE, R_POOL, R_SIZE
from sim.model.lifecycle import become_ready, begin_drain, on_stage, scale_to
from sim.model.observe import metric_milli
from sim.model.replica import blocks_used

(
    ACT_BEGIN,
    ACT_FINISH,
    ACT_STAGE,
    ACT_INPUT,
    ACT_BOUNDARY,
    ACT_CONTROL,
    ACT_SCALE,  # (pool, replicas)
    ACT_TARGET,  # (pool, replicas) as the answer of a policy
    ACT_METRIC,  # → milli
    ACT_BLOCKS,  # → blocks in use
    ACT_READY,
    ACT_DRAIN,
    ACT_FAULT,
) = range(13)


def act(p, st, what, which, value, t):  # type: ignore[no-untyped-def]
    """Apply one rule to replica or pool `which` at t; returns what it reads, else 0. Compiled by `sim.engine.cpu`."""
    if what == ACT_BOUNDARY:
        on_replica(p, st, which, t)
    elif what == ACT_INPUT:
        on_input(p, st, t)
    elif what == ACT_STAGE:
        on_stage(p, st, which, t)
    elif what == ACT_CONTROL:
        control(p, st, t)
    elif what == ACT_SCALE:
        scale_to(p, st, which, value, t)
    elif what == ACT_TARGET:
        apply_policy(p, st, which, value, t)
    elif what == ACT_METRIC:
        return metric_milli(p, st, which, t)
    elif what == ACT_BLOCKS:
        return blocks_used(
            p, st, which, p.m[p.pool + st.m[st.rep + which * R_SIZE + R_POOL] * L_SIZE + L_BLOCKS], t
        )
    elif what == ACT_FAULT:
        on_fault(p, st, t)
    elif what == ACT_READY:
        become_ready(p, st, which, t)
    elif what == ACT_DRAIN:
        begin_drain(p, st, which, t)
    elif what == ACT_BEGIN:
        begin(p, st)
    elif what == ACT_FINISH:
        finish(p, st)
    return 0
