"""The hashes in a cell of a trace; and RAGPulse's, which name pieces by kind (system prompt, passages …), whose lengths
stand in files beside the trace.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What the trace calls a kind of pieces, and the key of its numbers in the files of lengths.
KINDS = {
    "sys_prompt": "sys_prompt_id",
    "passages_ids": "passage_id",
    "history": "history_id",
    "web_search": "web_search_id",
    "user_input": "user_input_id",
}


def hashes_of(cell: Any) -> NDArray[np.int64]:
    """The hashes in a cell; none where it is no list of whole numbers."""
    if not isinstance(cell, (list, np.ndarray)):
        return np.zeros(0, dtype=np.int64)
    try:
        values = np.asarray(cell)
    except ValueError:  # lists of several lengths
        values = np.zeros(0, dtype=object)
    if values.ndim == 1 and values.dtype.kind == "i":
        return values.astype(np.int64)
    numbers = [v for v in cell if isinstance(v, int) and not isinstance(v, bool) and -(2**62) < v < 2**62]
    return np.array(numbers, dtype=np.int64)


def pieces_of(cell: Any) -> Any:
    """The pieces of a prompt in its order, as numbers that kinds do not share; what is no object stays as it is."""
    if not isinstance(cell, dict):
        return cell
    kinds = list(KINDS)
    return [
        value * len(kinds) + kinds.index(kind)
        for kind, ids in cell.items()
        if kind in KINDS and isinstance(ids, list)
        for value in ids
        if isinstance(value, int) and 0 <= value < 2**40
    ]


def piece_tokens(trace: Path) -> dict[int, int]:
    """Tokens of each piece, from the files beside a trace (`1_sys_prompt.jsonl` …); none where there are none."""
    tokens: dict[int, int] = {}
    for path in sorted(trace.parent.glob("[0-9]_*.jsonl")):
        with path.open("rb") as stream:
            for text in stream:
                tokens.update(_length(text))
    return tokens


def _length(text: bytes) -> dict[int, int]:
    """{piece: tokens} of a line; nothing where it is no line of a file of lengths."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(row, dict) or not isinstance(row.get("token_length"), int):
        return {}
    return {
        row[key] * len(KINDS) + kind: row["token_length"]
        for kind, key in enumerate(KINDS.values())
        if isinstance(row.get(key), int) and row["token_length"] > 0
    }
