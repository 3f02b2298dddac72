"""Numbers as people read them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sim.measures.flat import is_share

MISSING = "–"
DIGITS_MAX = 18
FACTORS = defaultdict(lambda: 1.0, {"µs": 1e-6, "ms": 1e-3, "h": 3600.0})


def number(value: float | None, digits: int = 3) -> str:
    """About `digits` significant digits, thousands grouped, no exponent for everyday sizes."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:{',' if digits > 3 else ''}.{places}f}" if places <= 9 else f"{value:.{digits - 1}e}"


def seconds(value: float | None, digits: int = 3) -> str:
    """A duration with the unit that fits: 250 µs, 12.3 ms, 1.25 s, 310 s; hours from two on."""
    if value is None or math.isinf(value) or value == 0:
        return number(value) + ("" if value is None or value else " s")
    if value < 1e-3:
        return f"{number(value * 1e6, digits)} µs"
    if value < 1:
        return f"{number(value * 1e3, digits)} ms"
    return f"{number(value, digits)} s" if value < 7200 else f"{number(value / 3600, digits)} h"


def share(value: float | None, digits: int = 3) -> str:
    """A fraction as percent; never "100 %" unless it is all of it."""
    if value is None:
        return MISSING
    if digits > 3:
        return f"{value * 100:.{digits}g} %"
    if 0.9995 <= value < 1:
        return f"{math.floor(value * 1e6) / 1e4:.4f} %" if value >= 0.99995 else f"{value * 100:.3f} %"
    return f"{value * 100:.3g} %" if value < 0.1 else f"{value * 100:.1f} %".replace(".0 %", " %")


def points(value: float) -> str:
    """A difference of fractions in percentage points."""
    return f"{number(100 * value)} pt"


def usd(value: float | None, digits: int = 3) -> str:
    """Money with cents; more digits below a dollar."""
    if value is None or math.isinf(value):
        return number(value)
    if abs(value) >= 1 or value == 0:
        return f"{value:,.{max(2, digits - 1)}f} usd"
    return f"{number(value, digits)} usd"


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """A value in the unit that a summary gives it."""
    if unit == "s":
        return seconds(value, digits)
    if unit in ("usd", "usd/h", "usd/1e6 tokens"):
        money = usd(value, digits)
        return money.replace(" usd", f" {unit}") if unit != "usd" else money
    if unit == "share":
        return share(value, digits)
    return number(value, digits) if unit in ("", "1", "mean") else f"{number(value, digits)} {unit}"


def observed(verdict: Mapping[str, Any]) -> str:
    """What a limit met, fractions in percent, all else in its unit: as many digits as it takes to see on which side of
    the limit it is.
    """
    value, limit = verdict["observed"], verdict.get("limit")
    unit = verdict["unit"] or ("share" if is_share(verdict["measure"]) else "")
    text = quantity(value, unit)
    if value is None or limit is None or math.isinf(value):
        return text
    for digits in range(4, DIGITS_MAX):
        shown = read_back(text)
        if (shown < limit, shown > limit) == (value < limit, value > limit):
            break
        text = quantity(value, unit, digits)
    return text


def read_back(text: str) -> float:
    """The number that a text of `quantity` says."""
    figure, _, unit = text.replace(",", "").partition(" ")
    return float(figure) * FACTORS[unit] if unit != "%" else float(figure) / 100


def change(value: float | None, unit: str = "") -> str:
    """A difference to a baseline: +12 %, -3.4 %, ×25, ÷40, = for none; of shares in points."""
    if value is None:
        return ""
    percent = value * 100
    if abs(percent) < 0.05:
        return "="
    if unit == "share":
        return f"{percent:+.1f} pt"
    if value >= 9:
        return f"×{number(value + 1, 2)}"
    if -1 < value <= -0.95:
        return f"÷{number(1 / (1 + value), 2)}"
    return f"{percent:+.0f} %" if abs(percent) >= 10 else f"{percent:+.1f} %"


def slo_text(section: Mapping[str, Any]) -> str:
    """The share of the requests that got what they were promised, what it is a share of where that is not all of them,
    and how many were not served; nothing where nothing is promised.
    """
    if section["slo_attainment"] is None:
        return ""
    unserved = section["offered"] - section["completed"]
    of = f" of {number(section['judged'])} judged" if section["judged"] < section["offered"] else ""
    rest = f", {number(unserved)} not served" if unserved else ""
    return f"SLO met by {share(section['slo_attainment'])}{of}{rest}"


def kinds(classes: Mapping[str, Any], apart: Collection[str] = ()) -> list[list[str]]:
    """Names of classes whose latencies mean the same: they ask the same model, for text or not, and are promised alike;
    those that are to stand apart are alone.
    """
    found: dict[str, list[str]] = {}
    for name, section in classes.items():
        streams = section["itl"]["p50_s"] is not None
        alike = (section["model"], streams, section["objectives"], name if name in apart else "")
        found.setdefault(repr(alike), []).append(name)
    return list(found.values())
