"""The product's prefix cache against the literal table of blocks of `naive_prefix`, over random cases.

    python -m tests.oracle.compare_prefix SEED…          # compiled
    NUMBA_DISABLE_JIT=1 python -m tests.oracle.compare_prefix 0:300    # as plain Python

Beyond what `compare` looks at: tokens asked for and found per replica, found per request, every block that is in a
cache at the end and how many of them nobody holds.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np

from sim.fill.state import table
from sim.model.tables.codes import STAGE_DRAINING, STAGE_READY
from sim.model.tables.replica import BlockRange, PrefixCache
from sim.model.tables.run import Params, State

from . import naive_prefix
from .compare import end_of, ends_differ, seed_case, seeds_of
from .naive import Run
from .random_cases import Case

RUNS = 600


def prefix_case(seed: int) -> Case:
    """The case of a seed with prompts that begin alike, in pools of which most have a prefix cache."""
    case = seed_case(seed)
    rng = np.random.default_rng([seed, 5])
    chains = make_chains(rng, [request[1:3] for request in case["requests"]])
    pools = [{**pool, "prefix_runs": RUNS if rng.integers(4) else 0} for pool in case["pools"]]
    return {**case, "chains": chains, "pools": pools}


def make_chains(rng: np.random.Generator, lengths: list[tuple[int, int]]) -> dict[str, list[int]]:
    """A tree of segments, and a way through it for each request."""
    parent, start, end = [], [], []
    for segment in range(int(rng.integers(1, 8))):
        above = int(rng.integers(-1, segment)) if segment else -1
        parent.append(above)
        start.append(end[above] if above >= 0 else 0)
        end.append(start[-1] + int(rng.integers(1, 9)))
    leaf, shared = [], []
    for prompt, output in lengths:
        at = int(rng.integers(-1, len(parent)))
        most = prompt + output if rng.integers(3) else prompt
        leaf.append(at)
        shared.append(0 if at < 0 else most if rng.integers(4) else int(rng.integers(0, most + 1)))
    return {"leaf": leaf, "shared": shared, "parent": parent, "start": start}


def prefix_differences(case: Case) -> list[str]:
    """One line for each difference, the caches themselves among them."""
    told = naive_prefix.run(**case)
    p, st, place = end_of(case)
    lines = ends_differ(case, told, p, st, place)
    rows = table(p, st, "replica")
    kept = table(p, st, "attempt")["cached_tokens"]
    n_attempts = Counter(attempt["request"] for attempt in told.attempts)
    for i, found in enumerate(kept.tolist()):
        tries = {n for row in told.replicas for j, n in row.get("hits", {}) if i == j}
        hits = {row["hits"].get((i, n), 0) for row in told.replicas if "hits" in row for n in tries}
        if not hits or n_attempts[i] > 1:  # the last one may have been nowhere
            hits.add(0)
        if found not in hits or (n_attempts[i] == 1 and found != max(hits)):
            lines.append(f"request {i}: {found} cached tokens, expected {hits}")
    lines += totals_differ(case, told, p, st)
    for number, row in enumerate(told.replicas):
        if "table" in row and row["cut_ps"] == 0:
            lines += cache_differences(p, st, rows[place[number]], case, number, row)
    return lines


def totals_differ(case: Case, told: Run, p: Params, st: State) -> list[str]:
    """Tokens that were looked up and found, over all pools."""
    pools = table(p, st, "pool")
    found = [int(pools[name].sum()) for name in ("asked_tokens", "cached_tokens")]
    expected = [sum(row.get(name, 0) for row in told.replicas) for name in ("asked", "cached")]
    return [] if found == expected else [f"tokens asked and cached: {found}, expected {expected}"]


def cache_differences(
    p: Params, st: State, rep: np.ndarray, case: Case, number: int, row: dict[str, Any]
) -> list[str]:
    """What a replica's cache holds at the end, and how much of it nobody holds."""
    if rep["stage"] not in (STAGE_READY, STAGE_DRAINING):
        return []
    unheld = int(PrefixCache(st, rep["prefix_at"]).cached_blocks)
    taken = max(0, unheld - int(rep["free_blocks"]))
    given_up = unheld - taken
    lines = []
    if given_up != row["given_up"]:
        lines.append(
            f"replica {number}: {given_up} cached blocks that nobody holds, expected {row['given_up']}"
        )
    blocks = cached_of(p, st, rep)
    block = int(p.pool[rep["pool"]].block_size)
    expected = {named(key, case, block) for key in row["table"]}
    if taken == 0 and blocks != expected:
        lines.append(f"replica {number}: cached {sorted(blocks)}, expected {sorted(expected)}")
    return lines


def named(key: list[naive_prefix.Token], case: Case, block: int) -> tuple[int, int]:
    """(segment, block) of a key of the literal table; a request's own segment comes after all the others."""
    kind, name, _ = key[-1]
    return (name if kind == "shared" else len(case["chains"]["parent"]) + name, -(-len(key) // block) - 1)


def cached_of(p: Params, st: State, rep: np.ndarray) -> set[tuple[int, int]]:
    """(segment, block) of everything in a replica's cache."""
    limits = p.pool[rep["pool"]]
    o = int(rep["prefix_at"])
    blocks = set()
    for bucket in range(int(limits.prefix_buckets)):
        first = int(st.m[o + PrefixCache.SIZE + bucket])
        while first:
            at = first
            while at:
                blocks |= blocks_of(BlockRange(st, at))
                at = int(BlockRange(st, at).next_range)
            first = -int(BlockRange(st, first).prev_range)
    ranges = o + PrefixCache.SIZE + int(limits.prefix_buckets)
    for at in range(ranges, ranges + int(limits.prefix_runs) * BlockRange.SIZE, BlockRange.SIZE):
        found = BlockRange(st, at)
        if found.segment >= 0 and found.prev_range == -at:  # only its sequence knows it
            blocks |= blocks_of(found)
    return blocks


def blocks_of(found: BlockRange) -> set[tuple[int, int]]:
    """(segment, block) of a range."""
    return {(int(found.segment), block) for block in range(int(found.first), int(found.last))}


def main(words: list[str]) -> int:
    """Compare the seeds that are asked for; 0 when nothing differs."""
    failed = 0
    for seed in seeds_of(words):
        lines = prefix_differences(prefix_case(seed))
        failed += bool(lines)
        for line in lines[:4]:
            print(f"seed {seed}: {line}")
    print(f"{len(seeds_of(words))} seeds, {failed} with a difference")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
