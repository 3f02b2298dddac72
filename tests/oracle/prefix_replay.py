"""What a prefix cache of a given size would have found in a recorded trace, straight from its block hashes.

One request at a time: the leading blocks that are there are found, all of its full blocks are then there, and the
block that was used longest ago goes first, of one prompt's the last first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

#: A prompt's tokens, the name of each of its blocks and the tokens of a block.
Prompt = tuple[int, list[object]]


def infinite_hits(prompts: Iterable[list[object]]) -> list[int]:
    """Leading blocks of each prompt that an infinite cache has."""
    seen: set[object] = set()
    hits = []
    for names in prompts:
        n = next((i for i, name in enumerate(names) if name not in seen), len(names))
        hits.append(n)
        seen.update(names)
    return hits


def sized_hits(prompts: Iterable[tuple[list[object], int]], n_blocks: int) -> list[int]:
    """Leading blocks of each prompt (its full blocks, and blocks that it needs in all) found in a cache of n_blocks."""
    there: OrderedDict[object, None] = OrderedDict()  # longest unused first
    hits = []
    for names, needed in prompts:
        n = next((i for i, name in enumerate(names[: max(needed - 1, 0)]) if name not in there), None)
        n = min(len(names), max(needed - 1, 0)) if n is None else n
        hits.append(n)
        mine = set(names)
        spare = n_blocks - needed  # beside the prompt's own blocks
        others = [name for name in there if name not in mine]
        for name in others[: max(0, len(others) - spare)]:
            del there[name]
        for name in reversed(names):
            there.pop(name, None)
            there[name] = None
    return hits
