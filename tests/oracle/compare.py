"""Run a case of the plain model on the product's model, and say where the two differ.

    python -m tests.oracle.compare SEED…          # compiled
    NUMBA_DISABLE_JIT=1 python -m tests.oracle.compare 0:300    # as plain Python, seeds 0 … 299

prints one line for each difference and ends with exit code 1 if there was one.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sim.arrays import (
    ClassRow,
    GroupRow,
    PoolRow,
    RunRow,
    Traffic,
    grow_slots,
    make_params,
    new_state,
    pool_rows,
    state_sizes,
    table,
)
from sim.engine.cpu import compiled
from sim.engine.result import _requests
from sim.model import layout as a
from sim.model.fleet import advance, begin, finish
from sim.model.lifecycle import become_ready, begin_drain
from sim.model.metrics import N_BUCKET, bucket_edges_ps, wide

from .naive import Run, run
from .naive_replica import POOL_DEFAULTS
from .random_cases import Case
from .random_cases import case as random_case

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
        for place_of, ready_ps in zip(
            place, (t for pool in case["pools"] for t in pool["ready_at"]), strict=True
        )
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
            GroupRow(
                router=a.ROUTERS.index(g.get("router", "round_robin")),
                hold_max=g.get("queue_capacity", 10**9),
            )
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
    return compiled(move, 3)


def run_model(case: Case, n_slot: int = 2) -> list[dict[str, Any]]:
    """The requests of the case on the product's event loop, in the plain model's words."""
    return rows_of(*end_of(case, n_slot))


def end_of(case: Case, n_slot: int = 2) -> tuple[a.Params, a.State, list[int]]:
    """The case on the product's event loop, its scripted changes made at their instants: how it ends."""
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
    return p, st, place


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


# ---- what differs ----------------------------------------------------------------------
def seed_differences(seed: int) -> list[str]:
    """Where product and plain model differ on the case of a seed, one line each."""
    return case_differences(seed_case(seed))


def seed_case(seed: int) -> Case:
    """The case of a seed: many with longer times (most histogram buckets are wider than the grid; some begin on it),
    longer outputs (for long jumps) or more requests."""
    case = stretched(random_case(seed), (1, 1 << 20, 10**9 + 7)[seed % 3])
    if seed % 5 == 4:
        case = lengthened(case, 2 + seed % 17)
    if seed % 7 == 6:
        case = repeated(case, 2 + seed % 4)
    return case


def lengthened(case: Case, factor: int) -> Case:
    """The same case with `factor` times as many output tokens, in caches and contexts as much larger."""
    requests = [(at, prompt, output * factor, k) for at, prompt, output, k in case["requests"]]
    longest = max(prompt + output for _, prompt, output, _ in requests)
    pools = [
        {
            **pool,
            "max_model_len": pool["max_model_len"] * factor,
            "n_kv_blocks": min(pool["n_kv_blocks"] * factor, pool["max_num_seqs"] * longest),
        }
        for pool in case["pools"]
    ]
    return {
        **case,
        "requests": requests,
        "pools": pools,
        "end_ps": case["end_ps"] * factor,
    }


def repeated(case: Case, times: int) -> Case:
    """The same requests again and again, each round right behind the one before."""
    round_ps = case["requests"][-1][0] + 1
    return {
        **case,
        "requests": [(at + i * round_ps, *rest) for i in range(times) for at, *rest in case["requests"]],
        "end_ps": case["end_ps"] * times,
    }


def stretched(case: Case, factor: int) -> Case:
    """The same case with every time `factor` times as long (attention but for its rounding)."""
    times = ("prefill_ps_per_token", "attention_q16", "max_batch_delay_ps")
    pools = [
        {
            **pool,
            **{key: pool[key] * factor for key in times},
            **{key: [t * factor for t in pool[key]] for key in ("base_ps", "slope_ps", "ready_at")},
        }
        for pool in case["pools"]
    ]
    return {
        **case,
        "pools": pools,
        "requests": [(at * factor, *rest) for at, *rest in case["requests"]],
        "interventions": [(at * factor, *rest) for at, *rest in case["interventions"]],
        "end_ps": case["end_ps"] * factor,
    }


def case_differences(case: Case, n_slot: int = 2) -> list[str]:
    """Requests, every gap and every other measure, the work of each replica: one line for each difference."""
    told = run(**case)
    p, st, place = end_of(case, n_slot)
    expected = [{key: row[key] for key in row if key != "gaps"} for row in told.requests]
    return [
        *differences(rows_of(p, st, place), expected),
        *_unlike("measures", measures_of(p, st), measures_told(case, told)),
        *_unlike("replica", work_of(p, st, place), work_told(case, told)),
    ]


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """One line for each value of a request that differs."""
    return _unlike("request", dict(enumerate(found)), dict(enumerate(expected)))


def _unlike(what: str, found: dict[Any, dict[str, Any]], expected: dict[Any, dict[str, Any]]) -> list[str]:
    assert found.keys() == expected.keys()
    return [
        f"{what} {at}: {key} is {found[at][key]}, expected {expected[at][key]}"
        for at in expected
        for key in expected[at]
        if found[at][key] != expected[at][key]
    ]


