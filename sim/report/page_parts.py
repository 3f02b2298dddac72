"""Parts that every page has: its head, limits with their bars, tiles, assumptions, how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sim.report.assumed import Assumption, also_assumed
from sim.report.heads import Head
from sim.report.markup import Html, Table, paragraph, table, tag, text_of
from sim.report.text import observed

TILE = tuple[
    str, str, float | None, str
]  # label, value as people read it, the number behind it, a second line
BAR_MAX = 2.0  # a bar is so many limits long at most


def page_head(kind: str, question: str, head: Head) -> Html:
    """The head of a page: what it is, the question, the facts that every picture has."""
    facts = [tag("div", tag("dt", what), tag("dd", value)) for what, value in head.facts]
    return Html(tag("p", kind, klass="kind") + tag("h1", question) + tag("dl", *facts, klass="facts"))


def verdict(text: str, is_good: bool | None) -> Html:
    """The sentence that a reader takes home."""
    klass = "verdict" + ({True: " good", False: " bad", None: ""}[is_good])
    mark = {True: "✓", False: "✗", None: "•"}[is_good]
    return tag("p", tag("span", mark, aria_hidden="true"), tag("span", text), klass=klass)


def limits(verdicts: Sequence[Mapping[str, Any]]) -> Html:
    """Each limit with what was observed, and a bar of one against the other."""
    return tag("ul", *map(_limit, verdicts), klass="limits") if verdicts else Html("")


def _limit(found: Mapping[str, Any]) -> Html:
    is_ok = bool(found["ok"])
    value = found["observed"]
    return tag(
        "li",
        tag("span", tag("span", "✓" if is_ok else "✗", klass="mark"), found["text"]),
        bar(value, found.get("limit")),
        tag(
            "span",
            f"was {observed(found)}",
            klass="was",
            data_measure=str(found["measure"]),
            data_value=repr(value),
        ),
        klass=None if is_ok else "bad",
    )


def bar(value: float | None, limit: float | None) -> Html:
    """What was observed as a bar, the limit as a mark on its track; nothing where either is unknown."""
    if value is None or not limit or limit <= 0 or not math.isfinite(limit):
        return tag("span")
    whole = max(1.25, min(BAR_MAX, 1.1 * value / limit if math.isfinite(value) else BAR_MAX))
    filled = min(1.0, max(0.0, value / limit / whole)) if math.isfinite(value) else 1.0
    at = f"{100 / whole:.2f}"
    return tag(
        "svg",
        tag("rect", klass="track", x="0", y="3", width="100", height="8", rx="1"),
        tag("rect", klass="bar", x="0", y="3", width=f"{100 * filled:.2f}", height="8", rx="1"),
        tag("line", klass="limit", x1=at, x2=at, y1="0", y2="14"),
        viewBox="0 0 100 14",
        preserveAspectRatio="none",
        role="img",
        aria_label="observed against the limit",
    )


def tiles(found: Iterable[TILE]) -> Html:
    """Key figures."""
    made = [
        tag(
            "div",
            tag("dt", label),
            tag(
                "dd",
                text,
                *([tag("small", below)] if below else []),
                data_value=None if value is None else repr(value),
            ),
        )
        for label, text, value, below in found
    ]
    return tag("dl", *made, klass="tiles") if made else Html("")


def grid(*parts: Html) -> Html:
    """Parts beside each other where the page is wide enough."""
    return tag("div", *parts, klass="grid")


def assumption_table(found: Sequence[Assumption]) -> Html:
    """What numbers rest on, with how sure it is."""
    if not found:
        return Html("")
    head = tag("tr", *(tag("th", title, scope="col") for title in ("rests on", "value", "is", "says")))
    rows = [
        tag(
            "tr",
            tag("th", one.what, scope="row"),
            tag("td", one.value, klass="words"),
            tag("td", *_tags(one)),
            tag("td", linked(one.says), klass="words"),
        )
        for one in found
    ]
    inside = tag("table", tag("thead", head), tag("tbody", *rows), klass="text")
    return tag("div", inside, klass="scrolls", tabindex="0", role="region", aria_label="assumptions")


def _tags(one: Assumption) -> list[Html]:
    made = [tag("span", one.kind, klass=f"tag {one.kind}")]
    return (
        [*made, Html(" "), tag("span", "in part assumed", klass="tag assumed")] if also_assumed(one) else made
    )


def linked(text: str) -> Html:
    """A text as it is: sources stay text, for a page that opens from disk leads nowhere."""
    return text_of(text)


def repeat(command: str | None, facts: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> list[Html]:
    """The command that does it again, then what it was done with."""
    parts = []
    if command is not None:
        parts.append(tag("pre", tag("code", command)))
    parts += [paragraph(note, "note") for note in notes]
    parts.append(
        table(
            Table(("", ""), [[what, value] for what, value in facts if value]), "text", "versions and digest"
        )
    )
    return parts


def versions_text(versions: Mapping[str, Any]) -> str:
    """Packages with their versions, this one first."""
    names = sorted(versions, key=lambda name: (name != "fleetsim", name != "python", name))
    return ", ".join(f"{name} {versions[name]}" for name in names)
