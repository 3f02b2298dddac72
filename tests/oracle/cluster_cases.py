"""Clusters made to hurt, and how a user scales pools and takes nodes away: for the product and for the plain model."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from parity.queues import with_queues

from sim.engine.simpy import Alarm, Fleet
from sim.fill.params import ClassRow, FaultRow, PoolRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.pool import N_QUANTILE
from sim.model.tables.run import Params, State

from .naive_cluster import (
    FOREVER,
    AgainAndAgain,
    Ask,
    Cluster,
    GroupKind,
    NodesLost,
    Policy,
    PoolKind,
)
from .naive_jobs import JobKind
from .naive_quota import Quotas
from .naive_scaling import Budget, Scaling
from .quota_cases import quotas_of

TICK_PS = 10**12
WITH_QUOTAS = 6000  # seeds from here on, up to FIRST_CUT, have queues
FIRST_CUT = 10_000  # from this seed on GPUs are cut anew for who waits
END_PS = 120 * TICK_PS
#: (memory slices, compute slices, starts, media) as an H100 has them; the last is the whole GPU.
PROFILES = (
    (1, 1, range(7), 0),
    (1, 1, range(7), 1),
    (2, 1, range(0, 8, 2), 0),
    (2, 2, range(0, 6, 2), 0),
    (4, 3, (0, 4), 0),
    (4, 4, (0,), 0),
    (8, 7, (0,), 0),
)
VERBS = ("scale", "scale", "scale", "cordon", "uncordon", "lose_node")


class Deed(NamedTuple):
    """What a user does: before or after all else of that instant."""

    at_ps: int
    is_last: bool
    verb: str
    which: int
    value: int


class Case(NamedTuple):
    """A cluster and what becomes of it."""

    seed: int
    policy: Policy
    groups: list[GroupKind]
    pools: list[PoolKind]
    faults: list[NodesLost]
    deeds: list[Deed]
    every_ps: int
    mark_ps: int
    chances: list[AgainAndAgain]
    jobs: list[JobKind]

    @property
    def quotas(self) -> Quotas | None:
        """The queues of those seeds that have some."""
        return quotas_of(self.things) if WITH_QUOTAS <= self.seed < FIRST_CUT else None

    @property
    def things(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of the cluster's tables."""
        rows = self._things()
        return with_queues(self.seed, rows) if WITH_QUOTAS <= self.seed < FIRST_CUT else rows

    @property
    def params(self) -> Params:
        """The product's tables."""
        rows = self.things
        run = RunRow(
            self.seed, END_PS, self.mark_ps, END_PS, 0 if self.every_ps == FOREVER else self.every_ps
        )
        return make_params(
            run,
            Traffic(*np.array([[END_PS - 1], [1], [1], [0]])),
            [ClassRow()],
            [ServedModelRow()],
            [pool_row(pool) for pool in self.pools],
            [fault_row(fault) for fault in self.faults],
            things=rows,
        )

    def _things(self) -> dict[str, list[dict[str, Any]]]:
        steps, droughts, groups = [], [], []
        for kind in self.groups:
            groups.append(
                {
                    "n_node": kind.n_node,
                    "min_nodes": kind.least,
                    "initial_nodes": kind.initial,
                    "gpus": kind.gpus,
                    "zone": kind.zone,
                    "priority": kind.priority,
                    "price_micro": kind.price,
                    "no_capacity_q20": kind.refused_q20,
                    "retry_ps": kind.retry_ps,
                    "create_ps": kind.create_ps,
                    "paid_from": kind.paid_from,
                    "unit_ps": kind.unit_ps,
                    "least_ps": kind.least_ps,
                    "slices": kind.places,
                    "sharing": int(kind.is_shared),
                    "is_prepaid": int(kind.is_prepaid),
                    "repartitions": int(kind.repartitions),
                    "switches": int(kind.switches),
                    "mode_ps": kind.mode_ps,
                    "mode_of_node": int(kind.mode_of_node),
                    "first_step": len(steps),
                    "n_step": len(kind.steps),
                    "first_drought": len(droughts),
                    "n_drought": len(kind.droughts),
                }
            )
            steps += [{"stage": stage, "quantile_ps": np.array(took)} for stage, took in kind.steps]
            droughts += [{"from_ps": begin, "to_ps": end} for begin, end in kind.droughts]
        policy = self.policy
        return {
            "cluster": [
                {
                    "placement": policy.placement,
                    "score_weights": np.array(policy.weights),
                    "shape": np.ravel([*policy.shape, *[(0, 0)] * (10 - len(policy.shape))]),
                    "n_shape": len(policy.shape),
                    "mig_placement": policy.mig,
                    "expander": policy.expander,
                    "scan_ps": policy.scan_ps,
                    "unneeded_ps": policy.unneeded_ps,
                    "delay_after_add_ps": policy.delay_ps,
                    "bulk_delete_max": policy.bulk,
                    "preempts": int(policy.preempts),
                    **scaling_row(policy.scaling),
                    "repartitions": int(any(kind.repartitions for kind in self.groups)),
                }
            ],
            "budget": budget_rows(self.pools),
            "node_group": groups,
            "random_fault": [chance_row(chance) for chance in self.chances],
            "node_step": steps,
            "drought": droughts,
            "slice_ask": [
                {
                    "memory_slices": ask.memory,
                    "compute_slices": ask.compute,
                    "media": ask.media,
                    "is_whole": int(ask.is_whole),
                    "starts": sum(1 << s for s in ask.starts),
                    "weight": ask.weight,
                }
                for kind in self.groups
                for ask in kind.asks
            ],
            "pool_place": [
                {
                    "priority": pool.priority,
                    "n_member": pool.members,
                    "member_gpus": pool.gpus,
                    "memory_micro": getattr(pool, "memory", 0),
                }
                for pool in [*self.pools, *self.jobs]
            ],
            "job": [job_row(job) for job in self.jobs],
            "job_run": [
                {"job": j, "number": nth, "submit_ps": at_ps}
                for j, job in enumerate(self.jobs)
                for nth, at_ps in enumerate(sorted(job.submits))
            ],
        }


