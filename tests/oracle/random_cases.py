"""Small cases made to hurt, for the plain model and whatever is compared with it.

Swarm style: a case switches a random part of the features on, so that rare ones are not always drowned by
the others. All times lie on a coarse grid that step times often keep to, so that arrivals, boundaries,
drains and delays coincide; caches are hardly larger than what one request needs. A case is the dict of
arguments of `naive.simulate` and `naive.run`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from hypothesis import strategies as st

Pick = Callable[[int, int], int]  # a whole number from low to high, both included
Case = dict[str, Any]
Request = tuple[int, int, int, int]  # (arrival_ps, prompt, output, class_id)

PROMPT_MAX = 14
OUTPUT_MAX = 9
SWITCHES = (
    "priority",
    "threshold",
    "small_budget",
    "small_cache",
    "chunks_cost",
    "token_curve",
    "context_costs",
    "batch_costs",
    "crowd",
    "whole_prompts",
    "batches",
    "late_ready",
    "drains",
    "tight_gateway",
    "two_groups",
    "two_pools",
    "embeddings",
    "short_context",
    "early_end",
    "losses",
    "window",
)
USERS = (  # what makes attempts of requests, off in a third of the cases
    "patience",
    "retries",
    "budgets",
    "jitter",
    "limits",
    "tenants",
    "shed",
    "queue_time",
    "hedges",
    "caps",
)
FRONT = (  # what lies around the GPU and the clock, off in more
    "stations",
    "guardrail",
    "withheld",
    "response_cache",
    "deadlines",
    "deferred",
    "capped",
    "fair_shares",
)


def case(seed: int, calm: bool = False, full: bool = False) -> Case:
    """The case of a seed, always the same; a calm one without what makes attempts of requests, and without losses; a
    full one with everything.
    """
    rng = np.random.default_rng(seed)
    return make_case(lambda low, high: int(rng.integers(low, high, endpoint=True)), calm, full)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Hypothesis strategy of cases; they shrink towards few requests and features off."""
    return make_case(lambda low, high: draw(st.integers(low, high)))


def make_case(pick: Pick, calm: bool = False, full: bool = False) -> Case:
    """A case out of whole numbers, wherever they come from."""
    on = {name: pick(0, 1) == 1 for name in SWITCHES}
    restless = pick(0, 2) > 0 and not calm
    on |= {name: pick(0, 1) == 1 and restless for name in USERS}
    long_way = pick(0, 3) > 0 and restless
    on |= {name: pick(0, 1) == 1 and long_way for name in FRONT}
    on |= dict.fromkeys(on, True) if full else {}
    on["losses"] &= not calm
    on["small_cache"] |= pick(0, 1) == 1  # preemption is what there is most to get wrong about
    grid_ps = (1, 5, 10)[pick(0, 2)]
    groups = [make_group(pick, on) | make_hold(pick, on) for _ in range(1 + on["two_groups"])]
    classes = [
        {
            "priority": pick(-1, 2) if on["priority"] else 0,
            "group": pick(0, len(groups) - 1),
            **make_users(pick, on, grid_ps),
        }
        for _ in range(pick(1, 4))
    ]
    front = make_front(pick, on, grid_ps)
    for row in classes:
        row |= make_ways(pick, on, grid_ps, len(front["workers"]), len(groups))
    n_tenant = 1 + max(row["tenant"] for row in classes)
    tenants = [
        {"limit": make_limit(pick, on, grid_ps), "weight": pick(1, 3) if on["fair_shares"] else 1}
        for _ in range(n_tenant)
    ]
    requests = make_requests(pick, on, grid_ps, len(classes))
    homes = list(range(len(groups))) + [pick(0, len(groups) - 1)] * on["two_pools"]
    pools = [make_pool(pick, on, grid_ps, home) for home in homes]
    kinds = pick(0, 3)  # of questions
    until_ps = requests[-1][0] + 1
    return {
        "requests": requests,
        "contents": [pick(-1, kinds) for _ in requests] if on["response_cache"] else [-1] * len(requests),
        "front": front,
        "measured_ps": (grid_ps * pick(0, 20), grid_ps * pick(21, 60)) if on["window"] else (0, until_ps),
        "pools": pools,
        "classes": classes,
        "groups": groups,
        "end_ps": grid_ps * pick(1, 80) if on["early_end"] else 10**7,
        "interventions": make_interventions(pick, on, grid_ps, pools),
        "tenants": tenants,
        "seed": pick(0, 2**40),
    }


