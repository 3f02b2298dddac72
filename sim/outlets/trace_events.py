"""What a timeline is made of: events as text, in the order of time, as far as they are in a window."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

GATEWAY = 1  # its process; those of pools follow
AUTOSCALER = 1  # its track in each pool; those of replicas follow

#: The order of events of one instant: ends before beginnings, the inner end before the outer.
END_INNER, END_OUTER, BEGIN_OUTER, BEGIN_INNER, AT = range(5)


class Window(NamedTuple):
    """What is told of a run: everything that reaches into [from, to], cut off at its ends."""

    from_ps: int
    to_ps: int

    def cut(self, begin_ps: int, end_ps: int) -> tuple[int, int] | None:
        """The part of a span that lies inside, or None."""
        begin, end = max(begin_ps, self.from_ps), min(end_ps, self.to_ps)
        return (begin, end) if begin < end else None

    def has(self, t: int) -> bool:
        """Whether an instant lies inside."""
        return self.from_ps <= t <= self.to_ps


class Event(NamedTuple):
    """An event as JSON, when it is, and its place among those of the instant."""

    ts_ps: int
    order: int
    text: str


def event(ts_ps: int, order: int, fields: dict[str, Any], dur_ps: int | None = None) -> Event:
    """An event with these fields; times are exact decimals, which a float may not be."""
    times = f'"ts":{microseconds(ts_ps)}'
    if dur_ps is not None:
        times += f',"dur":{microseconds(dur_ps)}'
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return Event(ts_ps, order, f"{{{times},{body[1:]}")


def microseconds(ps: int) -> str:
    """Picoseconds as a decimal number of microseconds."""
    whole, rest = divmod(ps, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else str(whole)


def pid_of(pool: int) -> int:
    """The process of a pool; −1 is the gateway."""
    return GATEWAY + 1 + pool


def tid_of(replica: int) -> int:
    """The track of a replica in its pool's process."""
    return AUTOSCALER + 1 + replica
