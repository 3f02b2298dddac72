"""What every router must say, written down again the slow way: lists, sums, whole rings walked one node at a time.

    NUMBA_DISABLE_JIT=1 python -m tests.oracle.routers 0:300

runs fleets of tests/parity in plain Python and asks the reference at every single routing; it prints a line for each
answer that differs, then how many of each router's there were. The only thing it shares with the product is the source
of random bits.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from sim.fill.kinds import all_settings
from sim.model.prefix_cache.block_ranges import trim
from sim.model.replica.jump import blocks_used, settle
from sim.model.router.choose import (
    CONSISTENT_HASH,
    KINDS,
    LEAST_KV,
    LEAST_OUTSTANDING,
    POWER_OF_TWO,
    PREFIX_AWARE,
    RANDOM,
    ROUND_ROBIN,
    ROUTERS,
    SESSION_AFFINITY,
    WEIGHTED_SCORE,
)
from sim.model.router.weighted_score import KV_PARTS
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.replica import BlockRange
from sim.model.tables.run import Params, State
from sim.model.tables.served_model import PLACE_BITS
from sim.rng import STREAM_KEY, STREAM_RING, STREAM_ROUTE, STREAM_TIE, draw
from tests.laws.prefix_laws import segments_of
from tests.oracle.naive_prefix import tokens_of
from tests.parity.engines import run_on_loop, seeds_of
from tests.parity.fleets import Fleet, fleet


class Seen(NamedTuple):
    """A ready replica as a router sees it."""

    index: int
    start: int  # which start of its pool it is: another one in the same place is another replica
    pool: int
    running: int
    waiting: int
    used: int  # KV blocks
    cached: frozenset[tuple[int, int]] = frozenset()  # (segment, block) in its prefix cache

    @property
    def outstanding(self) -> int:
        """Requests running or waiting."""
        return self.running + self.waiting


class View(NamedTuple):
    """A snapshot: of (replica, its start) what it held then, and what was sent to it since."""

    interval: int | None
    told: dict[tuple[int, int], Seen]
    sent: Counter[tuple[int, int]]


class Reference:
    """The routers of a fleet's groups, with a memory of their own."""

    def __init__(self, made: Fleet) -> None:
        self.made = made
        self.seed = made.run.seed
        self.settings = [all_settings(KINDS, group.settings) for group in made.groups]
        self.last = [-1] * len(made.groups)
        self.homes: dict[int, tuple[int, int]] = {}  # session → (replica, its start)
        self.views: dict[int, View] = {}
        places = [
            sum(pool.max_replicas for pool in made.pools if pool.served_model == g)
            for g in range(len(made.groups))
        ]
        self.firsts = [sum(places[:g]) for g in range(len(places))]
        self.rings = [
            self.ring(n, settings["virtual_nodes"]) if group.router == CONSISTENT_HASH else []
            for n, group, settings in zip(places, made.groups, self.settings, strict=True)
        ]

    # ---- who can take a request ----------------------------------------------------------------------
    def fits(self, pool: int, i: int) -> bool:
        """Whether request i alone fits a replica of the pool."""
        row, prompt, output = self.made.pools[pool], *self.lengths(i)
        blocks = math.ceil((prompt + max(output, 1) - 1) / row.block_size)
        return prompt + output <= row.max_model_len and blocks <= row.n_blocks

    def lengths(self, i: int) -> tuple[int, int]:
        """Prompt and output tokens of request i."""
        traffic = self.made.traffic
        return int(traffic.prompt_tokens[i]), int(traffic.output_tokens[i])

    def session(self, i: int) -> int:
        """The session of request i, or −1."""
        column = self.made.traffic.session_id
        return -1 if column is None else int(column[i])

    def choose(self, g: int, i: int, attempt: int, t: int, ready: list[Seen]) -> int:
        """The replica that request i goes to at t, or −1 while nobody can take it."""
        able = self.able(g, i, [seen for seen in ready if self.fits(seen.pool, i)])
        if not able:
            return -1
        if self.made.groups[g].router == WEIGHTED_SCORE:
            return self.by_score(g, t, ready, self.from_place(i, attempt, able))
        return self.among(g, i, attempt, able)

    def able(self, g: int, i: int, ready: list[Seen]) -> list[Seen]:
        """Those of the pools that its class may use, or of the one it prefers."""
        group, row = self.made.groups[g], self.made.classes[int(self.made.traffic.class_id[i])]
        pools = row.pools
        if not pools or row.served_model != g:  # a group that it falls back to may use them all
            return ready
        if not row.ordered:
            return [seen for seen in ready if seen.pool in pools]
        parts = [part for pool in pools if (part := [seen for seen in ready if seen.pool == pool])]
        for part in parts:
            if 1000 * (sum(seen.outstanding for seen in part) + 1) <= group.spill_milli * len(part):
                return part
        means = [Fraction(sum(seen.outstanding for seen in part), len(part)) for part in parts]
        return parts[means.index(min(means))] if parts else []

    # ---- the routers ----------------------------------------------------------------------
    def among(self, g: int, i: int, attempt: int, able: list[Seen]) -> int:
        """The router's choice."""
        router = self.made.groups[g].router
        if router == ROUND_ROBIN:
            later = [seen.index for seen in able if seen.index > self.last[g]]
            self.last[g] = min(later or [seen.index for seen in able])
            return self.last[g]
        if router == RANDOM:
            return self.drawn(able, i, 2 * attempt).index
        if router == POWER_OF_TWO:
            one = self.drawn(able, i, 2 * attempt)
            rest = [seen for seen in able if seen is not one]
            other = self.drawn(rest, i, 2 * attempt + 1) if rest else one
            return other.index if other.outstanding < one.outstanding else one.index
        able = self.from_place(i, attempt, able)
        if router == LEAST_KV:
            return min(able, key=lambda seen: Fraction(seen.used, self.made.pools[seen.pool].n_blocks)).index
        if router == SESSION_AFFINITY:
            return self.at_home(g, i, able)
        if router == CONSISTENT_HASH:
            return self.clockwise(g, i, able)
        if router == PREFIX_AWARE:
            return self.by_prefix(g, i, able).index
        assert router == LEAST_OUTSTANDING
        return least(able).index

    def from_place(self, i: int, attempt: int, able: list[Seen]) -> list[Seen]:
        """The same replicas in the order in which they are looked at: of equals the first is taken."""
        word = int(draw(self.seed, STREAM_TIE, i, attempt))
        start = (word >> 32) * len(able) >> 31
        return able[start:] + able[:start]

    def by_prefix(self, g: int, i: int, able: list[Seen]) -> Seen:
        """The longest cached prefix, where that is long enough and load is balanced."""
        settings, prompt = self.settings[g], self.lengths(i)[0]
        held = [seen.outstanding for seen in able]
        if max(held) - min(held) > settings["imbalance_min"] and Fraction(max(held)) > Fraction(
            settings["imbalance_factor_milli"] * min(held), 1000
        ):
            return least(able)
        longest = max(able, key=lambda seen: (self.known(i, seen), -seen.outstanding))
        share = Fraction(self.known(i, longest), prompt)
        return longest if share > Fraction(settings["match_min_milli"], 1000) and share > 0 else least(able)

    def known(self, i: int, seen: Seen) -> int:
        """Leading tokens of the prompt of request i, but the last, whose full blocks a replica has."""
        block, n = self.made.pools[seen.pool].block_size, 0
        names = self.names(i)
        while (n + 1) * block < len(names) and (names[(n + 1) * block - 1], n) in seen.cached:
            n += 1
        return n * block

    def names(self, i: int) -> list[int]:
        """The segment of each token of a prompt, token by token; its own segment comes behind all that are shared."""
        prompt, chains = self.lengths(i)[0], self.made.traffic.chains
        if chains is None:
            return [i] * prompt
        columns = {"leaf": chains.leaf, "shared": chains.shared_tokens} | chains._asdict()
        own = len(chains.parent) + i
        return [own if kind == "own" else who for kind, who, _ in tokens_of(i, prompt, columns)]

    def drawn(self, able: list[Seen], i: int, n: int) -> Seen:
        """One of them at random."""
        word = int(draw(self.seed, STREAM_ROUTE, i, n))
        return able[(word >> 32) * len(able) >> 31]

    def most(self, factor_milli: int, able: list[Seen]) -> int:
        """How many requests a replica may hold once one more is routed."""
        total = sum(seen.outstanding for seen in able) + 1
        return math.ceil(Fraction(factor_milli, 1000) * total / len(able))

    def at_home(self, g: int, i: int, able: list[Seen]) -> int:
        """Session affinity."""
        session, settings = self.session(i), self.settings[g]
        chosen = least(able)
        for seen in able:
            at_home = self.homes.get(session) == (seen.index, seen.start)
            calm = seen.outstanding + 1 <= max(
                self.most(settings["overload_factor_milli"], able), settings["load_min"]
            )
            if session >= 0 and at_home and calm:
                chosen = seen
        if session >= 0:
            self.homes[session] = chosen.index, chosen.start
        return chosen.index

    def ring(self, n_place: int, virtual_nodes: int) -> list[tuple[int, int]]:
        """(hash, place) of every virtual node."""
        return [
            (int(draw(self.seed, STREAM_RING, place, node)) >> PLACE_BITS, place)
            for place in range(n_place)
            for node in range(virtual_nodes)
        ]

    def clockwise(self, g: int, i: int, able: list[Seen]) -> int:
        """Consistent hashing: the nearest virtual node ahead of the key whose replica has room."""
        session = self.session(i)
        word = draw(self.seed, STREAM_KEY, 1, i) if session < 0 else draw(self.seed, STREAM_KEY, 0, session)
        key, circle = int(word) >> PLACE_BITS, 1 << (63 - PLACE_BITS)
        most = self.most(self.settings[g]["load_factor_milli"], able)
        roomy = {seen.index - self.firsts[g] for seen in able if seen.outstanding + 1 <= most}
        _, place = min(((h - key) % circle, place) for h, place in self.rings[g] if place in roomy)
        return self.firsts[g] + place

    def by_score(self, g: int, t: int, ready: list[Seen], able: list[Seen]) -> int:
        """The lowest score in the snapshot of t's interval; nothing is known of who is not in it."""
        settings = self.settings[g]
        interval = t // settings["snapshot_ps"] if settings["snapshot_ps"] else None
        if interval is None or g not in self.views or self.views[g].interval != interval:
            self.views[g] = View(interval, {(seen.index, seen.start): seen for seen in ready}, Counter())
        view = self.views[g]

        def score(seen: Seen) -> Fraction:
            who = seen.index, seen.start
            outstanding, waiting, kv = (
                settings[f"weights_{name}_milli"] for name in ("outstanding", "waiting", "kv_use")
            )
            total = Fraction(outstanding * view.sent[who] * settings["count_own"])
            if who in view.told:
                told = view.told[who]
                parts = told.used * KV_PARTS // self.made.pools[told.pool].n_blocks
                total += outstanding * told.outstanding + waiting * told.waiting
                total += Fraction(kv * parts, KV_PARTS)
            return total

        chosen = min(able, key=score)
        view.sent[chosen.index, chosen.start] += 1
        return chosen.index


