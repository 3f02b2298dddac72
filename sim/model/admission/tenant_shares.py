"""Which gateway queue a request stands in, and what its tenant has been served."""

from __future__ import annotations

from sim.compile.jit import jit
from sim.model.tables.codes import HOLD_FAIR

MILLI = 1000
OUTPUT_WEIGHT = 2  # a token of an answer costs as much as two of a prompt


@jit
def queue_of(params, state, g, s):
    """The gateway queue of a request."""
    number = 0
    if params.served_model[g].hold_order == HOLD_FAIR:
        number = params.klass[state.slot[s].traffic_class].tenant
    return state.queue[g * params.n_queue + number]


@jit
def charge_tenant(params, state, g, s, tokens):
    """A tenant is served so many weighted tokens (only counted where tenants share fairly)."""
    if params.served_model[g].hold_order == HOLD_FAIR:
        tenant = params.klass[state.slot[s].traffic_class].tenant
        weight = params.tenant_weight[tenant]
        queue_of(params, state, g, s).virtual_tokens += tokens * MILLI // weight
