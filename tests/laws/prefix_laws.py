"""What holds in a prefix cache after every event."""

from __future__ import annotations

from collections import Counter

from sim.model.tables.codes import SEQ_DECODE
from sim.model.tables.pool import PoolParams
from sim.model.tables.replica import BlockRange, PrefixCache, Replica
from sim.model.tables.run import Params, State


def check_cache(p: Params, st: State, r: int, running: list[int]) -> None:
    """Runs tile their segments from the front, are held by those who hold them, and are found again by age."""
    row = st.replica[r]
    limits = p.pool[row.pool]
    o, block = int(row.prefix_at), int(limits.block_size)
    segments = segments_of(p, st, o, limits)
    holders = held_blocks(p, st, running, block)
    n_run = free_blocks = 0
    for segment, runs in segments.items():
        first = runs[0]
        request = segment - int(p.n_segment)
        assert BlockRange(st, first).first == segment_first(p, max(request, 0), segment, block)
        before = None
        for u in runs:
            n_run += 1
            found = BlockRange(st, u)
            begin, end, refs = int(found.first), int(found.last), int(found.refs)
            assert begin < end
            assert all(holders[segment, j] == refs for j in range(begin, end)), "held by who holds it"
            if before is not None:
                assert BlockRange(st, before).last == begin
                assert BlockRange(st, before).refs >= refs, "whoever holds a block holds all before it"
                assert refs == 0 or BlockRange(st, before).refs > refs, "equal neighbours are one run"
            free_blocks += (end - begin) * (refs == 0)
            before = u
    assert PrefixCache(st, o).n_free == limits.prefix_runs - n_run
    assert PrefixCache(st, o).cached_blocks == free_blocks
    assert by_age(st, o) == {u for runs in segments.values() for u in runs if BlockRange(st, u).refs == 0}
    held = sum(1 for n in holders.values() if n)
    own = sum(own_blocks(st, row, slot, block) for slot in running)
    assert limits.n_blocks - row.free_blocks == held + own, "blocks in use are those held"


def segments_of(p: Params, st: State, o: int, limits: PoolParams) -> dict[int, list[int]]:
    """Segment → its runs, the shallowest first."""
    found: dict[int, list[int]] = {}
    for bucket in range(int(limits.prefix_buckets)):
        first = int(st.m[o + PrefixCache.SIZE + bucket])
        while first:
            runs, u = [], first
            while u:
                runs.append(u)
                u = int(BlockRange(st, u).next_range)
            found[int(BlockRange(st, first).segment)] = runs
            first = -int(BlockRange(st, first).prev_range)
    for u in unlisted(st, o, limits):
        segment = int(BlockRange(st, u).segment)
        assert segment >= p.n_segment, "others may look for it"
        assert segment not in found
        found[segment] = [u]
    return found


def unlisted(st: State, o: int, limits: PoolParams) -> list[int]:
    """The runs that only their sequences know: each is the only one of its segment."""
    runs = o + PrefixCache.SIZE + int(limits.prefix_buckets)
    every = range(runs, runs + int(limits.prefix_runs) * BlockRange.SIZE, BlockRange.SIZE)
    return [u for u in every if BlockRange(st, u).segment >= 0 and BlockRange(st, u).prev_range == -u]


def held_blocks(p: Params, st: State, running: list[int], block: int) -> Counter[tuple[int, int]]:
    """(segment, block) → how many running sequences hold it."""
    holders: Counter[tuple[int, int]] = Counter()
    for slot in running:
        i = int(st.slot[slot].request)
        for j in range(int(st.slot[slot].held_blocks)):
            segment, own = leaf(p, i), int(p.n_segment) + i
            if segment < 0 or j >= shared(p, i) // block:
                segment = own
            while segment != own and segment_first(p, i, segment, block) > j:
                segment = int(p.segment[segment].parent)
            holders[segment, j] += 1
    return holders


def segment_first(p: Params, i: int, segment: int, block: int) -> int:
    """The first block of a segment, or of what is request i's own."""
    if segment >= p.n_segment:
        return shared(p, i) // block
    return int(p.segment[segment].start) // block


def leaf(p: Params, i: int) -> int:
    """The segment that a prompt ends in."""
    return int(p.leaf[i]) if p.leaf_at else -1


def shared(p: Params, i: int) -> int:
    """Tokens of a request that lie in segments."""
    return int(p.shared_tokens[i]) if p.leaf_at else 0


def own_blocks(st: State, row: Replica, slot: int, block: int) -> int:
    """Blocks of a running sequence that are not in the cache."""
    tokens = int(st.slot[slot].computed)
    if st.slot[slot].state == SEQ_DECODE:
        tokens += int(row.step) + 1
    else:
        tokens += int(st.slot[slot].chunk)
    return -(-tokens // block) - int(st.slot[slot].held_blocks)


def by_age(st: State, o: int) -> set[int]:
    """The runs in the list of those that may be evicted, which is sound in both directions."""
    found, u, before = set(), int(PrefixCache(st, o).oldest), 0
    while u:
        assert BlockRange(st, u).older == before
        found.add(u)
        before, u = u, int(BlockRange(st, u).newer)
    assert PrefixCache(st, o).newest == before
    return found