def pool_row(pool: PoolKind) -> PoolRow:
    """A pool as the product takes it."""
    speed = np.full(9, TICK_PS)
    return PoolRow(speed, 0 * speed, 0, 0, 1000, 8, 64, 1000)._replace(
        min_replicas=pool.least,
        max_replicas=pool.most,
        initial_replicas=pool.initial,
        tick_ps=FOREVER if pool.tick is None else pool.tick[0],
        target_milli=0 if pool.tick is None else pool.tick[1],
        stage_ps=np.array([took for *_, took in pool.steps], dtype=np.int64).reshape(-1, N_QUANTILE),
        steps=tuple(StepRow(stage, stream, (1 << i) >> 1) for i, (stage, stream, _) in enumerate(pool.steps)),
    )


def scaling_row(scaling: Scaling) -> dict[str, int]:
    """How nodes are let go, as the product takes it."""
    return {
        "below_milli": scaling.below_milli,
        "drains_max": scaling.drains_max,
        "retry_ps": scaling.retry_ps,
        "consolidation": scaling.karpenter,
        "consolidate_after_ps": scaling.after_ps,
        "disrupted": scaling.disrupted,
        "is_percent": int(scaling.is_percent),
    }


def budget_rows(pools: list[PoolKind]) -> list[dict[str, int]]:
    """The pools' budgets, if any has one."""
    rows = [
        {"is_set": 0}
        if pool.budget is None
        else {
            "is_set": 1,
            "is_max": int(pool.budget.is_max),
            "bound": pool.budget.bound,
            "is_percent": int(pool.budget.is_percent),
        }
        for pool in pools
    ]
    return rows if any(row["is_set"] for row in rows) else []


def job_row(job: JobKind) -> dict[str, Any]:
    """A job as the product takes it."""
    return {
        "startup_ps": job.startup_ps,
        "checkpoint_ps": job.checkpoint_ps,
        "max_restarts": job.most_restarts,
        "work_ps": np.array(job.work),
    }


def fault_row(fault: NodesLost) -> FaultRow:
    """A fault as the product takes it."""
    return FaultRow(
        fault.at_ps,
        pool=0,
        replicas=0,
        node_group=0 if fault.group is None else 1 + fault.group,
        zone=0 if fault.zone is None else 1 + fault.zone,
        nodes=fault.most,
        outage_ps=fault.outage_ps,
    )


