"""What lies around the GPUs of the fleets made to hurt: stations, guardrails, caches, deadlines, hours, what is held.

Drawn from dice of its own, so that the rest of a seed's fleet is the same with and without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.fill.rows import ClassRow, FrontRow, ServedModelRow, TenantRow, VisitRow
from sim.fill.trace import Traffic
from sim.model.tables.codes import HOLD_FAIR
from sim.units import NEVER

FRONT = (
    "stations",
    "guardrail",
    "withheld",
    "response_cache",
    "deadlines",
    "deferred",
    "capped",
    "fair_shares",
)
DAY_PS = 86_400 * 10**12
VERDICTS = 1 << 20


class FrontDice:
    """Whole numbers and times for the front of one seed's fleet."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 21])
        some = self.maybe()
        self.on = {name: bool(self.maybe() and some) for name in FRONT}
        self.grid_ps, self.loose = 1, False

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def maybe(self, of: int = 2) -> bool:
        """True once in `of` times."""
        return self.whole(1, of) == 1

    def ticks(self, low: int, high: int) -> int:
        """A time of so many ticks of the grid, ps; off the grid where the fleet is loose."""
        t = self.whole(low, high) * self.grid_ps
        return t + self.whole(0, self.grid_ps - 1) if self.loose and t > 0 else t


def make_front(dice: FrontDice) -> FrontRow:
    """A few workers at a few stations, and a cache of hardly any answers, some of them soon too old."""
    on = dice.on
    return FrontRow(
        workers=tuple(dice.whole(1, 2) for _ in range(dice.whole(1, 3))) if on["stations"] else (),
        cache_entries=dice.whole(1, 3) if on["response_cache"] else 0,
        cache_life_ps=dice.ticks(1, 30) - dice.whole(0, 1)
        if dice.maybe()
        else NEVER,  # answers are kept at grid + 1
        cache_ps=dice.ticks(0, 6) * dice.maybe(),
    )


def make_visits(dice: FrontDice, front: FrontRow) -> tuple[VisitRow, ...]:
    """Up to two visits, to one station twice at times; some take no time at all."""
    if not front.workers:
        return ()
    prompt_ps, output_ps = (dice.grid_ps * dice.maybe(4) // dice.whole(1, 3) for _ in range(2))
    return tuple(
        VisitRow(dice.whole(0, len(front.workers) - 1), dice.ticks(0, 3), prompt_ps, output_ps)
        for _ in range(dice.whole(0, 2))
    )


def make_way(dice: FrontDice, front: FrontRow, n_group: int) -> dict[str, Any]:
    """What a class's answers pass, and when its requests start and are too late."""
    on = dice.on
    opens_ps, closes_ps = dice.ticks(0, 150), dice.ticks(0, 150)
    if dice.maybe(4):
        opens_ps = DAY_PS - 1 - opens_ps
    return {
        "before": make_visits(dice, front),
        "after": make_visits(dice, front),
        "is_withheld": int(on["withheld"] and dice.maybe()),
        "blocked_q20": VERDICTS * dice.whole(0, 4) // 4 if on["guardrail"] else 0,
        "fallback": dice.whole(-1, n_group - 1),
        "deadline_ps": dice.ticks(0, 50) + dice.whole(0, 1)
        if on["deadlines"] and not dice.maybe(3)
        else NEVER,
        "window_ps": (opens_ps, closes_ps),
        "defer_max_ps": dice.ticks(0, 40) if on["deferred"] and not dice.maybe(3) else 0,
    }


def make_hold(dice: FrontDice, group: ServedModelRow) -> ServedModelRow:
    """The group with replicas that are handed only so many, and an order among those that wait."""
    on = dice.on
    return group._replace(
        outstanding_max=dice.whole(1, 5) if on["capped"] else NEVER,
        hold_order=HOLD_FAIR if on["fair_shares"] else dice.whole(0, 1) * on["capped"],
    )


def with_front(
    dice: FrontDice,
    classes: list[ClassRow],
    groups: list[ServedModelRow],
    tenants: list[TenantRow],
    traffic: Traffic,
) -> tuple[list[ClassRow], list[ServedModelRow], list[TenantRow], Traffic, FrontRow]:
    """The same fleet with a front."""
    front = make_front(dice)
    classes = [c._replace(**make_way(dice, front, len(groups))) for c in classes]
    groups = [make_hold(dice, group) for group in groups]
    tenants = [tenant._replace(weight=dice.whole(1, 4)) for tenant in tenants]
    if dice.on["response_cache"]:
        kinds = dice.whole(0, 5)
        asked = [dice.whole(-1, kinds) for _ in traffic.arrival_ps]
        traffic = traffic._replace(content_id=np.array(asked, dtype=np.int64))
    return classes, groups, tenants, traffic, front
