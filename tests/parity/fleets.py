"""Whole fleets made to hurt: several pools and models, controllers, cold starts, ties everywhere.

Swarm style: a seed switches a random part of the features on, so that rare ones are not always drowned by the others.
All times are whole ticks of a grid, so that arrivals, boundaries, stage ends, scrapes, samples and autoscaler ticks
fall on one instant again and again; with `loose` on they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sim.fill.params import (
    ClassRow,
    FaultRow,
    PoolRow,
    RunRow,
    ServedModelRow,
    TenantRow,
    Traffic,
    make_params,
)
from sim.fill.rows import FrontRow, LimitRow, StepRow, n_steps
from sim.fill.signals import SignalRow
from sim.model.autoscaler.hpa_rows import (
    POLICY_PERCENT,
    POLICY_PODS,
    HpaRule,
    HpaSettings,
    hpa_policy,
    hpa_settings,
    hpa_target,
)
from sim.model.autoscaler.keda import KedaSettings, keda_settings, keda_trigger
from sim.model.loop.control import SCALER_PAR
from sim.model.router.choose import KINDS, ROUTERS
from sim.model.tables.codes import (
    AGGREGATIONS,
    CONTINUOUS,
    FCFS,
    FIXED,
    HPA,
    METRIC_SOURCES,
    N_START_STAGE,
    N_STEP_MAX,
    NO_BATCHING,
    NO_JITTER,
    PRIORITY,
    QUEUE,
    SRC_BACKLOG,
    SRC_OUTSTANDING,
    STAGE_ENGINE,
    STAGE_SLICE,
    USER,
)
from sim.model.tables.pool import N_QUANTILE, N_WORK
from sim.model.tables.run import Params
from sim.units import NEVER

from .clusters import make_cluster
from .episodes import make_episodes
from .fronts import FrontDice, with_front
from .prefixes import with_prefixes
from .rollouts import make_rollouts
from .sessions import has_lines, in_lines, in_turns

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
    "two_groups",
    "more_pools",
    "embeddings",
    "short_context",
    "tight_gateway",
    "scaled",
    "users_laws",
    "to_zero",
    "cold_starts",
    "lag",
    "window",
    "warm_up",
    "short_drain",
    "no_records",
    "sampled",
    "objectives",
    "long_outputs",
    "loose",
    "faults",
    "sessions",
    "roomy_router",
    "choosy",
    "far_away",
    "prefix_cache",
    "users",
    "patience",
    "retries",
    "budgets",
    "jitter",
    "hedges",
    "limits",
    "tenants",
    "shed",
    "queue_time",
    "caps",
    "turns",
    "stalls",
    "predictions",
)
USERS = SWITCHES[SWITCHES.index("users") + 1 :]  # what needs `users` to be on as well
#: Fleets of lower seeds have one signal a pool unless they are asked for more: their results are kept as a reference.
FIRST_WITH_SIGNALS = 4000
FIRST_WITH_LINKS = 4000
FIRST_WITH_CLUSTER = 4000
FIRST_WITH_ROLLOUTS = 4000
FIRST_WITH_EPISODES = 4000
GRIDS_PS = (10**6, 10**9, 10**11 + 7)


class Fleet(NamedTuple):
    """A fleet in the rows that `make_params` takes, and which features it has."""

    run: RunRow
    traffic: Traffic
    classes: list[ClassRow]
    groups: list[ServedModelRow]
    pools: list[PoolRow]
    faults: list[FaultRow]
    on: dict[str, bool]
    grid_ps: int
    tenants: list[TenantRow] | None = None
    front: FrontRow | None = None
    links: tuple[int, ...] = ()  # what each carries, bytes in 2^40 ps
    cluster: Mapping[str, list[dict[str, Any]]] = MappingProxyType({})  # table → rows
    rollouts: Mapping[str, list[dict[str, Any]]] = MappingProxyType({})  # table → rows

    episodes: Mapping[str, list[dict[str, Any]]] = MappingProxyType({})  # table → rows

    @property
    def params(self) -> Params:
        """The fleet's arrays."""
        things = {"link": [{"bandwidth_q40": rate} for rate in self.links]}
        things |= {**self.cluster, **self.rollouts, **self.episodes}
        return make_params(*self[:6], tenants=self.tenants, front=self.front, things=things)

    @property
    def user_pools(self) -> list[int]:
        """The pools whose autoscaler is a user's law."""
        return [i for i, pool in enumerate(self.pools) if pool.autoscaler == USER]


