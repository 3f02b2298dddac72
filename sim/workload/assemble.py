"""The parts of a trace put together: sorted, its sessions and tenants numbered, its hashes checked by meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, nearest, problem
from sim.scenario.trace import Trace
from sim.workload.formats import RAGPULSE, Layout, TraceRows
from sim.workload.meaning import checked_block
from sim.workload.pieces import piece_tokens

Ints = NDArray[np.int64]
TENANTS_SHOWN = 20
UNKNOWN_NS = -1  # of a span that a row does not tell


class Part(NamedTuple):
    """Some rows after their checks."""

    arrival_ns: Ints | None
    prompt_tokens: Ints
    output_tokens: Ints
    line: Ints
    think_ns: Ints | None = None
    took_ns: Ints | None = None
    end_ns: Ints | None = None
    hash_ids: list[Ints] | None = None
    labels: Mapping[str, list[str]] = MappingProxyType({})  # column name → what stands in it
    n_empty: int = 0  # rows that were left out, for they have no tokens

    def at(self, index: Ints) -> Part:
        """The rows at these places."""
        columns = [None if column is None else column[index] for column in self[:7]]
        places = index.tolist()
        ids = None if self.hash_ids is None else [self.hash_ids[i] for i in places]
        labels = {name: [cells[i] for i in places] for name, cells in self.labels.items()}
        return Part(*columns, ids, labels, self.n_empty)  # type: ignore[call-arg, arg-type]


def joined(trace: Trace, layout: Layout, parts: list[Part], first_line: int, with_hashes: bool) -> TraceRows:
    """The parts as one table, on the trace's own origin, in the order of time; InputError where it can mean nothing."""
    _check_sessions(trace, layout)
    whole = _of_tenant(trace, layout, _one(trace, parts))
    block = _block_tokens(trace, layout, whole)
    n_late = 0 if whole.arrival_ns is None else int((np.diff(whole.arrival_ns) < 0).sum())
    session, group = _sessions(layout, whole)
    order = _order(layout, whole, group)
    whole = whole.at(order)
    session, group = (None if numbers is None else numbers[order] for numbers in (session, group))
    tenant, tenants = numbered(whole.labels[layout.tenant]) if layout.tenant else (None, ())
    pause, n_overlap = _pauses(layout, whole, session)
    hashes = _hashes(trace, layout, whole, block, with_hashes)
    told = {
        "file": trace.file,
        "format": layout.name,
        "rows": len(whole.line),
        "failed_rows": whole.n_empty,
        "late_rows": n_late if layout.times == "trace" else 0,
        "sessions": 0 if session is None else int(session.max()) + 1,
        "closed_loop": layout.closed,
        "overlapping_rows": n_overlap if layout.closed else 0,
        "hash_block_tokens": block,
        "unused_hashes": with_hashes and whole.hash_ids is not None and hashes[0] is None,
        "estimated_lengths": layout.texts,
    }
    return TraceRows(
        _on_origin(layout, whole.arrival_ns, group),
        np.maximum(whole.prompt_tokens, 1).astype(np.int32),
        whole.output_tokens.astype(np.int32),
        whole.line - first_line,
        *hashes,
        session=session,
        group=group,
        tenant=tenant,
        tenants=tuple(tenants),
        pause_ns=pause,
        layout=layout,
        told=told,
    )


def _check_sessions(trace: Trace, layout: Layout) -> None:
    """Raise InputError where sessions are asked for that the file does not tell of."""
    has_pauses = layout.think or (layout.arrival and (layout.took or layout.end))
    if layout.closed and not (layout.session and has_pauses):
        lacks = "a session column" if not layout.session else "pauses: a column think, took or end"
        raise InputError(
            problem(
                "trace.sessions",
                "closed",
                f"open: {trace.file} ({layout.name}) lacks {lacks} (trace.columns)",
            )
        )
    if layout.times == "session" and not (layout.session and layout.arrival):
        allowed = (
            f"trace: {trace.file} ({layout.name}) has no columns for sessions and their times (trace.columns)"
        )
        raise InputError(problem("trace.session_times", "session", allowed))


def _one(trace: Trace, parts: list[Part]) -> Part:
    """All rows, one part after the other."""
    n_empty = sum(part.n_empty for part in parts)
    parts = [part for part in parts if len(part.line)]
    if not parts:
        left_out = f" with tokens ({n_empty} without are left out)" if n_empty else ""
        raise InputError(problem("trace.file", trace.file, f"a trace with at least one row{left_out}"))
    columns = [
        None if column[0] is None else np.concatenate(column)
        for column in zip(*(p[:7] for p in parts), strict=True)
    ]
    ids = [row for part in parts for row in part.hash_ids or []] if parts[0].hash_ids is not None else None
    labels = {name: [cell for part in parts for cell in part.labels[name]] for name in parts[0].labels}
    return Part(*columns, ids, labels, n_empty)  # type: ignore[call-arg, arg-type]


