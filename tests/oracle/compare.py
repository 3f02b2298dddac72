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

from sim.compile.jit import entry_point, jit
from sim.engine.around import station_samples
from sim.engine.result import _counts, _requests
from sim.fill.params import (
    ClassRow,
    FaultRow,
    FrontRow,
    PoolRow,
    RunRow,
    ServedModelRow,
    TenantRow,
    Traffic,
    make_params,
    traffic_of,
)
from sim.fill.rows import LimitRow, VisitRow
from sim.fill.state import grow_slots, new_state, pool_rows, table
from sim.fill.trace import Chains, Turns
from sim.model.base.histogram import N_BUCKET, bucket_edges_ps, wide
from sim.model.cluster.replica_lifecycle import become_ready, begin_drain, enter_stage
from sim.model.faults.lost import lose_replica
from sim.model.loop.advance import advance, begin, finish
from sim.model.router.choose import ROUTERS
from sim.model.scheduler.placement import place_replica
from sim.model.tables.codes import (
    BATCHINGS,
    CLOSED,
    CONTINUOUS,
    HOLD_FAIR,
    HOLD_FIFO,
    HOLD_PRIORITY,
    JITTERS,
    METRICS,
    MORE_METRICS,
    N_METRIC,
    N_MORE,
    NEED_SLOTS,
    OK,
    OUTCOMES,
    REASONS,
    RETRY_FAILED,
    RETRY_REJECTED,
    RETRY_TIMED_OUT,
    SCHEDULINGS,
    STAGE_ENGINE,
    STAGE_GONE,
)
from sim.model.tables.fault import SLOW_STEPS
from sim.model.tables.node import SHARINGS, TENANTS_MAX
from sim.model.tables.run import Params, State
from sim.model.telemetry.marks import pass_mark
from sim.model.telemetry.samples import sample
from sim.units import NEVER

from .naive import Run, run
from .naive_gateway import CLASS_DEFAULTS, DAY_PS
from .naive_replica import POOL_DEFAULTS, slow_share
from .random_cases import Case, later
from .random_cases import case as random_case
from .turns import with_lines, with_turns

STAMPS = ("taken_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps")
COLUMNS = ("outcome", "reason", "arrival_ps", *STAMPS, "preemptions", "attempts", "wasted_tokens")
NOBODY = {  # the row of a turn that did not come
    **dict.fromkeys(("arrival_ps", *STAMPS, "replica"), -1),
    **dict.fromkeys(("preemptions", "attempts", "wasted_tokens", "itl_max_ps"), 0),
    "outcome": "inside",
    "reason": "",
}
TIMES_ENDLESS = ("wait_max_ps", "hedge_ps", "deadline_ps")
ENDLESS = (
    *("prompt_max", "output_max", "session_max", "shed_milli", "budget_burst_milli", "gap_ps", "ttft_max_ps"),
    *TIMES_ENDLESS,
)
#: What a class of a case calls otherwise than the product.
NAMES = {
    "group": "served_model",
    "persistent": "is_persistent",
    "wait_max_ps": "max_queue_ps",
    "gap_ps": "stall_ps",
}
HOLD_ORDERS = {"fifo": HOLD_FIFO, "priority": HOLD_PRIORITY, "fair": HOLD_FAIR}
RETRY_BITS = {"rejected": RETRY_REJECTED, "timed_out": RETRY_TIMED_OUT, "failed": RETRY_FAILED}


