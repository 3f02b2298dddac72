"""Formulas of measures: how a value follows from the facts of a scope, and the same in words.

The facts of a scope are its counters and sums by name: of a traffic class what its requests came to, of some pools what
they did, used and cost within the measured window (sim/analysis gathers them). A formula reads facts and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sim.units import PS_PER_S

Facts = Mapping[str, Any]  # name → number; None or missing where it is not known
S_PER_HOUR = 3600.0
MILLION = 1_000_000
J_PER_KWH = 3.6e6
ROUNDING = 1e-9  # a share may pass 1 by so much


class Formula(NamedTuple):
    """How a measure follows from facts; `text` says it in words, and is empty for what is counted as it happens."""

    text: str
    value: Callable[[Facts], Any]


def fact(name: str, text: str = "") -> Formula:
    """A fact as it is: a count, or what sim/analysis has worked out as `text` says."""
    return Formula(text, lambda facts: facts[name])


def ratio(part: str, whole: str, text: str = "") -> Formula:
    """One fact over another, None where that is 0."""
    return Formula(text or f"`{part}` / `{whole}`", lambda facts: divided(facts[part], facts[whole]))


def per_second(name: str, text: str = "") -> Formula:
    """A fact over the seconds of the window."""
    return ratio(name, "window_s", text)


def per_hour(name: str) -> Formula:
    """A fact over the hours of the window."""
    return Formula(
        f"`{name}` / `window_s` × 3600",
        lambda facts: divided(facts[name] * S_PER_HOUR, facts["window_s"]),
    )


def per_million(usd: str, tokens: str, text: str) -> Formula:
    """Money for a million tokens, None where there are none."""
    return Formula(text, lambda facts: divided(facts[usd] * MILLION, facts[tokens]))


def joules(name_kwh: str, by: str, text: str) -> Formula:
    """Kilowatt-hours as joules, by something; None where there is none of it."""

    def value(facts: Facts) -> float | None:
        kwh = facts[name_kwh]
        return divided(None if kwh is None else kwh * J_PER_KWH, facts[by])

    return Formula(text, value)


def seconds(name_ps: str, text: str) -> Formula:
    """A fact in picoseconds as seconds."""
    return Formula(text, lambda facts: facts[name_ps] / PS_PER_S)


def billions(name: str) -> Formula:
    """A fact in billions."""
    return Formula("", lambda facts: facts[name] / 1e9)


def mean_seconds(name_ps: str, number: str, text: str) -> Formula:
    """A sum of picoseconds over how many they are of, in seconds; None of nothing."""
    return Formula(text, lambda facts: facts[name_ps] / facts[number] / PS_PER_S if facts[number] else None)


def used(part: str, whole: str, text: str) -> Formula:
    """What was used of what there was; None where there was nothing, or where more was used than there can be."""

    def value(facts: Facts) -> float | None:
        share = divided(facts.get(part), facts.get(whole))
        if share is not None and share > 1:
            return 1.0 if share < 1 + ROUNDING else None
        return share

    return Formula(text, value)


def where(condition: str, formula: Formula) -> Formula:
    """The formula where a fact is not 0, else None."""
    return Formula(formula.text, lambda facts: formula.value(facts) if facts[condition] else None)


def divided(part: float | None, whole: float | None) -> float | None:
    """`part / whole`; None where either is unknown or the whole is not above 0."""
    return part / whole if part is not None and whole is not None and whole > 0 else None
