"""What a run did around its GPUs: CPU stations, and answers that a guardrail blocked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.model.layout import (
    D_BUSY,
    D_JOBS,
    D_SIZE,
    D_WAIT,
    J_SENT_ON,
    J_SIZE,
    P_N_CLASS,
    P_N_STATION,
    P_SAMPLE_PS,
    P_STATIONS,
    S_N_SAMPLE,
    S_NOW,
    TS_BUSY,
    TS_DONE_HI,
    TS_DONE_LO,
    TS_IN_LINE,
    TS_SIZE,
    TS_STATION,
    TS_TIME_PS,
    TS_VISITS,
    TS_WAIT_PS,
    WORK_FIRST,
    WORK_N,
    WORK_SIZE,
    Params,
    State,
)
from sim.model.metrics import wide

_STATION_COLUMNS = {
    "time_ps": TS_TIME_PS,
    "station_id": TS_STATION,
    "busy_workers": TS_BUSY,
    "in_line": TS_IN_LINE,
    "wait_ps": TS_WAIT_PS,
    "visits": TS_VISITS,
}


def station_rows(p: Params, st: State) -> list[dict[str, int]]:
    """Each CPU station over the whole run: its workers, visits, how long these waited and kept workers busy."""
    rows = st.m[st.station : st.content].reshape(-1, D_SIZE)
    works = p.m[p.m[P_STATIONS] :][: len(rows) * WORK_SIZE].reshape(-1, WORK_SIZE)
    return [_station(st, row, work) for row, work in zip(rows, works, strict=True)]


def station_samples(p: Params, st: State) -> dict[str, np.ndarray]:
    """Column → (sample · station,): what the samples saw, `visits` and `done_ps` since the start."""
    n_station, period_ps = int(p.m[P_N_STATION]), int(p.m[P_SAMPLE_PS])
    if n_station == 0 or period_ps == 0:
        return {}
    n_sample = min(int(st.m[S_N_SAMPLE]), int(st.m[S_NOW]) // period_ps + 1)  # not the one that closes a run
    rows = st.m[st.station_sample :][: n_sample * n_station * TS_SIZE].reshape(-1, TS_SIZE)
    columns = {name: rows[:, at] for name, at in _STATION_COLUMNS.items()}
    done = [wide(lo, hi) for lo, hi in rows[:, [TS_DONE_LO, TS_DONE_HI]]]
    return columns | {"done_ps": np.array(done, dtype=object)}


def _station(st: State, row: np.ndarray, work: np.ndarray) -> dict[str, int]:
    first, n = st.worker + int(work[WORK_FIRST]), int(work[WORK_N])
    # work counts when it joins the line: what lies beyond the end is each worker's last stretch without a pause
    beyond = sum(max(0, int(free) - int(st.m[S_NOW])) for free in st.m[first : first + n])
    return {
        "workers": n,
        "visits": int(row[D_JOBS]),
        "wait_ps": wide(row[D_WAIT], row[D_WAIT + 1]),
        "busy_ps": wide(row[D_BUSY], row[D_BUSY + 1]) - beyond,
    }


def blocked_answers(p: Params, st: State, counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Answers to measured requests that a guardrail blocked, (1 + class,), those included that another model was asked
    for instead.
    """
    sent_on = st.m[st.limit + J_SENT_ON :][: p.m[P_N_CLASS] * J_SIZE : J_SIZE]
    return np.asarray(counts["reason_blocked"] + np.concatenate([[sent_on.sum()], sent_on]))
