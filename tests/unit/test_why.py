"""Why requests missed: the shares are those of the rows, the sentence can be quoted, bad input is one line."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_result import PS, FakeClass, FakeObjectives, FakeScenario, spiky_run, without_requests

from sim import cli
from sim.analysis.blame import Blame, OverTime, Spent, blame, blame_of_run, promises_of, read_rows
from sim.analysis.summary import summarize
from sim.analysis.verdicts import verdicts, with_verdicts
from sim.completion import candidates
from sim.engine.blame import blame_columns
from sim.engine.result import Result
from sim.errors import InputError
from sim.model.tables.slot import N_SPENT, SPENT_COLD_QUEUE, SPENT_INTERFERED, SPENT_PREEMPTED, SPENT_PREFILL
from sim.records.requests import requests_table
from sim.records.run_dir import read_run, run_tables, write_run
from sim.report.plot_why import labelled, plot_why, why_chart
from sim.report.text import seconds
from sim.report.why import limit_text, sentence

OBJECTIVES = FakeObjectives(ttft_s=1.0, itl_s=0.025, e2e_s=30.0)


def blamed_run(lost: float = 0.02) -> tuple[FakeScenario, Result]:
    """The spiky hour in two classes, its waits and streams blamed on this and that at random."""
    scenario, result = spiky_run(n=4000, lost=lost)
    draw = np.random.default_rng(5)
    rows = dict(result.requests)
    n = len(rows["arrival_ps"])
    rows["class_id"] = draw.integers(0, 2, n).astype(np.int32)
    parts = np.zeros((N_SPENT, n), dtype=np.int64)
    wait = rows["scheduled_ps"] - rows["routed_ps"]
    parts[SPENT_COLD_QUEUE] = wait * draw.integers(0, 101, n) // 100
    parts[SPENT_PREFILL] = (rows["first_token_ps"] - rows["scheduled_ps"]) * draw.integers(0, 101, n) // 100
    stream = rows["last_token_ps"] - rows["first_token_ps"]
    parts[SPENT_INTERFERED] = stream * draw.integers(0, 51, n) // 100
    parts[SPENT_PREEMPTED] = stream * draw.integers(0, 51, n) // 100
    rows |= blame_columns(rows, parts)
    classes = (FakeClass(objectives=OBJECTIVES), FakeClass("code", objectives=FakeObjectives(ttft_s=20.0)))
    return replace(scenario, classes=classes, slo=()), result._replace(requests=rows)


def kept(path: Path, scenario: Any, result: Any) -> Path:
    """The run in a folder."""
    summary = summarize(scenario, result)
    summary = with_verdicts(summary, verdicts(scenario, summary))
    return write_run(path, scenario, run_tables(scenario, result, summary), summary)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # the summary of the fake counts one class: the two are only in the rows and in the configuration
    scenario, result = blamed_run()
    twice = {name: np.concatenate([c, c[1:] * 0]) for name, c in result.counts.items()}
    sums = {name: [*values, 0] for name, values in result.sums.items()}
    hist = np.concatenate([result.hist, result.hist[1:]])
    whole = result._replace(counts=twice, sums=sums, hist=hist)
    return kept(tmp_path_factory.mktemp("runs") / "run", scenario, whole)


def by_hand(rows: list[dict[str, Any]], measure: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(misses, the others) of the chat class, told one by one."""
    misses, others = [], []
    for row in rows:
        if row["class"] != "chat":
            continue
        late = row["ttft_s"] is None or row["ttft_s"] > 1.0
        if measure == "e2e":
            late |= row["e2e_s"] is None or row["e2e_s"] > 30.0 or (row["itl_max_s"] or 0) > 0.025
        (misses if late else others).append(row)
    return misses, others


@pytest.mark.parametrize("measure", ["ttft", "e2e"])
def test_shares_are_those_of_the_rows(measure: str, run_dir: Path) -> None:
    run = read_run(run_dir)
    found = blame_of_run(run, "chat", measure)
    misses, others = by_hand(run.tables.requests.to_pylist(), measure)
    assert (found.n, found.n_missed) == (len(misses) + len(others), len(misses))
    assert found.n_missed > 100
    answered = [row for row in misses if row["outcome"] == "completed"]
    assert sum(found.unanswered.values()) == len(misses) - len(answered) > 10
    for spent, rows in ((found.missed, answered), (found.met, others)):
        assert spent.n == len(rows)
        assert spent.total_ps == sum(spent.parts_ps.values())
        for cause, part in spent.parts_ps.items():
            stream = row_sum(rows, f"blame_stream_{cause}_ps") if measure == "e2e" else 0
            assert part == row_sum(rows, f"blame_{cause}_ps") + stream, cause


