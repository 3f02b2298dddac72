"""Searches: fronts against brute force, proposals that find what is there, nothing run twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim import cli
from sim.answers.bench import Bench, Setting
from sim.answers.front import shares_on_front, undominated
from sim.answers.proposals import propose
from sim.answers.search import depends, search
from sim.answers.varied import axes_of
from sim.errors import InputError
from sim.records.search_file import read_search

SHORT = ["duration_s=30", "drain_s=30", "slo=none", "traffic.arrivals.rate_per_s=16", "pool.max_replicas=4"]
VARY = ["pool.min_replicas=1..4", "runtime.max_num_seqs=32,256"]


def test_a_front_is_what_comparing_all_pairs_gives() -> None:
    rng = np.random.default_rng(1)
    for k in (1, 2, 3):
        scores = rng.integers(0, 6, (40, k)).astype(float)
        scores[rng.random(40) < 0.1] = np.inf
        good = rng.random(40) < 0.7
        wanted = [
            bool(
                good[j]
                and np.isfinite(scores[j]).all()
                and not any(
                    good[i] and (scores[i] <= scores[j]).all() and (scores[i] < scores[j]).any()
                    for i in range(40)
                )
            )
            for j in range(40)
        ]
        assert undominated(scores, good).tolist() == wanted


def test_how_sure_a_place_on_the_front_is() -> None:
    """One surely, one surely not, two that chance decides between, one that breaks its limit in half of the draws."""
    rng = np.random.default_rng(2)
    cost = np.array([1.0, 5.0, 3.0, 3.0, 2.0]) + 0.01 * rng.normal(size=(20, 5))
    wait = np.array([9.0, 9.0, 2.0, 2.0, 5.0]) + 0.01 * rng.normal(size=(20, 5))
    margin = np.ones((20, 5))
    margin[:, 4] = rng.normal(size=20)
    margin[:, 4] -= margin[:, 4].mean()
    shares = shares_on_front([cost, wait], [margin])
    assert shares[0] == 1
    assert shares[1] == 0
    assert 0.3 < shares[4] < 0.7
    assert shares[2] + shares[3] >= 1


def test_all_settings_are_tried_where_there_are_few(tmp_path: Path) -> None:
    found = search("first_run", VARY, ["usd_per_hour", "e2e.p99"], [], SHORT, seeds=4, out=tmp_path)
    assert found.is_whole
    assert (found.n_tried, found.n_run, found.n_kept) == (8, 32, 0)
    scores = np.array([[m.objectives[0].mean, m.objectives[1].mean] for m in found.members], dtype=float)
    assert [m.is_on_front for m in found.members] == undominated(scores, np.ones(8, dtype=bool)).tolist()
    costs = [m.objectives[0].mean for m in found.front]
    waits = [m.objectives[1].mean for m in found.front]
    assert costs == sorted(costs)  # type: ignore[type-var]
    assert waits == sorted(waits, reverse=True)  # type: ignore[type-var]
    rows = sim.sweep(
        "first_run", range(1, 5), {"it": [*SHORT, "pool.min_replicas=1", "runtime.max_num_seqs=32"]}
    ).rows
    (same,) = [m for m in found.members if list(m.values.values()) == [1, 32]]
    assert same.objectives[1].mean == pytest.approx(np.mean([row["e2e_p99_s"] for row in rows]))


def test_a_search_is_taken_up_where_it_was(tmp_path: Path) -> None:
    first = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, seeds=3, out=tmp_path)
    assert first.path is not None
    before = first.path.read_bytes()
    again = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, seeds=3, out=tmp_path)
    assert (again.n_run, again.n_kept) == (0, 24)
    assert [m.values for m in again.members] == [m.values for m in first.members]
    assert first.path.read_bytes() == before
    more = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, seeds=5, out=tmp_path)
    assert (more.n_run, more.n_kept) == (16, 24)
    first.path.write_text("{")
    anew = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, seeds=3, out=tmp_path)
    assert (anew.n_run, anew.n_kept) == (24, 0)
    assert "cannot be read" in anew.notes[0]
    assert anew.path is not None
    data = json.loads(anew.path.read_text())
    data["depends"]["model"] = "another"
    anew.path.write_text(json.dumps(data))
    changed = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, seeds=3, out=tmp_path)
    assert changed.n_kept == 0
    assert "model has changed" in changed.notes[0]


def test_a_search_that_is_stopped_keeps_what_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve settings the eleventh is interrupted: ten are in the file, and the next search runs two."""
    vary, trials, asked = ["pool.min_replicas=1..4", "runtime.max_num_seqs=32,64,256"], Bench.trials, []

    def stopped(bench: Bench, setting: Setting, seeds: Sequence[int]) -> Any:
        asked.append(setting)
        if len(asked) == 11:
            raise KeyboardInterrupt
        return trials(bench, setting, seeds)

    monkeypatch.setattr(Bench, "trials", stopped)
    with pytest.raises(KeyboardInterrupt):
        search("first_run", vary, ["usd_per_hour"], [], SHORT, seeds=2, out=tmp_path)
    monkeypatch.undo()
    again = search("first_run", vary, ["usd_per_hour"], [], SHORT, seeds=2, out=tmp_path)
    assert (again.n_tried, again.n_run, again.n_kept) == (12, 4, 20)


