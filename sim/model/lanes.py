"""Which lane of the gateway a request stands in, and what its tenant has been served."""

from __future__ import annotations

from sim.jit import jit
from sim.model.layout import (
    F_CLASS,
    F_SIZE,
    G_HOLD_ORDER,
    G_SIZE,
    HOLD_FAIR,
    K_SIZE,
    K_TENANT,
    N_SERVED,
    N_SIZE,
    P_N_LANE,
    P_WEIGHTS,
)

MILLI = 1000
OUTPUT_WEIGHT = 2  # a token of an answer costs as much as two of a prompt


@jit
def lane_of(p, st, g, s):
    """Where the lane of a request starts."""
    lane = 0
    if p.m[p.group + g * G_SIZE + G_HOLD_ORDER] == HOLD_FAIR:
        lane = p.m[p.klass + st.m[st.slot + s * F_SIZE + F_CLASS] * K_SIZE + K_TENANT]
    return st.lane + (g * p.m[P_N_LANE] + lane) * N_SIZE


@jit
def note_served(p, st, g, s, tokens):
    """A tenant is served so many weighted tokens (only counted where tenants share fairly)."""
    if p.m[p.group + g * G_SIZE + G_HOLD_ORDER] == HOLD_FAIR:
        tenant = p.m[p.klass + st.m[st.slot + s * F_SIZE + F_CLASS] * K_SIZE + K_TENANT]
        weight = p.m[p.m[P_WEIGHTS] + tenant]
        st.m[lane_of(p, st, g, s) + N_SERVED] += tokens * MILLI // weight