def _of_tenant(trace: Trace, layout: Layout, whole: Part) -> Part:
    """The rows of the tenant that the trace asks for."""
    if trace.tenant is None:
        return whole
    if layout.tenant is None:
        allowed = f"null while trace.columns.tenant does not say which column of {trace.file} names tenants"
        raise InputError(problem("trace.tenant", trace.tenant, allowed))
    cells = np.array(whole.labels[layout.tenant], dtype=object)
    index = np.flatnonzero(cells == trace.tenant)
    if not len(index):
        names = list(dict.fromkeys(cells.tolist()))
        shown = ", ".join(names[:TENANTS_SHOWN]) + (", …" if len(names) > TENANTS_SHOWN else "")
        raise InputError(
            problem("trace.tenant", trace.tenant, f"one of {shown}", nearest(trace.tenant, names))
        )
    return whole.at(index)


def _block_tokens(trace: Trace, layout: Layout, whole: Part) -> int | None:
    """Tokens that each hash names; None where there are none, or where hashes name pieces of any length."""
    if whole.hash_ids is None or layout.name == RAGPULSE.name:
        return None
    n_hash = np.array([len(ids) for ids in whole.hash_ids], dtype=np.int64)
    if not n_hash.any():
        return None
    return checked_block(trace.file, layout, whole.prompt_tokens, n_hash, whole.line)


# ---- sessions ----------------------------------------------------------------------
def numbered(labels: list[str]) -> tuple[Ints, list[str]]:
    """Numbers from 0 by first appearance, −1 for no name; and the names."""
    names = {name: i for i, name in enumerate(dict.fromkeys(name for name in labels if name))}
    return np.array([names.get(label, -1) for label in labels], dtype=np.int64), list(names)


def _sessions(layout: Layout, whole: Part) -> tuple[Ints | None, Ints | None]:
    """(session of each row, what begins together with it); None where the file does not say."""
    if layout.session is None:
        return None, None
    labels = whole.labels[layout.session]
    if layout.parent is not None:
        labels = _roots(labels, whole.labels[layout.parent])
    session, names = numbered(labels)
    if layout.times == "session" or layout.closed:  # who belongs to no session is one
        alone = session < 0
        session[alone] = len(names) + np.arange(int(alone.sum()))
    if layout.times != "session":
        return session, None
    return session, numbered(whole.labels[layout.group])[0] if layout.group else session


def _roots(names: list[str], parents: list[str]) -> list[str]:
    """For each row the name of the row that its chain of parents begins with."""
    root: dict[str, str] = {}
    for name, parent in zip(names, parents, strict=True):
        root[name] = root.get(parent, name)
    return [root[name] for name in names]


def _order(layout: Layout, whole: Part, group: Ints | None) -> Ints:
    """The rows by time; where sessions have clocks of their own, those that begin together stand together."""
    if whole.arrival_ns is None or (layout.in_order and group is None):
        return np.arange(len(whole.line))
    keys = (whole.arrival_ns,) if group is None else (whole.arrival_ns, group)
    return np.lexsort(keys)


def _pauses(layout: Layout, whole: Part, session: Ints | None) -> tuple[Ints | None, int]:
    """(pause between the answer before each row in its session and the row, ns; rows that came before that answer).

    Where a row says nothing of its pause it is the time since that answer, or, where nobody knows when that was, since
    the row before.
    """
    if session is None or (layout.think or layout.took or layout.end) is None:
        return None, 0
    pause = np.zeros(len(session), dtype=np.int64)
    if whole.arrival_ns is not None:
        end = whole.arrival_ns if whole.end_ns is None else whole.end_ns
        if whole.took_ns is not None:
            end = whole.arrival_ns + np.maximum(whole.took_ns, 0)
        order = np.argsort(session, kind="stable")
        goes_on = session[order][1:] == session[order][:-1]
        pause[order[1:][goes_on]] = (whole.arrival_ns[order][1:] - end[order][:-1])[goes_on]
    if whole.think_ns is not None:
        pause = np.where(whole.think_ns == UNKNOWN_NS, pause, whole.think_ns)
    return np.maximum(pause, 0), int((pause < 0).sum())


def _on_origin(layout: Layout, arrival_ns: Ints | None, group: Ints | None) -> Ints | None:
    """Times from the trace's origin; from the first row of those that begin together, where they have own clocks."""
    if arrival_ns is None:
        return None
    if group is not None:
        first = np.full(int(group.max()) + 1, 2**62, dtype=np.int64)
        np.minimum.at(first, group, arrival_ns)
        return arrival_ns - first[group]
    return arrival_ns - (arrival_ns[0] if layout.origin == "first_row" else 0)


# ---- hashes ----------------------------------------------------------------------
def _hashes(
    trace: Trace, layout: Layout, whole: Part, block: int | None, with_hashes: bool
) -> tuple[Ints | None, Ints | None, Ints | None]:
    """(hashes row after row, where each row's begin, tokens that each names); none where lengths are not known."""
    lists = whole.hash_ids
    if lists is None or (layout.name == RAGPULSE.name and not with_hashes):
        return None, None, None
    start = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int64)
    ids = np.concatenate(lists)
    if layout.name != RAGPULSE.name:
        return ids, start, np.full(len(ids), block or 1, dtype=np.int64)
    tokens = piece_tokens(Path(trace.file))
    known: dict[Any, int] = {int(value): tokens.get(int(value), 0) for value in np.unique(ids)}
    if not known or min(known.values()) == 0:
        return None, None, None
    return ids, start, np.array([known[value] for value in ids.tolist()], dtype=np.int64)
