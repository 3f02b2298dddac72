"""The clock's unit and its limits: an int64 count of picoseconds."""

from __future__ import annotations

PS_PER_S = 10**12
PS_PER_MS = 10**9
PS_PER_US = 10**6
NEVER = 2**63 - 1  # never enters arithmetic
HORIZON_MAX_S = 45 * 86_400  # longer questions use representative days


def s_to_ps(seconds: float) -> int:
    """Seconds as a whole number of picoseconds, rounded half to even."""
    return round(float(seconds) * PS_PER_S)


def ps_to_s(ps: int) -> float:
    """Picoseconds as seconds."""
    return ps / PS_PER_S
