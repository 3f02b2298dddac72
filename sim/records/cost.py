"""What held GPUs cost: GPU-picoseconds times a pool's price, and what is paid however little runs."""

from __future__ import annotations

from typing import Any

PS_PER_HOUR = 3600 * 10**12


def gpu_usd(pool: Any, gpu_ps: int) -> float:
    """Cost of GPUs held for `gpu_ps` GPU-picoseconds."""
    return int(gpu_ps) / PS_PER_HOUR * float(pool.usd_per_gpu_hour)


def fixed_usd(pool: Any, elapsed_ps: int) -> float:
    """Cost of `elapsed_ps` picoseconds of the pool's fixed hourly line."""
    return int(elapsed_ps) / PS_PER_HOUR * float(pool.price.usd_fixed_per_hour)