def chance_row(chance: AgainAndAgain) -> dict[str, Any]:
    """A fault that strikes again and again as the product takes it."""
    return {
        "node_group": 0 if chance.group is None else 1 + chance.group,
        "zone": 0 if chance.zone is None else 1 + chance.zone,
        "nodes": chance.most,
        "notice_ps": chance.notice_ps,
        "gap_ps": np.array(chance.gaps),
        "outage_ps": np.array(chance.outages),
    }


# ---- dice ------------------------------------------------------------------------------------------------------------
class Dice:
    """Whole numbers and times of one seed."""

    def __init__(self, seed: int, stream: int = 47) -> None:
        self.rng = np.random.default_rng([seed, stream])
        self.is_loose = self.whole(0, 3) == 0

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def ticks(self, low: int, high: int) -> int:
        """So many ticks of the grid, ps; off the grid where it is loose."""
        t = self.whole(low, high) * TICK_PS
        return t + self.whole(0, TICK_PS - 1) if self.is_loose and t > 0 else t

    def table(self, most: int) -> list[int]:
        """1024 durations, often nothing."""
        values = [self.ticks(0, most) * self.whole(0, 1) for _ in range(self.whole(1, 3))]
        return [values[i % len(values)] for i in range(N_QUANTILE)]


def make_ask(dice: Dice) -> Ask:
    """A profile, sometimes with only some of its starts, or none."""
    is_whole = dice.whole(0, 3) == 0
    memory, compute, starts, media = PROFILES[-1 if is_whole else dice.whole(0, len(PROFILES) - 2)]
    kept = frozenset(s for s in starts if dice.whole(0, 7) > 0)
    return Ask(memory, compute, kept, media, dice.whole(0, 3))


def make_scores(dice: Dice) -> dict[str, Any]:
    """What scores count, and a shape."""
    weights = [dice.whole(0, 3) * dice.whole(0, 1) for _ in range(5)]
    places = sorted({dice.whole(0, 100) for _ in range(dice.whole(1, 4))})
    return {
        "weights": tuple(weights),
        "shape": tuple((place, 10 * dice.whole(0, 10)) for place in places),
    }


def make_group(dice: Dice, zone: int, n_pool: int) -> GroupKind:
    """A group of a few nodes."""
    n_node = dice.whole(1, 6)
    initial = dice.whole(0, n_node) if dice.whole(0, 1) else 0
    droughts = []
    for _ in range(dice.whole(0, 2)):
        begin_ps = dice.ticks(0, 80)
        droughts.append((begin_ps, begin_ps + dice.ticks(1, 25)))
    return GroupKind(
        n_node=n_node,
        least=dice.whole(0, initial),
        initial=initial,
        gpus=dice.whole(1, 4),
        zone=zone,
        priority=dice.whole(0, 2),
        price=dice.whole(0, 9) * 10**6,
        refused_q20=dice.whole(0, 2) * dice.whole(0, 1) << 18,
        retry_ps=dice.ticks(0, 12),
        create_ps=dice.ticks(0, 2) * dice.whole(0, 1),
        steps=[(min(1 + i, 3), dice.table(6)) for i in range(dice.whole(0, 4))],
        droughts=droughts,
        asks=[make_ask(dice) for _ in range(n_pool)],
    )


def with_bills(seed: int, groups: list[GroupKind]) -> list[GroupKind]:
    """Some groups' providers charge in units, at least so much, or from a later stage on."""
    rng = np.random.default_rng([seed, 71])
    return [
        replace(
            group,
            paid_from=int(rng.integers(1, 4)),
            unit_ps=int(rng.integers(1, 9 * TICK_PS)) if rng.integers(2) else 1,
            least_ps=int(rng.integers(0, 40 * TICK_PS)) * int(rng.integers(2)),
        )
        for group in groups
    ]


def make_pool(dice: Dice) -> PoolKind:
    """A pool of a few replicas, one or several members each."""
    most = dice.whole(1, 9)
    least = dice.whole(0, most) * dice.whole(0, 1)
    streams = (dice.rng.permutation(14) + 1).tolist()
    return PoolKind(
        least=least,
        most=most,
        initial=dice.whole(least, most),
        priority=dice.whole(-1, 1),
        members=1 + dice.whole(0, 2) * dice.whole(0, 1),
        gpus=1 + dice.whole(0, 2) * dice.whole(0, 1),
        steps=[(dice.whole(1, 5), streams[i], dice.table(5)) for i in range(dice.whole(0, 3))],
        tick=(dice.ticks(1, 60), dice.whole(0, most)) if dice.whole(0, 1) else None,
    )


