"""What all classes share at the gateway of the plain model: CPU stations and the response cache.

Times are int picoseconds. It shares no code with the product.
"""

from __future__ import annotations

from typing import Any


class Station:
    """Some workers and one line, first come first served; what stands in line is done whoever has gone."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.jobs: list[tuple[int, int]] = []  # (from, until), as they came
        self.came_ps: list[int] = []  # when each did

    def enter(self, now_ps: int, work_ps: int) -> int:
        """Join the line with some work; when that will be done.

        Nobody starts before those who came earlier, nor while as many of them are at work as there are workers.
        """
        start_ps = self.turn_ps(now_ps, self.jobs)
        self.jobs.append((start_ps, start_ps + work_ps))
        self.came_ps.append(now_ps)
        return start_ps + work_ps

    def turn_ps(self, now_ps: int, jobs: list[tuple[int, int]]) -> int:
        """When work that comes now is begun, behind these."""
        last_ps = max([now_ps, *(start_ps for start_ps, _ in jobs)])
        instants = sorted({last_ps, *(end_ps for _, end_ps in jobs if end_ps > last_ps)})
        return next(at_ps for at_ps in instants if at_work(jobs, at_ps) < self.workers)

    def seen(self, at_ps: int) -> dict[str, int]:
        """What somebody sees who looks before anything happens at that instant."""
        jobs = [job for job, came_ps in zip(self.jobs, self.came_ps, strict=True) if came_ps < at_ps]
        return {
            "busy_workers": at_work(jobs, at_ps),
            "in_line": sum(start_ps > at_ps for start_ps, _ in jobs),
            "wait_ps": self.turn_ps(at_ps, jobs) - at_ps,
            "visits": len(jobs),
            "done_ps": sum(min(end_ps, at_ps) - min(start_ps, at_ps) for start_ps, end_ps in jobs),
        }


def at_work(jobs: list[tuple[int, int]], at_ps: int) -> int:
    """How many of these are at work then."""
    return sum(start_ps <= at_ps < end_ps for start_ps, end_ps in jobs)


class ResponseCache:
    """Answers by what was asked: so many of them, the least recently used goes first, none is served when too old."""

    def __init__(self, entries: int, life_ps: int | None) -> None:
        self.entries, self.life_ps = entries, life_ps
        self.complete_ps: dict[int, int] = {}  # content → when its answer was complete
        self.used: list[int] = []  # the most recent last

    def serves(self, content: int, now_ps: int) -> bool:
        """Whether the answer is there; asking for it is using it. An answer as old as its lifetime is too old."""
        if content not in self.complete_ps:
            return False
        self.used.remove(content)
        if self.life_ps is not None and now_ps - self.complete_ps[content] >= self.life_ps:
            del self.complete_ps[content]
            return False
        self.used.append(content)
        return True

    def keep(self, content: int, now_ps: int) -> None:
        """An answer is complete: it takes the place of an older one to the same question, or of the least recently used."""
        if content < 0 or self.entries == 0:
            return
        if content in self.complete_ps:
            self.used.remove(content)
        elif len(self.used) == self.entries:
            del self.complete_ps[self.used.pop(0)]
        self.complete_ps[content] = now_ps
        self.used.append(content)


class Front:
    """The stations and the cache of a fleet."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.stations = [Station(workers) for workers in row.get("workers", ())]
        self.cache = ResponseCache(row.get("cache_entries", 0), row.get("cache_life_ps"))
        self.cache_ps = row.get("cache_ps", 0)
