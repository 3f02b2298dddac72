"""The gateway's response cache: answers by question; the least recently used is evicted, and each has a lifetime.

What a request asks is a number drawn with the traffic. Entries form a list from the last used to the least recently
used; an answer is kept from when it was complete, and served while it is younger than its lifetime.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.linked_list import link, unlink

ABSENT = 0  # of CachedAnswer.filled_ps, which holds the time + 1


@jit
def content_of(params, state, s):
    """What the request in slot s asks for, or −1."""
    if params.n_content == 0:
        return -1
    return params.content[state.slot[s].request]


@jit_call
def unlink_entry(state, content):
    """Take an entry out of the list."""
    entry = state.answer[content]
    unlink(state.answer, content)
    if entry.prev < 0:
        state.cache_first = entry.next
    if entry.next < 0:
        state.cache_last = entry.prev
    entry.filled_ps = ABSENT
    state.n_cached -= 1


@jit_call
def link_entry_first(state, content, filled):
    """Put an entry in front."""
    first = state.cache_first if state.n_cached > 0 else -1
    link(state.answer, -1, content, first)
    state.answer[content].filled_ps = filled
    if first < 0:
        state.cache_last = content
    state.cache_first = content
    state.n_cached += 1


@jit
def find_answer(params, state, content, t):
    """Look an answer up at t: whether it is there. It then counts as used last; one that is too old is dropped."""
    if content < 0:
        return False
    filled = state.answer[content].filled_ps
    if filled == ABSENT:
        return False
    unlink_entry(state, content)
    if t - (filled - 1) >= params.cache_life_ps:
        return False
    link_entry_first(state, content, filled)
    return True


@jit
def keep_answer(params, state, content, t):
    """An answer is complete at t: keep it, and evict the least recently used one where the cache is full."""
    if content < 0 or params.cache_entries == 0:
        return
    if state.answer[content].filled_ps != ABSENT:
        unlink_entry(state, content)
    elif state.n_cached == params.cache_entries:
        unlink_entry(state, state.cache_last)
    link_entry_first(state, content, t + 1)
