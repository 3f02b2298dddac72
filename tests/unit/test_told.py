"""What pages and the page's server say: shared links, units of intervals, bodies that are too long."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from sim.analysis.replicate import Estimate
from sim.explore.guard import BODY_MAX, Guard
from sim.records.config import plain
from sim.report.assumed import ASSUMED, SOURCED, assumptions
from sim.report.study_charts import shown
from sim.scenario.compose import load_scenario


def test_a_shared_link_is_among_what_numbers_rest_on() -> None:
    over = "coldstart.stages=[{name: weights, kind: transfer, of: weights, over: store, bandwidth_gb_s: 4}]"
    links = "links=[{name: store, bandwidth_gb_s: 12.5, source: a data sheet of 2024, confidence: assumed from a port}]"
    story = load_scenario("first_run", [over, links])
    told = {one.what: one for one in assumptions({"config": plain(story)}, {"pools": {}})}
    link = told["link store"]
    assert (link.value, link.kind) == ("12.5 GB/s, shared", ASSUMED)
    assert link.says == "assumed from a port; a data sheet of 2024"
    bare = assumptions(
        {"config": {"links": [{"name": "a", "bandwidth_gb_s": 1.0, "source": "s"}]}}, {"pools": {}}
    )
    assert [one.kind for one in bare if one.what == "link a"] == [SOURCED]


@pytest.mark.parametrize(
    ("unit", "low", "high", "ends"),
    [("s", 0.98, 1.02, "980 ms … 1.02 s"), ("share", 0.963, 1.0, "96.3 … 100 %"), ("s", 1.0, 1.0, "±0")],
)
def test_an_interval_below_a_chart_has_its_unit(unit: str, low: float, high: float, ends: str) -> None:
    assert shown(Estimate((low + high) / 2, 0.02, low=low, high=high), unit).ends == ends
    assert shown(Estimate(None, None), unit).ends == ""


@pytest.mark.parametrize(
    ("length", "code"),
    [(str(BODY_MAX), 200), (str(BODY_MAX + 1), 413), ("9" * 5000, 413), ("", 413), ("-1", 413)],
)
def test_a_body_that_is_too_long_is_answered_with_413(length: str, code: int) -> None:
    codes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: MutableMapping[str, Any]) -> None:
        codes.extend([message["status"]] if "status" in message else [])

    async def receive() -> MutableMapping[str, Any]:
        return {}

    headers = [(b"host", b"127.0.0.1:80"), (b"content-type", b"application/json")]
    headers += [(b"content-length", length.encode())] if length else []
    scope = {"type": "http", "method": "POST", "headers": headers}
    asyncio.run(Guard(app, 80)(scope, receive, send))
    assert codes == [code]
    asyncio.run(Guard(app, 81)(scope, receive, send))
    assert codes[-1] == 403, "who may not talk is told so first"
