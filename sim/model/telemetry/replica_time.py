"""Replica time of a pool: billed, ready, serving."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.histogram import add_wide


@jit_call
def settle_areas(state, pool, t):
    """Bring replica·seconds billed, ready and serving of a pool up to t; before every change of their counts."""
    pool_state = state.pool[pool]
    dt = t - pool_state.area_ps
    add_wide(pool_state.billed_ps, pool_state.n_billed * dt)
    add_wide(pool_state.ready_ps, pool_state.n_ready * dt)
    add_wide(pool_state.serving_ps, pool_state.n_serving * dt)
    if pool_state.n_starting > 0:
        pool_state.starting_ps += dt
    pool_state.area_ps = t
