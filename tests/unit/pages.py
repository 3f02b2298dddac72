"""Reading a page as a browser would: its elements, their texts, the numbers behind them, its charts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"br", "col", "meta", "link"}

HOSTILE = (
    "</script><script>window.hacked=1</script><!--<script>\u2028\u2029\"'>"
    "<img src=x onerror=window.hacked=1>&amp;\u202e{{1}}"
)


@dataclass
class Element:
    """An element with what is inside."""

    tag: str
    attributes: dict[str, str]
    inside: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(part if isinstance(part, str) else part.text for part in self.inside)

    def all(self, tag: str | None = None, **attributes: str) -> list[Element]:
        """Every element in it, itself included, of a tag and with these attributes."""
        wanted = {key.replace("_", "-"): value for key, value in attributes.items()}
        is_it = (tag is None or self.tag == tag) and all(
            self.attributes.get(k) == v for k, v in wanted.items()
        )
        below = [
            found
            for part in self.inside
            if isinstance(part, Element)
            for found in part.all(tag, **attributes)
        ]
        return ([self] if is_it else []) + below

    def one(self, tag: str | None = None, **attributes: str) -> Element:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].inside.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends a {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read(page: str) -> Element:
    """A page whose elements are closed in order; AssertionError for any other."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"{reader.open[-1].tag} is never closed"
    return reader.root


def charts(page: Element) -> dict[str, Any]:
    """The charts that a page carries, by name."""
    found = json.loads(page.one("script", id="charts").text)
    assert isinstance(found, dict)
    return found


def numbers(element: Element) -> list[float]:
    """Every number that stands behind a text of an element."""
    return [
        float(found.attributes["data-value"]) for found in element.all() if "data-value" in found.attributes
    ]


def numbers_in(value: Any) -> set[float]:
    """Every number anywhere in some JSON."""
    if isinstance(value, dict):
        return set().union(*map(numbers_in, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(numbers_in, value)) if value else set()
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def safe(page: str) -> Element:
    """A page in which nothing is run or loaded but what the product put there; AssertionError for any other."""
    root = read(page)
    scripts = root.all("script")
    assert [script.attributes for script in scripts] == [{"type": "application/json", "id": "charts"}, {}, {}]
    allowed = {
        "html",
        "head",
        "body",
        "header",
        "main",
        "nav",
        "section",
        "figure",
        "figcaption",
        "details",
        "summary",
    }
    allowed |= {
        "meta",
        "link",
        "title",
        "style",
        "script",
        "div",
        "span",
        "p",
        "h1",
        "h2",
        "h3",
        "ul",
        "li",
        "a",
        "dl",
        "dt",
    }
    allowed |= {
        "dd",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "small",
        "pre",
        "code",
        "svg",
        "path",
        "rect",
    }
    allowed |= {"line", ""}
    assert {element.tag for element in root.all()} <= allowed
    names = {name for element in root.all() for name in element.attributes}
    assert [name for name in names if name.startswith("on")] == []
    assert "src" not in names
    links = {element.attributes["href"] for element in root.all() if "href" in element.attributes}
    assert all(link.startswith(("#", "data:,")) for link in links)
    return root