def params_of(case: dict[str, Any]) -> tuple[Params, list[int], list[tuple[int, int, str]]]:
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
    never = [(NEVER if at is None else at, *rest) for at, *rest in case["requests"]]
    rows = np.array(never, dtype=np.int64).reshape(-1, 4)
    warmup_ps, duration_ps = measured(case)
    contents, looks = case.get("contents"), case.get("look_at")
    params = make_params(
        RunRow(
            case.get("seed", 1),
            duration_ps,
            warmup_ps,
            end_ps=case["end_ps"],
            sample_ps=([*looks, case["end_ps"]][1] if looks else 0),
            closes=int(case.get("closes", False)),
        ),
        Traffic(
            rows[:, 0],
            rows[:, 1],
            rows[:, 2],
            rows[:, 3],
            chains=chains_of(case),
            content_id=None if contents is None else np.array(contents),
            turns=Turns(*map(np.array, case["turns"].values())) if case.get("turns") else None,
        ),
        [class_row({**CLASS_DEFAULTS, **row}) for row in case["classes"]],
        [
            ServedModelRow(
                router=ROUTERS.index(g.get("router", "round_robin")),
                hold_max=g.get("queue_capacity", 10**9),
                outstanding_max=NEVER if g.get("outstanding_max") is None else g["outstanding_max"],
                hold_order=HOLD_ORDERS[g.get("hold_order", "fifo")],
            )
            for g in case["groups"]
        ],
        [pool_row(pool) for pool in pools],
        faults=[FaultRow(NEVER, 0)] * any(what == "lose" for _, _, what in later),
        tenants=[
            TenantRow(tenant.get("weight", 1), limit_row(tenant["limit"]))
            for tenant in case.get("tenants") or []
        ],
        front=front_row(case.get("front") or {}),
        things={"episode": episodes(pools), **cards_of(pools)},
    )
    params.n_sample = len(looks or ())
    params.n_group_sample = params.n_sample * params.n_node_group
    return params, place, sorted(changes + later, key=lambda change: (change[0], change[2] != "lose"))


def episodes(pools: list[dict[str, Any]]) -> list[dict[str, int]]:
    """When which pools are slow, in the product's rows."""
    return [
        {"kind": SLOW_STEPS, "pool": 1 + i, "at_ps": begin, "lasts_ps": end - begin, "factor_q20": factor}
        for i, pool in enumerate(pools)
        for begin, end, factor in pool["slow"]
    ]


def cards_of(pools: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The GPUs that pools share: each is a group of one node of one GPU, which the pools that name it may run on."""
    cards = {pool["card"]: pool for pool in pools if pool.get("card") is not None}
    if not cards:
        return {}
    place = {"memory_slices": 1, "compute_slices": 0, "media": 0, "starts": 0}
    return {
        "cluster": [{"scan_ps": NEVER}],
        "node_group": [
            {
                "n_node": 1,
                "initial_nodes": 1,
                "gpus": 1,
                "slices": TENANTS_MAX,
                "sharing": SHARINGS.index(pool["sharing"]),
                "beside_q10": pool["beside_q10"],
            }
            for pool in cards.values()
        ],
        "slice_ask": [
            {**place, "starts": 255 * (pool.get("card") == card)} for card in cards for pool in pools
        ],
        "pool_place": [{"thread_percent": pool.get("threads", 100)} for pool in pools],
    }


def measured(case: dict[str, Any]) -> tuple[int, int]:
    """The requests that arrive from the first instant on and before the second are measured."""
    found: tuple[int, int] = case.get("measured_ps") or (0, case["end_ps"])
    return found


def front_row(front: dict[str, Any]) -> FrontRow:
    """What all of the gateway shares, in the product's numbers."""
    life_ps = front.get("cache_life_ps")
    return FrontRow(
        tuple(front.get("workers", ())),
        front.get("cache_entries", 0),
        NEVER if life_ps is None else life_ps,
        front.get("cache_ps", 0),
    )


def class_row(row: dict[str, Any]) -> ClassRow:
    """A class of a case in the product's numbers."""
    endless = {NAMES.get(key, key): NEVER if row[key] is None else row[key] for key in ENDLESS}
    same = (
        "group",
        "priority",
        "tenant",
        "attempts_max",
        "budget_ratio_milli",
        "blocked_q20",
        "defer_max_ps",
        "persistent",
    )
    patience = ("first_patience_ps", "total_patience_ps")
    return ClassRow(
        **{NAMES.get(key, key): row[key] for key in same},
        **endless,
        **{key: None if row[key] is None else np.array(row[key]) for key in patience},
        retry_on=sum(RETRY_BITS[name] for name in row["retry_on"]),
        backoff_ps=tuple(row["backoff_ps"]),
        jitter=JITTERS.index(row["jitter"]),
        limit=limit_row(row["limit"]),
        **{key: tuple(VisitRow(*visit) for visit in row[key]) for key in ("before", "after")},
        is_withheld=int(row["withheld"]),
        fallback=-1 if row["fallback"] is None else row["fallback"],
        window_ps=tuple(row["window_ps"]),
    )


def limit_row(limit: dict[str, Any] | None) -> LimitRow | None:
    """A limit of a case in the product's numbers."""
    if limit is None:
        return None
    most = limit.get("concurrent_max")
    return LimitRow(**{**limit, "concurrent_max": NEVER if most is None else most})


def chains_of(case: dict[str, Any]) -> Chains | None:
    """What the prompts of a case have in common."""
    if "chains" not in case:
        return None
    return Chains(*(np.array(case["chains"][name]) for name in ("leaf", "shared", "parent", "start")))


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
        max_num_batched_tokens=pool["max_num_batched_tokens"],
        max_model_len=pool["max_model_len"],
        served_model=pool["group"],
        block_size=pool["block_size"],
        batching=CONTINUOUS if none else BATCHINGS.index(pool["batching"]),
        scheduling=SCHEDULINGS.index(pool["scheduling"]),
        long_prefill_threshold=pool["long_prefill_token_threshold"],
        chunked_prefill=int(pool["chunked_prefill"]),
        prefill_interval=pool["prefill_schedule_interval"],
        batch_delay_ps=pool["max_batch_delay_ps"],
        min_replicas=0,
        max_replicas=len(pool["ready_at"]),
        initial_replicas=0,
        prefix_runs=pool.get("prefix_runs", 0),
        work_ps=None if pool["work_ps"] is None else np.array(pool["work_ps"]),
        mixed_ps=pool["mixed_ps"],
    )


