"""What a run did around its GPUs: CPU stations, links that starts share, deployments."""

from __future__ import annotations

import numpy as np

from sim.compile.jit import plain
from sim.model.base.histogram import wide
from sim.model.record.versions import SHARE_SHIFT
from sim.model.tables.run import Params, State
from sim.rng import STREAM_ANSWER, draw

_STATION_COLUMNS = {
    "time_ps": "time_ps",
    "station_id": "station",
    "busy_workers": "busy_workers",
    "in_line": "in_line",
    "wait_ps": "wait_ps",
    "visits": "visits",
}


def station_rows(params: Params, state: State) -> list[dict[str, int]]:
    """Each CPU station over the whole run: its workers, visits, how long these waited and kept workers busy."""
    return [_station(params, state, number) for number in range(int(params.n_station))]


def station_samples(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (sample · station,): what the samples saw, `visits` and `done_ps` since the start."""
    n_station, period_ps = int(params.n_station), int(params.sample_ps)
    if n_station == 0 or period_ps == 0:
        return {}
    n_sample = min(int(state.n_sample), int(state.now_ps) // period_ps + 1)  # not the one that closes a run
    rows = state.rows("station_sample", n_sample * n_station)
    columns = {name: rows[field] for name, field in _STATION_COLUMNS.items()}
    done = [wide(low, high) for low, high in rows["done_ps"]]
    return columns | {"done_ps": np.array(done, dtype=object)}


def _station(params: Params, state: State, number: int) -> dict[str, int]:
    station, workers = state.station[number], params.station[number]
    first, n = int(workers.first_worker), int(workers.n_worker)
    # work counts when it joins the line: what lies beyond the end is each worker's last stretch without a pause
    beyond = sum(max(0, int(free) - int(state.now_ps)) for free in state.worker[first : first + n])
    return {
        "workers": n,
        "visits": int(station.visits),
        "wait_ps": wide(station.wait_ps[0], station.wait_ps[1]),
        "busy_ps": wide(station.busy_ps[0], station.busy_ps[1]) - beyond,
    }


def link_rows(params: Params, state: State) -> list[dict[str, int]]:
    """What each link carried over the whole run."""
    return [
        {
            "transfers_max": int(row["n_max"]),
            "moved_bytes": wide(*row["moved_bytes"]),
            "busy_ps": wide(*row["busy_ps"]),
            "full_ps": wide(*row["full_ps"]),
        }
        for row in state.rows("link", int(params.n_link))
    ]


def link_samples(params: Params, state: State) -> dict[str, np.ndarray]:
    """Column → (sample · link,): what the samples saw; `moved_bytes`, `busy_ps`, `full_ps` since the start."""
    rows = state.rows("link_sample", int(state.n_sample) * int(params.n_link) if params.n_link_sample else 0)
    if not len(rows):
        return {}
    columns = {"time_ps": rows["time_ps"], "link_id": rows["link"], "transfers": rows["n"]}
    columns |= {name: rows[name] for name in ("rate_q40", "capacity_q40")}
    for name in ("moved_bytes", "busy_ps", "full_ps"):
        columns[name] = np.array([wide(low, high) for low, high in rows[name].tolist()], dtype=object)
    return columns


_ROLLOUT_FIELDS = (
    *("started_ps", "ended_ps", "timed_out_ps", "aborted_ps", "paused_ps", "because", "pool", "promoted_ps"),
    *("replicas", "step", "most", "least"),
)


def rollout_rows(params: Params, state: State) -> list[dict[str, int]]:
    """What became of each deployment; −1 where something did not happen."""
    rows = state.rows("rollout", int(params.n_rollout))
    return [{name: int(row[name]) for name in _ROLLOUT_FIELDS} for row in rows]


def version_rows(params: Params, state: State) -> list[dict[str, int]]:
    """What each pool answered over the whole run; none where versions do not differ."""
    rows = state.rows("version", int(params.n_version))
    return [{name: int(row[name]) for name in ("answered", "bad", "failed")} for row in rows]


def gate_rows(params: Params, state: State) -> list[dict[str, int]]:
    """What became of each gate, of all deployments."""
    return [{"measured": int(row["n_measured"])} for row in state.rows("gate", int(params.n_gate))]


def bad_answers(params: Params, pool_id: np.ndarray, is_answered: np.ndarray) -> np.ndarray:
    """Whether each request got a bad answer, (request,) of bool: `is_bad` of sim.model.record.versions."""
    bad = np.zeros(len(pool_id), dtype=bool)
    if params.n_version == 0:
        return bad
    share = params.rows("version", int(params.n_version))["bad_q30"]
    asked = np.flatnonzero(is_answered & (share[np.maximum(pool_id, 0)] > 0))
    drawn = plain(draw)(int(params.seed), STREAM_ANSWER, asked, 0) >> SHARE_SHIFT
    bad[asked] = drawn < share[pool_id[asked]]
    return bad
