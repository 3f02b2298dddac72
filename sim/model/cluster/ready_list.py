"""The replicas of a served model that are ready, sorted by number: whom routers choose from."""

from __future__ import annotations

from sim.compile.jit import jit_call
from sim.model.base.min_tree import tree_set
from sim.units import NEVER


@jit_call
def insert_ready(params, state, g, r):
    """Put a replica into its served model's ready list, which is sorted by index."""
    first = params.served_model[g].first_replica
    j = state.served_model[g].n_ready
    while j > 0 and state.ready[first + j - 1] > r:
        state.ready[first + j] = state.ready[first + j - 1]
        j -= 1
    state.ready[first + j] = r
    state.served_model[g].n_ready += 1


@jit_call
def drop_ready(params, state, g, r):
    """Take a replica out of its served model's ready list and load tree."""
    model = params.served_model[g]
    first = model.first_replica
    n = state.served_model[g].n_ready - 1
    j = 0
    while state.ready[first + j] != r:
        j += 1
    while j < n:
        state.ready[first + j] = state.ready[first + j + 1]
        j += 1
    state.served_model[g].n_ready = n
    tree_set(state.load[model.load_at :], model.leaves, r - first, NEVER)
