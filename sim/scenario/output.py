"""How a run is computed and what it leaves behind; neither changes what happens in the simulated world."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Flag, Int, PeriodS, Text

EngineName = Literal["auto", "cpu", "simpy", "cuda"]
Threads = Annotated[Int, Field(ge=1, le=1024)]
Directory = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Engine:
    """Which engine runs the model; every one gives the same digest. `threads` None: one per core."""

    name: EngineName = "auto"
    threads: Threads | None = None
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Output:
    """Where results go and how finely the time series is sampled (None: about 360 points)."""

    dir: Directory = "results"
    records: Flag = True
    sample_interval_s: PeriodS | None = None
    source: Text = ""