RUN = {"words": ["seed=1"], "seed": 1, "row": {"usd": 1.0}, "observed": [None]}


@pytest.mark.parametrize(
    "runs",
    [
        {"a": 1},
        "runs",
        [1],
        [{**RUN, "seed": "1"}],
        [{**RUN, "words": "seed"}],
        [{**RUN, "words": [1]}],
        [{**RUN, "row": [1.0]}],
        [{**RUN, "row": {"usd": "much"}}],
        [{**RUN, "observed": None}],
        [{**RUN, "observed": [1.0, 2.0]}],
        [{key: RUN[key] for key in ("words", "seed", "row")}],
    ],
)
def test_a_file_of_another_shape_cannot_be_read(runs: Any, tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    for before in ({"model": "x"}, ["model"]):
        path.write_text(json.dumps({"depends": before, "runs": runs}))
        assert read_search(path, {"model": "x"}, 1) == ([], f"{path} cannot be read")
    path.write_text(json.dumps({"depends": {"model": "x"}, "runs": [RUN]}))
    assert read_search(path, {"model": "x"}, 1) == ([RUN], "")


def test_files_that_are_varied_are_what_a_search_depends_on(tmp_path: Path) -> None:
    """Whether all settings are tried or some are proposed, and within options too."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("1")
    two.write_text("2")
    axes = axes_of(
        [
            f"traffic.trace.file={one},nothing.csv",
            "pool.min_replicas=1..9999",
            f"autoscaler=fixed,hpa{{/traffic.trace.file: '{two}'}}",
        ]
    )
    for file in (one, two):
        before = depends("first_run", SHORT, axes)
        file.write_text("3")
        changed = depends("first_run", SHORT, axes)
        assert [name for name in before if before[name] != changed[name]] == ["files"]


def test_limits_that_nothing_keeps_leave_no_front() -> None:
    found = search("first_run", VARY, ["usd_per_hour"], ["e2e.p99 < 1 ms"], SHORT, seeds=2)
    assert found.front == []
    assert all(m.share == 0 for m in found.members)


def toy(settings: Sequence[dict[str, Any]], seen: list[dict[str, Any]]) -> list[Any]:
    """Cheapest at x = 30 with kind b, which alone keeps the limit; settings of 60 and more cannot be."""
    found: list[Any] = []
    for one in settings:
        seen.append(one)
        if one["pool.min_replicas"] >= 60:
            found.append(None)
            continue
        cost = abs(one["pool.min_replicas"] - 30) + one.get("autoscaler.target", 0.0)
        found.append(([cost], [-1.0 if one["autoscaler"] == "hpa" else 1.0]))
    return found


def test_proposals_close_in_on_the_best() -> None:
    pytest.importorskip("optuna")
    axes = axes_of(["pool.min_replicas=1..64", "autoscaler=fixed,hpa{target: 0..10},queue"])
    runs = []
    for _ in range(2):
        seen: list[dict[str, Any]] = []
        propose(axes, 120, 1, 3, lambda settings, seen=seen: toy(settings, seen))
        runs.append(seen)
    assert runs[0] == runs[1], "the same answers lead to the same proposals"
    assert len(seen) == 120
    assert all(("autoscaler.target" in one) == (one["autoscaler"] == "hpa") for one in seen)
    good = [one for one in seen if one["autoscaler"] == "hpa" and one["pool.min_replicas"] < 60]
    best = min(good, key=lambda one: abs(one["pool.min_replicas"] - 30) + one["autoscaler.target"])
    assert abs(best["pool.min_replicas"] - 30) + best["autoscaler.target"] <= 6
    late = [one for one in seen[60:] if one["autoscaler"] == "hpa"]
    assert len(late) > 40, "it learns which keeps the limit"


def test_options_may_have_the_same_key_with_other_values() -> None:
    pytest.importorskip("optuna")
    axes = axes_of(["autoscaler=hpa{target: 1,2, settle_s: 1..9},queue{target: 3,4,5}"])
    seen: list[dict[str, Any]] = []

    def tell(settings: Sequence[dict[str, Any]]) -> list[Any]:
        seen.extend(settings)
        return [([float(one["autoscaler.target"])], []) for one in settings]

    propose(axes, 40, 1, 0, tell)
    of = {
        name: {s["autoscaler.target"] for s in seen if s["autoscaler"] == name} for name in ("hpa", "queue")
    }
    assert of["hpa"] == {1, 2}
    assert of["queue"]
    assert of["queue"] <= {3, 4, 5}


def test_proposals_for_two_objectives_spread_over_the_front() -> None:
    pytest.importorskip("optuna")
    axes = axes_of(["pool.min_replicas=1..64", "traffic.arrivals.rate_per_s=0..1"])
    seen: list[tuple[float, float]] = []

    def tell(settings: Sequence[dict[str, Any]]) -> list[Any]:
        found = [
            (
                one["pool.min_replicas"] + 9 * one["traffic.arrivals.rate_per_s"],
                64.0 - one["pool.min_replicas"],
            )
            for one in settings
        ]
        seen.extend(found)
        return [(list(pair), []) for pair in found]

    propose(axes, 96, 2, 0, tell)
    front = undominated(np.array(seen), np.ones(len(seen), dtype=bool))
    assert front.sum() > 8
    assert np.ptp(np.array(seen)[front][:, 0]) > 30


def test_many_settings_are_searched_and_the_search_taken_up(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    vary = ["pool.min_replicas=1..4", "runtime.max_num_seqs=8..256"]
    first = search("first_run", vary, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, 24, 2, out=tmp_path)
    assert not first.is_whole
    assert first.front
    again = search("first_run", vary, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, 24, 2, out=tmp_path)
    assert (again.n_run, again.n_kept) == (0, first.n_run)
    assert [m.values for m in again.members] == [m.values for m in first.members]
    longer = search("first_run", vary, ["usd_per_hour"], ["e2e.p99 < 9 s"], SHORT, 40, 2, out=tmp_path)
    assert longer.n_kept == first.n_run
    assert {str(m.values) for m in first.members} <= {str(m.values) for m in longer.members}


def test_without_optuna_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'fleetsim\[search\]'"):
        search(
            "first_run", ["pool.min_replicas=1..4", "runtime.max_num_seqs=8..256"], overrides=SHORT, trials=5
        )


def test_the_verb_prints_and_says_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "search",
        "first_run",
        *SHORT,
        "--vary",
        VARY[0],
        "--objective",
        "usd_per_hour",
        "--objective=e2e.p99",
        "--seeds",
        "3",
    ]
    assert cli.main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["tried"], data["runs"]) == (4, 12)
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    n = sum(member["is_on_front"] for member in data["members"])
    assert f"{n} settings that no other is better than in cost and e2e p99 together" in " ".join(text.split())
    assert "12 more were there" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--vary", VARY[0], "--objective", "usb"], "--objective: 'usb': 'usb' is no metric"),
        (["--vary", VARY[0], "--objective", "kv_use"], "neither more nor less of it is better"),
        (
            ["--vary", VARY[0], "--objective", "usd", "--objective", "usd"],
            "--objective: usd is given twice; allowed: once",
        ),
        (
            ["--vary", VARY[0], *(f"--objective=ttft.{p}" for p in ("p50", "p90", "p95", "p99", "p99.9"))],
            "5 of them; allowed: 1 to 4",
        ),
        (["--vary", "gpu=h10,h100"], "--vary.gpu: 'h10' is not one of"),
        (["--vary", VARY[0], "--seeds", "2", "--objective", "prefix_hit_ratio"], "has no value in any run"),
        (["--vary", VARY[0], "--trials", "0"], "a whole number from 1 to 5000"),
        (["--vary", "pool.min_replicas=17..20"], "pool.min_replicas: 17 is not valid"),
        ([], "--vary: nothing is varied"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "first_run", *SHORT, *words]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1
