"""Answers that broke off after their first token are misses, in `why` and in the picture as in the summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sim
from sim.analysis.blame import blame_of_run
from sim.records.run_dir import read_run
from sim.report.plot import run_chart
from sim.report.plot_why import labelled, plot_why
from sim.report.series import ttft_over_time
from sim.report.why import sentence

ENDS = {
    "blocked": ("traffic.guardrail={blocked: 1}", "rejected blocked"),
    "stalled": ("traffic.patience.stall_s=0.000001", "timed out stalled"),
    "in_stream": ("traffic.deadline_s=0.2", "timed out in stream"),
}


@pytest.mark.parametrize("reason", sorted(ENDS))
def test_an_answer_that_broke_off_is_a_miss_everywhere(reason: str, tmp_path: Path) -> None:
    override, fate = ENDS[reason]
    done = sim.run("first_run", ["duration_s=30", override], out=tmp_path)
    assert done.path is not None
    run = read_run(done.path)
    first = done.result.requests["first_token_ps"]
    assert (first[done.result.requests["outcome"] != 1] >= 0).any(), "its user saw a token"
    found = blame_of_run(run, None, "ttft")
    assert found.n_missed == done.summary["offered"] - done.summary["goodput"] > 0
    assert found.unanswered[fate] == done.summary["reasons"][reason]
    over = ttft_over_time(run.tables.requests, done.summary["duration_s"])
    assert over is not None
    assert np.isinf(over.value["p99"]).all()
    assert "never served" in run_chart(run).to_json()


def test_nobody_who_missed_was_answered(tmp_path: Path) -> None:
    """There is no time to share out, and so no panel of it: the picture can be drawn."""
    done = sim.run(
        "first_run", ["duration_s=30", "traffic.limits={requests_per_s: 0.5, burst: 1}"], out=tmp_path
    )
    assert done.path is not None
    run = read_run(done.path)
    found = blame_of_run(run)
    assert sentence(found).endswith("and none of them was ever answered.")
    assert [path.name for path in plot_why(run, found)] == ["why.html", "why.png"]
    done = sim.run("first_run", ["duration_s=30", "traffic.max_ttft_s=0"], out=tmp_path)
    assert done.path is not None
    run = read_run(done.path)
    assert labelled(blame_of_run(run)) == {}
    assert len(plot_why(run, blame_of_run(run))) == 2
