"""What samples see of the links that starts share."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.histogram import add_wide
from sim.model.base.step_time import slowed


@jit_call
def sample_links(params, state, number, t):
    """Write a row of the time series per link. Rates that the last instant's changes ask for are shared out 1 ps later."""
    span_ps = t - state.shared_ps
    for i in range(params.n_link):
        row = state.link_sample[number * params.n_link + i]
        carrier = state.link[i]
        row.time_ps = t
        row.link = i
        row.n = carrier.n
        row.rate_q40 = carrier.rate_q40 if carrier.n > 0 else 0
        row.capacity_q40 = params.link[i].bandwidth_q40
        if carrier.is_slow == 1:
            row.capacity_q40 = slowed(row.capacity_q40, carrier.factor_q20)
        for j in range(2):
            row.moved_bytes[j] = carrier.moved_bytes[j]
            row.busy_ps[j] = carrier.busy_ps[j]
            row.full_ps[j] = carrier.full_ps[j]
        if carrier.n > 0:
            add_wide(row.busy_ps, span_ps)
        if carrier.is_full == 1:
            add_wide(row.full_ps, span_ps)
