"""Which instances fit on one GPU together, each at a start that its profile allows: an exact search."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from sim.scenario.cluster import DYNAMIC, WHOLE, NodeGroup
from sim.scenario.mig import MigKind, MigProfile
from sim.scenario.slices import kind_for, profile_named

BALANCED = "all-balanced"
ALL = "all-"
SHOWN = 3  # geometries that a line names

Instance = tuple[int, MigProfile]  # (start, profile)


def names_in(kind: MigKind, mig: str | Sequence[str]) -> list[str] | None:
    """The profiles that each GPU of a group is cut into; None where `mig` is a word that means none.

    mig-parted's words: `all-1g.10gb` is as many of that as fit, `all-balanced` two of the smallest, one of two compute
    slices and, where there are seven, one of three.
    """
    if not isinstance(mig, str):
        return list(mig)
    if mig == BALANCED:
        wanted = (3, 2, 1, 1) if kind.compute_slices == 7 else (2, 1, 1)
        return [smallest_with(kind, n).profile for n in wanted]
    profile = profile_named(kind, mig.removeprefix(ALL)) if mig.startswith(ALL) else None
    return None if profile is None else [profile.profile] * profile.max_instances


def smallest_with(kind: MigKind, compute_slices: int) -> MigProfile:
    """The profile with so many compute slices that takes fewest of memory, without media extensions."""
    able = [one for one in kind.profiles if one.compute_slices == compute_slices and not one.is_media]
    return min(able, key=lambda one: one.memory_slices)


def cut_into(group: NodeGroup) -> tuple[Instance, ...]:
    """The instances that each GPU of a group is cut into, by start; none where it is whole or cut on demand."""
    kind = kind_for(group.gpu)
    if group.mig in (WHOLE, DYNAMIC) or kind is None:
        return ()
    names = names_in(kind, group.mig)
    profiles = [profile_named(kind, name) for name in names or ()]
    found = placed(kind, [profile for profile in profiles if profile is not None])
    return () if found is None or None in profiles else found


def offered(group: NodeGroup) -> tuple[MigProfile, ...]:
    """The profiles of which a replica can have an instance in a group, smallest first."""
    kind = kind_for(group.gpu)
    if kind is None or group.mig == WHOLE:
        return ()
    there = {profile.profile for _, profile in cut_into(group)}
    return tuple(one for one in kind.profiles if group.mig == DYNAMIC or one.profile in there)


def placed(kind: MigKind, profiles: Sequence[MigProfile]) -> tuple[Instance, ...] | None:
    """Starts at which all these fit on one GPU, in order of the starts; None where there are none."""
    order = sorted(profiles, key=lambda one: (-one.memory_slices, -one.compute_slices, one.profile))
    if (
        sum(one.compute_slices for one in order) > kind.compute_slices
        or sum(one.is_media for one in order) > 1
    ):
        return None
    found = search(order, 0, ())
    return None if found is None else tuple(sorted(found, key=lambda instance: instance[0]))


def search(
    order: Sequence[MigProfile], busy: int, before: tuple[Instance, ...]
) -> tuple[Instance, ...] | None:
    """The instances `before` and all of `order` beside them; equal profiles start in ascending order."""
    if not order:
        return before
    profile = order[0]
    least = before[-1][0] + 1 if before and before[-1][1] is profile else 0
    for start in profile.start_indices:
        mask = ((1 << profile.memory_slices) - 1) << start
        if start >= least and not busy & mask:
            found = search(order[1:], busy | mask, (*before, (start, profile)))
            if found is not None:
                return found
    return None


@cache
def full_geometries(kind: MigKind) -> tuple[tuple[str, ...], ...]:
    """Every set of profiles that fits on one GPU and to which none can be added, media extensions left out."""
    profiles = [one for one in kind.profiles if not one.is_media]
    fitting = [combination for combination in combinations(kind, profiles, ()) if combination]
    sets = {tuple(one.profile for one in combination) for combination in fitting}
    contained = {(*whole[:i], *whole[i + 1 :]) for whole in sets for i in range(len(whole))}
    return tuple(sorted(sets - contained, key=lambda names: (len(names), names)))


def combinations(
    kind: MigKind, profiles: Sequence[MigProfile], before: tuple[MigProfile, ...]
) -> Iterator[tuple[MigProfile, ...]]:
    """All that fit, in the order of the profiles."""
    yield before
    for place, profile in enumerate(profiles):
        longer = (*before, profile)
        if placed(kind, longer) is not None:
            yield from combinations(kind, profiles[place:], longer)


def nearest_geometries(kind: MigKind, names: Sequence[str]) -> list[str]:
    """The full geometries that differ least from the names, as they would be written."""
    asked = Counter(re.sub(r"\+me$", "", name) for name in names)

    def apart(geometry: Sequence[str]) -> tuple[int, int]:
        there = Counter(geometry)
        return (asked - there).total() + (there - asked).total(), len(geometry)

    near = sorted(full_geometries(kind), key=apart)[:SHOWN]
    return [f"[{', '.join(reversed(geometry))}]" for geometry in near]