class Dice:
    """Whole numbers and times out of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 20])
        self.on = {name: self.maybe() for name in SWITCHES}
        self.on["scaled"] |= self.maybe()  # controllers are what most can go wrong about
        self.on["short_drain"] &= self.maybe()
        self.on["loose"] &= self.maybe()
        self.grid_ps = self.one_of(GRIDS_PS)
        self.steps = np.random.default_rng(
            [seed, 29]
        )  # of starts, apart: the fleets of old stay as they were
        self.on["overlap"] = bool(self.steps.integers(2))
        self.more = np.random.default_rng([seed, 31])  # signals behind a pool's first, likewise
        self.wires = np.random.default_rng([seed, 37])  # links that starts share, likewise
        self.on["links"] = seed >= FIRST_WITH_LINKS and bool(self.wires.integers(4))
        self.on["cluster"] = (
            seed >= FIRST_WITH_CLUSTER and int(np.random.default_rng([seed, 41]).integers(2)) == 1
        )
        self.on["rollouts"] = (
            seed >= FIRST_WITH_ROLLOUTS and int(np.random.default_rng([seed, 61]).integers(2)) == 1
        )
        self.on["episodes"] = (
            seed >= FIRST_WITH_EPISODES and int(np.random.default_rng([seed, 67]).integers(2)) == 1
        )
        self.on["signals"] = seed >= FIRST_WITH_SIGNALS and bool(self.more.integers(2))

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def maybe(self, of: int = 2) -> bool:
        """True once in `of` times."""
        return self.whole(1, of) == 1

    def one_of(self, values: Any) -> Any:
        """One of several."""
        return values[self.whole(0, len(values) - 1)]

    def ticks(self, low: int, high: int) -> int:
        """A time of so many ticks of the grid, ps; off the grid where the fleet is loose."""
        t = self.whole(low, high) * self.grid_ps
        return t + self.whole(0, self.grid_ps - 1) if self.on["loose"] and t > 0 else t


def fleet(seed: int, **changes: bool) -> Fleet:
    """The fleet of a seed, always the same; `changes` switch features on or off."""
    dice, ways = Dice(seed), FrontDice(seed)
    dice.on.update(ways.on | {"lines": has_lines(seed)} | changes)
    on = dice.on
    on |= {name: on[name] and on["users"] for name in USERS}
    on["lines"] &= on["users"] and not on["turns"]
    groups = [make_group(dice) for _ in range(1 + on["two_groups"])]
    classes = [make_class(dice, len(groups)) for _ in range(dice.whole(1, 4))]
    traffic = make_traffic(dice, len(classes))
    homes = sorted(
        [*range(len(groups)), *(dice.whole(0, len(groups) - 1) for _ in range(2 * on["more_pools"]))]
    )
    last_ps = int(traffic.arrival_ps[-1]) if len(traffic.arrival_ps) else 0
    pools = [make_pool(dice, home) for home in homes]
    classes = [make_choosy(dice, c, homes) for c in classes] if on["choosy"] else classes
    if on["far_away"]:
        classes = [c._replace(network_ps=tuple(dice.ticks(0, 4) for _ in homes)) for c in classes]
    if on["prefix_cache"]:
        traffic, pools = with_prefixes(seed, traffic, pools)
    if on["turns"]:
        traffic = in_turns(seed, traffic, dice.grid_ps)
    run = make_run(dice, seed, last_ps)
    if on["lines"]:
        traffic, run = in_lines(seed, traffic, run, dice.grid_ps)
    faults = make_faults(dice, len(pools))
    classes = [c._replace(**make_users(dice)) for c in classes]
    tenants = [
        TenantRow(limit=make_limit(dice)) for _ in range(1 + max((c.tenant for c in classes), default=0))
    ]
    ways.on, ways.grid_ps, ways.loose = on, dice.grid_ps, on["loose"]
    classes, groups, tenants, traffic, front = with_front(ways, classes, groups, tenants, traffic)
    pools, links = with_links(dice, pools) if on["links"] else (pools, ())
    cluster, node_faults = {}, []
    if on["cluster"]:
        pools, cluster, node_faults = make_cluster(seed, dice.grid_ps, pools)
    rollouts: Mapping[str, list[dict[str, Any]]] = {}
    if on["rollouts"]:
        pools, rollouts = make_rollouts(seed, dice.grid_ps, last_ps, pools)
    episodes: Mapping[str, list[dict[str, Any]]] = {}
    if on["episodes"]:
        n_group = len(cluster.get("node_group", ()))
        pools = with_tp(seed, pools)
        episodes = make_episodes(seed, dice.grid_ps, len(pools), len(links), n_group)
    made = Fleet(run, traffic, classes, groups, pools, faults + node_faults, on, dice.grid_ps)
    return made._replace(
        tenants=tenants, front=front, links=links, cluster=cluster, rollouts=rollouts, episodes=episodes
    )


def with_tp(seed: int, pools: list[PoolRow]) -> list[PoolRow]:
    """The pools, in some of which two GPUs compute each layer together."""
    rng = np.random.default_rng([seed, 73])
    return [pool._replace(tp=int(rng.integers(1, 3))) for pool in pools]


def with_links(dice: Dice, pools: list[PoolRow]) -> tuple[list[PoolRow], tuple[int, ...]]:
    """Pools of which starts move bytes over a few links, each about as fast as one transfer alone, and these links."""
    rng, n_link = dice.wires, int(dice.wires.integers(1, 4))
    unit_ps, made = max(dice.grid_ps, 10**9), []  # what takes some microseconds shares nothing
    for pool in pools:
        steps = pool.steps or tuple(StepRow(i + 1, i + 1, (1 << i) >> 1) for i in range(n_steps(pool)))
        moved = (int(rng.integers(1, 9)) * unit_ps >> 10 for _ in steps)
        over = (int(rng.integers(1 << n_link)) * int(rng.integers(2)) for _ in steps)
        early = (int(rng.integers(3)) * unit_ps // 2 for _ in steps)
        steps = tuple(
            step._replace(links=links, moved_bytes=max(1, n_bytes), setup_ps=setup_ps)
            for step, links, n_bytes, setup_ps in zip(steps, over, moved, early, strict=True)
        )
        own = np.sort(rng.integers(0, 12, size=(len(steps), N_QUANTILE)) * unit_ps, axis=1)
        takes = [[step.links > 0 and bool(rng.integers(4))] for step in steps]
        stage_ps = None if pool.stage_ps is None else np.where(takes, own, pool.stage_ps)
        made.append(pool._replace(steps=steps, stage_ps=stage_ps))
    return made, tuple(int(rng.integers(1, 13)) << 29 for _ in range(n_link))


def make_run(dice: Dice, seed: int, last_ps: int) -> RunRow:
    """The clock's marks: the measured window may end before the last arrivals, the run before the last tokens."""
    on = dice.on
    duration_ps = max(1, last_ps + dice.ticks(-5, 30) if dice.maybe() else last_ps + 1)
    return RunRow(
        seed=seed * 2_654_435_761 % 2**63,
        duration_ps=duration_ps,
        warmup_ps=min(duration_ps - 1, dice.ticks(1, 30)) if on["warm_up"] else 0,
        end_ps=duration_ps + (dice.ticks(0, 40) if on["short_drain"] else 1000 * dice.grid_ps),
        sample_ps=dice.ticks(1, 12) if on["sampled"] else 0,
        records=int(not on["no_records"]),
    )


