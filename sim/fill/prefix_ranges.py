"""How many block ranges a prefix cache must tell apart: counted from its KV blocks and from what prompts share.

A block range is a stretch of blocks of one segment that the same number of sequences hold
(`sim.model.prefix_cache.lookup`). A table that is too small loses hits; one for every block takes memory that a fleet of
large caches does not have.
"""

from __future__ import annotations

import numpy as np

from sim.fill.rows import AUTO_RUNS, buckets_of, power_of_two
from sim.fill.trace import Traffic
from sim.model.tables.replica import BlockRange

TABLE_WORDS_MAX = 1 << 27  # of all replicas of a pool: 1 GiB
MARGIN = 1.25  # for ranges whose end has been evicted, and which were found again before the rest was
RUNS_A_SEQUENCE = 2  # a running sequence ends a range of its own and one that it shares


def size_caches(pools: np.ndarray, traffic: Traffic) -> None:
    """Fill in how many ranges each pool's prefix cache has where that is left open; `pools` are records, (pool,)."""
    for row in pools:
        if row["prefix_runs"] == AUTO_RUNS:
            runs = runs_needed(row, traffic)
            row["prefix_runs"], row["prefix_buckets"] = runs, buckets_of(runs)


def runs_needed(pool: np.ndarray, traffic: Traffic) -> int:
    """The ranges that a pool's replicas need at most, as a power of two: neighbouring seeds get the same table.

    No range is shorter than a block, and no stretch that prompts can tell apart is shorter than `stretches` says: so the
    shortest of them that fit into the cache together are the most that can be there.
    """
    n_blocks = int(pool["n_blocks"])
    size = np.minimum(stretches(traffic, int(pool["block_size"])), n_blocks)
    count = np.bincount(size, minlength=n_blocks + 1)
    length = np.arange(len(count))
    whole = np.cumsum(count * length) <= n_blocks  # lengths of which every stretch fits
    fit = int(count[whole].sum())
    next_one = int(np.argmin(whole)) if not whole.all() else 0
    if next_one:
        fit += (n_blocks - int((count * length)[whole].sum())) // next_one
    held = RUNS_A_SEQUENCE * int(pool["max_num_seqs"])
    needed = power_of_two(min(int(MARGIN * fit) + held, n_blocks + held))
    most = TABLE_WORDS_MAX // (int(pool["n_replica"]) * BlockRange.SIZE)
    return max(1, min(needed, most))


def stretches(traffic: Traffic, block: int) -> np.ndarray:
    """Blocks of each stretch that a prefix cache may have to tell from its neighbours, of at least one block.

    Each request has one of its own; a shared segment is cut where a request's part of it ends and where another
    segment goes on.
    """
    tokens = np.asarray(traffic.prompt_tokens, dtype=np.int64) + traffic.output_tokens
    chains = traffic.chains
    if chains is None:
        return np.asarray(np.maximum(tokens // block, 1))
    shared = np.minimum(chains.shared_tokens, tokens) // block
    own = tokens // block - shared
    inside, below = chains.leaf >= 0, chains.parent >= 0
    segment = np.concatenate([chains.leaf[inside], chains.parent[below]])
    end = np.concatenate([shared[inside], chains.start[below] // block])
    first = chains.start[segment] // block
    order = np.lexsort((end, segment))
    segment, end, first = segment[order], end[order], first[order]
    before = first.copy()
    same = segment[1:] == segment[:-1]
    before[1:][same] = np.maximum(first[1:], end[:-1])[same]
    size = np.concatenate([own, end - before])
    return np.asarray(size[size > 0])
