"""Measures as a table in HTML, for notebooks: text in it acts nowhere, and every number can be read in full."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from sim.errors import printable

MISSING = "–"


def card(title: str, notes: Iterable[str], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A heading, lines of text and a table whose first column names its rows; numbers have their full value as a hint."""
    head = "".join(f'<th style="text-align:left">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(cell(value, i == 0) for i, value in enumerate(row))}</tr>" for row in rows)
    lines = "".join(f"<div>{text(note)}</div>" for note in notes)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><strong>{text(title)}</strong>{lines}{table}</div>"


def cell(value: object, is_head: bool) -> str:
    """A cell of a table."""
    if is_head:
        return f'<th scope="row" style="text-align:left">{text(str(value))}</th>'
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"<td>{MISSING}</td>"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{text(str(value))}</td>"
    return f'<td style="text-align:right" title="{value!r}">{number(value)}</td>'


def number(value: float) -> str:
    """A number in four digits; counts whole."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def text(value: str) -> str:
    """Text as HTML."""
    return html.escape(printable(value))
