"""What holds of users after every event: attempts, limits, budgets and timers, counted again from the slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fill.state import timer_rows
from sim.model.tables.codes import ABANDONED, SEQ_AWAY, SEQ_THINKING, WANTED
from sim.units import NEVER

if TYPE_CHECKING:
    from sim.fill.rows import ClassRow

    from .walk import Walk


def check_attempts(walk: Walk, used: np.ndarray, inside: np.ndarray) -> None:
    """Per class: attempts = those that ended + those under way; a request has two at most, and no more than allowed."""
    slots, run = walk.slots, walk.made.run
    live = used[(slots["state"][used] != SEQ_AWAY) & (slots["fate"][used] != ABANDONED)]
    arrival = slots["arrival_ps"][live]
    live = live[(arrival >= run.warmup_ps) & (arrival < run.duration_ps)]
    counts = walk.rows("counts")
    waits = used[slots["attempts"][used] == 0]  # for the hours in which it may start
    waits = waits[(slots["arrival_ps"][waits] >= run.warmup_ps)]
    waits = waits[(slots["arrival_ps"][waits] < run.duration_ps)]
    deferred = np.bincount(slots["traffic_class"][waits], minlength=len(counts))
    for k, row in enumerate(counts):
        ended = row["ended"].sum()
        assert row["attempts"] == ended + (slots["traffic_class"][live] == k).sum()
        again = row["attempts"] - (row["offered"] - deferred[k] + row["retries"] + row["hedges"])
        falls_back = can_fall_back(walk.made.classes[k])
        assert 0 <= again <= row["offered"] * falls_back, "neither first nor retry, hedge or fallback"
        most = walk.made.classes[k].attempts_max + falls_back
        assert np.all(slots["attempts"][used[slots["traffic_class"][used] == k]] <= most)
    _, twins = np.unique(slots["request"][inside], return_counts=True)
    assert np.all(twins <= 2)
    for s in inside:
        twin = int(slots["hedge_peer"][s])
        if twin >= 0:
            assert slots["hedge_peer"][twin] == s
            assert slots["request"][twin] == slots["request"][s]
            assert slots["attempt"][twin] != slots["attempt"][s]
            assert slots["first_ps"][[s, twin]].tolist() == [-1, -1], "one of two twins has answered"


def can_fall_back(row: ClassRow) -> bool:
    """Whether a request of the class may have an attempt more than its clients make."""
    return row.fallback >= 0 and row.blocked_q20 > 0


def check_limits(walk: Walk, used: np.ndarray) -> None:
    """A bucket is never over its size or below nothing; in flight are as many as count; budgets keep their bounds."""
    slots, n_class = walk.slots, len(walk.made.classes)
    limits = walk.rows("limit")
    sizes = walk.p.rows("limit", len(limits))
    for credit, size in (("request_ps", "request_cap_ps"), ("token_ps", "token_cap_ps")):
        assert np.all(limits[credit] >= 0)
        assert np.all(limits[credit] <= sizes[size])
    counted = slots["traffic_class"][used[slots["is_counted"][used] == 1]]
    tenants = np.array([c.tenant for c in walk.made.classes])[counted]
    for row, limit in enumerate(limits):
        mine = (counted == row).sum() if row < n_class else (tenants == row - n_class).sum()
        assert limit["in_flight"] == mine <= sizes["concurrent_max"][row]
        if row < n_class and walk.made.classes[row].budget_burst_milli != NEVER:
            assert 0 <= limit["budget_milli"] <= walk.made.classes[row].budget_burst_milli


def check_timers(walk: Walk, used: np.ndarray) -> None:
    """The heap's entries bound the timers from below, none is late; whoever is away has a timer, free slots have none."""
    slots, n = walk.slots, int(walk.st.n_timer)
    rows = timer_rows(walk.st)
    heap = [(int(row["time_ps"]), int(row["key"])) for row in rows[:n]]
    owners = rows["slot"][:n]
    assert all(heap[(j - 1) >> 2] <= heap[j] for j in range(1, n))
    assert np.all(rows["time_ps"][n:] == NEVER)
    assert not heap or heap[0][0] >= walk.now_ps
    assert rows["place"][owners].tolist() == list(range(1, n + 1))
    assert set(np.flatnonzero(rows["place"])) == set(owners.tolist())
    armed = used[slots["due_ps"][used] != NEVER]
    for s in armed:
        due = (int(slots["due_ps"][s]), int(slots["due_key"][s]))
        assert walk.now_ps <= due[0]
        assert heap[int(rows["place"][s]) - 1] <= due
    away = used[slots["state"][used] >= SEQ_AWAY]  # or at a station
    assert np.all(slots["due_ps"][away] != NEVER)
    free = np.setdiff1d(owners, used)
    assert np.all(slots["due_ps"][free] == NEVER)


def check_hedges(walk: Walk, used: np.ndarray) -> None:
    """Every client that may still send a second attempt is listed, in order; which is the first of all is known."""
    slots, classes = walk.slots, walk.made.classes
    waits = sorted({c.hedge_ps for c in classes} - {NEVER})
    found = {}
    for wait, listed in zip(waits, walk.rows("hedge_list"), strict=True):
        before, s, due = 0, int(listed["head"]), []
        while s:
            row = slots[s - 1]
            assert row["hedge_prev"] == before
            assert classes[row["traffic_class"]].hedge_ps == wait
            due.append((int(row["taken_ps"]) + wait, int(row["request"]), int(row["attempt"])))
            found[s - 1] = due[-1]
            before, s = s, int(row["hedge_next"])
        assert listed["tail"] == before
        assert due == sorted(due)
    if found:
        first = min(found, key=lambda s: found[s])
        assert (walk.st.hedge_slot, walk.st.hedge_ps) == (first, found[first][0])
    else:
        assert walk.st.hedge_ps == NEVER
    assert set(used[slots["hedge_prev"][used] != -1].tolist()) == set(found)
    assert all(due[0] >= walk.now_ps for due in found.values())
    for s in used:
        row = slots[s]
        taken = row["state"] not in (SEQ_AWAY, SEQ_THINKING) and row["fate"] == WANTED
        wait = classes[row["traffic_class"]].hedge_ps
        if taken and row["first_ps"] < 0 and wait != NEVER:
            due_ps = int(row["taken_ps"]) + wait
            if walk.now_ps < due_ps < min(row["total_ps"], row["give_up_ps"]):
                assert s in found
