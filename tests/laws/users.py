"""What holds of users after every event: attempts, limits, budgets and timers, counted again from the slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.model import layout as a# TODO# TODO
from sim.model.tables.codes import ABANDONED, N_ENDED, SEQ_AWAY, SEQ_THINKING, WANTED
from sim.fill.state import timer_rows
from sim.units import NEVER

if TYPE_CHECKING:
    from sim.fill.rows import ClassRow

    from .walk import Walk


def check_attempts(walk: Walk, used: np.ndarray, inside: np.ndarray) -> None:
    """Per class: attempts = those that ended + those under way; a request has two at most, and no more than allowed."""
    slots, run = walk.slots, walk.made.run
    live = used[(slots[used, a.F_STATE] != SEQ_AWAY) & (slots[used, a.F_GHOST] != ABANDONED)]
    arrival = slots[live, a.F_ARRIVAL_PS]
    live = live[(arrival >= run.warmup_ps) & (arrival < run.duration_ps)]
    counts = walk.rows("counts", a.C_SIZE)
    waits = used[slots[used, a.F_ATTEMPTS] == 0]  # for the hours in which it may start
    waits = waits[(slots[waits, a.F_ARRIVAL_PS] >= run.warmup_ps)]
    waits = waits[(slots[waits, a.F_ARRIVAL_PS] < run.duration_ps)]
    deferred = np.bincount(slots[waits, a.F_CLASS], minlength=len(counts))
    for k, row in enumerate(counts):
        ended = row[a.C_ENDED : a.C_ENDED + N_ENDED].sum()
        assert row[a.C_ATTEMPTS] == ended + (slots[live, a.F_CLASS] == k).sum()
        again = row[a.C_ATTEMPTS] - (row[a.C_OFFERED] - deferred[k] + row[a.C_RETRIES] + row[a.C_HEDGES])
        falls_back = can_fall_back(walk.made.classes[k])
        assert 0 <= again <= row[a.C_OFFERED] * falls_back, "neither first nor retry, hedge or fallback"
        most = walk.made.classes[k].attempts_max + falls_back
        assert np.all(slots[used[slots[used, a.F_CLASS] == k], a.F_ATTEMPTS] <= most)
    _, twins = np.unique(slots[inside, a.F_REQUEST], return_counts=True)
    assert np.all(twins <= 2)
    for s in inside:
        twin = int(slots[s, a.F_TWIN])
        if twin >= 0:
            assert slots[twin, a.F_TWIN] == s
            assert slots[twin, a.F_REQUEST] == slots[s, a.F_REQUEST]
            assert slots[twin, a.F_ATTEMPT] != slots[s, a.F_ATTEMPT]
            assert slots[[s, twin], a.F_FIRST_PS].tolist() == [-1, -1], "one of two twins has answered"


def can_fall_back(row: ClassRow) -> bool:
    """Whether a request of the class may have an attempt more than its clients make."""
    return row.fallback >= 0 and row.blocked_q20 > 0


def check_limits(walk: Walk, used: np.ndarray) -> None:
    """A bucket is never over its size or below nothing; in flight are as many as count; budgets keep their bounds."""
    slots, n_class = walk.slots, len(walk.made.classes)
    limits = walk.rows("limit", a.J_SIZE)
    start = int(walk.p.limit_at)
    sizes = walk.p.m[start : start + len(limits) * a.V_SIZE].reshape(-1, a.V_SIZE)
    for credit, size in ((a.J_REQUEST_PS, a.V_REQUEST_CAP), (a.J_TOKEN_PS, a.V_TOKEN_CAP)):
        assert np.all(limits[:, credit] >= 0)
        assert np.all(limits[:, credit] <= sizes[:, size])
    counted = slots[used[slots[used, a.F_COUNTED] == 1], a.F_CLASS]
    tenants = np.array([c.tenant for c in walk.made.classes])[counted]
    for row, limit in enumerate(limits):
        mine = (counted == row).sum() if row < n_class else (tenants == row - n_class).sum()
        assert limit[a.J_IN_FLIGHT] == mine <= sizes[row, a.V_CONCURRENT]
        if row < n_class and walk.made.classes[row].budget_burst_milli != NEVER:
            assert 0 <= limit[a.J_BUDGET] <= walk.made.classes[row].budget_burst_milli


def check_timers(walk: Walk, used: np.ndarray) -> None:
    """The heap's entries bound the timers from below, none is late; whoever is away has a timer, free slots have none."""
    slots, n = walk.slots, int(walk.st.n_timer)
    rows = timer_rows(walk.st)
    heap = [(int(row[a.TIMER_PS]), int(row[a.TIMER_KEY])) for row in rows[:n]]
    owners = rows[:n, a.TIMER_SLOT]
    assert all(heap[(j - 1) >> 2] <= heap[j] for j in range(1, n))
    assert np.all(rows[n:, a.TIMER_PS] == NEVER)
    assert not heap or heap[0][0] >= walk.now_ps
    assert rows[owners, a.TIMER_PLACE].tolist() == list(range(1, n * a.TIMER_SIZE, a.TIMER_SIZE))
    assert set(np.flatnonzero(rows[:, a.TIMER_PLACE])) == set(owners.tolist())
    armed = used[slots[used, a.F_DUE_PS] != NEVER]
    for s in armed:
        due = (int(slots[s, a.F_DUE_PS]), int(slots[s, a.F_DUE_KEY]))
        assert walk.now_ps <= due[0]
        assert heap[int(rows[s, a.TIMER_PLACE]) // a.TIMER_SIZE] <= due
    away = used[slots[used, a.F_STATE] >= SEQ_AWAY]  # or at a station
    assert np.all(slots[away, a.F_DUE_PS] != NEVER)
    free = np.setdiff1d(owners, used)
    assert np.all(slots[free, a.F_DUE_PS] == NEVER)


def check_hedges(walk: Walk, used: np.ndarray) -> None:
    """Every client that may still send a second attempt is listed, in order; which is the first of all is known."""
    slots, classes = walk.slots, walk.made.classes
    waits = sorted({c.hedge_ps for c in classes} - {NEVER})
    found = {}
    for wait, (head, tail) in zip(waits, walk.rows("hedge", a.HEDGE_SIZE), strict=True):
        before, s, due = 0, int(head), []
        while s:
            row = slots[s - 1]
            assert row[a.F_HEDGE_PREV] == before
            assert classes[row[a.F_CLASS]].hedge_ps == wait
            due.append((int(row[a.F_TAKEN_PS]) + wait, int(row[a.F_REQUEST]), int(row[a.F_ATTEMPT])))
            found[s - 1] = due[-1]
            before, s = s, int(row[a.F_HEDGE_NEXT])
        assert tail == before
        assert due == sorted(due)
    if found:
        first = min(found, key=lambda s: found[s])
        assert walk.st.m[[a.S_HEDGE, a.S_HEDGE_PS]].tolist() == [first, found[first][0]]
    else:
        assert walk.st.hedge_ps == NEVER
    assert set(used[slots[used, a.F_HEDGE_PREV] != -1].tolist()) == set(found)
    assert all(due[0] >= walk.now_ps for due in found.values())
    for s in used:
        row = slots[s]
        taken = row[a.F_STATE] not in (SEQ_AWAY, SEQ_THINKING) and row[a.F_GHOST] == WANTED
        wait = classes[row[a.F_CLASS]].hedge_ps
        if taken and row[a.F_FIRST_PS] < 0 and wait != NEVER:
            due_ps = int(row[a.F_TAKEN_PS]) + wait
            if walk.now_ps < due_ps < min(row[a.F_TOTAL_PS], row[a.F_GIVE_UP_PS]):
                assert s in found