def with_ranks(dice: Dice, pools: list[PoolKind]) -> list[PoolKind]:
    """The pools with a priority each, the first ones of the lowest and there from the beginning."""
    return [
        replace(
            pool,
            priority=i + dice.whole(-1, 0),
            members=1 if dice.whole(0, 3) else pool.members,
            initial=pool.least if i else pool.most,
        )
        for i, pool in enumerate(pools)
    ]


def shared(rng: np.random.Generator, group: GroupKind, pools: list[PoolKind]) -> GroupKind:
    """The group, its GPUs shared by so many replicas: of pools whose replicas want one GPU."""
    places = int(rng.integers(2, 9))
    asks = [
        Ask(1, 0, frozenset(range(places if pool.gpus == 1 == pool.members else 0)), 0, ask.weight)
        for pool, ask in zip(pools, group.asks, strict=True)
    ]
    return replace(group, asks=asks, places=places, is_shared=True, create_ps=0)


def without_places(ask: Ask, group: GroupKind) -> Ask:
    """What a job asks for: nothing of GPUs that are shared."""
    return replace(ask, starts=frozenset()) if group.is_shared else ask


def make_fault(dice: Dice, n_group: int) -> NodesLost:
    """Some nodes of a group, of a zone, or of both are lost."""
    how = dice.whole(0, 2)
    return NodesLost(
        dice.ticks(0, 100),
        dice.whole(0, n_group - 1) if how != 1 else None,
        dice.whole(0, 2) if how > 0 else None,
        dice.whole(1, 3) if dice.whole(0, 2) else FOREVER,
        dice.ticks(1, 20) * dice.whole(0, 1),
    )


def make_chance(dice: Dice, n_group: int) -> AgainAndAgain:
    """A fault that strikes a few times."""
    how = dice.whole(0, 2)
    return AgainAndAgain(
        group=dice.whole(0, n_group - 1) if how != 1 else None,
        zone=dice.whole(0, 2) if how > 0 else None,
        most=dice.whole(1, 2) if dice.whole(0, 2) else FOREVER,
        notice_ps=dice.ticks(1, 6) * dice.whole(0, 1),
        gaps=[dice.ticks(0, 60) for _ in range(N_QUANTILE)],
        outages=[dice.ticks(0, 9) * dice.whole(0, 1) for _ in range(N_QUANTILE)],
    )


def make_jobs(seed: int) -> list[JobKind]:
    """Jobs of a few runs, or none; drawn from dice of their own."""
    dice = Dice(seed, 48)
    return [
        JobKind(
            priority=dice.whole(-2, 2) if dice.whole(0, 3) == 0 else -3,
            members=1 + dice.whole(0, 2) * dice.whole(0, 1),
            gpus=1 + dice.whole(0, 1) * dice.whole(0, 1),
            submits=[dice.ticks(0, 80) * dice.whole(0, 1) for _ in range(dice.whole(1, 5))],
            work=[dice.ticks(0, 60) for _ in range(N_QUANTILE)],
            startup_ps=dice.ticks(0, 3) * dice.whole(0, 1),
            checkpoint_ps=dice.ticks(1, 9) if dice.whole(0, 2) else FOREVER,
            most_restarts=dice.whole(0, 2) if dice.whole(0, 1) else FOREVER,
        )
        for _ in range(dice.whole(1, 3) * dice.whole(0, 1))
    ]


def make_deeds(dice: Dice, pools: list[PoolKind], n_node: int) -> list[Deed]:
    """A user's deeds: those of one instant before all else of it, then those after all else."""
    deeds = []
    for _ in range(dice.whole(8, 40)):
        verb = VERBS[dice.whole(0, len(VERBS) - 1)]
        which = dice.whole(0, (len(pools) if verb == "scale" else n_node) - 1)
        value = dice.whole(0, pools[which].most) if verb == "scale" else 0
        deeds.append(Deed(dice.ticks(1, 110), bool(dice.whole(0, 1)), verb, which, value))
    return sorted(deeds, key=lambda deed: deed[:2])


