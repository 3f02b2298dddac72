"""Closed loops for the cases of the plain model: some requests follow others, or stand in lines that clients work off."""

from __future__ import annotations

from typing import Any

import numpy as np


def with_turns(case: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same case in which some requests come when others are over, streams that stall are left, and attempts are
    refused that would wait too long for their first token.
    """
    rng = np.random.default_rng([seed, 11])
    unit_ps = int(case["pools"][0]["base_ps"][0])
    n, n_session = len(case["requests"]), int(rng.integers(1, 6))
    session = np.where(rng.random(n) < 0.8, rng.integers(0, n_session, n), -1)
    after, tokens = [-1] * n, [0] * n
    last: dict[int, int] = {}
    for i, who in enumerate(session.tolist()):
        if who < 0:
            continue
        before = last.get(who)
        tokens[i] = case["requests"][i][1] + case["requests"][i][2]
        if before is not None:
            after[before] = i
            tokens[i] += tokens[before]
        last[who] = i
    follows = set(after) - {-1}
    order = sorted(range(n), key=lambda i: (i in follows, i))
    place = {i: at for at, i in enumerate(order)}
    pause_ps = [unit_ps * int(rng.integers(0, 6)) * int(rng.integers(0, 2)) for _ in range(n)]
    last_ps = max(case["requests"][i][0] for i in range(n) if i not in follows)
    from_ps, _ = case["measured_ps"]
    return {
        **case,
        "requests": [
            (None if i in follows else case["requests"][i][0], *case["requests"][i][1:]) for i in order
        ],
        "contents": [case["contents"][i] for i in order],
        "measured_ps": (from_ps, max(from_ps, last_ps) + 1 + unit_ps * int(rng.integers(0, 120))),
        "turns": {
            "after": [place.get(after[i], -1) for i in order],
            "pause_ps": [pause_ps[i] for i in order],
            "tokens": [tokens[i] for i in order],
        },
        "classes": [
            {
                **row,
                "persistent": bool(rng.integers(0, 2)),
                "session_max": int(rng.integers(10, 80)) if rng.integers(0, 3) == 0 else None,
                "gap_ps": unit_ps * int(rng.integers(1, 7)) if rng.integers(0, 2) else None,
                "ttft_max_ps": unit_ps * int(rng.integers(0, 30)) if rng.integers(0, 3) == 0 else None,
            }
            for row in case["classes"]
        ],
    }


def with_lines(case: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same case in which some or all requests stand in lines, each worked off by a few clients; where all do, the run
    may close with the last.
    """
    rng = np.random.default_rng([seed, 12])
    unit_ps = int(case["pools"][0]["base_ps"][0])
    n, n_line = len(case["requests"]), int(rng.integers(1, 4))
    all_of_them = bool(rng.integers(0, 2))
    line = np.where(all_of_them | (rng.random(n) < 0.7), rng.integers(0, n_line, n), -1)
    clients = rng.integers(1, 6, n_line)
    place = [int((line[:i] == line[i]).sum()) for i in range(n)]
    waits = [line[i] >= 0 and place[i] >= clients[line[i]] for i in range(n)]
    order = sorted(range(n), key=lambda i: (waits[i], line[i] if waits[i] else 0, i))
    last_ps = max(case["requests"][i][0] for i in range(n) if not waits[i])
    from_ps, _ = case["measured_ps"]
    pauses = [unit_ps * int(rng.integers(0, 4)) * int(rng.integers(0, 2)) for _ in range(n)]
    until_ps = max(from_ps, last_ps) + 1 + unit_ps * int(rng.integers(0, 240))
    closes = all_of_them and bool(rng.integers(0, 3))
    return {
        **case,
        "requests": [(None if waits[i] else case["requests"][i][0], *case["requests"][i][1:]) for i in order],
        "contents": [case["contents"][i] for i in order],
        "measured_ps": (from_ps, until_ps),
        "turns": {
            "after": [-2 - int(line[i]) if line[i] >= 0 else -1 for i in order],
            "pause_ps": [pauses[i] for i in order],
            "tokens": [0] * n,
        },
        "closes": closes,
        "end_ps": max(case["end_ps"], until_ps) if closes else case["end_ps"],
    }
