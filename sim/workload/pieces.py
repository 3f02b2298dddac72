"""RAGPulse's prompts: pieces by kind (system prompt, passages …), whose lengths stand in files beside the trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: What the trace calls a kind of pieces, and the key of its numbers in the files of lengths.
KINDS = {
    "sys_prompt": "sys_prompt_id",
    "passages_ids": "passage_id",
    "history": "history_id",
    "web_search": "web_search_id",
    "user_input": "user_input_id",
}


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