def least(able: list[Seen]) -> Seen:
    """The replica with the fewest requests; ties to the first of the list."""
    return min(able, key=lambda seen: seen.outstanding)


# ---- the product, asked at every routing ----------------------------------------------------------------------
def ready_of(p: Params, st: State, g: int, t: int) -> list[Seen]:
    """The ready replicas of a group."""
    found = []
    for r in range(int(p.n_replica)):
        row = st.replica[r]
        pool = int(row.pool)
        limits = p.pool[pool]
        if row.stage == STAGE_READY and limits.served_model == g:
            used = int(blocks_used(p, st, r, int(limits.n_blocks), t))
            cached = blocks_known(p, st, r, limits, t) if row.prefix_at else frozenset()
            held = int(row.n_run), int(row.n_wait)
            found.append(Seen(r, int(row.start), pool, *held, used, cached))
    return found


def blocks_known(p: Params, st: State, r: int, limits: Any, t: int) -> frozenset[tuple[int, int]]:
    """What a replica's prefix cache holds at t: looked up in a copy, for a look settles what is under way."""
    copy = State(st.m.copy())
    settle(p, copy, r, t)
    trim(p, copy, r)
    runs = segments_of(p, copy, int(copy.replica[r].prefix_at), limits)
    return frozenset(
        (segment, block)
        for segment, places in runs.items()
        for u in places
        for block in range(int(BlockRange(copy, u).first), int(BlockRange(copy, u).last))
    )


