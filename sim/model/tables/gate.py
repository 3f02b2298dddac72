"""Gates of a deployment: what is measured of the new version, how often, and what it may come to."""

from __future__ import annotations

from sim.model.tables.codes import METRICS
from sim.schema import Array, Field, Row
from sim.units import NEVER

#: What a gate measures: the duration of that place in METRICS, or one of the two shares.
GATE_MEASURES = (*METRICS, "errors", "bad_answers")
GATE_ERRORS, GATE_BAD = len(METRICS), len(METRICS) + 1

MILLION = 1_000_000  # shares are in millionths
PERCENTILE = 100_000  # a percentile is in thousandths of a percent

SLICES = 32  # a window begins at most a 32nd of its length too early
N_SNAP = SLICES + 2


class Version(Row):
    """What a pool's answers are worth, and the gates that look at them."""

    bad_q30 = Field("share of its answers that are bad, of 2³⁰")
    first_gate = Field("row of the first gate of the deployment that brings it")
    n_gate = Field("gates of that deployment")


class VersionState(Row):
    """What a pool's replicas have answered."""

    answered = Field("requests answered in full")
    bad = Field("of these, with a bad answer")
    failed = Field("attempts that its replicas lost, or that ran out of time at them")


class Gate(Row):
    """A metric of an analysis of Argo Rollouts: measured again and again while a deployment is in progress."""

    measure = Field("a duration of METRICS, GATE_ERRORS or GATE_BAD")
    percentile_milli = Field("of a duration: which percentile is looked at, 99000 = p99")
    at_most = Field("a measurement is successful up to here: ps, or a share in millionths", unit="ps or 1e-6")
    fail_above = Field(
        "and has failed above this; NEVER = it has failed as soon as it is not successful",
        unit="ps or 1e-6",
        begin=NEVER,
    )
    window_ps = Field("how far back a measurement looks")
    period_ps = Field("how long after a measurement the next one is")
    retry_ps = Field("how long after one that had too little to look at", begin=10 * 10**12)
    delay_ps = Field("how long after the first replica of the new version is available the first one is")
    samples = Field("requests that a measurement needs at least; of bad answers: how many it looks at")
    seen_q30 = Field("of bad answers: share of the samples that are judged to be bad, of 2³⁰")
    count = Field("measurements within each step of a canary, behind its pause; 0 = all the time")
    failure_limit = Field("so many may fail")
    inconclusive_limit = Field("so many may be inconclusive")
    error_limit = Field("so many in a row may have too little to look at", begin=4)


class GateState(Row):
    """What a gate has seen. The last measurements of the sums below are kept side by side, in a ring."""

    seen = Field("requests of the new version that ended")
    over = Field("of these, above at_most, or failed")
    far_over = Field("of these, above fail_above")
    next_ps = Field("when it is measured next, NEVER = it is not", begin=NEVER)
    n_measured = Field("measurements so far: the number of the next one")
    n_done = Field("of this analysis, those that had enough to look at")
    n_failed = Field("of these, failed")
    n_inconclusive = Field("… inconclusive")
    n_errors = Field("measurements in a row that had too little to look at")
    n_snap = Field("how often the sums were kept")
    snap_ps = Array("when", N_SNAP, unit="ps")
    snap_seen = Array("`seen` then", N_SNAP)
    snap_over = Array("`over` then", N_SNAP)
    snap_far_over = Array("`far_over` then", N_SNAP)
