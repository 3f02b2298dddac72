"""What a pool's GPUs cost."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Name, Text, UsdPerGpuHour, UsdPerHour


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Price:
    """USD per GPU and hour held (None: the GPU's own), and per hour whatever runs."""

    name: Name = "on_demand"
    usd_per_gpu_hour: UsdPerGpuHour | None = None
    usd_fixed_per_hour: UsdPerHour = 0.0
    source: Text = ""
