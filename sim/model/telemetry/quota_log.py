"""What a run writes down of its queues with quotas: sums of what they use, at each sample and mark."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.histogram import add_wide, finished
from sim.model.record.request_record import hash_of
from sim.model.tables.quota import QUOTA_SAMPLE_SIZE


@jit_call
def settle_quotas(params, state, t):
    """Bring the sums of what queues use up to t; before every change of it."""
    for queue in range(params.n_quota_queue):
        for pair in range(params.n_quota_pair):
            at = queue * params.n_quota_pair + pair
            use = state.quota_use[at]
            dt = t - use.area_ps
            add_wide(use.used_ps, state.quota_used[at] * dt)
            add_wide(use.borrowed_ps, max(0, state.quota_used[at] - params.quota[at].nominal) * dt)
            use.area_ps = t


@jit_call
def mark_quotas(params, state, number, t):
    """Keep what queues have used by t."""
    settle_quotas(params, state, t)
    n = params.n_quota_queue * params.n_quota_pair
    for at in range(n):
        mark = state.quota_mark[number * n + at]
        for j in range(2):
            mark.used_ps[j] = state.quota_use[at].used_ps[j]
            mark.borrowed_ps[j] = state.quota_use[at].borrowed_ps[j]


@jit_call
def sample_quotas(params, state, number, t):
    """Write a row of the time series per queue and flavour and fold it into the digest."""
    for queue in range(params.n_quota_queue):
        for pair in range(params.n_quota_pair):
            at = queue * params.n_quota_pair + pair
            row = state.quota_sample[number * params.n_quota_queue * params.n_quota_pair + at]
            row.time_ps = t
            row.queue = queue
            row.pair = pair
            row.used = state.quota_used[at]
            row.borrowed = max(0, state.quota_used[at] - params.quota[at].nominal)
            count_waiting(params, state, row)
            state.digest += finished(hash_of(row.words, QUOTA_SAMPLE_SIZE))


@jit_call
def count_waiting(params, state, row):
    """Count who of a queue waits for quota and could use a flavour, and who has quota of it and waits for slices."""
    row.pending = 0
    row.unplaced = 0
    w = state.first_waiting
    while w >= 0:
        place = params.pool_place[state.workload[w].place]
        if place.queue == 1 + row.queue:
            workload = state.quota_workload[w]
            if workload.queue >= 0:
                row.unplaced += (workload.flavor == row.pair) * 1
            else:
                row.pending += (place.flavors >> row.pair) & 1
        w = state.workload[w].next
