"""Sessions in closed loop for the cases of the plain model: some requests follow others, some clients mind stalls."""

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
