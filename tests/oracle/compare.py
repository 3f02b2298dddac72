"""Run a case of the plain model on the product's model, and say where the two differ."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from sim.arrays import ClassRow, GroupRow, PoolRow, RunRow, Traffic, grow_slots, make_params, new_state, pool_rows
from sim.engine.result import _requests
from sim.model import layout as a
from sim.engine.cpu import compiled
from sim.model.fleet import advance, begin, finish
from sim.model.lifecycle import become_ready, begin_drain

from .naive_replica import POOL_DEFAULTS

COLUMNS = ("outcome", "reason", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "preemptions")


def params_of(case: dict[str, Any]) -> tuple[a.Params, list[int], list[tuple[int, int, str]]]:
    """A case as the product's arrays: (params, the place of each of its replicas, when each changes)."""
    order = sorted(range(len(case["pools"])), key=lambda i: case["pools"][i].get("group", 0))
    pools = [{**POOL_DEFAULTS, **case["pools"][i]} for i in order]
    firsts = np.cumsum([0] + [len(pool["ready_at"]) for pool in pools])
    place: list[int] = []
    for i, pool in enumerate(case["pools"]):
        place += [int(firsts[order.index(i)]) + j for j in range(len(pool["ready_at"]))]
    changes = [
        (ready_ps, place_of, "ready")
        for place_of, ready_ps in zip(place, (t for pool in case["pools"] for t in pool["ready_at"]), strict=True)
        if ready_ps is not None
    ]
    changes.sort(key=lambda change: change[0])
    later = [(t, place[r], what) for t, r, what in case.get("interventions") or []]
    rows = np.array(case["requests"], dtype=np.int64).reshape(-1, 4)
    end_ps = case["end_ps"]
    params = make_params(
        RunRow(seed=1, duration_ps=end_ps, warmup_ps=0, end_ps=end_ps, sample_ps=0),
        Traffic(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3]),
        [ClassRow(group=c.get("group", 0), priority=c.get("priority", 0)) for c in case["classes"]],
        [
            GroupRow(router=a.ROUTERS.index(g.get("router", "round_robin")), hold_max=g.get("queue_capacity", 10**9))
            for g in case["groups"]
        ],
        [pool_row(pool) for pool in pools],
    )
    return params, place, sorted(changes + later, key=lambda change: change[0])


def pool_row(pool: dict[str, Any]) -> PoolRow:
    """A pool of a case in the product's numbers."""
    none = pool["batching"] == "none"
    return PoolRow(
        base_ps=np.array(pool["base_ps"]),
        slope_ps=np.array(pool["slope_ps"]),
        prefill_ps=pool["prefill_ps_per_token"],
        attention_q16=pool["attention_q16"],
        n_blocks=pool["n_kv_blocks"],
        max_num_seqs=1 if none else pool["max_num_seqs"],
        budget=pool["max_num_batched_tokens"],
        max_len=pool["max_model_len"],
        group=pool["group"],
        block=pool["block_size"],
        batching=a.CONTINUOUS if none else a.BATCHINGS.index(pool["batching"]),
        scheduling=a.SCHEDULINGS.index(pool["scheduling"]),
        threshold=pool["long_prefill_token_threshold"],
        chunked=int(pool["chunked_prefill"]),
        delay_ps=pool["max_batch_delay_ps"],
        n_min=0,
        n_max=len(pool["ready_at"]),
        initial=0,
    )


BEGIN, ADVANCE, READY, DRAIN, FINISH = range(5)


def move(p, st, what, r, t):  # type: ignore[no-untyped-def]
    """One move of a scripted run; compiled as the product's own loop is."""
    if what == BEGIN:
        begin(p, st)
    elif what == ADVANCE:
        advance(p, st, t)
    elif what == READY:
        become_ready(p, st, r, t)
    elif what == DRAIN:
        begin_drain(p, st, r, t)
    else:
        finish(p, st)


@functools.cache
def mover() -> Callable[..., None]:
    """`move`, compiled unless the JIT is off."""
    return compiled(move)


def run_model(case: dict[str, Any], n_slot: int = 2) -> list[dict[str, Any]]:
    """The case on the product's event loop, its scripted changes made at their instants."""
    p, place, changes = params_of(case)
    st = new_state(p, n_slot)
    mover()(p, st, BEGIN, 0, 0)
    for time_ps, r, what in [*changes, (case["end_ps"], -1, "end")]:
        st = advance_to(p, st, min(time_ps, case["end_ps"]))
        if time_ps >= case["end_ps"]:
            break
        mover()(p, st, READY if what == "ready" else DRAIN, r, time_ps)
    st.m[a.S_NOW] = case["end_ps"]
    mover()(p, st, FINISH, 0, 0)
    return rows_of(p, st, place)


def advance_to(p: a.Params, st: a.State, time_ps: int) -> a.State:
    """Everything before time_ps, with room made where it is needed."""
    while True:
        mover()(p, st, ADVANCE, 0, time_ps)
        if st.m[a.S_STATUS] == a.OK:
            return st
        assert st.m[a.S_STATUS] == a.NEED_SLOTS
        st = grow_slots(p, st)


def rows_of(p: a.Params, st: a.State, place: list[int]) -> list[dict[str, Any]]:
    """The finished requests in the plain model's words."""
    table = _requests(p, st)
    first = pool_rows(p)[:, a.L_FIRST]
    rows = []
    for i in range(int(p.m[a.P_N_REQUEST])):
        row = {name: int(table[name][i]) for name in COLUMNS}
        row["outcome"] = a.OUTCOMES[row["outcome"]]
        row["reason"] = a.REASONS[row["reason"]] if row["outcome"] != "inside" else ""
        at = int(first[table["pool_id"][i]] + table["replica_id"][i]) if table["pool_id"][i] >= 0 else -1
        row["replica"] = place.index(at) if at >= 0 else -1
        row["itl_max_ps"] = max(0, int(table["itl_max_ps"][i]))
        rows.append(row)
    return rows


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """One line for each value that differs; every list of gaps is left to the caller."""
    lines = []
    for i, (a_row, b_row) in enumerate(zip(found, expected, strict=True)):
        lines += [
            f"request {i}: {key} is {a_row[key]}, expected {b_row[key]}" for key in a_row if a_row[key] != b_row[key]
        ]
    return lines