def row_sum(rows: list[dict[str, Any]], name: str) -> int:
    return sum(row.get(name) or 0 for row in rows)


def test_over_time_is_the_whole_again(run_dir: Path) -> None:
    found = blame_of_run(read_run(run_dir), "chat", "ttft")
    over = found.over_time
    assert over.missed.sum() == found.n_missed
    assert over.met.sum() == found.n - found.n_missed
    drawn = labelled(found)
    assert list(drawn) == ["cold start", "queue behind others", "prefill", "interference"]
    assert all(np.all(seconds >= 0) for seconds in drawn.values())


def test_every_class_is_held_against_its_own(run_dir: Path) -> None:
    run = read_run(run_dir)
    both, chat, code = (blame_of_run(run, name, "ttft") for name in (None, "chat", "code"))
    assert both.n_missed == chat.n_missed + code.n_missed
    assert both.missed.total_ps == chat.missed.total_ps + code.missed.total_ps
    assert code.n_missed < chat.n_missed
    assert both.klass is None
    assert "what their class promises (chat ttft ≤ 1 s, code ttft ≤ 20 s)" in sentence(both)


def test_misses_of_anything_are_what_the_summary_calls_missed() -> None:
    scenario, result = spiky_run(n=3000, lost=0.02)
    rows = read_rows(requests_table(scenario, result), result.end_ps / PS)
    found = blame(rows, {"chat": {"ttft": PS}}, None, "e2e")
    assert found.n_missed == result.counts["offered"][0] - result.counts["met"][0]