def make_group(dice: Dice) -> ServedModelRow:
    """A router and the room at the gateway."""
    router = dice.whole(0, len(ROUTERS) - 1)
    hold_max = dice.whole(0, 3) if dice.on["tight_gateway"] else 1000
    factor_milli = dice.whole(1500, 4000) if dice.on["roomy_router"] else dice.whole(1000, 1300)
    load_min = dice.whole(1, 4) if dice.on["roomy_router"] else 0
    settings = {
        **dict.fromkeys(
            ("overload_factor_milli", "load_factor_milli", "imbalance_factor_milli"), factor_milli
        ),
        **dict.fromkeys(("load_min", "imbalance_min"), load_min),
        "virtual_nodes": dice.whole(1, 9),
        "weights_outstanding_milli": dice.one_of((0, 1, 1000)),
        "weights_waiting_milli": dice.one_of((0, 1000, 2500)),
        "weights_kv_use_milli": dice.one_of((0, 999, 10_000)),
        "snapshot_ps": dice.ticks(0, 12) * dice.maybe(),
        "count_own": dice.whole(0, 1),
    }
    spill_milli = dice.whole(300, 4000) if dice.maybe() else NEVER
    settings["match_min_milli"] = dice.one_of((0, 300, 800))
    row = KINDS[router].settings
    mine = {name: value for name, value in settings.items() if row is not None and name in row.FIELDS}
    return ServedModelRow(router, hold_max, mine, spill_milli)


