"""What holds in a prefix cache after every event."""

from __future__ import annotations

from collections import Counter

from sim.model import layout as a# TODO# TODO
from sim.model.tables.codes import SEQ_DECODE
from sim.model.tables.run import Params, State


def check_cache(p: Params, st: State, r: int, running: list[int]) -> None:
    """Runs tile their segments from the front, are held by those who hold them, and are found again by age."""
    row = st.m[st.rep + r * a.R_SIZE : st.rep + (r + 1) * a.R_SIZE]
    limits = p.m[p.pool + row[a.R_POOL] * a.L_SIZE : p.pool + (row[a.R_POOL] + 1) * a.L_SIZE]
    o, block = int(row[a.R_PREFIX]), int(limits[a.L_BLOCK])
    segments = segments_of(p, st, o, limits)
    holders = held_blocks(p, st, running, block)
    n_run = free_blocks = 0
    for segment, runs in segments.items():
        first = runs[0]
        request = segment - int(p.n_segment)
        assert st.m[first + a.U_FIRST] == segment_first(p, max(request, 0), segment, block)
        before = None
        for u in runs:
            n_run += 1
            begin, end, refs = (int(st.m[u + field]) for field in (a.U_FIRST, a.U_LAST, a.U_REFS))
            assert begin < end
            assert all(holders[segment, j] == refs for j in range(begin, end)), "held by who holds it"
            if before is not None:
                assert st.m[before + a.U_LAST] == begin
                assert st.m[before + a.U_REFS] >= refs, "whoever holds a block holds all before it"
                assert refs == 0 or st.m[before + a.U_REFS] > refs, "equal neighbours are one run"
            free_blocks += (end - begin) * (refs == 0)
            before = u
    assert st.m[o + a.Z_N_FREE] == limits[a.L_PREFIX_RUNS] - n_run
    assert st.m[o + a.Z_CACHED] == free_blocks
    assert by_age(st, o) == {u for runs in segments.values() for u in runs if st.m[u + a.U_REFS] == 0}
    held = sum(1 for n in holders.values() if n)
    own = sum(own_blocks(st, row, slot, block) for slot in running)
    assert limits[a.L_BLOCKS] - row[a.R_FREE_BLOCKS] == held + own, "blocks in use are those held"


def segments_of(p: Params, st: State, o: int, limits: list[int]) -> dict[int, list[int]]:
    """Segment → its runs, the shallowest first."""
    found: dict[int, list[int]] = {}
    for bucket in range(int(limits[a.L_PREFIX_BUCKETS])):
        first = int(st.m[o + a.Z_SIZE + bucket])
        while first:
            runs, u = [], first
            while u:
                runs.append(u)
                u = int(st.m[u + a.U_DEEP])
            found[int(st.m[first + a.U_SEGMENT])] = runs
            first = -int(st.m[first + a.U_SHALLOW])
    for u in unlisted(st, o, limits):
        segment = int(st.m[u + a.U_SEGMENT])
        assert segment >= p.n_segment, "others may look for it"
        assert segment not in found
        found[segment] = [u]
    return found


def unlisted(st: State, o: int, limits: list[int]) -> list[int]:
    """The runs that only their sequences know: each is the only one of its segment."""
    runs = o + a.Z_SIZE + int(limits[a.L_PREFIX_BUCKETS])
    every = range(runs, runs + int(limits[a.L_PREFIX_RUNS]) * a.U_SIZE, a.U_SIZE)
    return [u for u in every if st.m[u + a.U_SEGMENT] >= 0 and st.m[u + a.U_SHALLOW] == -u]


def held_blocks(p: Params, st: State, running: list[int], block: int) -> Counter[tuple[int, int]]:
    """(segment, block) → how many running sequences hold it."""
    holders: Counter[tuple[int, int]] = Counter()
    for slot in running:
        so = st.slot + slot * a.F_SIZE
        i = int(st.m[so + a.F_REQUEST])
        for j in range(int(st.m[so + a.F_HELD])):
            segment, own = leaf(p, i), int(p.n_segment) + i
            if segment < 0 or j >= shared(p, i) // block:
                segment = own
            while segment != own and segment_first(p, i, segment, block) > j:
                segment = int(p.trace[p.segment_at + segment * a.SEG_SIZE + a.SEG_PARENT])
            holders[segment, j] += 1
    return holders


def segment_first(p: Params, i: int, segment: int, block: int) -> int:
    """The first block of a segment, or of what is request i's own."""
    if segment >= p.n_segment:
        return shared(p, i) // block
    return int(p.trace[p.segment_at + segment * a.SEG_SIZE + a.SEG_START]) // block


def leaf(p: Params, i: int) -> int:
    """The segment that a prompt ends in."""
    return int(p.trace[p.leaf_at + i]) if p.leaf_at else -1


def shared(p: Params, i: int) -> int:
    """Tokens of a request that lie in segments."""
    return int(p.trace[p.shared_at + i]) if p.leaf_at else 0


def own_blocks(st: State, row: list[int], slot: int, block: int) -> int:
    """Blocks of a running sequence that are not in the cache."""
    so = st.slot + slot * a.F_SIZE
    tokens = int(st.m[so + a.F_COMPUTED])
    if st.m[so + a.F_STATE] == SEQ_DECODE:
        tokens += int(row[a.R_STEP]) + 1
    else:
        tokens += int(st.m[so + a.F_CHUNK])
    return -(-tokens // block) - int(st.m[so + a.F_HELD])


def by_age(st: State, o: int) -> set[int]:
    """The runs in the list of those that may be evicted, which is sound in both directions."""
    found, u, before = set(), int(st.m[o + a.Z_OLDEST]), 0
    while u:
        assert st.m[u + a.U_OLDER] == before
        found.add(u)
        before, u = u, int(st.m[u + a.U_NEWER])
    assert st.m[o + a.Z_NEWEST] == before
    return found
