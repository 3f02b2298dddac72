"""Traces in JSON: an object a line, a list of them, or documents that hold many requests; block by block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from sim.workload.cells import Cells
from sim.workload.formats import Block, Faults, Layout, required
from sim.workload.pieces import hashes_of, pieces_of
from sim.workload.source import Source

BLOCK_ROWS = 100_000
MISSING = "missing"
ID_BITS = 40  # of a hash that only its own session knows
Row = tuple[int, dict[str, Any]]  # line, or entry of a list; what stands there


class _TwiceError(ValueError):
    """A key stands twice in an object."""


def json_rows(source: Source, faults: Faults) -> Iterator[Row]:
    """The objects of a file; a line that is no JSON object is a fault, an empty line is passed over."""
    if source.kind == "weka":
        yield from _session_rows(source.sessions(), faults)
    elif source.kind == "sharegpt":
        yield from _conversation_rows(source.documents or [], faults)
    elif source.documents is not None:
        for place, entry in enumerate(source.documents, start=1):
            if isinstance(entry, dict):
                yield place, entry
            else:
                faults.add(place, "entry", str(entry)[:80], "a JSON object")
    else:
        yield from _line_rows(source, faults)


def json_header(rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """The names in the first object, those inside an object as `hash_ids.sys_prompt`; and all rows."""
    first = list(islice(rows, 1))
    names: list[str] = []
    for _, row in first:
        names += row
        names += [f"{name}.{key}" for name, value in row.items() if isinstance(value, dict) for key in value]
    return names, chain(first, rows)


def json_blocks(rows: Iterator[Row], layout: Layout, per_token: float, faults: Faults) -> Iterator[Block]:
    """Blocks of rows; where a layout's lengths are texts, a token is `per_token` characters."""
    while part := list(islice(rows, BLOCK_ROWS)):
        yield _block([line for line, _ in part], [row for _, row in part], layout, per_token)
        if faults.room == 0:
            return


def _line_rows(source: Source, faults: Faults) -> Iterator[Row]:
    with source.open() as stream:
        for line, text in enumerate(stream, start=1):
            text = text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
            row = _row(line, text, faults) if text.strip() else None
            if row is not None:
                yield line, row
            if faults.room == 0:
                return


def _row(line: int, text: bytes, faults: Faults) -> dict[str, Any] | None:
    try:
        row = json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        faults.add(line, "row", str(error), "each key once")
        return None
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict):
        return row
    faults.add(line, "row", text[:80].decode("utf-8", "replace").strip(), "a JSON object")
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return row


# ---- documents that hold many requests ----------------------------------------------------------------------
def _session_rows(documents: Iterable[Any], faults: Faults) -> Iterator[Row]:
    """Requests of sessions, one file after the other; agents that one sends are sessions of the same group.

    Hashes are the session's own unless the file says that their scope is global.
    """
    place = 0
    for number, document in enumerate(documents):
        own = 0 if document.get("hash_id_scope") == "global" else (number + 1) << ID_BITS
        group = str(document.get("id", number))
        for agent, request in _requests(document.get("requests"), ""):
            place += 1
            if not isinstance(request, dict):
                faults.add(place, "request", str(request)[:80], "a JSON object")
                continue
            ids = hashes_of(request.get("hash_ids")) + own
            names = {"group": f"{number} {group}", "session": f"{number} {group}{agent}"}
            yield place, {**request, **names, "hash_ids": ids, "requests": 1}


def _requests(entries: Any, agent: str) -> Iterator[tuple[str, Any]]:
    """(which agent, its request), those of agents that it sends after its own."""
    sent = []
    for entry in _list(entries):
        if isinstance(entry, dict) and isinstance(entry.get("requests"), list):
            sent.append(entry)
        else:
            yield agent, entry
    for i, entry in enumerate(sent):
        yield from _requests(entry["requests"], f"{agent}/{i}")


def _conversation_rows(documents: list[Any], faults: Faults) -> Iterator[Row]:
    """Each answer of a conversation with all that was said before it as its prompt."""
    for place, entry in enumerate(documents, start=1):
        if not isinstance(entry, dict):
            faults.add(place, "conversation", str(entry)[:80], "a JSON object")
            continue
        turns = next((entry[k] for k in ("conversations", "conversation", "messages") if k in entry), None)
        said = ""
        for turn in _list(turns):
            who, text = _turn(turn)
            if text is None:
                faults.add(
                    place, "turn", str(turn)[:80], "an object with from and value (or role and content)"
                )
                break
            if who in ("gpt", "assistant", "model", "chatgpt", "bot") and said:
                yield place, {"conversations": 1, "prompt": said, "answer": text}
            said += text


def _turn(turn: Any) -> tuple[str, str | None]:
    if not isinstance(turn, dict):
        return "", None
    text = turn.get("value", turn.get("content"))
    return str(turn.get("from", turn.get("role", ""))).lower(), text if isinstance(text, str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# ---- cells ----------------------------------------------------------------------
def _block(lines: list[int], rows: list[dict[str, Any]], layout: Layout, per_token: float) -> Block:
    from sim.workload.tables import labels, spans, timestamps

    clocks = (layout.arrival, layout.end) if layout.time_unit == "timestamp" else ()
    texts = (layout.prompt_tokens, layout.output_tokens) if layout.texts else ()
    columns: dict[str, Cells] = {}
    for name in dict.fromkeys([*required(layout), *spans(layout)]):
        raw = [row.get(name, None if name in spans(layout) else MISSING) for row in rows]
        if name in clocks:
            columns[name] = timestamps(raw)
        elif name in texts:
            columns[name] = _lengths(raw, per_token)
        else:
            columns[name] = _cells(raw, layout.text_times and name == layout.arrival)
    names = {
        name: ["" if row.get(name) is None else str(row[name]) for row in rows] for name in labels(layout)
    }
    ids = None
    if layout.hashes is not None:
        ids = [hashes_of(pieces_of(row.get(layout.hashes))) for row in rows]
    return Block(np.array(lines), columns, ids, names)


def _lengths(raw: list[Any], per_token: float) -> Cells:
    """Texts as estimated numbers of tokens: at least one where there is any text."""
    is_text = np.array([isinstance(value, str) for value in raw], dtype=bool)
    n = np.array([len(value) if isinstance(value, str) else 0 for value in raw])
    values = np.where(n > 0, np.maximum(np.rint(n / per_token), 1), 0).astype(np.int64)
    return Cells(values, is_text, raw)


def _cells(raw: list[Any], are_texts: bool = False) -> Cells:
    """Numbers of a JSON file; whole ones exactly. Where they may be texts, texts that are numbers count as such."""
    read = [_number(value, are_texts) for value in raw]
    is_number = np.array([value is not None for value in read], dtype=bool)
    values = [0 if value is None else value for value in read]
    if all(isinstance(value, int) and abs(value) < 2**62 for value in values):
        return Cells(np.array(values, dtype=np.int64), is_number, raw)
    return Cells(np.array([_float(value) for value in values]), is_number, raw)


def _number(value: Any, are_texts: bool) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not (are_texts and isinstance(value, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a number of 400 digits
        return float("inf")
