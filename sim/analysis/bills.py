"""Who a bill is for: a fleet's cost split among the traffic classes that it served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.analysis.cost import TokenCost
from sim.scenario.pool_choice import serving_pools


def class_usd(
    tokens: Sequence[Sequence[int]],
    pool_usd: Sequence[float],
    costs: Sequence[TokenCost],
    together: Sequence[tuple[list[int], list[int]]],
) -> list[float]:
    """What each class costs: its part of the bill of the pools that may serve it, by its tokens (in, out) of the window.

    A pool's cost is split into prompts and answers by step time, as its prices are, idle time in proportion; each
    part goes to the classes by their tokens. What nobody was served for is nobody's. `together` are the `communities`.
    """
    usd = [0.0] * len(tokens)
    for classes, pools in together:
        prompt_usd, output_usd = (
            sum(costs[i].prompt_usd for i in pools),
            sum(costs[i].output_usd for i in pools),
        )
        busy_usd = prompt_usd + output_usd
        scale = sum(pool_usd[i] for i in pools) / busy_usd if busy_usd else 0.0
        for side, part in enumerate((prompt_usd * scale, output_usd * scale)):
            whole = sum(tokens[i][side] for i in classes)
            for i in classes:
                n = tokens[i][side]
                usd[i] += part * n / whole if n else 0.0
    return usd


def answering_pools(scenario: Any, entry: Any) -> list[Any]:
    """The pools that may serve a class, those that answer what its guardrail blocked included."""
    fallback = getattr(getattr(entry, "guardrail", None), "fallback", None)
    others = [pool for pool in scenario.pools if fallback is not None and pool.model.name == fallback]
    return [*serving_pools(scenario, entry), *others]


def communities(scenario: Any) -> list[tuple[list[int], list[int]]]:
    """(classes, pools) by number that have to do with each other: which of a class's pools served it is not counted."""
    names = [pool.name for pool in scenario.pools]
    found: list[tuple[list[int], set[int]]] = []
    for i, entry in enumerate(scenario.classes):
        classes, pools = [i], {names.index(pool.name) for pool in answering_pools(scenario, entry)}
        for other in [other for other in found if other[1] & pools]:
            found.remove(other)
            classes, pools = other[0] + classes, other[1] | pools
        found.append((classes, pools))
    return [(classes, sorted(pools)) for classes, pools in found]
