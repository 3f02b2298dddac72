"""What metrics are made of: a run's files, what was seen when it was repeated, its pods, its requests as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.model.tables.codes import STAGE_READY
from sim.outlets.replay import Replay
from sim.outlets.series import Grid
from sim.records.run_dir import RunFiles

TEXTS = ("class", "model", "outcome", "reason")


class Pod(NamedTuple):
    """A replica from a start to its end; a place that is used again is another pod."""

    name: str
    pool: int
    place: int  # inside its pool
    replica: int  # of all pools
    ready_ps: int
    gone_ps: int


@dataclass(frozen=True)
class Rows:
    """The requests of a run as arrays, −1 where something did not happen."""

    columns: Mapping[str, np.ndarray]
    texts: Mapping[str, np.ndarray]
    pod: np.ndarray  # (request,) number of the pod that had its last attempt, −1: none
    end_ps: np.ndarray  # (request,) when it was over, −1: not

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


class Told(NamedTuple):
    """All that series are made of."""

    run: RunFiles
    seen: Replay
    grid: Grid
    pods: list[Pod]
    rows: Rows


def pods_of(seen: Replay) -> list[Pod]:
    """Every replica that came to be ready, by pool, place and time."""
    lives: dict[tuple[int, int, int], list[int]] = {}
    for stage in seen.stages:
        if stage.stage >= STAGE_READY:
            span = lives.setdefault((stage.pool, stage.replica, stage.start), [stage.begin_ps, stage.end_ps])
            span[1] = stage.end_ps
    pods = []
    for (pool, place, start), (ready, gone) in sorted(lives.items()):
        name = f"{seen.scenario.pools[pool].name}-{place}" + (f"-r{start}" if start >= 0 else "")
        pods.append(Pod(name, pool, place, place + int(seen.first_replica[pool]), ready, gone))
    return pods


INSTANTS = ("arrival_ps", "taken_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps")
NUMBERS = ("request_id", "prompt_tokens", "output_tokens", "cached_tokens", "blame_stream_cpu_ps")


def read_rows(run: RunFiles, seen: Replay, pods: list[Pod]) -> Rows:
    """The requests, and the pod of each."""
    table = run.tables.requests
    columns = {name: np.asarray(table.column(name).fill_null(-1)) for name in (*INSTANTS, *NUMBERS)}
    texts = {name: np.array(table.column(name).to_pylist(), dtype=object) for name in (*TEXTS, "pool")}
    columns["ttft"] = table.column("ttft_s").to_numpy(zero_copy_only=False)
    end_ps = np.where(texts["outcome"] == "completed", columns["last_token_ps"], -1)
    late = [seen.ends_ps.get(i, -1) for i in columns["request_id"].tolist()]
    end_ps = np.where(end_ps < 0, late, end_ps).astype(np.int64)
    place, routed = np.asarray(table.column("replica").fill_null(-1)), columns["routed_ps"]
    pod = np.full(len(routed), -1)
    for i, one in enumerate(pods):
        mine = (texts["pool"] == seen.scenario.pools[one.pool].name) & (place == one.place)
        pod[mine & (routed >= one.ready_ps) & (routed <= one.gone_ps)] = i
    return Rows(columns, texts, pod, end_ps)