def measures_of(p: a.Params, st: a.State) -> dict[Any, dict[str, Any]]:
    """(class, metric) → sum and histogram of the product."""
    sizes = state_sizes(p)
    sums = table(st, "counts", sizes, a.C_SIZE)
    hist = table(st, "hist", sizes, N_BUCKET).reshape(-1, a.N_METRIC, N_BUCKET)
    return {
        (k, name): {
            "sum": wide(sums[k, a.C_SUM + 2 * m], sums[k, a.C_SUM + 2 * m + 1]),
            "buckets": {int(b): int(hist[k, m, b]) for b in hist[k, m].nonzero()[0]},
        }
        for k in range(len(sums))
        for m, name in enumerate(a.METRICS)
    }


def measures_told(case: Case, told: Run) -> dict[Any, dict[str, Any]]:
    """(class, metric) → sum and histogram of what the plain model saw, every gap of every request among it."""
    values: dict[Any, list[int]] = {(k, name): [] for k in range(len(case["classes"])) for name in a.METRICS}
    for (arrival_ps, _, output, k), row in zip(case["requests"], told.requests, strict=True):
        values[k, "itl"] += row["gaps"]
        if row["outcome"] != "completed":
            continue
        values[k, "ttft"].append(row["first_token_ps"] - arrival_ps)
        values[k, "e2e"].append(row["last_token_ps"] - arrival_ps)
        values[k, "queue_wait"].append(row["scheduled_ps"] - arrival_ps)
        if output > 1:
            values[k, "tpot"].append((row["last_token_ps"] - row["first_token_ps"]) // (output - 1))
    return {key: {"sum": sum(seen), "buckets": _buckets(seen)} for key, seen in values.items()}


@functools.cache
def _edges() -> np.ndarray:
    return bucket_edges_ps()


def _buckets(values: Iterable[int]) -> dict[int, int]:
    places = np.searchsorted(_edges(), np.array(list(values), dtype=np.int64), side="right") - 1
    return dict(sorted(Counter(places.tolist()).items()))


def work_of(p: a.Params, st: a.State, place: list[int]) -> dict[Any, dict[str, Any]]:
    """Replica → its finished steps, their time, how long one cut off by the end had run, and its tokens."""
    rows = table(st, "rep", state_sizes(p), a.R_SIZE)
    names = {
        "busy_ps": a.R_BUSY_PS,
        "steps": a.R_STEPS,
        "prefill": a.R_PREFILL_TOKENS,
        "decode": a.R_DECODE_TOKENS,
        "kv_read": a.R_KV_READ,
        "prefill_ps": a.R_PREFILL_PS,
        "decode_ps": a.R_DECODE_PS,
    }
    work = {}
    for number, r in enumerate(place):
        row = rows[r]
        work[number] = {name: int(row[at]) for name, at in names.items()}
        work[number]["cut_ps"] = int(st.m[a.S_NOW] - row[a.R_JUMP_PS]) if row[a.R_JUMP_K] > 0 else 0
    return work


def work_told(case: Case, told: Run) -> dict[Any, dict[str, Any]]:
    """The same of the plain model; token counts only where no step was cut off by the end."""
    pools = [{**POOL_DEFAULTS, **pool} for pool in case["pools"] for _ in pool["ready_at"]]
    return {
        r: {
            **{key: row[key] for key in ("busy_ps", "steps", "cut_ps")},
            **(tokens_told(case, pools[r], row["log"]) if row["cut_ps"] == 0 else {}),
        }
        for r, row in enumerate(told.replicas)
    }


def tokens_told(case: Case, pool: dict[str, Any], log: list[dict[str, Any]]) -> dict[str, int]:
    """Tokens computed in prompts and in decoding, tokens attended in decoding, and the time of either."""
    work = dict.fromkeys(("prefill", "decode", "kv_read", "prefill_ps", "decode_ps"), 0)
    emitted: Counter[int] = Counter()
    for step in log:
        decoding = attended = 0
        for number, computed, chunk in step["chunks"]:
            left = case["requests"][number][1] + emitted[number] - computed
            if emitted[number] and left == 1:
                decoding, attended = decoding + 1, attended + computed + 1
            else:
                work["prefill"] += chunk
            emitted[number] += chunk == left
        work["decode"] += decoding
        work["kv_read"] += attended
        decode_ps = pool["base_ps"][decoding] + pool["slope_ps"][decoding] * attended if decoding else 0
        work["decode_ps"] += decode_ps
        work["prefill_ps"] += step["dt_ps"] - decode_ps
    return work


def repeat(seed: int) -> str:
    """The line that repeats a seed."""
    import os

    off = "NUMBA_DISABLE_JIT=1 " if os.environ.get("NUMBA_DISABLE_JIT") == "1" else ""
    return f"{off}python -m tests.oracle.compare {seed}"


def seeds_of(words: Iterable[str]) -> list[int]:
    """`3 7 100:103` as 3, 7, 100, 101, 102."""
    seeds: list[int] = []
    for word in words:
        first, _, last = word.partition(":")
        seeds += range(int(first), int(last)) if last else [int(first)]
    return seeds


def main(words: list[str]) -> int:
    """Compare the seeds that are asked for; 0 when nothing differs."""
    failed = 0
    for seed in seeds_of(words):
        lines = seed_differences(seed)
        failed += bool(lines)
        for line in lines:
            print(f"seed {seed}: {line}")
    print(f"{len(seeds_of(words))} seeds, {failed} with a difference")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