def asked(made: Fleet, counts: Counter[str]) -> list[str]:
    """Run a fleet in plain Python; a line for each routing in which product and reference differ."""
    from sim.model.gateway import dispatch, hold_queue
    from sim.model.loop import inputs

    reference, lines = Reference(made), []
    product: Callable[..., Any] = dispatch.find_replica

    def find_replica(p, st, route, fitting):  # type: ignore[no-untyped-def]
        g, i, attempt, t = (int(n) for n in (route.served_model, route.request, route.attempt, route.now_ps))
        expected = reference.choose(g, i, attempt, t, ready_of(p, st, g, t))
        found = int(product(p, st, route, fitting))
        counts[ROUTERS[made.groups[g].router]] += expected >= 0
        if found != expected:
            lines.append(f"request {i} at {t} ps goes to {found}, expected {expected}")
        return found

    inputs.find_replica = hold_queue.find_replica = find_replica
    try:
        run_on_loop(made)
    finally:
        inputs.find_replica = hold_queue.find_replica = product
    return lines


def main(words: list[str]) -> int:
    """Ask about the fleets of the seeds; 0 when nothing differs."""
    counts: Counter[str] = Counter()
    failed = 0
    for seed in seeds_of(words):
        lines = asked(fleet(seed), counts)
        failed += bool(lines)
        for line in lines[:3]:
            print(f"seed {seed}: {line}")
    for router in ROUTERS:
        print(f"{router}: {counts[router]} routings")
    print(f"{len(seeds_of(words))} seeds, {failed} with a difference")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
