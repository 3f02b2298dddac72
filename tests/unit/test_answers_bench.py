"""Runs on several processes: an error in one stops all, and what a lost one leaves is done one run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sim.answers.bench import Bench, Setting, Sheet, Trial
from sim.errors import InputError

DONE = Trial({"usd": 1.0}, ())
WAIT_S = 20.0


class Process:
    """Stands for a process beside: it answers what it is told to."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def ask(self, what: object) -> None:
        """Nothing is asked."""

    def close(self) -> None:
        """Nothing is there."""


def bench_with(processes: list[Process], own: Callable[[Any], Any]) -> Bench:
    bench = Bench(Sheet("first_run", (), ()), len(processes) + 1)
    bench.run_s = 0.001
    bench._beside = list(processes)  # type: ignore[arg-type]
    bench._own = own  # type: ignore[assignment]
    return bench


def test_an_error_beside_stops_the_line_here() -> None:
    asked = []

    def own(one: Any) -> Trial:
        asked.append(one)
        end = time.monotonic() + WAIT_S
        while not bench._is_stopped and time.monotonic() < end:
            time.sleep(0.001)
        return DONE

    bench = bench_with([Process(lambda: InputError("it cannot be"))], own)
    with pytest.raises(InputError, match="it cannot be"):
        bench.run([Setting()], range(40))
    assert len(asked) <= 1


def test_an_error_beside_stops_the_other_processes() -> None:
    n = 0

    def answer() -> Trial:
        nonlocal n
        n += 1
        end = time.monotonic() + WAIT_S
        while not bench._is_stopped and time.monotonic() < end:
            time.sleep(0.001)
        return DONE

    bench = bench_with([Process(lambda: InputError("it cannot be")), Process(answer)], lambda _: DONE)
    with pytest.raises(InputError, match="it cannot be"):
        bench.run([Setting()], range(60))
    assert n <= 1


def test_what_lost_processes_leave_is_run_here_one_at_a_time() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def own(_: Any) -> Trial:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with lock:
            inside -= 1
        return DONE

    bench = bench_with([Process(lambda: None), Process(lambda: None)], own)
    bench.run([Setting()], range(30))
    assert len(bench.done) == 30
    assert most == 1
