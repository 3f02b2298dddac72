"""Counts that may be percentages, as Kubernetes writes them: 2 or "25%"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from sim.scenario.types import INT_MAX

_PERCENT = re.compile(r"[0-9]+%")


@dataclass(frozen=True)
class Amount:
    """A count, or percent of some total."""

    value: int
    is_percent: bool = False


def amount_of(written: int | str | None) -> Amount:
    """What a count or a percentage says; nothing is 0. Raises ValueError for any other text."""
    if isinstance(written, str):
        if not _PERCENT.fullmatch(written):
            raise ValueError(f"{written!r} is neither a count nor a percentage such as 25%")
        return Amount(int(written[:-1]), is_percent=True)
    return Amount(written or 0)


def _amount(value: Any) -> Any:
    allowed = f"{value!r} is not valid; allowed: a count as 1, or a percentage as 25%"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(allowed)
    try:
        amount = amount_of(value)
    except ValueError:
        raise ValueError(allowed) from None
    if not 0 <= amount.value <= (100 if amount.is_percent else INT_MAX):
        raise ValueError(allowed)
    return value


CountOrPercent = Annotated[Any, AfterValidator(_amount)]
