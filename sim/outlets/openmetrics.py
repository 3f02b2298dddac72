"""Series as text: OpenMetrics with a timestamp a point, or a page as a server shows it at one instant."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sim.outlets.families import COUNTER, HISTOGRAM, Family
from sim.outlets.series import Series
from sim.units import PS_PER_S

PS_PER_MS = PS_PER_S // 1000


def open_metrics(series: Sequence[Series], start_s: float) -> Iterator[str]:
    """OpenMetrics text, a line a piece; `start_s` is when the run began, in seconds since 1970."""
    start_ms = round(start_s * 1000)
    for family, members in by_family(series):
        yield f"# TYPE {family.name} {family.kind}\n"
        yield f"# HELP {family.name} {family.about}\n"
        for one in members:
            for point, t in enumerate(one.time_ps.tolist()):
                at = f" {stamp(start_ms + round(t / PS_PER_MS))}\n"
                for name, labels, value in samples(one, point):
                    yield f"{name}{labels} {value}{at}"
    yield "# EOF\n"


def page(series: Sequence[Series], at_ps: int) -> Iterator[str]:
    """What a scrape at an instant would get, in Prometheus' text format: the last sample up to then of what is there."""
    for family, members in by_family(series):
        name = family.sample_names[0] if family.kind == COUNTER else family.name
        shown = [(one, point) for one in members if (point := point_at(one, at_ps)) is not None]
        if not shown:
            continue
        yield f"# HELP {name} {family.about}\n"
        yield f"# TYPE {name} {family.kind}\n"
        for one, point in shown:
            for sample, labels, value in samples(one, point):
                yield f"{sample}{labels} {value}\n"


def point_at(one: Series, at_ps: int) -> int | None:
    """The point of a series that holds at an instant, None where what it is about is not there yet or any more."""
    point = int(np.searchsorted(one.time_ps, at_ps, side="right")) - 1
    is_gone = one.ends and point == len(one.time_ps) - 1
    return None if point < 0 or is_gone else point


def by_family(series: Sequence[Series]) -> Iterable[tuple[Family, list[Series]]]:
    """Series together that have a family; they come in that order."""
    for _, members in itertools.groupby(series, key=lambda one: one.family.name):
        found = list(members)
        yield found[0].family, found


def samples(one: Series, point: int) -> Iterator[tuple[str, str, str]]:
    """(name, labels, value) of every sample of a point."""
    names = one.family.sample_names
    if one.family.kind != HISTOGRAM:
        yield names[0], labels_text(one.family.labels, one.labels), number(one.values[point])
        return
    assert one.counts is not None
    keys = (*one.family.labels, "le")
    for bound, count in zip((*one.buckets, float("inf")), one.counts[point].tolist(), strict=True):
        le = "+Inf" if bound == float("inf") else repr(float(bound))
        yield names[0], labels_text(keys, (*one.labels, le)), str(count)
    labels = labels_text(one.family.labels, one.labels)
    yield names[1], labels, str(int(one.counts[point, -1]))
    yield names[2], labels, number(one.values[point])


def labels_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels in braces, values escaped."""
    inside = ",".join(f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{inside}}}"


def escaped(value: str) -> str:
    """A label's value as the format asks for it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """A value: whole numbers without a point."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def stamp(ms: int) -> str:
    """Milliseconds since 1970 as seconds."""
    whole, rest = divmod(ms, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)
