"""The gateway's response cache: answers by what was asked, the least recently used goes first, all of them age.

What a request asks for is a number drawn with the traffic. Entries form a list from the last used to the least; an
answer is kept from when it was complete, and served while it is younger than its lifetime.
"""

from __future__ import annotations

from sim.jit import jit, jit_call
from sim.model.layout import (
    E_FILLED_PS,
    E_NEXT,
    E_PREV,
    E_SIZE,
    F_REQUEST,
    F_SIZE,
    P_CACHE_ENTRIES,
    P_CACHE_LIFE_PS,
    P_CONTENTS,
    P_N_CONTENT,
    S_CACHE_FIRST,
    S_CACHE_LAST,
    S_CACHED,
)

ABSENT = 0  # of E_FILLED_PS, which holds the time + 1


@jit
def content_of(p, st, s):
    """What the request in slot s asks for, or −1."""
    if p.m[P_N_CONTENT] == 0:
        return -1
    return p.trace[p.m[P_CONTENTS] + st.m[st.slot + s * F_SIZE + F_REQUEST]]


@jit_call
def take_out(st, content):
    """Take an entry out of the list."""
    eo = st.content + content * E_SIZE
    before = st.m[eo + E_PREV]
    after = st.m[eo + E_NEXT]
    if before >= 0:
        st.m[st.content + before * E_SIZE + E_NEXT] = after
    else:
        st.m[S_CACHE_FIRST] = after
    if after >= 0:
        st.m[st.content + after * E_SIZE + E_PREV] = before
    else:
        st.m[S_CACHE_LAST] = before
    st.m[eo + E_FILLED_PS] = ABSENT
    st.m[S_CACHED] -= 1


@jit_call
def link_first(st, content, filled):
    """Put an entry in front."""
    eo = st.content + content * E_SIZE
    first = st.m[S_CACHE_FIRST] if st.m[S_CACHED] > 0 else -1
    st.m[eo + E_PREV] = -1
    st.m[eo + E_NEXT] = first
    st.m[eo + E_FILLED_PS] = filled
    if first >= 0:
        st.m[st.content + first * E_SIZE + E_PREV] = content
    else:
        st.m[S_CACHE_LAST] = content
    st.m[S_CACHE_FIRST] = content
    st.m[S_CACHED] += 1


@jit
def is_cached(p, st, content, t):
    """Whether an answer lies in the cache at t; it is then the last used. One that is too old goes."""
    if content < 0:
        return False
    filled = st.m[st.content + content * E_SIZE + E_FILLED_PS]
    if filled == ABSENT:
        return False
    take_out(st, content)
    if t - (filled - 1) >= p.m[P_CACHE_LIFE_PS]:
        return False
    link_first(st, content, filled)
    return True


@jit
def keep_answer(p, st, content, t):
    """An answer is complete at t: keep it, and let the least recently used go where there is no room."""
    if content < 0 or p.m[P_CACHE_ENTRIES] == 0:
        return
    if st.m[st.content + content * E_SIZE + E_FILLED_PS] != ABSENT:
        take_out(st, content)
    elif st.m[S_CACHED] == p.m[P_CACHE_ENTRIES]:
        take_out(st, st.m[S_CACHE_LAST])
    link_first(st, content, t + 1)
