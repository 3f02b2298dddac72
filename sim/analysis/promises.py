"""What requests were promised, and how many got it: classes that promise nothing keep no promise."""

from __future__ import annotations

from typing import Any

import numpy as np

OBJECTIVES = ("ttft_s", "itl_s", "tpot_s", "e2e_s")
KEPT = ("met", "done_met")


def promises_anything(entry: Any) -> bool:
    """Whether a traffic class has an objective."""
    return any(getattr(entry.objectives, name) is not None for name in OBJECTIVES)


def kind_of(scenario: Any, class_id: int) -> dict[str, Any]:
    """What tells classes apart whose latencies mean different things: the model they ask, and what they are promised."""
    entry = scenario.classes[class_id]
    promised = {name: getattr(entry.objectives, name) for name in OBJECTIVES}
    return {
        "model": entry.model or scenario.pools[0].model.name,
        "objectives": {name: float(limit) for name, limit in promised.items() if limit is not None},
    }


def with_promises(scenario: Any, result: Any) -> Any:
    """The result with what was promised counted for classes that promise something, 0 for the others: `promising`
    classes, requests that can be `judged` (offered, but for those that were still inside and not late yet), and those
    that met every objective (`met`; within the window `done_met`). Every count is (1 + class,), the fleet's first.
    """
    promising = np.array([promises_anything(entry) for entry in scenario.classes], dtype=np.int64)
    counts = result.counts
    columns = {
        "promising": np.ones_like(promising),
        "judged": (counts["offered"] - counts["inside"] + counts["inside_missed"])[1:],
        **{name: counts[name][1:] for name in KEPT},
    }
    made = {
        name: np.concatenate([[(column * promising).sum()], column * promising])
        for name, column in columns.items()
    }
    return result._replace(counts={**counts, **made})