def make_users(pick: Pick, on: dict[str, bool], grid_ps: int) -> dict[str, Any]:
    """How patient the users of a class are, what they do about it, and what the gateway lets them do."""
    attempts_max = pick(1, 4) if on["retries"] or on["hedges"] else 1
    return {
        "tenant": pick(0, 2) if on["tenants"] or on["fair_shares"] else 0,
        "shed_milli": 500 * pick(0, 9) if on["shed"] and pick(0, 2) else None,
        "wait_max_ps": grid_ps * pick(0, 4) if on["queue_time"] else None,
        "first_patience_ps": make_patience(pick, grid_ps, 9) if on["patience"] and pick(0, 2) else None,
        "total_patience_ps": make_patience(pick, grid_ps, 25) if on["patience"] and pick(0, 2) else None,
        "attempts_max": attempts_max,
        "retry_on": [name for name in ("rejected", "timed_out", "failed") if pick(0, 3)] * on["retries"],
        "backoff_ps": [make_backoff(pick, on, grid_ps) for _ in range(attempts_max - 1)],
        "jitter": ("none", "full", "equal")[pick(0, 2)] if on["jitter"] else "none",
        "budget_ratio_milli": pick(0, 7) * 100 if on["budgets"] else 0,
        "budget_burst_milli": pick(0, 30) * 100 if on["budgets"] and pick(0, 3) else None,
        "hedge_ps": grid_ps * pick(1, 6) if on["hedges"] and pick(0, 3) else None,
        "limit": make_limit(pick, on, grid_ps),
        "prompt_max": pick(5, PROMPT_MAX) if on["caps"] and pick(0, 1) else None,
        "output_max": pick(3, OUTPUT_MAX) if on["caps"] and pick(0, 1) else None,
    }


def make_front(pick: Pick, on: dict[str, bool], grid_ps: int) -> dict[str, Any]:
    """A few workers at a few stations, and a cache of hardly any answers that are soon too old."""
    size = pick(1, 2) * on["response_cache"]
    life_ps = grid_ps * pick(1, 12) - pick(0, 1)  # answers are kept a picosecond after a tick of the grid
    return {
        "workers": [pick(1, 2) for _ in range(pick(1, 3))] if on["stations"] else [],
        "cache_entries": size,
        "cache_life_ps": life_ps if pick(0, 1) else None,
        "cache_ps": grid_ps * pick(0, 8) * pick(0, 2),
    }


def make_ways(pick: Pick, on: dict[str, bool], grid_ps: int, n_station: int, n_group: int) -> dict[str, Any]:
    """What lies before and behind the GPU for a class, and when its requests start and are too late."""

    def visits() -> list[tuple[int, ...]]:
        """Some stations, the same one twice at times, some that take no time."""
        n = pick(0, 2) if n_station else 0
        work = (grid_ps * pick(0, 3), grid_ps * pick(0, 1) * pick(0, 1), pick(0, 1))
        return [(pick(0, n_station - 1), *work) for _ in range(n)]

    hours = sorted((grid_ps * pick(0, 60), grid_ps * pick(0, 60)))
    return {
        "before": visits(),
        "after": visits(),
        "withheld": on["withheld"] and pick(0, 2) > 0,
        "blocked_q20": pick(2, 4) << 18 if on["guardrail"] else 0,
        "fallback": pick(0, n_group - 1) if n_group > 1 or pick(0, 3) == 0 else None,
        "deadline_ps": grid_ps * pick(0, 30) + pick(0, 1) if on["deadlines"] and pick(0, 2) else None,
        "window_ps": hours if pick(0, 2) else hours[::-1],
        "defer_max_ps": grid_ps * pick(0, 30) if on["deferred"] and pick(0, 2) else 0,
    }


