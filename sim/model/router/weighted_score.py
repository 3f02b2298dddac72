"""The router `weighted_score`: the lowest weighted sum of what a snapshot says of each replica.

Time is cut into intervals; the first request routed in an interval takes the snapshot, of all ready replicas of the
served model as they are then, and the later requests of that interval read it.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.replica.jump import blocks_used
from sim.model.router.load import first_looked_at, next_looked_at, outstanding_of
from sim.model.tables.codes import STAGE_READY
from sim.schema import Field, Row

KV_PARTS = 10_000


class WeightedScoreSettings(Row):
    """Settings of weighted_score."""

    weights_outstanding_milli = Field("weight of a request", begin=1000)
    weights_waiting_milli = Field("weight of a waiting request")
    weights_kv_use_milli = Field("weight of all KV blocks")
    snapshot_ps = Field("how old a snapshot gets, 0 = a new one for every request")
    count_own = Field("1 = the router adds what it has sent since the snapshot", begin=1)


class Snapshot(Row):
    """Memory of weighted_score: what the router knows of a replica."""

    start = Field("which start of its pool it is about")
    outstanding = Field("requests at the replica when the snapshot was taken")
    waiting = Field("of these, waiting")
    kv = Field("KV blocks in use then", unit="1/10000")
    sent = Field("requests sent to it since")


SNAPSHOT_SIZE = Snapshot.SIZE


@jit
def snapshot_of(state, model, r):
    """What the router of a served model knows of replica r."""
    return Snapshot(state.router_memory, model.memory_at + r * SNAPSHOT_SIZE)


@jit_call
def take_snapshot(params, state, g, t):
    """What every ready replica of a served model holds at t."""
    model = params.served_model[g]
    for r in range(model.first_replica, model.first_replica + model.n_replica):
        clear_snapshot(state, model, r)
        if state.replica[r].stage == STAGE_READY:
            blocks = params.pool[state.replica[r].pool].n_blocks
            snapshot = snapshot_of(state, model, r)
            snapshot.outstanding = outstanding_of(state, r)
            snapshot.waiting = state.replica[r].n_wait
            snapshot.kv = blocks_used(params, state, r, blocks, t) * KV_PARTS // blocks


@jit
def clear_snapshot(state, model, r):
    """Clear the snapshot of replica r: it counts as empty."""
    snapshot = snapshot_of(state, model, r)
    snapshot.start = state.replica[r].start
    snapshot.outstanding = 0
    snapshot.waiting = 0
    snapshot.kv = 0
    snapshot.sent = 0


@jit
def score_of(params, state, g, r):
    """The score of replica r; one that has become ready since the snapshot counts as empty."""
    model = params.served_model[g]
    snapshot = snapshot_of(state, model, r)
    if snapshot.start != state.replica[r].start:
        clear_snapshot(state, model, r)
    settings = WeightedScoreSettings(params, model.settings_at)
    held = snapshot.outstanding
    if settings.count_own == 1:
        held += snapshot.sent
    counts = settings.weights_outstanding_milli * held + settings.weights_waiting_milli * snapshot.waiting
    return counts * KV_PARTS + settings.weights_kv_use_milli * snapshot.kv


@jit_call
def weighted_score(params, state, route):
    """The replica of the list with the lowest score."""
    g = route.served_model
    model = params.served_model[g]
    age = WeightedScoreSettings(params, model.settings_at).snapshot_ps
    interval = route.now_ps // age + 1 if age > 0 else 0
    if age == 0 or interval != state.served_model[g].snapshot:
        state.served_model[g].snapshot = interval
        take_snapshot(params, state, g, route.now_ps)
    ready = state.ready[route.first :]
    j = first_looked_at(params, route.request, route.attempt, route.n)
    best = ready[j]
    lowest = score_of(params, state, g, best)
    for _ in range(route.n - 1):
        j = next_looked_at(j, route.n)
        score = score_of(params, state, g, ready[j])
        if score < lowest:
            best = ready[j]
            lowest = score
    snapshot_of(state, model, best).sent += 1
    return best
