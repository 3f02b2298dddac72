"""What a GPU draws, from idle to its most, and what the machine around it does."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Share, Text

Watts = Annotated[float, Strict(), Field(ge=1, le=1_000_000)]
WattsOrNone = Annotated[float, Strict(), Field(ge=0, le=1_000_000)]  # zero is allowed: nothing

IDLE_PART = 0.1  # of the TDP: H100 and H200 draw 60 to 80 W of 700
HOST_PART = 0.3  # of the GPU's TDP


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Power:
    """Watts of one GPU: `idle_w` while no step runs; in a step idle + (max − idle) · min(1, mfu / full_at_mfu) ^ exponent,
    where mfu is the share of its peak arithmetic that the step uses. `host_w` is the rest of the machine for each GPU:
    CPUs, memory, network cards, fans.
    """

    idle_w: WattsOrNone | None = None  # None: a tenth of the tdp_w
    max_w: Watts | None = None  # None: the tdp_w
    full_at_mfu: Share = 0.45
    exponent: Share = 0.175
    host_w: WattsOrNone | None = None  # None: 0.3 of the tdp_w
    source: Text = "none of this GPU"
    confidence: Text = (
        "assumed: idle a tenth of the TDP, at most the TDP, the curve of an H100 (docs/energy.md)"
    )
    host_source: Text = (
        "a GB200 compute tray draws 0.04 of its GPUs' limit beside them when idle and 0.39 at most (NVIDIA DPS device"
        " specification); a DGX H100 0.7 of 11,300 W in the mean (a blog), so some 0.6"
    )
    host_confidence: Text = "assumed: 0.3 of the TDP of each GPU"


def watts(power: Power, tdp_w: float, mfu: float) -> float:
    """What a GPU draws in a step that uses `mfu` of its peak arithmetic, W."""
    least, most = idle_w(power, tdp_w), max_w(power, tdp_w)
    return float(least + (most - least) * min(1.0, max(0.0, mfu) / power.full_at_mfu) ** power.exponent)


def idle_w(power: Power, tdp_w: float) -> float:
    """What it draws while no step runs, W."""
    return IDLE_PART * tdp_w if power.idle_w is None else power.idle_w


def max_w(power: Power, tdp_w: float) -> float:
    """The most that it draws, W; never less than when idle."""
    most = tdp_w if power.max_w is None else power.max_w
    return max(most, idle_w(power, tdp_w))


def host_w(power: Power, tdp_w: float) -> float:
    """What the machine draws beside its GPUs, for each of them, W."""
    return HOST_PART * tdp_w if power.host_w is None else power.host_w