def make_class(dice: Dice, n_group: int) -> ClassRow:
    """A traffic class, its objectives near what requests see."""
    ranges = ((1, 10), (1, 4), (1, 4), (2, 20))  # ttft, itl, tpot, e2e: often exactly what a request sees
    limits = [dice.ticks(*span) if dice.on["objectives"] and dice.maybe() else NEVER for span in ranges]
    return ClassRow(dice.whole(0, n_group - 1), dice.whole(-1, 2) if dice.on["priority"] else 0, *limits)


def make_choosy(dice: Dice, row: ClassRow, homes: list[int]) -> ClassRow:
    """The class with some of its group's pools, in some order, if it is to have a list."""
    mine = [pool for pool, home in enumerate(homes) if home == row.served_model]
    order = [mine[i] for i in dice.rng.permutation(len(mine))]
    return row._replace(pools=tuple(order[: dice.whole(0, len(order))]), ordered=dice.whole(0, 1))


def make_users(dice: Dice) -> dict[str, Any]:
    """How patient the users of a class are, what they do about it, and what the gateway lets them do."""
    on, ticks = dice.on, dice.ticks
    tries = dice.whole(1, 4) if on["retries"] or on["hedges"] else 1
    return {
        "tenant": dice.whole(0, 2) if on["tenants"] else 0,
        "shed_milli": 500 * dice.whole(0, 12) if on["shed"] and not dice.maybe(3) else NEVER,
        "max_queue_ps": ticks(0, 12) if on["queue_time"] and not dice.maybe(3) else NEVER,
        "first_patience_ps": make_patience(dice, 12) if on["patience"] and not dice.maybe(3) else None,
        "total_patience_ps": make_patience(dice, 40) if on["patience"] and not dice.maybe(3) else None,
        "attempts_max": tries,
        "retry_on": dice.whole(0, 7) if on["retries"] else 0,
        "backoff_ps": tuple(ticks(0, 8) for _ in range(tries - 1)),
        "jitter": dice.whole(0, 2) if on["jitter"] else NO_JITTER,
        "budget_ratio_milli": 100 * dice.whole(0, 7),
        "budget_burst_milli": 100 * dice.whole(0, 30) if on["budgets"] and not dice.maybe(3) else NEVER,
        "hedge_ps": ticks(1, 8) if on["hedges"] and not dice.maybe(3) else NEVER,
        "limit": make_limit(dice),
        "prompt_max": dice.whole(6, 14) if on["caps"] and dice.maybe() else NEVER,
        "output_max": dice.whole(3, 9) if on["caps"] and dice.maybe() else NEVER,
        "session_max": dice.whole(20, 90) if on["caps"] and dice.maybe() else NEVER,
        "is_persistent": dice.whole(0, 1),
        "stall_ps": ticks(1, 8) if on["stalls"] and not dice.maybe(3) else NEVER,
        "ttft_max_ps": ticks(0, 20) if on["predictions"] and not dice.maybe(3) else NEVER,
    }


