"""Rules between the stages of a cold start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.errors import nearest, problem
from sim.scenario.coldstart import (
    BANDWIDTH_MAX_GB_S,
    BANDWIDTH_MIN_GB_S,
    STAGES,
    Fixed,
    Transfer,
    circle,
)
from sim.scenario.pool import Pool
from sim.scenario.ranges import lowest
from sim.scenario.said import Said

RATES = ("bandwidth_gb_s", "reader_gb_s", "rank_gb_s")
IMAGES = {"image": "image_gb", "unpacked_image": "image_unpacked_gb"}


def start_problems(pool: Pool, said: Said) -> Iterator[str]:
    """Stages are there once, in an order that exists, and each takes a time that can be said."""
    stages = pool.coldstart.stages
    key = said.key(pool.name, "coldstart", "stages")
    names = [stage.name for stage in stages]
    listed = [name for name in names if name in STAGES]
    if len(set(names)) < len(names) or listed != [name for name in STAGES if name in listed]:
        yield problem(key, names, f"each at most once, in the order {', '.join(STAGES)}")
        return
    for place, stage in enumerate(stages):
        for name in stage.after or ():
            if name not in names:
                allowed = f"stages of this cold start: {', '.join(names)}"
                where = said.key(pool.name, "coldstart", "stages", place, "after")
                yield problem(where, name, allowed, nearest(name, names))
        yield from time_problems(pool, place, stage, said)
    if found := circle(stages):
        yield f"{key}: a circle of stages that wait for each other: {' after '.join(found)}; allowed: an order without one"


def time_problems(pool: Pool, place: int, stage: Any, said: Said) -> Iterator[str]:
    """A stage takes no less than no time; a transfer has bytes and something to move them at."""
    kind = "duration" if isinstance(stage, Fixed) else "spread"
    low = lowest(getattr(stage, kind))
    if low < 0:
        key = said.key(pool.name, "coldstart", "stages", place, kind)
        yield f"{key}: can be negative ({low:g}{' s' if kind == 'duration' else ''}); give it `min: 0`"
    if isinstance(stage, Transfer):
        yield from transfer_problems(pool, place, stage, said)
    if stage.kept is not None:
        yield from kept_problems(pool, place, stage, said)


def kept_problems(pool: Pool, place: int, stage: Any, said: Said) -> Iterator[str]:
    """What a node keeps is read at a rate that some machine has, and a stage says once what that is."""
    key = said.key(pool.name, "coldstart", "stages", place, "kept")
    if isinstance(stage, Transfer) and stage.cached:
        yield f"{key}: stands beside `cached: true`; allowed: one of the two"
    for name in ("gb_s", "rank_gb_s"):
        yield from rate_problems(f"{key}.{name}", getattr(stage.kept, name))


def rate_problems(key: str, gb_s: float | None) -> Iterator[str]:
    """A rate that is given is one that some machine has."""
    if gb_s is not None and not BANDWIDTH_MIN_GB_S <= gb_s <= BANDWIDTH_MAX_GB_S:
        allowed = f"{BANDWIDTH_MIN_GB_S:g} to {BANDWIDTH_MAX_GB_S:g}, in GB/s: no machine is slower or faster"
        yield problem(key, gb_s, allowed)


def transfer_problems(pool: Pool, place: int, stage: Transfer, said: Said) -> Iterator[str]:
    """Bytes to move, and rates that some machine has."""

    def key(name: str) -> str:
        return said.key(pool.name, "coldstart", "stages", place, name)

    image = IMAGES.get(stage.of)
    if image is not None and getattr(pool.coldstart, image) is None:
        yield f"{key('of')}: {stage.of!r} has no bytes; needed: coldstart.{image}, in GB"
    elif stage.plus_gb == 0 and (stage.of == "other" or stage.times == 0):
        yield f"{key('plus_gb')}: a transfer without bytes; needed: `of` weights or image with `times` > 0, or plus_gb > 0"
    for name in (*RATES, "cached_gb_s"):
        yield from rate_problems(key(name), getattr(stage, name))
    if stage.over == "pcie" and stage.bandwidth_gb_s is not None:
        yield problem(
            key("bandwidth_gb_s"), stage.bandwidth_gb_s, "null over pcie: it is the GPU's pcie_gb_s"
        )
    if stage.over != "pcie" and all(getattr(stage, name) is None for name in RATES):
        yield f"{key('bandwidth_gb_s')}: is missing; needed: {', '.join(RATES)} (one or more), in GB/s, or `over: pcie`"
