"""How the stories about the plain model are told: a plain pool, a run, and what to read from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .naive import Run, run

LATER_PS = 10**6


def pool(**changes: Any) -> dict[str, Any]:
    """One replica, ready from the start; every step takes 10 ps and nothing is scarce."""
    plain = {
        "ready_at": [0],
        "base_ps": [10] * 9,
        "slope_ps": [0] * 9,
        "n_kv_blocks": 100,
        "block_size": 4,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 100,
    }
    return {**plain, **changes}


def story(requests: Sequence[tuple[int, ...]], *pools: dict[str, Any], **more: Any) -> Run:
    """Run (arrival_ps, prompt, output[, class]) requests; priorities are the numbers of the classes."""
    full = [(request[0], request[1], request[2], (*request, 0)[3]) for request in requests]
    classes = [{"priority": number} for number in range(6)]
    group = {"router": more.pop("router", "round_robin"), "queue_capacity": more.pop("queue_capacity", 100)}
    return run(full, list(pools) or [pool()], classes, [group], more.pop("end_ps", LATER_PS), **more)


def tokens(told: Run) -> list[list[int]]:
    """When each request's tokens came out (ps)."""
    return [emitted(request) for request in told.requests]


def emitted(request: dict[str, Any]) -> list[int]:
    """When one request's tokens came out (ps): the first, then gap by gap."""
    times = [request["first_token_ps"]]
    for gap in request["gaps"]:
        times.append(times[-1] + gap)
    return times


def column(told: Run, key: str) -> list[Any]:
    """One value of every request."""
    return [request[key] for request in told.requests]