BEGIN, ADVANCE, READY, DRAIN, LOSE, START, LOOK, MARK, FINISH = range(9)
MOVES = {"ready": READY, "drain": DRAIN, "lose": LOSE, "start": START, "look": LOOK, "mark": MARK}


def move(p, st, what, r, t):  # type: ignore[no-untyped-def]
    """One move of a scripted run; compiled as the product's own loop is."""
    if what == BEGIN:
        begin(p, st)
    elif what == ADVANCE:
        advance(p, st, t)
    elif what == READY:
        if p.n_cluster == 1:
            place_replica(p, st, r, t)
        become_ready(p, st, r, t)
    elif what == DRAIN:
        begin_drain(p, st, r, t)
    elif what == START:
        enter_stage(st, r, STAGE_ENGINE, t)
    elif what == LOOK:
        sample(p, st, t)
    elif what == MARK:
        pass_mark(p, st, t)
    elif what == LOSE:
        if st.replica[r].stage != STAGE_GONE:  # else it had drained before
            lose_replica(p, st, r, t)
    else:
        finish(p, st)


@functools.cache
def mover() -> Callable[..., None]:
    """`move`, compiled unless the JIT is off."""
    return entry_point(jit(move))


def run_model(case: Case, n_slot: int = 2) -> list[dict[str, Any]]:
    """The requests of the case on the product's event loop, in the plain model's words."""
    return rows_of(*end_of(case, n_slot))


def end_of(
    case: Case, n_slot: int = 2, starts: Iterable[tuple[int, int]] = ()
) -> tuple[Params, State, list[int]]:
    """The case on the product's event loop, its scripted changes made at their instants: how it ends.

    `starts` are (time_ps, replica) at which replicas begin to start, before they become ready.
    """
    p, place, changes = params_of(case)
    begun = [(time_ps, place[replica], "start") for time_ps, replica in starts]
    looks = [(at_ps, -1, "look") for at_ps in case.get("look_at") or ()]
    marks = [(at_ps, -1, "mark") for at_ps in measured(case)]
    changes = sorted([*begun, *changes, *looks, *marks], key=lambda change: change[0])
    st = new_state(p, n_slot)
    mover()(p, st, BEGIN, 0, 0)
    for time_ps, r, what in [*changes, (case["end_ps"], -1, "end")]:
        st = advance_to(p, st, min(time_ps, case["end_ps"]))
        if time_ps >= case["end_ps"] or st.status == CLOSED:
            break
        mover()(p, st, MOVES[what], r, time_ps)
    if st.status != CLOSED:
        st.now_ps = case["end_ps"]
        for _ in range(sum(at_ps >= case["end_ps"] for at_ps in measured(case))):
            mover()(p, st, MARK, -1, case["end_ps"])
    mover()(p, st, FINISH, 0, 0)
    return p, st, place


def advance_to(p: Params, st: State, time_ps: int) -> State:
    """Everything before time_ps, with room made where it is needed."""
    while True:
        mover()(p, st, ADVANCE, 0, time_ps)
        if st.status in (OK, CLOSED):
            return st
        assert st.status == NEED_SLOTS
        st = grow_slots(p, st)