def make_patience(dice: Dice, most: int) -> np.ndarray:
    """A quantile table of patience, some of it endless, some of it none at all."""
    values = [dice.ticks(0 if dice.maybe(8) else 1, most) for _ in range(dice.whole(1, 3))]
    return np.sort(np.resize([NEVER if dice.maybe(6) else value for value in values], N_QUANTILE))


def make_limit(dice: Dice) -> LimitRow | None:
    """A limit in some of requests, tokens and attempts at once."""
    if not dice.on["limits"] or dice.maybe(3):
        return None
    return LimitRow(
        request_ps=dice.ticks(0, 5),
        request_burst=dice.whole(0, 8),
        token_ps=dice.whole(0, dice.grid_ps) if dice.maybe() else 0,
        token_burst=dice.whole(0, 90),
        concurrent_max=dice.whole(0, 8) if dice.maybe() else NEVER,
    )


def make_traffic(dice: Dice, n_class: int) -> Traffic:
    """Arrivals on the grid, many at one instant; outputs of 0 (if switched on) and 1 are frequent."""
    on = dice.on
    n = dice.whole(1, 60) if dice.maybe(12) else dice.whole(20, 90)
    gaps = [dice.ticks(0, 1) if on["crowd"] else dice.ticks(0, 6) * dice.maybe() for _ in range(n)]
    if dice.maybe():
        gaps[n // 2] = dice.ticks(20, 120)  # long enough for a fleet to go to sleep
    least = 0 if on["embeddings"] else 1
    most = 60 if on["long_outputs"] else 9
    outputs = [dice.whole(least, 1) if dice.maybe(4) else dice.whole(least, most) for _ in range(n)]
    return Traffic(
        arrival_ps=np.cumsum(gaps, dtype=np.int64),
        prompt_tokens=np.array([dice.whole(1, 14) for _ in range(n)]),
        output_tokens=np.array(outputs),
        class_id=np.array([dice.whole(0, n_class - 1) for _ in range(n)]),
        session_id=np.array([dice.whole(-1, n // 6) for _ in range(n)]) if on["sessions"] else None,
    )


def make_work(dice: Dice) -> np.ndarray:
    """A curve of time by tokens that rises unevenly, off the grid in half of the fleets."""
    unit_ps = dice.grid_ps if dice.maybe() else dice.grid_ps // 3 + 1
    pace = [dice.whole(0, 2) for _ in range(7)]
    return np.concatenate([[0], np.cumsum([unit_ps * pace[i % 7] for i in range(N_WORK - 1)])])


def make_pool(dice: Dice, group: int) -> PoolRow:
    """A pool with every limit near what one request needs."""
    on, grid_ps = dice.on, dice.grid_ps
    batching = dice.whole(0, 3) if on["batches"] else CONTINUOUS
    seqs = 1 if batching == NO_BATCHING else dice.whole(1, 6)
    block = dice.whole(1, 4)
    most_blocks = -(-(14 + (60 if on["long_outputs"] else 9)) // block)
    base_ps, slope_ps = dice.ticks(1, 3), grid_ps * on["context_costs"] // dice.whole(1, 7)
    return PoolRow(
        base_ps=np.array([base_ps + grid_ps * n * on["batch_costs"] for n in range(seqs + 1)]),
        slope_ps=np.array([0] + [slope_ps] * seqs),
        prefill_ps=grid_ps * dice.whole(0, 2) if on["chunks_cost"] else 0,
        work_ps=make_work(dice) if on["token_curve"] and not dice.maybe(3) else None,
        mixed_ps=dice.ticks(0, 2) if on["token_curve"] else 0,
        attention_q16=dice.whole(0, 3 * grid_ps) << 12 if on["context_costs"] else 0,
        n_blocks=max(1, most_blocks + dice.whole(-3, 3)) if on["small_cache"] else 1000,
        max_num_seqs=seqs,
        max_num_batched_tokens=dice.whole(1, 9) if on["small_budget"] else 1000,
        max_model_len=dice.whole(8, 24) if on["short_context"] else 1000,
        served_model=group,
        block_size=block,
        batching=CONTINUOUS if batching == NO_BATCHING else batching,
        scheduling=PRIORITY if on["priority"] and not dice.maybe(4) else FCFS,
        long_prefill_threshold=dice.whole(1, 5) if on["threshold"] else 0,
        chunked_prefill=int(not (on["whole_prompts"] and dice.maybe())),
        prefill_interval=int(dice.more.integers(1, 4)) if on["signals"] else 1,
        batch_delay_ps=dice.ticks(0, 12),
        gpus=dice.whole(1, 4),
        **make_scaling(dice),
        **make_stages(dice),
    )


def make_faults(dice: Dice, n_pool: int) -> list[FaultRow]:
    """Some replicas are lost while there is traffic, some at one instant, some that are not there."""
    if not dice.on["faults"]:
        return []
    return [
        FaultRow(dice.ticks(0, 60), dice.whole(0, n_pool - 1), dice.whole(1, 3))
        for _ in range(dice.whole(1, 5))
    ]


def make_stages(dice: Dice) -> dict[str, Any]:
    """The stages of a cold start, one after the other; or steps that overlap, wait for any earlier ones and are shown
    as any stage. Many take no time at all."""
    rows = np.zeros((N_START_STAGE, N_QUANTILE), dtype=np.int64)
    if dice.on["cold_starts"]:
        for row in rows:
            values = [dice.ticks(0, 10) if dice.maybe() else 0 for _ in range(dice.whole(1, 3))]
            row[:] = np.sort(np.resize(values, N_QUANTILE))
    if not dice.on["overlap"]:
        return {"stage_ps": rows}
    n = int(dice.steps.integers(1, N_STEP_MAX, endpoint=True))
    return {"stage_ps": rows[dice.steps.integers(len(rows), size=n)], "steps": make_steps(dice.steps, n)}


def make_steps(rng: np.random.Generator, n: int) -> tuple[StepRow, ...]:
    """What n steps are shown as, draw from, and wait for."""
    shown = rng.integers(STAGE_SLICE, STAGE_ENGINE, size=n, endpoint=True).tolist()
    after = [int(rng.integers(1 << i)) & int(rng.integers(1 << i)) for i in range(n)]
    draws = (rng.permutation(N_STEP_MAX)[:n] + 1).tolist()
    return tuple(StepRow(*row) for row in zip(shown, draws, after, strict=True))


def make_metrics(dice: Dice) -> dict[str, int]:
    """What the controllers see, how often, how late."""
    return {
        "source": dice.whole(0, len(METRIC_SOURCES) - 1),
        "scrape_ps": dice.ticks(1, 8),
        "window_ps": dice.ticks(0, 30) if dice.on["window"] else 0,
        "lag_ps": dice.ticks(0, 20) if dice.on["lag"] else 0,
    }


def more_signals(dice: Dice) -> list[SignalRow]:
    """The signals of a pool behind its first, of any source, and how they are seen."""
    if not dice.on["signals"]:
        return []
    ticks = [[int(x) * dice.grid_ps for x in dice.more.integers((1, 0, 0), (9, 31, 21))] for _ in range(3)]
    sources = dice.more.integers(len(METRIC_SOURCES), size=3).tolist()
    seen = dice.more.integers(len(AGGREGATIONS), size=3).tolist()
    rows = [SignalRow(source, *row, how) for source, row, how in zip(sources, ticks, seen, strict=True)]
    return rows[: int(dice.more.integers(4))]


# ---- controllers ----------------------------------------------------------------------
def make_scaling(dice: Dice) -> dict[str, Any]:
    """Signals, bounds, the replicas at the start and the controller of a pool."""
    signal, more = make_metrics(dice), more_signals(dice)
    least = 0 if dice.on["to_zero"] else dice.whole(1, 2)
    most = dice.whole(max(1, least), 5)
    initial = dice.whole(least, most) if dice.maybe() else least
    row: dict[str, Any] = {"min_replicas": least, "max_replicas": most, "initial_replicas": initial}
    kind = dice.whole(FIXED, USER if dice.on["users_laws"] else QUEUE) if dice.on["scaled"] else FIXED
    words = np.zeros(SCALER_PAR, dtype=np.int64)
    if kind == FIXED:
        row |= {
            "tick_ps": dice.ticks(0, 9) if dice.maybe() else NEVER,
            "target_milli": dice.whole(least, most),
        }
    elif kind == HPA:
        row["tick_ps"] = dice.ticks(1, 8)
        fill_hpa(dice, words, (least, most), len(more))
    elif kind == QUEUE:
        row["tick_ps"] = 0
        signal["source"] = SRC_OUTSTANDING if dice.maybe(5) else SRC_BACKLOG
        fill_queue(dice, words, (least, most), len(more))
    else:
        row["tick_ps"] = dice.ticks(1, 8)
    if dice.on["signals"]:
        signal["aggregation"] = int(dice.more.integers(len(AGGREGATIONS)))
    signals = (SignalRow(**signal), *more)
    return {**row, "signals": signals, "autoscaler": kind, "autoscaler_settings": words}


def fill_hpa(dice: Dice, words: np.ndarray, bounds: tuple[int, int], n_more: int = 0) -> None:
    """An HPA's settings with windows of a few ticks, and some more metrics than one."""
    settings = HpaSettings(words, 0)
    hpa_settings(settings, min_replicas=bounds[0], max_replicas=bounds[1])
    hpa_target(settings, **fill_rules(dice, settings))
    for _ in range(n_more):
        hpa_target(settings, **one_more(dice))


def fill_rules(dice: Dice, settings: HpaSettings) -> dict[str, int]:
    """Windows and policies of an HPA; returns the target of its first metric."""
    tolerance, milli = dice.one_of((0, 100, 300)), dice.whole(200, 3000)
    up, down = HpaRule(settings.up, 0), HpaRule(settings.down, 0)
    up.window_ps = dice.ticks(0, 12) * dice.maybe()
    down.window_ps = dice.ticks(0, 15)
    up.select, down.select = dice.whole(0, 5) % 3, dice.whole(0, 5) % 3
    for rule in (up, down):
        for _ in range(dice.whole(1, 3)):
            kind, value = dice.one_of(
                ((POLICY_PODS, 1), (POLICY_PODS, 2), (POLICY_PERCENT, 50), (POLICY_PERCENT, 100))
            )
            hpa_policy(rule, kind, value, dice.ticks(1, 20))
    return {"milli": milli, "tolerance_up_milli": tolerance, "tolerance_down_milli": tolerance}


def one_more(dice: Dice) -> dict[str, int]:
    """A target of any kind, out of the generator of signals."""
    return {
        "milli": int(dice.more.integers(200, 3000)),
        "kind": int(dice.more.integers(3)),
        "tolerance_up_milli": 100 * int(dice.more.integers(4)),
    }


def fill_queue(dice: Dice, words: np.ndarray, bounds: tuple[int, int], n_more: int = 0) -> None:
    """A queue scaler's settings, both its loops quick, and some more triggers than one."""
    settings = KedaSettings(words, 0)
    activation_milli = 1000 * dice.whole(0, 2)
    hpa = keda_settings(
        settings,
        min_replicas=bounds[0],
        max_replicas=bounds[1],
        polling_ps=dice.ticks(1, 9),
        cooldown_ps=dice.ticks(0, 12),
        sync_ps=dice.ticks(1, 9),
    )
    hpa.behavior = dice.whole(0, 1)
    first = fill_rules(dice, hpa)
    keda_trigger(settings, first.pop("milli"), activation_milli, **first)
    for _ in range(n_more):
        more = one_more(dice)
        keda_trigger(settings, more.pop("milli"), 1000 * int(dice.more.integers(3)), **more)
