"""The seeds of a study, and what it decides: on which measures, and which differences do not matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sim.errors import InputError, problem
from sim.measures.measure import NEITHER
from sim.scenario.slo import METRICS, measure_of, value_of
from sim.scenario.types import SEED_MAX
from sim.studies.axes import scalar, split
from sim.studies.study import Seeds

SEEDS_HOW = "a range as 1..30, a list as 1,2,5, or `until decided, at most 200`"
SEED_RANGE = re.compile(r"^(\d{1,19})\s*\.\.\s*(\d{1,19})$")
UNTIL = re.compile(r"^until decided(?:,?\s+at most (\d{1,7}))?$")
UNTIL_AT_MOST = 200
SEEDS_MAX = 10_000_000
AMOUNT = re.compile(r"^\s*(\d[0-9.eE+\-]*)\s*([A-Za-zµ%]*)\s*$")


def read_seeds(said: Any) -> Seeds:
    """`1..30`, `1,2,5`, a list, one number, or `until decided, at most 200`; raises InputError."""
    if isinstance(said, str):
        until, span = UNTIL.match(said.strip()), SEED_RANGE.match(said.strip())
        if until:
            n = int(until[1]) if until[1] else UNTIL_AT_MOST
            return _checked_seeds(Seeds(range(1, n + 1), until_decided=True), said)
        if span:
            return _checked_seeds(Seeds(range(int(span[1]), int(span[2]) + 1)), said)
        if said.strip().startswith("until"):
            raise InputError(problem("seeds", said, SEEDS_HOW))
        items: list[Any] = [int(x) if x.isdecimal() and len(x) < 20 else x for x in split(said, "seeds")]
    else:
        items = list(said) if isinstance(said, list) else [said]
    for item in items:
        if type(item) is not int:
            raise InputError(problem("seeds", item, SEEDS_HOW))
    return _checked_seeds(Seeds(tuple(items)), said)


def _checked_seeds(seeds: Seeds, said: Any) -> Seeds:
    numbers = seeds.numbers
    if not 1 <= len(numbers) <= SEEDS_MAX or not 0 <= min(numbers) <= max(numbers) <= SEED_MAX:
        raise InputError(problem("seeds", said, f"{SEEDS_HOW}, each from 0 to {SEED_MAX}"))
    if isinstance(numbers, tuple) and len(set(numbers)) < len(numbers):
        raise InputError(f"seeds: {said}: a seed is named twice; allowed: once")
    return seeds


def read_decide(said: Any) -> tuple[tuple[str, float], ...]:
    """`ttft.p99,usd_per_hour`, a list, or a mapping to differences that do not matter, as {ttft.p99: 5 ms}: (measure,
    difference in its own unit) of each. Raises InputError.
    """
    entries = _entries(said) if isinstance(said, str) else said
    if isinstance(entries, Mapping):
        pairs = [(str(name), margin) for name, margin in entries.items()]
    elif isinstance(entries, list):
        pairs = [(str(name), None) for name in entries]
    else:
        raise InputError(
            problem("decide", said, "measures, as [slo_attainment, ttft.p99] or {ttft.p99: 5 ms}")
        )
    return tuple(_decided_on(name, margin) for name, margin in pairs)


def _entries(said: str) -> Any:
    """What words of the command line say: measures with commas between, or a mapping or list in YAML's short form."""
    items = split(said, "decide")
    return scalar(said, "decide") if len(items) == 1 and said.strip()[:1] in ("{", "[") else items


def _decided_on(name: str, margin: Any) -> tuple[str, float]:
    try:
        _, metric, statistic = measure_of(name, name, ())
        amount = AMOUNT.match(str(margin if margin is not None else "0 s"))
        if METRICS[metric].better == NEITHER:
            raise InputError(
                f"decide: {name}: neither more nor less of it is better; allowed: a measure with a better end"
            )
        if amount is None:
            raise InputError(
                problem(f"decide.{name}", margin, "a difference that does not matter, as 5 ms or 1 %")
            )
        found = value_of(name, metric, amount[1], amount[2]) if margin is not None else 0.0
    except InputError as error:
        raise InputError(line.replace("slo: ", "decide: ", 1) for line in error.problems) from None
    return f"{metric}.{statistic}" if statistic else metric, found
