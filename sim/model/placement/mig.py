"""MIG: whether an instance fits on a GPU beside those that live there, and at which memory slice it starts.

A GPU's occupancy is three numbers: `busy`, whose bit s says that memory slice s is taken; `compute`, the compute slices
taken; `media`, 1 where an instance has the media extensions. Instances never move. `first` is the row of the first of the
profiles of the GPU's kind, which lie side by side; `which` counts from it.
Source: NVIDIA's MIG user guide, and the listings of nvidia-smi mig -lgipp for the starts of each profile.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.tables.placement import SliceProfile

N_SLICE = 8  # memory slices of a GPU at most
COMPUTE_MAX = 7  # compute slices that instances can have together
PROFILE_SIZE = SliceProfile.SIZE
NOWHERE = -1

START_CHOICES = ("first_fit", "last_fit", "best_fit", "fgd")
START_FIRST, START_LAST, START_BEST, START_FGD = range(4)


# ---- one instance ----------------------------------------------------------------------
@jit
def profile_at(first, which):
    """A profile of the kind of GPU whose first profile is given."""
    return SliceProfile(first.words, which * PROFILE_SIZE)


@jit
def slice_mask(profile, start):
    """The memory slices, a bit each, that an instance takes which starts there."""
    return ((1 << profile.memory_slices) - 1) << start


@jit
def mig_has_room(compute, media, profile):
    """Whether compute slices and media extensions are left for an instance, wherever it starts."""
    return compute + profile.compute_slices <= COMPUTE_MAX and media + profile.media <= 1


@jit
def mig_is_free(busy, profile, start):
    """Whether a profile may start at a memory slice, and all that it takes from there is free."""
    return (profile.starts >> start) & 1 == 1 and busy & slice_mask(profile, start) == 0


@jit
def mig_fits(busy, compute, media, profile, start):
    """Whether an instance that starts at a memory slice fits beside those that live on the GPU."""
    return mig_has_room(compute, media, profile) and mig_is_free(busy, profile, start)


@jit_call
def first_start(busy, compute, media, profile):
    """The lowest memory slice at which an instance fits, or NOWHERE."""
    if mig_has_room(compute, media, profile):
        for start in range(N_SLICE):
            if mig_is_free(busy, profile, start):
                return start
    return NOWHERE


@jit_call
def last_start(busy, compute, media, profile):
    """The highest memory slice at which an instance fits, or NOWHERE."""
    if mig_has_room(compute, media, profile):
        for start in range(N_SLICE - 1, -1, -1):
            if mig_is_free(busy, profile, start):
                return start
    return NOWHERE


# ---- what is left for others ----------------------------------------------------------------------
@jit_call
def starts_left(busy, compute, media, profile):
    """The memory slices, a bit each, at which an instance of a profile fits."""
    left = 0
    if mig_has_room(compute, media, profile):
        for start in range(N_SLICE):
            if mig_is_free(busy, profile, start):
                left |= 1 << start
    return left


@jit_call
def useful_slices(busy, compute, media, profile):
    """The free memory slices, a bit each, that some instance of a profile could take."""
    useful = 0
    if mig_has_room(compute, media, profile):
        for start in range(N_SLICE):
            if mig_is_free(busy, profile, start):
                useful |= slice_mask(profile, start)
    return useful


@jit
def count_slices(mask):
    """How many memory slices a mask holds."""
    n = 0
    for i in range(N_SLICE):
        n += (mask >> i) & 1
    return n


@jit_call
def profiles_left(busy, compute, media, first, n):
    """What the n profiles of a kind have left on a GPU: those that fit somewhere, times 256, plus their starts."""
    left = 0
    for i in range(n):
        starts = starts_left(busy, compute, media, profile_at(first, i))
        if starts != 0:
            left += 256 + count_slices(starts)
    return left


@jit_call
def mig_fragments(busy, compute, media, first, n):
    """Free memory slices that the profiles of a kind cannot use, each profile's times its weight, summed."""
    fragments = 0
    for i in range(n):
        profile = profile_at(first, i)
        useful = useful_slices(busy, compute, media, profile)
        fragments += profile.weight * (N_SLICE - count_slices(busy | useful))
    return fragments


# ---- choosing ----------------------------------------------------------------------
@jit_call
def choose_start(policy, busy, compute, media, first, n, which):
    """The memory slice at which an instance of a profile starts, NOWHERE where it fits nowhere.

    `first_fit` takes the lowest, `last_fit` the highest; `best_fit` the one after which most profiles of the kind still
    fit, then the one that leaves most starts to them; `fgd` the one after which fewest free slices are useless to what
    is asked for (Weng et al., ATC 2023, within one GPU). Equals go to the lowest.
    """
    profile = profile_at(first, which)
    if policy == START_FIRST:
        return first_start(busy, compute, media, profile)
    if policy == START_LAST:
        return last_start(busy, compute, media, profile)
    best = NOWHERE
    least_loss = 0
    for start in range(N_SLICE):
        if not mig_fits(busy, compute, media, profile, start):
            continue
        after = busy | slice_mask(profile, start)
        compute_after = compute + profile.compute_slices
        if policy == START_BEST:
            loss = -profiles_left(after, compute_after, media + profile.media, first, n)
        else:
            loss = mig_fragments(after, compute_after, media + profile.media, first, n)
        if best == NOWHERE or loss < least_loss:
            best = start
            least_loss = loss
    return best


# ---- many instances ----------------------------------------------------------------------
@jit_call
def pack_instances(busy, compute, media, first, wanted, n, starts):
    """Whether n instances all fit on one GPU beside those that live there: an exact search of all ways.

    wanted: (n,) of their profiles, equal ones side by side; starts: (n,), becomes where each starts if they fit.
    Equal profiles start in ascending order, which loses no way and spares the search their permutations.
    """
    i = 0
    start = 0
    while i < n:
        profile = profile_at(first, wanted[i])
        while start < N_SLICE and not mig_fits(busy, compute, media, profile, start):
            start += 1
        if start < N_SLICE:
            starts[i] = start
            busy |= slice_mask(profile, start)
            compute += profile.compute_slices
            media += profile.media
            i += 1
            if i == n or wanted[i] != wanted[i - 1]:
                start = 0
        else:
            i -= 1
            if i < 0:
                return 0
            profile = profile_at(first, wanted[i])
            busy &= ~slice_mask(profile, starts[i])
            compute -= profile.compute_slices
            media -= profile.media
            start = starts[i] + 1
    return 1
