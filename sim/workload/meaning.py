"""Whether a trace can mean what its format says: hashes against lengths, whole units against fractions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.workload.formats import Layout

Ints = NDArray[np.int64]
BLOCKS = (512, 16, 32, 64, 128, 256, 1024, 2048, 4096)  # tokens that hashes name, Mooncake's first
SLACK = 0.02  # of a prompt that its hashes may leave out or name too much, beside a block
MOST, NEARLY_ALL = (
    0.5,
    0.9,
)  # of the rows that a size of blocks must fit, where it is the format's own and where not


def checked_block(file: str, layout: Layout, prompt: Ints, n_hash: Ints, line: Ints) -> int:
    """Tokens that each hash of a trace names; InputError where the prompts' lengths say otherwise.

    A prompt of n tokens has n / block hashes, rounded up or down. Fewer may be the hashes of its beginning alone, as
    long as no other size of blocks explains them.
    """
    has = n_hash > 0
    prompt, n_hash, line = prompt[has], n_hash[has], line[has]
    stated = layout.hash_tokens
    if stated is not None and share_that_fit(prompt, n_hash, stated) >= MOST:
        return stated
    fits = {block: share_that_fit(prompt, n_hash, block) for block in BLOCKS}
    best = max(BLOCKS, key=lambda block: (fits[block], -BLOCKS.index(block)))
    if stated is None and fits[best] >= MOST:
        return best
    if stated is not None and fits[best] < NEARLY_ALL and (n_hash * stated < prompt + stated).mean() >= MOST:
        return stated
    i = int(np.argmax(~that_fit(prompt, n_hash, stated or best)))
    what = f"{file}: line {line[i]}: {layout.hashes}: {n_hash[i]} hashes for a prompt of {prompt[i]} tokens"
    if fits[best] < NEARLY_ALL:
        raise InputError(
            f"{what}; no size of blocks fits the rows (blocks of {best} tokens fit {fits[best]:.0%}); say"
            " trace.hash_block_tokens where you know it, or take the hashes out"
        )
    other = " (and seconds, not milliseconds: format: qwen_bailian)" if best == 16 and stated == 512 else ""
    raise InputError(
        f"{what}: blocks of {stated} tokens would be {(stated or 0) * n_hash[i]} tokens, blocks of {best} fit"
        f" {fits[best]:.0%} of the rows; set traffic.trace.hash_block_tokens={best}{other}"
    )


def share_that_fit(prompt: Ints, n_hash: Ints, block: int) -> float:
    """The share of prompts whose number of hashes fits blocks of so many tokens."""
    return float(that_fit(prompt, n_hash, block).mean())


def that_fit(prompt: Ints, n_hash: Ints, block: int) -> NDArray[np.bool_]:
    """Whether each prompt's number of hashes fits blocks of so many tokens."""
    blocks = prompt / block
    return np.asarray(np.abs(n_hash - blocks) < 1 + SLACK * blocks)


def check_units(file: str, layout: Layout, values: NDArray[np.float64], line: Ints) -> None:
    """InputError where times that the format counts in whole units have fractions: they are in another unit."""
    if not layout.whole_units or layout.arrival is None:
        return
    broken = np.flatnonzero(values != np.rint(values))
    if len(broken):
        i = int(broken[0])
        raise InputError(
            f"{file}: line {line[i]}: {layout.arrival}: {values[i]:g} is no whole number of {layout.time_unit}, as"
            f" {layout.name} has them; say traffic.trace.time_unit=s where these are seconds, or"
            f" {layout.time_unit} where they are not"
        )
