"""How far a run has come, seen from another thread while the compiled loop runs without the GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sim.engine.host import Policies, run_plan
from sim.fill.params import n_own
from sim.model.tables.run import Params, State

EVERY_S = 0.2


def watched(p: Params, policies: Policies, progress: Callable[..., None]) -> State:
    """Run a plan and report the share of requests that have arrived."""
    done = threading.Event()
    n = max(1, n_own(p))
    watchers: list[threading.Thread] = []

    def watch(state: State) -> None:
        while not done.wait(EVERY_S):
            progress(int(state.cursor) / n, 1.0, "simulating")

    def on_start(state: State) -> None:
        watchers.append(threading.Thread(target=watch, args=(state,), daemon=True))
        watchers[0].start()

    try:
        return run_plan(p, policies, on_start)
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
