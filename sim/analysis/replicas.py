"""How many replicas samples saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def most_replicas(seen: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The most ready and the most wanted in samples, `seen` by some pools together."""
    return {
        "replicas_ready_max": int(seen["ready"].max(initial=0)),
        "replicas_wanted_max": int(seen["wanted"].max(initial=0)),
    }
