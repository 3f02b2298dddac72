"""What the queues of a run did: sums of what each used, and what the samples saw."""

from __future__ import annotations

import numpy as np

from sim.model.base.histogram import wide
from sim.model.tables.run import Params, State
from sim.model.tables.sample import MARK_WARM, MARK_WINDOW, N_MARK

COUNTS = ("admitted", "taken", "unplaceable", "waited_max_ps")
SAMPLED = ("time_ps", "queue", "pair", "used", "borrowed", "pending", "unplaced")


def queue_rows(params: Params, state: State) -> list[dict[str, int]]:
    """Each queue in the measured window (units of quota · ps), and its counts over the whole run; none without queues."""
    n_queue, n_pair = int(params.n_quota_queue), int(params.n_quota_pair)
    marks = state.rows("quota_mark", N_MARK * n_queue * n_pair).reshape(N_MARK, n_queue, n_pair)
    found = []
    for queue in range(n_queue):
        of_queue = state.quota_node[queue]
        row = {"units": int(params.cluster[0].quota_units)}
        row["nominal"] = sum(int(params.quota[queue * n_pair + pair].nominal) for pair in range(n_pair))
        for name in ("used_ps", "borrowed_ps"):
            warm, window = (
                sum(wide(*pair[name]) for pair in marks[m, queue]) for m in (MARK_WARM, MARK_WINDOW)
            )
            row[name] = window - warm
        row |= {name: int(getattr(of_queue, name)) for name in COUNTS}
        found.append(row | {"waited_ps": wide(of_queue.waited_ps[0], of_queue.waited_ps[1])})
    return found


def queue_samples(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (sample · queue · flavor,): what the samples saw, in units of quota; nothing without queues."""
    n = int(state.n_sample) * int(params.n_quota_queue) * int(params.n_quota_pair)
    if n == 0:
        return {}
    rows = state.rows("quota_sample", n)
    nominal = params.rows("quota", int(params.n_quota))["nominal"]
    at = rows["queue"] * int(params.n_quota_pair) + rows["pair"]
    known = params.rows("quota", int(params.n_quota))["is_known"][at]
    return {
        **{name: rows[name] for name in SAMPLED},
        "nominal": nominal[at],
        "is_known": known,
        "units": np.full(n, int(params.cluster[0].quota_units)),
    }