def later(case: Case, by_ps: int) -> Case:
    """The same case, later."""
    moved = {
        "requests": [(at + by_ps, *rest) for at, *rest in case["requests"]],
        "pools": [
            {**pool, "ready_at": [ready_ps + by_ps for ready_ps in pool["ready_at"]]}
            for pool in case["pools"]
        ],
        "interventions": [(at + by_ps, *rest) for at, *rest in case["interventions"]],
        "measured_ps": tuple(at + by_ps for at in case["measured_ps"]),
        "end_ps": case["end_ps"] + by_ps,
    }
    return {**case, **moved}


def make_patience(pick: Pick, grid_ps: int, most: int) -> list[int]:
    """1024 quantiles, often all the same, sometimes no patience at all."""
    late_ps = max(0, pick(0, 4) - 3)  # what comes out of a replica goes on a picosecond later
    values = sorted(late_ps + grid_ps * pick(min(1, pick(0, 4)), most) for _ in range(pick(1, 3)))
    return [values[i * len(values) // 1024] for i in range(1024)]


def make_backoff(pick: Pick, on: dict[str, bool], grid_ps: int) -> int:
    """A wait between attempts: often none; long enough to be cut into 2**20 parts if there is jitter."""
    back = grid_ps * pick(0, 6)
    return back + (pick(0, 12) << 20) + pick(0, 1) if on["jitter"] and pick(0, 2) == 0 else back


def make_limit(pick: Pick, on: dict[str, bool], grid_ps: int) -> dict[str, Any] | None:
    """A limit in some of requests, tokens and attempts at once."""
    if not on["limits"] or pick(0, 2) == 0:
        return None
    return {
        "request_ps": grid_ps * pick(0, 5) + pick(0, 1),
        "request_burst": pick(0, 6),
        "token_ps": pick(0, 2 * grid_ps) if pick(0, 1) else 0,
        "token_burst": pick(0, 60),
        "concurrent_max": pick(0, 6) if pick(0, 1) else None,
    }


def make_group(pick: Pick, on: dict[str, bool]) -> dict[str, Any]:
    """A router and the room at the gateway."""
    router = ("round_robin", "least_outstanding", "least_kv")[pick(0, 2)]
    return {"router": router, "queue_capacity": pick(0, 3) if on["tight_gateway"] else 1000}


def make_hold(pick: Pick, on: dict[str, bool]) -> dict[str, Any]:
    """How many a replica is handed, and in which order the others wait."""
    order = ("fifo", "priority")[pick(0, 1)] if on["capped"] else "fifo"
    return {
        "outstanding_max": pick(1, 4) if on["capped"] else None,
        "hold_order": "fair" if on["fair_shares"] and pick(0, 2) else order,
    }


def make_requests(pick: Pick, on: dict[str, bool], grid_ps: int, n_classes: int) -> list[Request]:
    """Arrivals on the grid, many at one instant; outputs of 0 (if switched on) and 1 are frequent."""
    least = 0 if on["embeddings"] else 1
    requests: list[Request] = []
    now_ps = 0
    for _ in range(pick(1, 24)):
        now_ps += grid_ps * (pick(0, 1) if on["crowd"] else pick(0, 6))
        output = pick(least, 1) if pick(0, 3) == 0 else pick(least, OUTPUT_MAX)
        requests.append((now_ps, pick(1, PROMPT_MAX), output, pick(0, n_classes - 1)))
    return requests


def make_pool(pick: Pick, on: dict[str, bool], grid_ps: int, group: int) -> dict[str, Any]:
    """A pool with every limit near what one request needs."""
    max_num_seqs, block_size = pick(1, 6), pick(1, 4)
    most_blocks = -(-(PROMPT_MAX + OUTPUT_MAX - 1) // block_size)
    continuous = not on["batches"]
    batching = "continuous" if continuous else ("none", "static", "dynamic", "continuous")[pick(0, 3)]
    return {
        "group": group,
        "ready_at": make_ready_at(pick, on, grid_ps),
        **make_speed(pick, on, grid_ps, max_num_seqs),
        "n_kv_blocks": max(1, most_blocks + pick(-3, 3)) if on["small_cache"] else 1000,
        "block_size": block_size,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": pick(1, 9) if on["small_budget"] else 1000,
        "max_model_len": pick(8, 24) if on["short_context"] else 1000,
        "long_prefill_token_threshold": pick(1, 5) if on["threshold"] else 0,
        "scheduling": "priority" if on["priority"] and pick(0, 3) else "fcfs",
        "batching": batching,
        "max_batch_delay_ps": grid_ps * (delay := pick(0, 12)),
        "prefill_schedule_interval": (1, 1, 1, 2, 3)[delay % 5],
        "chunked_prefill": not (on["whole_prompts"] and pick(0, 1)),
    }


def make_ready_at(pick: Pick, on: dict[str, bool], grid_ps: int) -> list[int]:
    """When each replica becomes ready (ps)."""
    return [grid_ps * pick(0, 30) if on["late_ready"] else 0 for _ in range(pick(1, 3))]


def make_speed(pick: Pick, on: dict[str, bool], grid_ps: int, max_num_seqs: int) -> dict[str, Any]:
    """Step time constants: whole grid steps, unless context is switched on to break the rhythm."""
    base_ps, slope_ps = grid_ps * pick(1, 3), pick(1, 3)
    return {
        "base_ps": [base_ps + grid_ps * n * on["batch_costs"] for n in range(max_num_seqs + 1)],
        "slope_ps": [0] + [slope_ps * on["context_costs"]] * max_num_seqs,
        "prefill_ps_per_token": grid_ps * pick(0, 2) if on["chunks_cost"] else 0,
        "attention_q16": pick(0, 3 * 2**16) if on["context_costs"] else 0,
        "mixed_ps": grid_ps * pick(0, 2) if on["token_curve"] else 0,
        "work_ps": make_work(pick, grid_ps) if on["token_curve"] and pick(0, 2) else None,
    }


def make_work(pick: Pick, grid_ps: int) -> list[int]:
    """A curve of time by tokens that rises unevenly, off the grid in half of the cases."""
    unit_ps = grid_ps if pick(0, 1) else grid_ps // 3 + 1
    pace = [pick(0, 2) for _ in range(7)]
    return [0, *accumulate(unit_ps * pace[i % 7] for i in range(192))]


def make_interventions(
    pick: Pick, on: dict[str, bool], grid_ps: int, pools: list[dict[str, Any]]
) -> list[tuple[int, int, str]]:
    """Some replicas drain some time after they became ready, sometimes all do; some are lost, and some come back."""
    found: list[tuple[int, int, str]] = []
    ready_at = [ready_ps for pool in pools for ready_ps in pool["ready_at"]]
    for index, at_ps in enumerate(ready_at):
        if on["drains"] and pick(0, 1):
            at_ps += grid_ps * pick(0, 25)
            found.append((at_ps, index, "drain"))
        while on["losses"] and pick(0, 2) == 0:
            at_ps += grid_ps * pick(1, 25)
            found.append((at_ps, index, "lose"))
            at_ps += grid_ps * pick(1, 25)
            found.append((at_ps, index, "ready"))
    return sorted(found, key=lambda change: (change[0], change[2] != "lose"))