def test_without_a_promise_the_slowest_percent_stands_for_the_misses() -> None:
    scenario, result = spiky_run(n=3000, lost=0.02)
    rows = read_rows(requests_table(scenario, result), result.end_ps / PS)
    found = blame(rows, {"chat": {}}, None, None)
    ttft = np.sort(result.requests["first_token_ps"] - result.requests["arrival_ps"])
    served = ttft[ttft >= 0]
    assert found.n_missed == -(-len(served) // 100)
    assert found.slowest_ps == served[-found.n_missed]
    assert found.missed.total_ps == served[-found.n_missed :].sum()
    assert found.unanswered == {}
    assert sentence(found).startswith(f"The slowest {found.n_missed} of ")


def test_requests_still_inside_are_misses_where_nothing_can_save_them() -> None:
    scenario, result = spiky_run(n=400)
    rows = {name: column.copy() for name, column in result.requests.items()}
    rows["outcome"][-3:] = 0
    for name in ("scheduled_ps", "first_token_ps", "last_token_ps"):
        rows[name][-3:] = -1
    rows |= blame_columns(rows, np.zeros((N_SPENT, 400), dtype=np.int64))
    table = requests_table(scenario, result._replace(requests=rows))
    last_s = rows["arrival_ps"][-1] / PS
    early = blame(read_rows(table, last_s), {"chat": {"ttft": 10**16}}, None, "ttft")
    late = blame(read_rows(table, last_s + 20_000), {"chat": {"ttft": 10**16}}, None, "ttft")
    assert (early.n, early.n_missed) == (397, 0)
    assert (late.n, late.n_missed, late.unanswered) == (400, 3, {"inside": 3})


# ---- the sentence ----------------------------------------------------------------------
def told(
    parts: dict[str, int], n: int = 3214, unanswered: dict[str, int] | None = None, **more: Any
) -> Blame:
    """A made-up result of 41,000 chat requests."""
    lost = unanswered or {}
    nothing = OverTime(np.zeros(1), 1.0, np.zeros(1), np.zeros(1), {})
    missed = Spent(n - sum(lost.values()), sum(parts.values()), parts)
    whole = Blame(
        "ttft", "chat", {"chat": {"ttft": PS // 2}}, 41000, n, 5 * PS, lost, missed, missed, nothing
    )
    return whole._replace(**more)


SENTENCES = [
    (
        told({"cold_start": 71, "queue": 20, "prefill": 9}),
        "3,214 of 41,000 chat requests missed ttft ≤ 500 ms; 71 % of their time to first token went to cold starts, "
        "20 % to the queue behind others and 9 % to their own prefill.",
    ),
    (
        told({"preemption": 100}, unanswered={"rejected gateway full": 14}),
        "3,214 of 41,000 chat requests missed ttft ≤ 500 ms, 14 of them never answered; 100 % of the others' time to "
        "first token went to preemption.",
    ),
    (
        told({}, unanswered={"timed out in queue": 3214}),
        "3,214 of 41,000 chat requests missed ttft ≤ 500 ms, and none of them was ever answered.",
    ),
    (told({}, n=0), "None of 41,000 chat requests missed ttft ≤ 500 ms."),
    (told({}, n=0, n_missed=0)._replace(n=0), "No chat request was measured to its ttft."),
    (
        told({"queue": 1}, promises={}),
        "The slowest 3,214 of 41,000 chat requests waited 5.00 s or more for their first token; 100 % of it went to "
        "the queue behind others.",
    ),
    (
        told(
            {"decode": 60, "interference": 40},
            measure="e2e",
            promises={"chat": {"itl": 10**10, "e2e": 2 * PS}},
        ),
        "3,214 of 41,000 chat requests missed itl ≤ 10 ms or e2e ≤ 2 s; 60 % of their time to last token went to "
        "their own decoding and 40 % to interference from others' prompts and tokens.",
    ),
]


@pytest.mark.parametrize(("found", "text"), SENTENCES)
def test_the_sentence_can_be_quoted(found: Blame, text: str) -> None:
    assert sentence(found) == text


@pytest.mark.parametrize(
    ("limit_ps", "text"), [(PS, "1 s"), (PS // 4, "250 ms"), (1500 * 10**6, "1.5 ms"), (2 * 10**6, "2 µs")]
)
def test_limits_are_written_as_people_set_them(limit_ps: int, text: str) -> None:
    assert limit_text(limit_ps) == text


# ---- pictures and the command ----------------------------------------------------------------------
def test_the_picture_shows_the_causes_over_time(run_dir: Path, tmp_path: Path) -> None:
    run = read_run(run_dir)
    found = blame_of_run(run, "chat", "e2e")
    spec = why_chart(run, found).to_json()
    for label in ("missed", "met", "cold start", "queue behind others", "preemption", "decode"):
        assert f'"{label}"' in spec
    paths = plot_why(run, found, ["chat", "e2e"], tmp_path)
    assert [path.name for path in paths] == ["why-chat-e2e.html", "why-chat-e2e.png"]
    width, height = struct.unpack(">II", paths[1].read_bytes()[16:24])
    assert 850 <= width / 1.5 <= 960
    assert height / 1.5 < 700


def test_why_prints_and_draws(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["why", str(run_dir), "class=chat", "measure=ttft"]) == 0
    shown = capsys.readouterr().out
    flat = " ".join(shown.split())
    assert "chat requests missed ttft ≤ 1 s" in flat
    assert "never answered: " in flat
    assert "queue behind others" in flat
    assert (run_dir / "why-chat-ttft.png").is_file()


def test_one_request_is_told_by_itself(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = read_run(run_dir)
    row = next(r for r in run.tables.requests.to_pylist() if r["outcome"] == "completed")
    assert cli.main(["why", str(run_dir), f"request={row['request_id']}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Request {row['request_id']} ({row['class']}) came at" in shown
    assert f"ttft {seconds(row['ttft_s'])}" in shown
    assert "to the first token" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["class=chta"], "class: 'chta' is not valid; allowed: chat, code; did you mean 'chat'?"),
        (["measure=itl"], "measure: 'itl' is not valid; allowed: ttft or e2e"),
        (["mesure=e2e"], "did you mean 'measure'?"),
        (["--plot"], "why: '--plot' is not valid"),
        (["request=4000"], "request: '4000' is not valid; allowed: a request_id of the run, 0 to 3999"),
        (["request=x"], "request: 'x' is not valid"),
        (["request=1", "class=chat"], "request=ID is asked for alone"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["why", str(run_dir), *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_run_without_records_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario, result = spiky_run(n=500)
    path = kept(tmp_path / "off", scenario, without_requests(result))
    assert cli.main(["why", str(path)]) == 2
    assert "output.records=true" in capsys.readouterr().err


def test_a_run_from_before_says_so() -> None:
    table = requests_table(*spiky_run(n=50)).drop_columns(["blame_queue_ps"])
    with pytest.raises(InputError, match="run it again"):
        read_rows(table, 1.0)


def test_promises_are_read_from_the_configuration() -> None:
    objectives = {"ttft_s": 0.5, "itl_s": None, "e2e_s": 30}
    config = {"config": {"classes": [{"name": "chat", "objectives": objectives}, {"name": "batch"}]}}
    assert promises_of(config) == {"chat": {"ttft": PS // 2, "e2e": 30 * PS}, "batch": {}}


def test_completion_knows_the_runs_and_their_classes(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir.parent.parent)
    assert candidates(["why", "lat"]) == ["latest"]
    assert candidates(["why", str(run_dir), ""]) == [
        "class=chat",
        "class=code",
        "measure=e2e",
        "measure=ttft",
        "request=",
    ]
    assert candidates(["why", "no-such-run", "cl"]) == ["class="]
