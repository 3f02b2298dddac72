"""Gates: what a measurement of the new version says, and what an analysis makes of its measurements.

An analysis fails when more measurements failed than may, is inconclusive when more were inconclusive than may, and ends in
an error, which counts as a failure, when too many in a row had too little to look at. In this order, as upstream looks.
Source: argoproj/argo-rollouts analysis/analysis.go (assessMetricStatus, assessMetricFailureInconclusiveOrError,
generateMeasurementTasks), metricproviders' evaluateResult.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.tables.gate import GATE_ERRORS, MILLION, N_SNAP, PERCENTILE, SLICES
from sim.units import NEVER

PHASES = ("successful", "failed", "inconclusive", "error")
SUCCESSFUL, FAILED, INCONCLUSIVE, ERROR = range(4)
RUNNING = -1  # an analysis that has not decided yet


# ---- one measurement ----------------------------------------------------------------------
@jit
def few_enough(gate, n, over, limit):
    """Whether a gate's value is no more than a limit: `over` of n requests are above it, failed or bad.

    A percentile is no more than the limit when as many requests are no more than it as the percentile's rank says, the
    nearest; a share, in millionths, when it is.
    """
    if gate.measure >= GATE_ERRORS:
        return over * MILLION <= limit * n
    rank = -(-n * gate.percentile_milli // PERCENTILE)
    return n - over >= rank


@jit
def phase_of(gate, n, over, far_over):
    """What a measurement of n requests says."""
    if few_enough(gate, n, over, gate.at_most):
        return SUCCESSFUL
    if gate.fail_above == NEVER or not few_enough(gate, n, far_over, gate.fail_above):
        return FAILED
    return INCONCLUSIVE


# ---- the analysis ----------------------------------------------------------------------
@jit_call
def count_phase(gate, own, phase, t):
    """A measurement at t said `phase`: count it, and set when the next one is."""
    own.n_measured += 1
    own.next_ps = t + (gate.retry_ps if phase == ERROR else gate.period_ps)
    if phase == ERROR:
        own.n_errors += 1
        return
    own.n_errors = 0
    own.n_done += 1
    own.n_failed += (phase == FAILED) * 1
    own.n_inconclusive += (phase == INCONCLUSIVE) * 1
    if gate.count > 0 and own.n_done >= gate.count:
        own.next_ps = NEVER


@jit
def verdict_of(gate, own):
    """What an analysis has come to: RUNNING, or how it ended."""
    if own.n_failed > gate.failure_limit:
        return FAILED
    if own.n_inconclusive > gate.inconclusive_limit:
        return INCONCLUSIVE
    if own.n_errors > gate.error_limit:
        return ERROR
    if gate.count > 0 and own.n_done >= gate.count:
        return SUCCESSFUL
    return RUNNING


@jit
def begin_analysis(gate, own, t):
    """A new analysis begins at t."""
    own.n_done = 0
    own.n_failed = 0
    own.n_inconclusive = 0
    own.n_errors = 0
    own.next_ps = t + gate.delay_ps


# ---- the window ----------------------------------------------------------------------
@jit_call
def keep_sums(gate, own, t):
    """Keep the sums at t, unless they were kept a moment ago."""
    last = (own.n_snap - 1) % N_SNAP
    if own.n_snap > 0 and t - own.snap_ps[last] < max(1, gate.window_ps // SLICES):
        return
    place = own.n_snap % N_SNAP
    own.n_snap += 1
    own.snap_ps[place] = t
    own.snap_seen[place] = own.seen
    own.snap_over[place] = own.over
    own.snap_far_over[place] = own.far_over


@jit_call
def window_start(gate, own, t):
    """The place of the newest sums that are as old as the window is long, or −1 where none are."""
    found = -1
    for i in range(max(0, own.n_snap - N_SNAP), own.n_snap):
        if own.snap_ps[i % N_SNAP] <= t - gate.window_ps:
            found = i % N_SNAP
    return found


@jit_call
def measure_window(gate, own, t):
    """What a measurement at t of the requests that ended in the window says."""
    n, over, far_over = own.seen, own.over, own.far_over
    place = window_start(gate, own, t)
    if place >= 0:
        n -= own.snap_seen[place]
        over -= own.snap_over[place]
        far_over -= own.snap_far_over[place]
    if n < max(1, gate.samples):
        return ERROR
    return phase_of(gate, n, over, far_over)
