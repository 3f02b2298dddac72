"""What the gateway holds: requests that no replica may take yet, and in which order they go when one may.

Held requests stand in lanes: one lane a group, or one a tenant where tenants share fairly. A fair share is a virtual
token counter's (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024): the lane whose tenant has been
served the fewest weighted tokens goes first, and a tenant that comes back from idleness claims nothing for it.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.batch import comes_before
from sim.model.blame import held_until
from sim.model.gateway import find_replica, hand_over
from sim.model.lanes import lane_of, note_served
from sim.model.layout import (
    F_ATTEMPT,
    F_NEXT,
    F_PREV,
    F_PROMPT,
    F_REQUEST,
    F_SIZE,
    F_STATE,
    G_HOLD_ORDER,
    G_LOAD,
    G_N_POOL,
    G_OUTSTANDING_MAX,
    G_ROUTER,
    G_SIZE,
    H_HELD,
    H_N_READY,
    H_SIZE,
    HOLD_FAIR,
    HOLD_PRIORITY,
    LEAST_OUTSTANDING,
    N_HEAD,
    N_HELD,
    N_SERVED,
    N_SIZE,
    N_STAMP,
    N_TAIL,
    P_ATTEMPTS,
    P_N_GROUP,
    P_N_LANE,
    PLACE_BITS,
    S_NEXT_IN,
    S_RELEASE,
    S_RELEASES,
    SEQ_HELD,
)
from sim.model.router import choose_fitting, choose_replica, is_choosy, n_fitting_pools
from sim.model.tree import tree_first_key
from sim.units import NEVER


# ---- who may take one ----------------------------------------------------------------------
@jit
def has_room(p, st, g):
    """Whether any ready replica of a group may take another request."""
    if st.m[st.group + g * H_SIZE + H_N_READY] == 0:
        return False
    go = p.group + g * G_SIZE
    most = p.m[go + G_OUTSTANDING_MAX]
    return most == NEVER or tree_first_key(st.m, st.load + p.m[go + G_LOAD]) >> PLACE_BITS < most


@jit
def find_room(p, st, g, i, attempt, fitting, t):
    """A replica that may take an attempt at request i, counted from 0, at t, or −1; it fits `fitting` pools."""
    go = p.group + g * G_SIZE
    most = p.m[go + G_OUTSTANDING_MAX]
    if most != NEVER and not has_room(p, st, g):
        return -1
    if most == NEVER:
        return find_replica(p, st, g, i, attempt, fitting, t)
    if p.m[go + G_ROUTER] == LEAST_OUTSTANDING and fitting == p.m[go + G_N_POOL] and not is_choosy(p, g, i):
        return choose_replica(p, st, g, i, attempt, t)  # which holds the least, so it has room if any has
    return choose_fitting(p, st, g, i, attempt, most, t)


@jit
def note_room(p, st, g, t):
    """A replica of a group has come to hold less: at t the gateway looks whether it may take what is held."""
    capped = p.m[p.group + g * G_SIZE + G_OUTSTANDING_MAX] != NEVER
    if capped and st.m[st.group + g * H_SIZE + H_HELD] > 0:
        st.m[S_RELEASE] = min(st.m[S_RELEASE], t)
        st.m[S_NEXT_IN] = min(st.m[S_NEXT_IN], t)


# ---- lanes ----------------------------------------------------------------------
@jit_call
def hold(p, st, g, s):
    """Keep a request at the gateway until a replica may take it."""
    no = lane_of(p, st, g, s)
    so = st.slot + s * F_SIZE
    if st.m[no + N_HELD] == 0:
        st.m[no + N_HEAD] = -1
        st.m[no + N_TAIL] = -1
        if p.m[p.group + g * G_SIZE + G_HOLD_ORDER] == HOLD_FAIR:
            catch_up(p, st, g, no)
    before = st.m[no + N_TAIL]
    if p.m[p.group + g * G_SIZE + G_HOLD_ORDER] == HOLD_PRIORITY:
        while before >= 0 and comes_before(p, st, s, before):
            before = st.m[st.slot + before * F_SIZE + F_PREV]
    after = st.m[no + N_HEAD] if before < 0 else st.m[st.slot + before * F_SIZE + F_NEXT]
    st.m[so + F_STATE] = SEQ_HELD
    st.m[so + F_PREV] = before
    st.m[so + F_NEXT] = after
    if before >= 0:
        st.m[st.slot + before * F_SIZE + F_NEXT] = s
    else:
        st.m[no + N_HEAD] = s
    if after >= 0:
        st.m[st.slot + after * F_SIZE + F_PREV] = s
    else:
        st.m[no + N_TAIL] = s
    st.m[no + N_HELD] += 1
    st.m[st.group + g * H_SIZE + H_HELD] += 1


@jit_call
def drop_held(p, st, g, s):
    """Take a request out of those that the gateway holds; the others keep their order."""
    no = lane_of(p, st, g, s)
    before = st.m[st.slot + s * F_SIZE + F_PREV]
    after = st.m[st.slot + s * F_SIZE + F_NEXT]
    if before >= 0:
        st.m[st.slot + before * F_SIZE + F_NEXT] = after
    else:
        st.m[no + N_HEAD] = after
    if after >= 0:
        st.m[st.slot + after * F_SIZE + F_PREV] = before
    else:
        st.m[no + N_TAIL] = before
    st.m[no + N_HELD] -= 1
    st.m[st.group + g * H_SIZE + H_HELD] -= 1


# ---- fair shares ----------------------------------------------------------------------
@jit_call
def catch_up(p, st, g, no):
    """A tenant that held nothing holds again: it is counted as served no less than the least served that waits."""
    least = -1
    for lane in range(p.m[P_N_LANE]):
        other = st.lane + (g * p.m[P_N_LANE] + lane) * N_SIZE
        if st.m[other + N_HELD] > 0 and (least < 0 or st.m[other + N_SERVED] < least):
            least = st.m[other + N_SERVED]
    st.m[no + N_SERVED] = max(st.m[no + N_SERVED], least)


@jit_call
def next_lane(p, st, g):
    """Where the lane starts whose turn it is: the least served that this release has not found blocked; or −1."""
    best = -1
    for lane in range(p.m[P_N_LANE]):
        no = st.lane + (g * p.m[P_N_LANE] + lane) * N_SIZE
        waits = st.m[no + N_HELD] > 0 and st.m[no + N_STAMP] != st.m[S_RELEASES]
        if waits and (best < 0 or st.m[no + N_SERVED] < st.m[best + N_SERVED]):
            best = no
    return best


# ---- release ----------------------------------------------------------------------
@jit_call
def release_from(p, st, g, no, most, t):
    """Route up to `most` of a lane, in order; what no replica may take stays. Returns how many went."""
    went = 0
    s = st.m[no + N_HEAD]
    while s >= 0 and went < most and has_room(p, st, g):
        after = st.m[st.slot + s * F_SIZE + F_NEXT]
        attempt = st.m[st.slot + s * F_SIZE + F_ATTEMPT] - 1 if p.m[P_ATTEMPTS] == 1 else 0
        i = st.m[st.slot + s * F_SIZE + F_REQUEST]
        r = find_room(p, st, g, i, attempt, n_fitting_pools(p, g, i), t)
        if r >= 0:
            drop_held(p, st, g, s)
            held_until(st, g, s, t)
            note_served(p, st, g, s, st.m[st.slot + s * F_SIZE + F_PROMPT])
            hand_over(p, st, g, r, s, t)
            went += 1
        s = after
    return went


@jit_call
def release(p, st, t):
    """Replicas have become ready, or hold less: route what is held as far as they may take it."""
    st.m[S_RELEASE] = NEVER
    st.m[S_RELEASES] += 1
    for g in range(p.m[P_N_GROUP]):
        fair = p.m[p.group + g * G_SIZE + G_HOLD_ORDER] == HOLD_FAIR
        while st.m[st.group + g * H_SIZE + H_HELD] > 0 and has_room(p, st, g):
            no = next_lane(p, st, g)
            if no < 0:
                break
            if release_from(p, st, g, no, 1 if fair else NEVER, t) == 0 or not fair:
                st.m[no + N_STAMP] = st.m[S_RELEASES]
