"""What a request's time was spent on: the parts of its ttft and e2e, which add up to them exactly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.model.tables.codes import BLAME_STREAM_COLUMNS, BLAME_TTFT_COLUMNS
from sim.model.tables.run import Params
from sim.model.tables.slot import (
    SPENT_COLD_HELD,
    SPENT_COLD_QUEUE,
    SPENT_CPU_AFTER,
    SPENT_CPU_BEFORE,
    SPENT_INTERFERED,
    SPENT_NEIGHBOUR,
    SPENT_NEIGHBOUR_FIRST,
    SPENT_PREEMPTED,
    SPENT_PREEMPTED_FIRST,
    SPENT_PREFILL,
    SPENT_WITHHELD,
)


def blame_columns(rows: Mapping[str, np.ndarray], parts: np.ndarray) -> dict[str, np.ndarray]:
    """Column → (request,) ps, −1 where the first or the last token did not come. The network lies outside all instants.

    `rows` are the requests' instants, `parts` (N_SPENT, request) what the model kept of each.
    """
    first, last = rows["first_token_ps"], rows["last_token_ps"]
    arrival, routed, scheduled = rows["arrival_ps"], rows["routed_ps"], rows["scheduled_ps"]
    taken = rows.get("taken_ps", arrival)
    network = rows.get("network_ps", np.zeros(len(arrival), dtype=np.int64))
    held, queued = parts[SPENT_COLD_HELD], parts[SPENT_COLD_QUEUE]
    prefill, preempted, withheld = parts[SPENT_PREFILL], parts[SPENT_PREEMPTED_FIRST], parts[SPENT_WITHHELD]
    neighbour = parts[SPENT_NEIGHBOUR_FIRST]
    before, after = parts[SPENT_CPU_BEFORE], parts[SPENT_CPU_AFTER]
    at_once = first == last  # nothing was shown before the answer was complete and checked
    checked = np.where(at_once, after, 0)
    served = (first >= 0) & (rows["pool_id"] < 0)  # by the response cache
    looked_up = np.where(served, first - scheduled, 0)
    of_ttft = (
        taken - arrival,
        routed - taken - before - held + looked_up,
        before + checked,
        network,
        held + queued,
        scheduled - routed - queued,
        prefill,
        first - scheduled - prefill - neighbour - preempted - withheld - checked - looked_up,
        neighbour,
        preempted,
        withheld,
    )
    interfered, taken_away, later, after = (
        np.where(at_once, 0, part)
        for part in (parts[SPENT_INTERFERED], parts[SPENT_NEIGHBOUR], parts[SPENT_PREEMPTED], after)
    )
    decoding = last - first - interfered - taken_away - later - after
    of_stream = (interfered, taken_away, later, decoding, after)
    return {
        **{
            name: np.where(first >= 0, part, -1)
            for name, part in zip(BLAME_TTFT_COLUMNS, of_ttft, strict=True)
        },
        **{
            name: np.where(last >= 0, part, -1)
            for name, part in zip(BLAME_STREAM_COLUMNS, of_stream, strict=True)
        },
    }


def network_ps(p: Params, class_id: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Between each request's users and the pool that took its last attempt, and back; 0 when never routed."""
    found = np.zeros(len(pool), dtype=np.int64)
    for k, start in enumerate(p.rows("klass", int(p.n_class))["network_at"]):
        if start > 0:
            mine = (class_id == k) & (pool >= 0)
            found[mine] = p.m[start + pool[mine]]
    return found
