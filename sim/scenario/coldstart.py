"""What a replica goes through between being wanted and being ready."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from sim.scenario.dist import Dist
from sim.scenario.types import CONFIG, Name, Text

StageName = Literal["slice", "provision", "image", "weights", "engine"]
STAGES: tuple[StageName, ...] = ("slice", "provision", "image", "weights", "engine")


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Stage:
    """One stage: `duration` is a distribution of seconds."""

    name: StageName
    duration: Dist
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ColdStart:
    """The stages in the order they happen; one that is not listed takes no time."""

    name: Name
    stages: tuple[Stage, ...] = ()
    source: Text = ""