def make_scaling(dice: Dice) -> Scaling:
    """How nodes are let go: in two of five cases only those that hold nothing, as the cluster autoscaler does it."""
    how, is_percent = max(0, dice.whole(0, 4) - 1), bool(dice.whole(0, 1))
    return Scaling(
        below_milli=dice.whole(1, 10) * 100 if how == 1 else 0,
        drains_max=dice.whole(1, 3),
        retry_ps=dice.ticks(1, 6),
        karpenter=how - 1 if how > 1 else 0,
        after_ps=dice.ticks(0, 10) * dice.whole(0, 1),
        disrupted=dice.whole(10, 100) if is_percent else dice.whole(0, 4),
        is_percent=is_percent,
    )


def with_scaling(
    seed: int, policy: Policy, groups: list[GroupKind], pools: list[PoolKind]
) -> tuple[Policy, list[GroupKind], list[PoolKind]]:
    """How nodes are let go; some groups are paid for anyway, and pools that preempt nobody may have budgets."""
    dice = Dice(seed, 53)
    policy = replace(policy, scaling=make_scaling(dice))
    groups = [replace(group, is_prepaid=dice.whole(0, 4) == 0) for group in groups]
    if (policy.scaling.below_milli or policy.scaling.karpenter) and dice.whole(0, 3):
        policy = replace(policy, scan_ps=min(policy.scan_ps, 4 * TICK_PS), delay_ps=0)
        groups = [
            replace(group, initial=group.n_node - dice.whole(0, 1), least=group.least // 2)
            for group in groups
        ]
    if dice.whole(0, 2) > 0:
        return policy, groups, pools
    budgets = [
        Budget(bool(dice.whole(0, 1)), dice.whole(0, 3), False)
        if dice.whole(0, 1)
        else Budget(bool(dice.whole(0, 1)), dice.whole(0, 100), True)
        for _ in pools
    ]
    pools = [
        replace(pool, budget=budget if dice.whole(0, 2) else None)
        for pool, budget in zip(pools, budgets, strict=True)
    ]
    return replace(policy, preempts=False), groups, pools


def with_cuts(
    rng: np.random.Generator, groups: list[GroupKind], pools: list[PoolKind]
) -> tuple[list[GroupKind], list[PoolKind]]:
    """GPUs are cut anew for who waits, and there are slices for nearly all: what is short is places."""
    sizes = [(1, 1, range(7)), (2, 2, range(0, 6, 2)), (4, 3, (0, 4))]
    kinds = [sizes[i] for i in rng.integers(len(sizes), size=len(pools))]
    pools = [replace(pool, members=1, gpus=1, priority=int(rng.integers(2))) for pool in pools]
    most = sum(memory * pool.most for (memory, *_), pool in zip(kinds, pools, strict=True))
    pools = [replace(pool, most=max(4, pool.most)) for pool in pools]
    asks = [Ask(memory, compute, frozenset(starts), 0, 1) for memory, compute, starts in kinds]
    n_node = 1 + int(most * rng.uniform(0.6, 1.1)) // 16
    groups = [
        replace(
            group,
            n_node=n_node,
            least=n_node,
            initial=n_node,
            gpus=2,
            asks=asks,
            repartitions=bool(rng.integers(6)),
            places=8,
            is_shared=False,
        )
        for group in groups[:1]
    ]
    return groups, pools


def with_modes(rng: np.random.Generator, groups: list[GroupKind]) -> list[GroupKind]:
    """In one of four cases asks for whole GPUs are met with MIG off, and modes are switched."""
    if rng.integers(4) > 0:
        return groups
    return [
        replace(
            group,
            switches=True,
            mode_ps=int(rng.integers(6)) * TICK_PS,
            mode_of_node=bool(rng.integers(2)),
            asks=[replace(ask, is_whole=ask.memory == 8) for ask in group.asks],
        )
        if not group.is_shared
        else group
        for group in groups
    ]


def make_drains(dice: Dice, n_node: int) -> list[Deed]:
    """A user drains a few nodes."""
    return [
        Deed(dice.ticks(1, 110), bool(dice.whole(0, 1)), "drain", dice.whole(0, n_node - 1), 0)
        for _ in range(dice.whole(0, 3))
    ]


def made(seed: int, is_scripted: bool = False) -> Case:
    """The case of a seed; a scripted one has no user, from FIRST_CUT on GPUs are cut anew."""
    dice = Dice(seed)
    n_pool = dice.whole(1, 4)
    policy = Policy(
        placement=dice.whole(0, 2),
        mig=dice.whole(0, 3),
        expander=dice.whole(0, 3),
        scan_ps=dice.ticks(1, 8) if dice.whole(0, 7) else FOREVER,
        unneeded_ps=dice.ticks(0, 15),
        delay_ps=dice.ticks(0, 15) * dice.whole(0, 1),
        bulk=dice.whole(1, 3),
        preempts=dice.whole(0, 2) > 0,
        **make_scores(Dice(seed + (1 << 40))),
    )
    zones: list[int] = []
    for _ in range(dice.whole(1, 4)):
        zones.append(dice.whole(0, len(set(zones))))  # they are numbered from 0 without gaps
    groups = [make_group(dice, zone, n_pool) for zone in zones]
    jobs = make_jobs(seed)
    pools = [make_pool(dice) for _ in range(n_pool)]
    if policy.preempts and dice.whole(0, 3):
        pools = with_ranks(dice, pools)
        groups = [replace(group, initial=group.n_node) for group in groups[: dice.whole(1, 2)]]
    groups = with_bills(seed, groups)
    if (rng := np.random.default_rng([seed, 61])).integers(6) == 0:
        pools = [replace(pool, members=1, gpus=1) for pool in pools]
        if rng.integers(2):
            pools = [replace(pool, memory=int(rng.integers(10**5, 6 * 10**5))) for pool in pools]
        groups = [shared(rng, group, pools) if rng.integers(3) else group for group in groups]
    policy, groups, pools = with_scaling(seed, policy, groups, pools)
    if is_cut := seed >= FIRST_CUT:
        groups, pools = with_cuts(np.random.default_rng([seed, 89]), groups, pools)
        policy = replace(policy, placement=2, weights=(1, 0, 0, 0, 0))
    groups = with_modes(np.random.default_rng([seed, 97]), groups)
    faults = [make_fault(dice, len(groups)) for _ in range(0 if is_cut else dice.whole(0, 5))]
    faults.sort(key=fault_row)
    n_node = sum(group.n_node for group in groups)
    deeds = make_deeds(dice, pools, n_node) + make_drains(Dice(seed, 55), n_node)
    if is_cut:
        deeds += make_deeds(Dice(seed, 57), pools, n_node) + make_deeds(Dice(seed, 58), pools, n_node)
        deeds = [deed for deed in deeds if deed.verb == "scale"]
    deeds.sort(key=lambda deed: deed[:2])
    every_ps = dice.ticks(1, 9) if dice.whole(0, 1) else FOREVER
    mark_ps = dice.ticks(0, 60)
    chances = [make_chance(dice, len(groups)) for _ in range(0 if is_cut else dice.whole(0, 3) // 2)]
    more = Dice(seed, 49)
    groups = [
        replace(group, asks=[*group.asks, *(without_places(make_ask(more), group) for _ in jobs)])
        for group in groups
    ]
    deeds = [] if is_scripted else deeds
    return Case(seed, policy, groups, pools, faults, deeds, every_ps, mark_ps, chances, jobs)


# ---- both models -----------------------------------------------------------------------------------------------------
def run_product(case: Case) -> State:
    """The final state, the user's deeds done in SimPy."""
    fleet = Fleet(case.params)

    def user(fleet: Fleet) -> Generator[Any, Any, None]:
        for deed in case.deeds:
            yield Alarm(fleet.env, deed.at_ps, 15 * deed.is_last)
            if deed.verb == "scale":
                fleet.scale(deed.which, deed.value)
            else:
                getattr(fleet, deed.verb)(deed.which)

    fleet.add(user)
    return fleet.run()


def run_naive(case: Case) -> Cluster:
    """The plain model at the end of the run."""
    cluster = Cluster(
        case.seed,
        case.policy,
        case.groups,
        case.pools,
        case.faults,
        case.every_ps,
        case.mark_ps,
        case.chances,
        case.jobs,
        case.quotas,
    )
    for deed in case.deeds:
        cluster.run_before(deed.at_ps)
        if deed.is_last:
            cluster.settle()
        if deed.verb == "scale":
            cluster.scale(cluster.pools[deed.which], deed.value)
        else:
            getattr(cluster, deed.verb)(deed.which)
    cluster.run_before(END_PS)
    cluster.end()
    return cluster
