"""GPUs that several replicas share, in the words of NVIDIA's device plugin: by time-slicing, or by MPS."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Flag, Int, Text

SHARED = "shared"  # what a pool asks for: a place of a shared GPU, nvidia.com/gpu.shared of the device plugin
REPLICAS_MAX = 8  # places of a GPU, as of MIG's smallest instances

SHARED_BY = "shared-"  # the same, with how many replicas share the GPU: what `shared` turns out to be


def is_shared(word: str | None) -> bool:
    """Whether a pool's slice is a place of a shared GPU."""
    return word is not None and (word == SHARED or places_in(word) is not None)


def places_in(word: str | None) -> int | None:
    """How many replicas share the GPU, where a pool's slice says so, as `shared-2` does."""
    found = None if word is None else re.fullmatch(rf"{SHARED_BY}([2-{REPLICAS_MAX}])", word)
    return None if found is None else int(found[1])


Places = Annotated[Int, Field(ge=2, le=REPLICAS_MAX)]
Percentage = Annotated[Int, Field(ge=1, le=100)]
Beside = Annotated[float, Field(strict=True, ge=0, le=0.9)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class TimeSlicing:
    """`replicas` take turns on a GPU: a step beside n − 1 others in progress takes n times as long, and of the GPU's time
    `switching` is lost while there is more than one.
    """

    replicas: Places
    switching: Beside = 0.05
    source: Text = "replicas: sharing.timeSlicing of NVIDIA's k8s-device-plugin"
    confidence: Text = "switching is assumed: no public measurement of it for steps of these lengths"


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Mps:
    """`replicas` run on a GPU at once. Decoding shares its bandwidth, prompts share its multiprocessors: of these each may
    use `active_thread_percentage` (None: all of them). Beside a step of the other kind a step takes `interference` longer.
    """

    replicas: Places
    active_thread_percentage: Percentage | None = None
    interference: Beside = 0.1
    source: Text = (
        "replicas: sharing.mps of NVIDIA's k8s-device-plugin; active_thread_percentage: NVIDIA's MPS,"
        " CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
    )
    confidence: Text = (
        "interference is assumed, as that decoding needs bandwidth alone and prompts multiprocessors alone"
    )


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Sharing:
    """How the GPUs of a group are shared: one of the two. With `overcommit` replicas may come to lie together that want
    more memory than the GPU has: whose engine finds too little left crashes, and starts again in place.
    """

    time_slicing: TimeSlicing | None = None
    mps: Mps | None = None
    overcommit: Flag = False

    @property
    def is_clear(self) -> bool:
        """Whether it is one of the two, and not both."""
        return (self.time_slicing is None) != (self.mps is None)

    @property
    def way(self) -> TimeSlicing | Mps:
        """The one that is there."""
        found = self.time_slicing or self.mps
        assert found is not None
        return found

    @property
    def replicas(self) -> int:
        """Places of each GPU."""
        return self.way.replicas

    @property
    def name(self) -> str:
        """As a person calls it."""
        return "time-slicing" if self.mps is None else "MPS"

    def factors(self, busy: int, percentage: int) -> tuple[float, float, str]:
        """(by how much longer a decoding step and one of prompts take beside busy − 1 of their own kind, why)."""
        if busy == 1:
            return 1.0, 1.0, "nobody else has a step in progress"
        if self.mps is None:
            n = busy * (1 + self.longer)
            return n, n, f"{busy} take turns, and switching"
        prompt = max(1.0, busy * percentage / 100)
        return (
            float(busy),
            prompt,
            f"{busy} share the bandwidth, or what prompts may use of the multiprocessors",
        )

    @property
    def longer(self) -> float:
        """By which part a step takes longer beside others, the sharing apart."""
        if self.mps is not None:
            return self.mps.interference
        lost = self.time_slicing.switching if self.time_slicing is not None else 0.0
        return lost / (1 - lost)