def rows_of(p: Params, st: State, place: list[int]) -> list[dict[str, Any]]:
    """The finished requests in the plain model's words."""
    table = _requests(p, st)
    traffic = traffic_of(p)
    first = pool_rows(p)["first_replica"]
    rows = []
    came = {int(i): n for n, i in enumerate(table["request_id"])}
    for number in range(int(p.n_request)):
        if number not in came:
            rows.append(dict(NOBODY))
            continue
        i = came[number]
        row = {name: int(table[name][i]) for name in COLUMNS}
        row["outcome"] = OUTCOMES[row["outcome"]]
        row["reason"] = REASONS[row["reason"]] if row["outcome"] != "inside" else ""
        at = int(first[table["pool_id"][i]] + table["replica_id"][i]) if table["pool_id"][i] >= 0 else -1
        if (
            row["outcome"] == "inside"
            and traffic.arrival_ps[number] != NEVER
            and row["arrival_ps"] >= st.now_ps
        ):  # it has not arrived
            row |= {"attempts": 0, "wasted_tokens": 0, "taken_ps": -1}
        row["replica"] = place.index(at) if at >= 0 else -1
        row["itl_max_ps"] = max(0, int(table["itl_max_ps"][i]))
        rows.append(row)
    return rows


# ---- what differs ----------------------------------------------------------------------
def seed_differences(seed: int) -> list[str]:
    """Where product and plain model differ on the case of a seed, one line each."""
    return case_differences(seed_case(seed))


