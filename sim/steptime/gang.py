"""The GPUs of one replica and how the model lies on them."""

from __future__ import annotations

from typing import NamedTuple

from sim.scenario.hardware import Gpu, Model


class Gang(NamedTuple):
    """`dp` groups of `tp`·`pp` GPUs, each with its own copy of attention and dense weights and its own sequences.

    Routed experts are split over all tp·dp GPUs of a stage: each whole expert on one of them with `ep` of that
    size, a slice of every expert on each with `ep` 1.
    """

    gpu: Gpu
    model: Model
    precision: str = "bf16"
    kv_precision: str = "bf16"
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1

    @property
    def n_gpus(self) -> int:
        """GPUs of the replica."""
        return self.tp * self.pp * self.dp
