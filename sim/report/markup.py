"""HTML that is put together safely: every text is escaped unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sim.errors import printable

VOID = ("br", "col", "meta")


class Html(str):
    """Markup. Everything else is text, and is escaped when it becomes part of some."""

    __slots__ = ()


Child = str | Html | Iterable[str | Html] | None


class Cell(NamedTuple):
    """A cell of a table: what people read, and the number behind it as the records have it."""

    text: str
    value: float | None = None
    mark: str = ""  # a class of the page's style: best, bad, good
    below: str = ""  # a second line, smaller


class Table(NamedTuple):
    """Rows under a head; the first column names the row. A text is a cell without a number behind it."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]


def text_of(value: str) -> Html:
    """A text as markup: no character of it means anything to a browser, a script or a terminal."""
    return value if isinstance(value, Html) else Html(html.escape(printable(value), quote=True))


def joined(children: Child) -> Html:
    """Texts and markup one after the other."""
    if children is None:
        return Html("")
    if isinstance(children, str):
        return text_of(children)
    return Html("".join(map(text_of, children)))


def tag(name: str, *children: Child, **attributes: str | None) -> Html:
    """An element; an attribute that is None is left out, `klass` is `class`, `data_x` is `data-x`."""
    said = "".join(
        f' {"class" if key == "klass" else key.replace("_", "-")}="{text_of(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(map(joined, children))
    return Html(f"<{name}{said}>" if name in VOID else f"<{name}{said}>{inside}</{name}>")


def number_text(value: float | None) -> str | None:
    """A number as the records have it, to the last bit."""
    return None if value is None else repr(value)


def cell(content: Cell | str, name: str = "td") -> Html:
    """One cell of a table."""
    if not isinstance(content, Cell):
        return tag(name, content, klass="words" if name == "td" else None)
    below = [tag("small", content.below)] if content.below else []
    return tag(name, content.text, *below, data_value=number_text(content.value), klass=content.mark or None)


def table(content: Table, klass: str = "", caption: str = "") -> Html:
    """A table in a box of its own, which scrolls where it is wider than the page."""
    if not content.rows:
        return Html("")
    words = [all(not isinstance(row[i], Cell) for row in content.rows) for i in range(len(content.head))]
    titles = zip(content.head, words, strict=True)
    head = tag(
        "thead", tag("tr", *(tag("th", t, scope="col", klass="words" if w else None) for t, w in titles))
    )
    rows = [tag("tr", _row_head(first), *map(cell, rest)) for first, *rest in content.rows]
    said = [tag("caption", caption)] if caption else []
    inside = tag("table", *said, head, tag("tbody", *rows), klass=klass or None)
    return tag("div", inside, klass="scrolls", tabindex="0", role="region", aria_label=caption or "table")


def _row_head(content: Cell | str) -> Html:
    made = content if isinstance(content, Cell) else Cell(content)
    below = [tag("small", made.below)] if made.below else []
    return tag("th", made.text, *below, scope="row", data_value=number_text(made.value))


def details(summary: str, *children: Child, is_open: bool = False) -> Html:
    """What opens when it is asked for."""
    inside = "".join(map(joined, (tag("summary", summary), *children)))
    return Html(f"<details{' open' if is_open else ''}>{inside}</details>")


def paragraph(text: Child, klass: str | None = None) -> Html:
    """A paragraph; nothing where there is no text."""
    return tag("p", text, klass=klass) if text else Html("")


def listed(lines: Iterable[str | Html]) -> Html:
    """A list; nothing where there is no line."""
    items = [tag("li", line) for line in lines]
    return tag("ul", *items) if items else Html("")
