"""What placement reads: the profiles by which a kind of GPU is cut into MIG instances."""

from __future__ import annotations

from sim.schema import Field, Row


class SliceProfile(Row):
    """A MIG profile of a kind of GPU. An instance that starts at s takes the memory slices s … s + memory_slices − 1."""

    memory_slices = Field("memory slices that an instance takes, side by side")
    compute_slices = Field("compute slices that it takes")
    starts = Field("bit s: it may start at memory slice s")
    media = Field("1 = it takes the GPU's one set of media extensions (+me)")
    weight = Field("how often it is asked for, among the profiles of its GPU; read by the fgd policy alone")