def seed_case(seed: int, calm: bool = False) -> Case:
    """The case of a seed, or its calm one: many with longer times (most histogram buckets are wider than the grid;
    some begin on it), longer outputs (for long jumps) or more requests; some with everything switched on."""
    full = seed % 23 == 22 and not calm
    case = stretched(random_case(seed, calm, full), (1, 1 << 20, 10**9 + 7)[seed % 3])
    if seed % 5 == 4:
        case = lengthened(case, 2 + seed % 17)
    if seed % 7 == 6:
        case = repeated(case, 2 + seed % 4)
    if seed % 2:
        case = later(case, DAY_PS - case["end_ps"] // 200_000)  # midnight comes in the middle
    case = with_turns(case, seed) if full or (seed % 4 == 1 and not calm) else case
    case = with_lines(case, seed) if seed % 4 == 3 and not (full or calm) else case
    if seed % 4 == 2 and not calm:
        case = with_promises(case, seed)
    case = with_slowness(case, seed) if seed % 3 == 1 and not calm else case
    return case if seed % 2 else with_looks(case, 3 + seed % 20)


def with_slowness(case: Case, seed: int) -> Case:
    """The same case, its pools slower for a while, some several times at once and some at an end of a step."""
    rng = np.random.default_rng([seed, 17])
    arrivals = [at for at, *_ in case["requests"] if at is not None]
    first_ps, span_ps = min(arrivals), 2 * (max(arrivals) - min(arrivals))
    pools = []
    for pool in case["pools"]:
        unit_ps = int(pool["base_ps"][0])
        begins = sorted(rng.integers(0, 2 + span_ps // unit_ps, size=rng.integers(4)).tolist())
        found = [
            (first_ps + begin * unit_ps, first_ps + (begin + int(rng.integers(1, 20))) * unit_ps, factor)
            for begin in begins
            for factor in [int(rng.integers(2**20, 2**22))]
        ]
        pools.append({**pool, "slow": found})
    return {**case, "pools": pools}


def with_promises(case: Case, seed: int) -> Case:
    """The same case, attempts of most classes refused whose first token would come late."""
    rng = np.random.default_rng([seed, 13])
    unit_ps = int(case["pools"][0]["base_ps"][0])
    most = [unit_ps * int(rng.integers(0, 20)) if rng.integers(0, 4) else None for _ in case["classes"]]
    rows = zip(case["classes"], most, strict=True)
    return {**case, "classes": [{**row, "ttft_max_ps": most_ps} for row, most_ps in rows]}


def with_looks(case: Case, n: int) -> Case:
    """The same case, its stations looked at `n` times at equal distances while requests arrive and for as long again."""
    if not case["front"]["workers"]:
        return case
    last_ps = max(at for at, *_ in case["requests"] if at is not None)
    period_ps = max(1, 2 * last_ps // n)
    return {**case, "look_at": tuple(at for at in range(0, n * period_ps, period_ps) if at < case["end_ps"])}


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
        "contents": case["contents"] * times,
        "end_ps": case["end_ps"] * times,
    }


def stretched(case: Case, factor: int) -> Case:
    """The same case with every time `factor` times as long (attention but for its rounding)."""
    times = ("prefill_ps_per_token", "mixed_ps", "attention_q16", "max_batch_delay_ps")
    pools = [
        {
            **pool,
            **{key: pool[key] * factor for key in times},
            **{key: [t * factor for t in pool[key]] for key in ("base_ps", "slope_ps", "ready_at")},
            "work_ps": pool["work_ps"] and [t * factor for t in pool["work_ps"]],
        }
        for pool in case["pools"]
    ]
    limits = ("request_ps", "token_ps")
    patience = ("first_patience_ps", "total_patience_ps")
    waits = (*TIMES_ENDLESS, *patience, "backoff_ps", "limit", "defer_max_ps", "window_ps")

    def visits(row: dict[str, Any]) -> dict[str, Any]:
        """Its stations, with longer work."""
        return {
            key: [(at, *(work * factor for work in works)) for at, *works in row[key]]
            for key in ("before", "after")
        }

    def longer(value: Any) -> Any:
        """A time, a list of times, or a limit."""
        if isinstance(value, dict):
            return {**value, **{key: value[key] * factor for key in limits}}
        if isinstance(value, (list, tuple)):
            return [longer(one) for one in value]
        return None if value is None else value * factor

    return {
        **case,
        "pools": pools,
        "classes": [
            {**row, **{key: longer(row[key]) for key in waits}, **visits(row)} for row in case["classes"]
        ],
        "front": {
            **case["front"],
            **{key: longer(case["front"][key]) for key in ("cache_life_ps", "cache_ps")},
        },
        "measured_ps": longer(case["measured_ps"]),
        "tenants": [{**tenant, "limit": longer(tenant["limit"])} for tenant in case["tenants"]],
        "requests": [(at * factor, *rest) for at, *rest in case["requests"]],
        "interventions": [(at * factor, *rest) for at, *rest in case["interventions"]],
        "end_ps": case["end_ps"] * factor,
    }


def case_differences(case: Case, n_slot: int = 2) -> list[str]:
    """Requests, every gap and every other measure, the work of each replica: one line for each difference."""
    return ends_differ(case, run(**case), *end_of(case, n_slot))


def ends_differ(case: Case, told: Run, p: Params, st: State, place: list[int]) -> list[str]:
    """What the plain model told of a case, and how the product's run of it ended."""
    apart = ("gaps", "computed_ps", "place")  # of which the product tells sums at most
    expected = [{key: row[key] for key in row if key not in apart} for row in told.requests]
    return [
        *differences(rows_of(p, st, place), expected),
        *_unlike("measures", measures_of(p, st), measures_told(case, told)),
        *_unlike("class", counts_of(p, st), counts_told(case, told)),
        *_unlike("look", dict(enumerate(looks_of(p, st))), dict(enumerate(told.stations))),
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


def measures_of(p: Params, st: State) -> dict[Any, dict[str, Any]]:
    """(class, metric) → sum and histogram of the product."""
    sums = table(p, st, "counts")
    hist = table(p, st, "hist").reshape(-1, N_METRIC, N_BUCKET)
    more = table(p, st, "more").reshape(-1, N_MORE, N_BUCKET)
    kept = [(name, hist, m, sums["sums"]) for m, name in enumerate(METRICS)]
    if len(more):
        kept += [(name, more, m, sums["more_sums"]) for m, name in enumerate(MORE_METRICS)]
    return {
        (k, name): {
            "sum": wide(of[k, 2 * m], of[k, 2 * m + 1]),
            "buckets": {int(b): int(found[k, m, b]) for b in found[k, m].nonzero()[0]},
        }
        for k in range(len(sums))
        for name, found, m, of in kept
    }


def measures_told(case: Case, told: Run) -> dict[Any, dict[str, Any]]:
    """(class, metric) → sum and histogram of what the plain model saw, every gap of every attempt among it."""
    apart = MORE_METRICS * has_attempts(case)
    values: dict[Any, list[int]] = {
        (k, name): [] for k in range(len(case["classes"])) for name in (*METRICS, *apart)
    }
    for attempt in told.attempts:
        k = case["requests"][attempt["request"]][3]
        if not is_measured(case, told.requests[attempt["request"]]):
            continue
        values[k, "itl"] += attempt["gaps"]
        if apart and attempt["end_ps"] >= 0 and attempt["emitted_ps"] >= 0:
            values[k, "attempt_ttft"].append(attempt["emitted_ps"] - attempt["taken_ps"])
    for (_, _, output, k), row in zip(case["requests"], told.requests, strict=True):
        if row["outcome"] != "completed" or not is_measured(case, row):
            continue
        values[k, "ttft"].append(row["first_token_ps"] - row["arrival_ps"])
        values[k, "e2e"].append(row["last_token_ps"] - row["arrival_ps"])
        values[k, "queue_wait"].append(row["scheduled_ps"] - row["taken_ps"])
        if output > 1:
            values[k, "tpot"].append((row["computed_ps"] - row["first_token_ps"]) // (output - 1))
            values[k, "itl_max"].append(row["itl_max_ps"])
    return {key: {"sum": sum(seen), "buckets": _buckets(seen)} for key, seen in values.items()}


def is_measured(case: Case, row: dict[str, Any]) -> bool:
    """Whether a request of the plain model counts."""
    from_ps, until_ps = measured(case)
    return bool(row["arrival_ps"] >= 0 and from_ps <= row["arrival_ps"] < until_ps)


def has_attempts(case: Case) -> bool:
    """Whether the product keeps attempts apart."""
    limited = any(tenant["limit"] is not None for tenant in case.get("tenants") or [])
    lost = any(what == "lose" for _, _, what in case.get("interventions") or [])
    cached = (case.get("front") or {}).get("cache_entries", 0) > 0
    classes = [class_row({**CLASS_DEFAULTS, **row}) for row in case["classes"]]
    held = any(
        group.get("outstanding_max") or group.get("hold_order", "fifo") != "fifo" for group in case["groups"]
    )
    return (
        limited
        or lost
        or cached
        or held
        or bool(case.get("turns"))
        or any(row.has_attempts for row in classes)
    )


def counts_of(p: Params, st: State) -> dict[Any, dict[str, Any]]:
    """Class → what the product counted."""
    counts = _counts(p, st)
    n_class = int(p.n_class)
    return {k: {name: int(column[1 + k]) for name, column in counts.items()} for k in range(n_class)}


def counts_told(case: Case, told: Run) -> dict[Any, dict[str, Any]]:
    """Class → how many requests and attempts ended how in the plain model."""
    found: dict[Any, dict[str, Any]] = {}
    for k in range(len(case["classes"])):
        mine = [i for i, asked in enumerate(case["requests"]) if asked[3] == k]
        ours = [i for i in mine if is_measured(case, told.requests[i])]
        rows = [told.requests[i] for i in ours if told.requests[i]["arrival_ps"] < case["end_ps"]]
        tries = [attempt for attempt in told.attempts if attempt["request"] in ours]
        fates = Counter(row["outcome"] for row in rows)
        ends = Counter(attempt["outcome"] for attempt in tries)
        found[k] = {
            "offered": len(rows),
            **{name: fates[name] for name in ("completed", "rejected", "timed_out", "failed", "inside")},
            "attempts": len(tries),
            **{f"attempts_{name}": ends[name] for name in ("completed", "rejected", "timed_out", "failed")},
            "attempts_cancelled": ends["cancelled"],
            "wasted_tokens": sum(row["wasted_tokens"] for row in rows),
            **window_told(case, told, mine),
        }
        if has_attempts(case):
            reasons = Counter(row["reason"] for row in rows if row["reason"])
            found[k] |= {f"reason_{name}": n for name, n in reasons.items()}
            hedges = sum(attempt["is_hedge"] for attempt in tries)
            again = [try_ for try_ in tries if try_["n"] > 1 and not try_["is_fallback"]]
            found[k] |= {"hedges": hedges, "retries": len(again) - hedges}
    return found


def window_told(case: Case, told: Run, mine: list[int]) -> dict[str, int]:
    """What came within the measured window for some requests, whenever they arrived: completions, and the tokens of
    answers that were completed or were still coming when the run ended, with the prompts whose first token came.
    """
    from_ps, until_ps = measured(case)
    rows = [told.requests[i] for i in mine]
    done = [
        row for row in rows if row["outcome"] == "completed" and from_ps <= row["last_token_ps"] < until_ps
    ]
    answers = [
        attempt
        for attempt in told.attempts
        if attempt["request"] in mine
        and not attempt["from_cache"]
        and attempt["outcome"] == told.requests[attempt["request"]]["outcome"]
        and attempt["outcome"] in ("completed", "inside")
    ]
    prompts = [
        case["requests"][row["request"]][1] for row in answers if from_ps <= row["emitted_ps"] < until_ps
    ]
    tokens = [t for row in answers for t in row["tokens_ps"] if from_ps <= t < until_ps]
    return {"done": len(done), "tokens_in": sum(prompts), "tokens_out": len(tokens)}


def looks_of(p: Params, st: State) -> list[dict[str, int]]:
    """What the product's samples saw at the stations, by sample, then station."""
    columns = station_samples(p, st)
    names = ("busy_workers", "in_line", "wait_ps", "visits", "done_ps")
    rows = zip(*(columns[name] for name in names), strict=True) if columns else []
    return [{name: int(value) for name, value in zip(names, row, strict=True)} for row in rows]


@functools.cache
def _edges() -> np.ndarray:
    return bucket_edges_ps()


def _buckets(values: Iterable[int]) -> dict[int, int]:
    places = np.searchsorted(_edges(), np.array(list(values), dtype=np.int64), side="right") - 1
    return dict(sorted(Counter(places.tolist()).items()))


def work_of(p: Params, st: State, place: list[int]) -> dict[Any, dict[str, Any]]:
    """Replica → its finished steps, their time, how long one cut off by the end had run, and its tokens."""
    rows = table(p, st, "replica")
    names = {
        "busy_ps": "busy_ps",
        "steps": "steps",
        "prefill": "prefill_tokens",
        "decode": "decode_tokens",
        "kv_read": "kv_read",
        "prefill_ps": "prefill_ps",
        "decode_ps": "decode_ps",
    }
    work = {}
    for number, r in enumerate(place):
        row = rows[r]
        work[number] = {name: int(row[at]) for name, at in names.items()}
        work[number]["cut_ps"] = int(st.now_ps - row["jump_ps"]) if row["jump_steps"] > 0 else 0
    return work


def work_told(case: Case, told: Run) -> dict[Any, dict[str, Any]]:
    """The same of the plain model; token counts only where no step was cut off by the end."""
    pools = [{**POOL_DEFAULTS, **pool} for pool in case["pools"] for _ in pool["ready_at"]]
    return {
        r: {
            **{key: row[key] for key in ("busy_ps", "steps", "cut_ps")},
            **(tokens_told(case, pools[r], row["log"]) if is_whole(row) else {}),
        }
        for r, row in enumerate(told.replicas)
    }


def is_whole(row: dict[str, Any]) -> bool:
    """Whether no step of a replica was cut off, by the end or by its loss."""
    return row["cut_ps"] == 0 and not any("lost_ps" in step for step in row["log"])


def tokens_told(case: Case, pool: dict[str, Any], log: list[dict[str, Any]]) -> dict[str, int]:
    """Tokens computed in prompts and in decoding, tokens attended in decoding, and the time of either."""
    work = dict.fromkeys(("prefill", "decode", "kv_read", "prefill_ps", "decode_ps"), 0)
    emitted: Counter[tuple[int, int]] = Counter()
    for step in log:
        decoding = attended = 0
        for (number, computed, chunk), n in zip(step["chunks"], step["attempts"], strict=True):
            left = case["requests"][number][1] + emitted[number, n] - computed
            if emitted[number, n] and left == 1:
                decoding, attended = decoding + 1, attended + computed + 1
            else:
                work["prefill"] += chunk
            emitted[number, n] += chunk == left
        work["decode"] += decoding
        work["kv_read"] += attended
        share = slow_share(pool, step["start_ps"])
        parts_ps = pool["base_ps"][decoding], pool["slope_ps"][decoding]
        decode_ps = int(parts_ps[0] * share) + int(parts_ps[1] * share) * attended if decoding else 0
        work["decode_ps"] += decode_ps
        work["prefill_ps"] += step.get("alone_ps", step["dt_ps"]) - decode_ps
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
