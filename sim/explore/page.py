"""The page as HTML: its frame and the data it begins with. What moves on it is drawn by explore.js."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sim.report.markup import Html, joined, tag
from sim.report.safe import ScriptJson

CHARTS = {
    "arrivals": "Arrivals per second",
    "ready": "Ready replicas",
    "ttft": "Time to first token, p99 by arrival (gaps: never served)",
    "waiting": "Requests waiting",
}
BEGIN = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"><link rel="stylesheet" href="/explore.css">'
)
END = '<script src="/vega.js"></script><script src="/explore.js"></script></body></html>\n'


def page(about: Mapping[str, Any]) -> str:
    """The page of a scenario; `about` as `Session.about` says it."""
    facts = [
        tag("div", tag("dt", what), tag("dd", str(about[key])))
        for what, key in (("scenario", "scenario"), ("seed", "seed"), ("GPU", "gpu"), ("policy", "policy"))
    ]
    head = [
        tag("p", "fleetsim explore", klass="kind"),
        tag("h1", about["question"] or about["scenario"]),
        tag("dl", *facts, klass="facts"),
    ]
    figures = [
        tag(
            "figure",
            tag("figcaption", title),
            tag("div", id=f"chart-{name}", klass="chart", role="img", aria_label=title),
        )
        for name, title in CHARTS.items()
    ]
    controls = tag(
        "section",
        tag("div", tag("h2", "What is moved"), tag("button", "Compare with a second variant", id="second", type="button"),
            klass="row"),
        tag("div", id="knobs"),
        tag("button", "Back to the scenario", id="reset", type="button"),
        id="controls",
    )  # fmt: skip
    results = tag(
        "div",
        tag("p", id="problem", role="alert", hidden=""),
        tag("section", tag("div", id="verdicts"), id="came-out"),
        tag("section", tag("ul", klass="legend", id="legend"), *figures, id="pictures"),
        tag(
            "section",
            tag("h2", "Over seeds"),
            tag("p", id="seeds-note", klass="note"),
            tag("div", id="seeds"),
            id="over-seeds",
        ),
        tag("section", tag("h2", "Take it with you"), tag("div", id="commands"), id="take"),
        id="results",
    )
    data = Html(f'<script type="application/json" id="about">{json.dumps(about, cls=ScriptJson)}</script>')
    body = joined([tag("header", *head), tag("main", controls, results, klass="explore"), data])
    title = tag("title", f"{about['scenario']}: fleetsim explore")
    return f"{BEGIN}{title}</head><body>{body}{END}"
