"""MIG: the profiles by which a kind of GPU is cut into instances, read from conf/mig."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from sim.errors import InputError, nearest, problem
from sim.scenario.catalogue import option_files
from sim.scenario.hardware import Gigabytes
from sim.scenario.problems import error_lines
from sim.scenario.types import CONFIG, Count, Flag, Name, Seconds, Text
from sim.scenario.yaml_file import read_yaml

SLICES_MAX = 8  # memory slices of a GPU, and no GPU has more compute slices
Slices = Annotated[Count, Field(le=SLICES_MAX)]
Start = Annotated[int, Field(strict=True, ge=0, lt=SLICES_MAX)]
Confidence = Literal["sourced", "assumed"]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class MigProfile:
    """One profile. An instance that starts at s takes the memory slices s … s + memory_slices − 1 of its GPU."""

    profile: Name  # NVIDIA's name, as 1g.10gb
    compute_slices: Slices
    memory_slices: Slices
    start_indices: Annotated[tuple[Start, ...], Field(min_length=1)]  # increasing
    max_instances: Slices  # of this profile alone on a GPU
    nominal_memory_gb: Gigabytes  # as in its name
    usable_memory_gib: Gigabytes  # what an instance has
    memory_confidence: Confidence
    sm_count: Count | None = None  # streaming multiprocessors; None: not known
    copy_engines: Count
    is_media: Flag = False  # takes the GPU's one set of media extensions (+me)

    @model_validator(mode="after")
    def _inside(self) -> MigProfile:
        """Raise ValueError on starts that are not in order, or from which an instance would not end on the GPU."""
        if list(self.start_indices) != sorted(set(self.start_indices)):
            raise ValueError("start_indices must increase")
        if self.start_indices[-1] + self.memory_slices > SLICES_MAX:
            raise ValueError(
                f"start_indices: {self.memory_slices} memory slices from {self.start_indices[-1]} on "
                f"pass the GPU's {SLICES_MAX}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class MigKind:
    """A kind of GPU: its slices, its profiles, and where the figures come from."""

    gpu: Name
    compute_slices: Slices
    memory_slices: Slices
    profiles: Annotated[tuple[MigProfile, ...], Field(min_length=1)]
    source: Text
    confidence: Confidence  # of the starts
    memory_source: Text
    sm_source: Text
    sm_confidence: Confidence
    mode_s: Seconds = 42.0  # what switching its MIG mode takes
    mode_source: Text = ""
    mode_confidence: Confidence = "assumed"
    gpu_sm_count: Count | None = None  # of the whole GPU, MIG off: more than all instances have on some

    @model_validator(mode="after")
    def _whole(self) -> MigKind:
        """Raise ValueError where two profiles have one name, or one does not fit on the GPU."""
        names = [profile.profile for profile in self.profiles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"profiles: {name} is there twice")
        for one in self.profiles:
            if one.start_indices[-1] + one.memory_slices > self.memory_slices:
                raise ValueError(
                    f"profiles: {one.profile} passes the GPU's {self.memory_slices} memory slices"
                )
            if one.compute_slices > self.compute_slices:
                raise ValueError(
                    f"profiles: {one.profile} has more than the GPU's {self.compute_slices} compute slices"
                )
        return self


def mig_kind(gpu_key: str) -> MigKind:
    """What conf/mig has of a GPU, by its name in conf/gpu. Raises InputError where it has nothing, or the file is wrong."""
    files = option_files("mig")
    if gpu_key not in files:
        line = problem("gpu", gpu_key, f"with MIG: {', '.join(sorted(files))}", nearest(gpu_key, files))
        raise InputError(line)
    return _read(files[gpu_key])


def mig_profiles(gpu_key: str) -> tuple[MigProfile, ...]:
    """The profiles of a GPU, smallest first. Raises InputError as `mig_kind` does."""
    return mig_kind(gpu_key).profiles


def mig_profile(gpu_key: str, name: str, shown: str = "slice") -> MigProfile:
    """A profile of a GPU by NVIDIA's name; raises InputError with the names there are under the key `shown`."""
    profiles = {one.profile: one for one in mig_profiles(gpu_key)}
    if name not in profiles:
        raise InputError(problem(shown, name, f"{', '.join(profiles)} on {gpu_key}", nearest(name, profiles)))
    return profiles[name]


def smallest_that_fits(profiles: Sequence[MigProfile], needed_gib: float) -> MigProfile | None:
    """The profile with least memory, then fewest compute slices, that holds so many GiB; None where none does.

    One with media extensions is not chosen: there is one of them to a GPU.
    """
    fitting = [one for one in profiles if one.usable_memory_gib >= needed_gib and not one.is_media]
    return min(fitting, key=lambda one: (one.usable_memory_gib, one.compute_slices), default=None)


@cache
def _read(path: Path) -> MigKind:
    """The file's kind."""
    data = read_yaml(path)
    try:
        return TypeAdapter(MigKind).validate_python(data)
    except ValidationError as error:
        lines = error_lines(MigKind, error, data, lambda found, kind: (path.name, *found))
        raise InputError(lines) from None
