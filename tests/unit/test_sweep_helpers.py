"""Processes beside a sweep's threads: the same rows, the same errors, nothing lost and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sim
from sim import errors
from sim.sweeps import workers
from sim.sweeps.chunks import run_chunk
from sim.sweeps.helper import Helper, HelperError
from sim.sweeps.jobs import Jobs, Outlines, make_jobs

SHORT = ["duration_s=60", "drain_s=60"]
TWO = {"one": [*SHORT, "pool.min_replicas=1"], "two": [*SHORT, "pool.min_replicas=2"]}


def jobs_of(overrides: list[str], n: int = 4) -> Jobs:
    return make_jobs({"it": sim.load("first_run", [*SHORT, *overrides])}, range(n))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Helpers that a sweep started; it starts them as soon as it can."""
    found: list[Any] = []

    def start(jobs: Jobs, engine: str) -> Helper:
        found.append(Helper(jobs, engine))
        return found[-1]

    monkeypatch.setattr(workers, "HELPER_PAYS_S", 0.0)
    monkeypatch.setattr(workers, "Helper", start)
    return found


def test_rows_are_the_same_and_helpers_are_gone_in_the_end(started: list[Any]) -> None:
    alone = sim.sweep("first_run", range(12), TWO, threads=1).rows
    assert not started
    assert sim.sweep("first_run", range(12), TWO, threads=2).rows == alone
    assert started
    assert all(helper._process.returncode is not None for helper in started)


def test_a_helper_says_what_is_wrong_in_the_same_words(tmp_path: Path) -> None:
    law = tmp_path / "law.py"
    law.write_text("def desired(seen):\n    print('policies may print')\n    return 'many'\n")
    jobs = jobs_of(["autoscaler=user", f"autoscaler.law={law}:desired"])
    helper = Helper(jobs, "cpu")
    try:
        with pytest.raises(errors.InputError) as there:
            helper.run(0, 1)
    finally:
        helper.close()
    with pytest.raises(errors.InputError) as here:
        run_chunk(jobs, 0, 1, "cpu", Outlines())
    assert str(there.value) == str(here.value)
    assert "'many'" in str(here.value)


def test_a_helper_goes_on_after_an_error_of_one_chunk() -> None:
    jobs = jobs_of([])
    helper = Helper(jobs, "cpu")
    try:
        assert helper.run(2, 9) == run_chunk(jobs, 2, 4, "cpu", Outlines())
        with pytest.raises(RuntimeError, match="TypeError"):
            helper.run("two", 3)  # type: ignore[arg-type]
        assert helper.run(0, 1) == run_chunk(jobs, 0, 1, "cpu", Outlines())
    finally:
        helper.close()


def test_a_helper_that_is_killed_ends_the_sweep_with_a_line() -> None:
    helper = Helper(jobs_of([]), "cpu")
    helper._process.send_signal(signal.SIGKILL)
    with pytest.raises(HelperError, match=r"engine\.threads: its process ended with status -9"):
        helper.run(0, 4)
    helper.close()


def test_a_helper_ends_with_the_one_who_started_it() -> None:
    code = (
        "import sim, time; from sim.sweeps.helper import Helper; from sim.sweeps.jobs import make_jobs;"
        f"h = Helper(make_jobs({{'it': sim.load('first_run', {SHORT})}}, range(2)), 'cpu');"
        "h.run(0, 1); print(h.pid, flush=True); time.sleep(60)"
    )
    boss = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert boss.stdout is not None
    pid = int(boss.stdout.readline())
    boss.kill()
    boss.wait()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").is_file() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return  # dead, and waiting for somebody to take note
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the helper outlived the one who started it")
