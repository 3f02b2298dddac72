"""What holds of CPU stations and the response cache after every event, and of a station's whole day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.model.admission.response_cache import ABSENT
from sim.model.base.histogram import wide
from sim.units import NEVER

if TYPE_CHECKING:
    from .walk import Walk


class Fronts:
    """What came to each station, and when it was done."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.workers = walk.made.front.workers if walk.made.front else ()
        self.jobs: list[list[tuple[int, int, int]]] = [[] for _ in self.workers]  # (from, until, came), ps
        self._seen = [(0, 0)] * len(self.workers)  # time worked and waited so far

    def check_event(self) -> None:
        """After every event: at most one has joined each line; the cache is whole."""
        rows = self.walk.rows("station")
        for station, row in enumerate(rows):
            new = int(row["visits"]) - len(self.jobs[station])
            assert new in (0, 1)
            busy, wait = (wide(*row[name]) for name in ("busy_ps", "wait_ps"))
            if new:
                start_ps = self.walk.now_ps + wait - self._seen[station][1]
                self.jobs[station].append(
                    (start_ps, start_ps + busy - self._seen[station][0], self.walk.now_ps)
                )
            self._seen[station] = busy, wait
        if self.walk.made.front and self.walk.made.front.cache_entries:
            self.check_cache()

    def check_stations(self) -> None:
        """Never more at work than workers, never one idle while somebody waits, first come first served."""
        for workers, jobs in zip(self.workers, self.jobs, strict=True):
            starts = [start_ps for start_ps, _, _ in jobs]
            assert starts == sorted(starts)
            ends = np.array([end_ps for _, end_ps, _ in jobs])
            for i, (start_ps, _, came_ps) in enumerate(jobs):
                before = np.array(starts[:i], dtype=np.int64)
                assert ((before <= start_ps) & (ends[:i] > start_ps)).sum() < workers
                for at_ps in {
                    came_ps,
                    *(t for t in (*before.tolist(), *ends[:i].tolist()) if came_ps < t < start_ps),
                }:
                    if came_ps <= at_ps < start_ps:
                        assert ((before <= at_ps) & (ends[:i] > at_ps)).sum() == workers, "idle with a line"

    def check_cache(self) -> None:
        """No more entries than its size, each in the list once; nothing is served that is as old as it may get."""
        st, now_ps, front = self.walk.st, self.walk.now_ps, self.walk.made.front
        entries = self.walk.rows("answer")
        kept = np.flatnonzero(entries["filled_ps"] != ABSENT)
        assert len(kept) == st.n_cached <= front.cache_entries
        assert np.all(entries["filled_ps"][kept] - 1 <= now_ps)
        listed, content = [], int(st.cache_first)
        while len(listed) < len(kept):
            listed.append(content)
            content = int(entries["next"][content])
        assert sorted(listed) == kept.tolist()
        assert not listed or (content == -1 and listed[-1] == st.cache_last)
        slots = self.walk.slots[self.walk.used_slots()]
        served = slots[(slots["from_cache"] == 1) & (slots["taken_ps"] == now_ps)]
        for content in self.walk.made.traffic.content_id[served["request"]]:
            filled_ps = int(entries["filled_ps"][content]) - 1
            assert filled_ps < 0 or front.cache_life_ps == NEVER or now_ps - filled_ps < front.cache_life_ps
