"""The page of `explore` without a browser: what may ask, what it may ask, and that answers are those of `fleetsim run`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, read

import sim
from sim import cli
from sim.errors import InputError
from sim.explore.knobs import CHOICE, checked, knobs_of, overrides_of
from sim.explore.page import page
from sim.explore.session import Session
from sim.report.text import quantity, seconds, share
from sim.scenario.catalogue import catalogue
from sim.scenario.compose import load_scenario
from sim.scenario.resolved import config_hash

pytest.importorskip("starlette", reason="Starlette is not installed: pip install 'fleetsim[explore]'")
pytest.importorskip("httpx", reason="httpx, which Starlette's test client needs, is not installed")

PORT = 8421
BASE = f"http://127.0.0.1:{PORT}"
SHORT = ["duration_s=200", "traffic.spikes=[{at_s: 60, height: 6, length_s: 40}]", "coldstart=snapshot"]


@pytest.fixture(scope="module")
def session() -> Session:
    return Session("spiky_hour", SHORT)


@pytest.fixture(scope="module")
def client(session: Session) -> Iterator[Any]:
    from starlette.testclient import TestClient

    from sim.explore.server import make_app

    with TestClient(make_app(session, PORT), base_url=BASE) as found:
        yield found


def ask(client: Any, path: str, said: Any, **headers: str) -> Any:
    return client.post(
        path, content=json.dumps(said), headers={"content-type": "application/json", **headers}
    )


# ---- who may ask ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": "127.0.0.1"},
        {"host": f"127.0.0.1:{PORT + 1}"},
        {"host": f"127.0.0.1.evil.example:{PORT}"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_requests_from_elsewhere_are_refused(client: Any, headers: dict[str, str]) -> None:
    for answer in (client.get("/", headers=headers), ask(client, "/api/look", {}, **headers)):
        assert answer.status_code == 403
        assert "spiky" not in answer.text
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{}, {"host": f"localhost:{PORT}"}, {"origin": BASE, "sec-fetch-site": "same-origin"}]
)
def test_its_own_page_may_ask(client: Any, headers: dict[str, str]) -> None:
    answer = client.get("/", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/vega.js", "/explore.js", "/page.css", "/explore.css"):
        assert client.get(path).status_code == 200


def test_a_form_of_another_site_cannot_post(client: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/api/look", content="{}", headers={"content-type": kind})
        assert answer.status_code == 403
    big = client.post("/api/look", content="x" * 70_000, headers={"content-type": "application/json"})
    assert big.status_code == 413
    assert client.get("/api/look").status_code == 404
    assert client.get("/../../etc/passwd").status_code == 404


# ---- what it may ask ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"pool.max_replicas": 1e9},
            "pool.max_replicas: 1000000000.0 is not valid; allowed: a number from 1 to",
        ),
        ({"pool.max_replicas": 2.5}, "a whole number"),
        ({"pool.max_replicas": "3"}, "a number from"),
        ({"pool.max_replicas": True}, "a number from"),
        ({"gpu": "h100; rm -rf /"}, "is not valid; allowed: a100"),
        ({"gpu": "${oc.env:HOME}"}, "is not valid"),
        ({"autoscaler": "user"}, "'user' is not valid"),
        ({"autoscaler.law": "evil.py:f"}, "knob: 'autoscaler.law' is not valid"),
        ({"output.dir": "/tmp/x"}, "knob: 'output.dir' is not valid"),
        ({"slo.0": "1] + [import os"}, "a number from"),
        ({"pool.min_replicas": 5, "pool.max_replicas": 2}, "replicas"),
        ([], "values: are not valid"),
        (None, "values: are not valid"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(client: Any, values: Any, said: str) -> None:
    answer = ask(client, "/api/look", {"page": "p", "turn": 1, "variant": "A", "values": values})
    assert answer.status_code == 422
    problems = answer.json()["problems"]
    assert any(said in line for line in problems), problems
    assert all("\n" not in line and "Traceback" not in line for line in problems)


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "{",
        "null",
        '{"turn": "x", "values": {}}',
        '{"turn": -1}',
        "[" * 10_000,
        '{"turn": 1e400}',
        "\xff",
    ],
    ids=lambda said: said[:12],
)
def test_malformed_questions_are_told(client: Any, said: str) -> None:
    for path in ("/api/look", "/api/seeds"):
        answer = client.post(
            path, content=said.encode("latin-1"), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.json()["problems"]


def test_an_overtaken_question_is_not_run(client: Any) -> None:
    from sim.explore.server import Turns

    turns = Turns()
    first = turns.note({"page": "p", "turn": 1}, "look A")
    other = turns.note({"page": "q", "turn": 1}, "look A")
    second = turns.note({"page": "p", "turn": 2}, "look A")
    assert (first(), second(), other()) == (False, True, True)
    assert ask(client, "/api/look", {"page": "z", "turn": 9, "variant": "A", "values": {}}).json()["verdict"]
    late = ask(client, "/api/look", {"page": "z", "turn": 8, "variant": "A", "values": {}}).json()
    assert late == {"stale": True}


# ---- what it answers ----------------------------------------------------------------------
def test_an_answer_is_the_run_of_its_command(client: Any, session: Session) -> None:
    values = {
        "autoscaler": "queue",
        "traffic.arrivals.rate_per_s": 7.5,
        "pool.max_replicas": 6,
        "slo.1": 0.25,
    }
    found = ask(client, "/api/look", {"page": "c", "turn": 1, "variant": "A", "values": values}).json()
    assert found["command"].startswith("fleetsim run spiky_hour duration_s=200")
    words = session.variant(values).overrides
    assert words == [
        *("autoscaler=queue", "traffic.arrivals.rate_per_s=7.5", "pool.max_replicas=6"),
        'slo=["slo_attainment >= 99 %", "ttft.p99 < 0.25 s", "usd_per_hour < 25"]',
    ]
    done = sim.run("spiky_hour", [*SHORT, *words])
    assert found["digest"] == done.digest
    figures = dict(found["figures"])
    assert figures["ttft p99"] == seconds(done.summary["ttft"]["p99_s"])
    assert figures["SLO met"] == share(done.summary["slo_attainment"])
    assert figures["cost"] == quantity(done.summary["usd_per_hour"], "usd/h")
    assert [limit["ok"] for limit in found["limits"]] == [verdict.ok for verdict in done.verdicts]
    assert found["values"]["pool.max_replicas"] == 6
    assert found["values"]["autoscaler.target"] is None, "a queue scaler has no such key"
    times, ready = found["picture"]["ready"]
    assert len(times) == len(ready) > 10
    table = done.timeseries
    assert max(ready) == max(table["ready"].to_pylist())


def test_the_line_of_ttft_is_that_of_the_records(session: Session) -> None:
    from sim.report.series import ttft_over_time
    from sim.runner import simulate
    from sim.explore.session import ttft_line  # isort: skip

    run = simulate(session.story)
    again = ttft_over_time(run.requests, 200.0)
    assert again is not None
    times, values = ttft_line(run)
    assert times == [round(float(t), 3) for t in again.time_s]
    assert values == pytest.approx(again.value["p99"].tolist(), rel=1e-5)


def test_seeds_give_intervals_and_pairs_give_verdicts(client: Any) -> None:
    fixed, more = (
        {"autoscaler": "fixed", "pool.min_replicas": 1},
        {"autoscaler": "fixed", "pool.min_replicas": 6},
    )
    found = ask(client, "/api/seeds", {"page": "s", "turn": 1, "n": 8, "variants": [fixed, more]}).json()
    assert found["n"] == 8
    assert found["same_traffic"]
    rows = {row["label"]: row for row in found["rows"]}
    assert rows["cost"]["difference"]["verdict"] == "worse"
    assert rows["ttft p99"]["difference"]["verdict"] == "better"
    assert all("…" in interval or interval == "±0" for _, interval in rows["ttft p99"]["cells"])
    one = ask(client, "/api/seeds", {"page": "s", "turn": 2, "n": 3, "variants": [fixed]}).json()
    assert all(row["difference"] is None for row in one["rows"])
    other = {**fixed, "traffic.arrivals.rate_per_s": 5.0}
    apart = ask(client, "/api/seeds", {"page": "s", "turn": 3, "n": 2, "variants": [fixed, other]}).json()
    assert not apart["same_traffic"]
    assert all(row["difference"] is None for row in apart["rows"])


def test_an_exported_scenario_is_the_one_on_screen(client: Any, session: Session, tmp_path: Path) -> None:
    values = {"autoscaler": "hpa_fast", "gpu": "h200", "traffic.spikes.0.height": 3.5, "slo.0": 97}
    text = ask(client, "/api/export", {"values": values}).json()["yaml"]
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    variant = session.variant(values)
    again = load_scenario(str(path))
    assert config_hash(again) == config_hash(variant.story)
    assert again.slo == variant.story.slo
    assert session.command(variant) in text


@pytest.mark.parametrize("name", sorted(catalogue("scenarios")["scenarios"]))
def test_every_scenario_has_knobs_that_say_nothing_when_left_alone(name: str) -> None:
    try:
        story = load_scenario(name)
    except InputError:
        pytest.skip("it needs a recording that is not part of the repository")
    knobs = knobs_of(story)
    now = {knob.name: value for knob in knobs if (value := knob.of(story)) is not None}
    assert len(now) >= 5
    assert overrides_of(story, knobs, checked(knobs, now)) == []
    for knob in knobs:
        assert knob.kind != CHOICE or knob.options
        value = now.get(knob.name)
        assert value is None or knob.kind == CHOICE or knob.low <= value <= knob.high, knob.name
        assert value is None or knob.kind != CHOICE or value in knob.options, knob.name


@pytest.mark.parametrize("name", ["two_models", "agents_at_nine"])
def test_every_knob_moves_its_own_key(name: str) -> None:
    story = load_scenario(name)
    knobs = knobs_of(story)
    for knob in knobs:
        value = knob.of(story)
        if value is None or knob.name.endswith(("min_replicas", "gpu")) or "coldstart" in knob.name:
            continue
        if knob.kind == CHOICE:
            moved: Any = next(o for o in knob.options if o not in (value, "none"))
        else:
            moved = min(knob.high, value + (1 if knob.is_whole else knob.step))
        words = overrides_of(story, knobs, checked(knobs, {knob.name: moved}))
        assert len(words) == 1
        try:
            other = load_scenario(name, words)
        except InputError:
            continue  # what cannot be is told on the page
        assert knob.of(other) == pytest.approx(moved) if knob.kind != CHOICE else knob.of(other) is not None


def test_the_page_shows_names_as_text(session: Session) -> None:
    about = session.about()
    about |= {"question": HOSTILE, "scenario": HOSTILE, "gpu": HOSTILE, "policy": HOSTILE}
    about["knobs"] = [{**knob, "label": HOSTILE} for knob in about["knobs"]]
    root = read(page(about))
    assert root.one("h1").text.endswith("{{1}}")
    scripts = root.all("script")
    assert [s.attributes.get("src") for s in scripts] == [None, "/vega.js", "/explore.js"]
    assert scripts[0].attributes["type"] == "application/json"
    assert root.all("img") == []
    assert "<" not in scripts[0].text


def test_its_program_makes_no_markup_from_text() -> None:
    program = Path(sim.__file__).with_name("explore").joinpath("explore.js").read_text(encoding="utf-8")
    makers = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setTimeout\(\s*['\"]"
    )
    assert not re.search(makers, program)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "explore: needs a scenario first"),
        (["spikey_hour"], "spiky_hour"),
        (
            ["spiky_hour", "--port", "http"],
            "--port: 'http' is not valid; allowed: a whole number from 1 to 65535",
        ),
        (["spiky_hour", "--port"], "--port needs a value"),
        (["spiky_hour", "--share"], "'--share' is no option"),
    ],
    ids=str,
)
def test_bad_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explore", *words]) == 2
    assert said in capsys.readouterr().err
