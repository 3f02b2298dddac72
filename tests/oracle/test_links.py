"""Cold starts that share links, against a model of their own: transfers, links and clocks kept in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from sim.engine.host import run_plan
from sim.engine.simpy import Fleet
from sim.fill.params import ClassRow, RunRow, ServedModelRow, Traffic, make_params
from sim.fill.rows import StepRow
from sim.model.tables.codes import STAGE_READY
from sim.model.tables.fault import SLOW_LINK
from sim.model.tables.run import Params, State

from .test_starts import N_START, SECOND_PS, Steps, drawn, made, pool_of

ALONE_PS = 1 << 24  # a transfer that takes less than this shares nothing
WHOLE = 1 << 30  # a clock that runs as fast as time


class Moved(NamedTuple):
    """What a step moves: over which links, how many bytes, after how long."""

    links: int
    n_bytes: int
    setup_ps: int


def moves(seed: int, steps: Steps, tables: np.ndarray) -> tuple[list[Moved], list[int]]:
    """(what each step moves, what each link carries in 2^40 ps): a transfer alone takes about one of the links whole."""
    rng = np.random.default_rng([seed, 41])
    n_link = int(rng.integers(1, 4))
    found = []
    for _ in steps:
        links = int(rng.integers(1 << n_link)) * int(rng.integers(3) > 0)
        found.append(Moved(links, int(rng.integers(1, 60)) * 10**9, int(rng.integers(2)) * SECOND_PS // 20))
    return found, [int(rng.integers(1, 400)) * 10**9 for _ in range(n_link)]


class Window(NamedTuple):
    """A link carries only a part of what it could for a while, or nothing."""

    link: int
    from_ps: int
    until_ps: int
    factor_q20: int


def windows_of(seed: int, n_link: int) -> list[Window]:
    """A few of them, some at one time on one link, some on the grid that steps keep to."""
    rng = np.random.default_rng([seed, 79])
    found = []
    for _ in range(int(rng.integers(1, 6))):
        from_ps = int(rng.integers(1, 60)) * SECOND_PS // 20
        factor_q20 = int(rng.integers(1 << 20)) * int(rng.integers(3) > 0)
        until_ps = from_ps + int(rng.integers(1, 40)) * SECOND_PS // 20
        found.append(Window(int(rng.integers(n_link)), from_ps, until_ps, factor_q20))
    return found


def carried_at(links: list[int], windows: list[Window], now_ps: int) -> list[int]:
    """What each link carries: the least that is left of it by the windows of that time."""
    found = []
    for i, whole in enumerate(links):
        factors = [w.factor_q20 for w in windows if w.link == i and w.from_ps <= now_ps < w.until_ps]
        found.append(whole * min(factors, default=1 << 20) >> 20 if factors else whole)
    return found


def is_down(windows: list[Window], link: int, now_ps: int) -> bool:
    """Whether a link carries nothing."""
    return any(w.link == link and w.factor_q20 == 0 and w.from_ps <= now_ps < w.until_ps for w in windows)


Seen = tuple[int, int, bool]  # transfers over a link, what they move, whether it holds any back


class Told(dict[int, list[Seen]]):
    """When anything changes: what each link is from then on."""

    def tell(self, now_ps: int, going: list[Going], n_link: int) -> None:
        """Note what the links are."""
        over = [[one for one in going if i in one.over] for i in range(n_link)]
        self[now_ps] = [
            (len(some), sum(one.rate for one in some), any(one.held_by == i for one in some))
            for i, some in enumerate(over)
        ]

    def at(self, t: int, link: int) -> Seen:
        """What a link is at t."""
        before = [at_ps for at_ps in self if at_ps < t]
        return self[max(before)][link] if before else (0, 0, False)

    def lasted(self, until_ps: int, is_so: Callable[[Seen], bool], link: int) -> int:
        """How long something was so of a link."""
        edges = [*sorted(at_ps for at_ps in self if at_ps < until_ps), until_ps]
        return sum(end_ps - at_ps for at_ps, end_ps in pairwise(edges) if is_so(self[at_ps][link]))


class Going:
    """A transfer in progress."""

    def __init__(self, name: tuple[int, int], moved: Moved, own_ps: int) -> None:
        self.name, self.left_ps, self.speed = name, own_ps, 0
        self.over = [i for i in range(3) if moved.links >> i & 1]
        self.cap = min(max(1, moved.n_bytes * 2**16 // (own_ps // 2**24)), 2**42 - 1)
        self.rate = 0
        self.held_by: int | None = None
        self.held_ps = [0, 0, 0]  # how long each link has held it back

    def moves_on(self, span_ps: int) -> None:
        """Let its clock run."""
        self.left_ps -= min(self.left_ps, span_ps * self.speed // WHOLE)
        if self.held_by is not None:
            self.held_ps[self.held_by] += span_ps

    def time_left(self) -> float:
        """How long it still takes."""
        if not self.left_ps:
            return 0
        return -(-self.left_ps * WHOLE // self.speed) if self.speed else float("inf")


def share(going: list[Going], links: list[int], down: list[bool]) -> None:
    """Rates: what is not given out of the link that has least for each is shared by those that could take more."""
    left, without = list(links), sorted(going, key=lambda one: (one.cap, one.name))
    while without:
        shares = {
            i: 0 if down[i] else max(1, left[i] // n)
            for i in range(len(links))
            if (n := sum(i in one.over for one in without))
        }
        tight = min(shares, key=lambda i: (shares[i], i))
        is_free = without[0].cap <= shares[tight]
        if is_free:
            given = [(without[0], without[0].cap)]
        else:
            given = [(one, shares[tight]) for one in without if tight in one.over]
        for one, rate in given:
            one.held_by = None if is_free else tight
            one.rate, one.speed = rate, max(1, rate * WHOLE // one.cap) if rate else 0
            without.remove(one)
            for i in one.over:
                left[i] -= rate


def naive(
    seed: int,
    steps: Steps,
    moved: list[Moved],
    links: list[int],
    tables: np.ndarray,
    windows: list[Window] | None = None,
    told: Told | None = None,
) -> tuple[dict[tuple[int, int], int], list[int], dict[tuple[int, int], list[int]]]:
    """((start, step) → when it ended, when each start was ready, (start, step) → how long each link held its bytes back),
    ps, of starts that all begin at 0. `told` gets what each link is from
    every change on.
    """
    held: dict[tuple[int, int], list[int]] = {}
    took = [
        [int(tables[i, drawn(seed, steps[i][1], start)]) for i in range(len(steps))]
        for start in range(N_START)
    ]
    ends: dict[tuple[int, int], int] = {}
    going: list[Going] = []
    due: dict[tuple[int, int], tuple[int, bool]] = {}  # (start, step) → (when, whether its bytes begin then)
    now_ps = changed_ps = (
        0  # clocks are brought up to date when what moves changes, as the documentation says
    )
    windows = windows or []
    edges = sorted({edge for w in windows for edge in (w.from_ps, w.until_ps)})
    while len(ends) < N_START * len(steps):
        is_changed = now_ps in edges
        began: list[Going] = []
        for one in [one for one in going if changed_ps + one.time_left() <= now_ps]:
            ends[one.name], is_changed = now_ps, True
            one.moves_on(now_ps - changed_ps)
            held[one.name] = one.held_ps
            going.remove(one)
        is_new = True
        while is_new:  # at one instant a step that takes no time lets the next one begin
            is_new = False
            for name, (at_ps, begins) in list(due.items()):
                if at_ps == now_ps:
                    del due[name]
                    is_new = True
                    if begins:
                        began.append(
                            Going(name, moved[name[1]], took[name[0]][name[1]] - moved[name[1]].setup_ps)
                        )
                        is_changed = True
                    else:
                        ends[name] = now_ps
            for start in range(N_START):
                for i, (_, _, after) in enumerate(steps):
                    name = (start, i)
                    if name in ends or name in due or any(one.name == name for one in going + began):
                        continue
                    if all((start, j) in ends for j in after):
                        own = took[start][i]
                        shares = moved[i].links > 0 and own - moved[i].setup_ps >= ALONE_PS
                        due[name] = (now_ps + (moved[i].setup_ps if shares else own), shares)
                        is_new = True
        if is_changed:
            for one in going:
                one.moves_on(now_ps - changed_ps)
            going += began
            changed_ps = now_ps
            down = [is_down(windows, i, now_ps) for i in range(len(links))]
            share(going, carried_at(links, windows, now_ps), down)
            if told is not None:
                told.tell(now_ps, going, len(links))
        waits = [edge for edge in edges if edge > now_ps][:1]
        waits += [at_ps for at_ps, _ in due.values()] + [changed_ps + one.time_left() for one in going]
        now_ps = int(min(waits, default=now_ps))
    return ends, [max(ends[start, i] for i in range(len(steps))) for start in range(N_START)], held


def fleet(
    seed: int,
    steps: Steps,
    moved: list[Moved],
    links: list[int],
    tables: np.ndarray,
    windows: list[Window] | None = None,
    sample_ps: int = 0,
) -> Params:
    """Replicas that all start at 0."""
    pool = pool_of(
        tables,
        tuple(
            StepRow(stage, draw, sum(1 << j for j in after), what.links, what.n_bytes, what.setup_ps)
            for (stage, draw, after), what in zip(steps, moved, strict=True)
        ),
    )
    end_ps = 200 * sample_ps or 20_000 * SECOND_PS
    return make_params(
        RunRow(seed, end_ps, 0, end_ps, sample_ps),
        Traffic(*np.array([[end_ps - 1], [1], [1], [0]])),
        [ClassRow()],
        [ServedModelRow()],
        [pool],
        things={
            "link": [{"bandwidth_q40": rate} for rate in links],
            "episode": [
                {
                    "kind": SLOW_LINK,
                    "link": 1 + window.link,
                    "at_ps": window.from_ps,
                    "lasts_ps": window.until_ps - window.from_ps,
                    "factor_q20": window.factor_q20,
                }
                for window in windows or []
            ],
        },
    )


def case(seed: int) -> tuple[Steps, list[Moved], list[int], np.ndarray]:
    """Steps, what they move, links, tables."""
    steps, tables = made(seed)
    moved, links = moves(seed, steps, tables)
    return steps, moved, links, tables


def run(p: Params, engine: str) -> State:
    """The final state."""
    return run_plan(p) if engine == "cpu" else Fleet(p).run()


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
@pytest.mark.parametrize("seed", range(20))
def test_starts_that_share_links_end_when_they_should(engine: str, seed: int) -> None:
    steps, moved, links, tables = case(seed)
    p = fleet(seed, steps, moved, links, tables)
    state = run(p, engine)
    ends, ready, held = naive(seed, steps, moved, links, tables)
    replicas = state.rows("replica", N_START)
    assert replicas["stage"].tolist() == [STAGE_READY] * N_START
    assert replicas["ready_ps"].tolist() == ready
    over = [i for i, what in enumerate(moved) if what.links]
    rows = state.rows("transfer", N_START * len(over)).reshape(N_START, len(over))
    for place, i in enumerate(over):
        for start in range(N_START):
            row = rows[start, place]
            if row["end_ps"] >= 0:  # it was long enough to share
                assert row["end_ps"] == ends[start, i], (start, i)
    if over:
        check_taken(state, len(steps), ends, held, moved)
    counted = sum(
        sum(
            moved[i].n_bytes
            for i in over
            if moved[i].links >> number & 1 and rows[start, over.index(i)]["end_ps"] >= 0
        )
        for start in range(N_START)
        for number in range(len(links))
    )
    carried = state.rows("link", len(links))["moved_bytes"]
    assert sum(int(low) + (int(high) << 62) for low, high in carried) == counted


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
@pytest.mark.parametrize("seed", range(12))
def test_links_that_are_slow_or_down_for_a_while(engine: str, seed: int) -> None:
    steps, moved, links, tables = case(seed)
    windows = windows_of(seed, len(links))
    state = run(fleet(seed, steps, moved, links, tables, windows), engine)
    _, ready, _ = naive(seed, steps, moved, links, tables, windows)
    assert state.rows("replica", N_START)["ready_ps"].tolist() == ready


@pytest.mark.parametrize("engine", ["cpu", "simpy"])
def test_samples_see_what_links_carry(engine: str) -> None:
    """At instants at which nothing changes: there, and up to them."""
    carriers = full = 0
    for seed in range(6):
        steps, moved, links, tables = case(seed)
        windows, told = windows_of(seed, len(links)), Told()
        naive(seed, steps, moved, links, tables, windows, told)
        period_ps = SECOND_PS // 7
        state = run(fleet(seed, steps, moved, links, tables, windows, period_ps), engine)
        rows = state.rows("link_sample", 200 * len(links)).reshape(200, len(links))
        for t in (number * period_ps for number in range(200) if number * period_ps not in told):
            for i, (row, carries) in enumerate(
                zip(rows[t // period_ps], carried_at(links, windows, t), strict=True)
            ):
                transfers, rate, _ = told.at(t, i)
                found = [int(row[name]) for name in ("time_ps", "link", "n", "rate_q40", "capacity_q40")]
                assert found == [t, i, transfers, rate, carries]
                assert big(row["busy_ps"]) == told.lasted(t, lambda seen: seen[0] > 0, i)
                assert big(row["full_ps"]) == told.lasted(t, lambda seen: seen[2], i)
                carriers += transfers > 0
        full += sum(big(row["full_ps"]) > 0 for row in rows[-1])
    assert carriers > 50
    assert full > 2


def big(pair: np.ndarray) -> int:
    """A sum of two words."""
    return int(pair[0]) + (int(pair[1]) << 62)


def test_the_windows_hold_starts_back() -> None:
    """What is compared above waits for links that are slow, and for some that are down."""
    later = 0
    for seed in range(12):
        steps, moved, links, tables = case(seed)
        windows = windows_of(seed, len(links))
        ready = [naive(seed, steps, moved, links, tables, some)[1] for some in (windows, [])]
        later += sum(a != b for a, b in zip(*ready, strict=True))
    assert later > 20


def check_taken(
    state: State,
    n_step: int,
    ends: dict[tuple[int, int], int],
    held: dict[tuple[int, int], list[int]],
    moved: list[Moved],
) -> None:
    """What is kept of every step: when it ended, what it moved, the link that held it back longest."""
    rows = state.rows("taken", int(state.n_taken))
    assert len(rows) == N_START * n_step
    for row in rows:
        name = int(row["start"]), int(row["step"])
        assert row["end_ps"] == ends[name]
        held_ps = held.get(name, [0])
        assert row["bound_ps"] == max(held_ps)
        assert row["link"] == (1 + held_ps.index(max(held_ps)) if max(held_ps) else 0)
        assert row["moved_bytes"] == (moved[name[1]].n_bytes if name in held else 0)
        assert row["end_ps"] >= row["begin_ps"] >= row["placed_ps"] >= row["wanted_ps"]


@pytest.mark.parametrize("seed", range(8))
def test_links_that_carry_enough_change_nothing(seed: int) -> None:
    steps, moved, links, tables = case(seed)
    wide = fleet(seed, steps, moved, [1 << 55] * len(links), tables)
    alone = fleet(seed, steps, [what._replace(links=0) for what in moved], [], tables)
    ready = [run_plan(p).rows("replica", N_START)["ready_ps"].tolist() for p in (wide, alone)]
    assert ready[0] == ready[1]


def test_the_made_starts_share() -> None:
    """What is compared above is held back by links, by several at a time, and by its own limit."""
    later = at_cap = 0
    for seed in range(20):
        steps, moved, links, tables = case(seed)
        _, ready, _ = naive(seed, steps, moved, links, tables)
        _, free, _ = naive(seed, steps, moved, [1 << 55] * len(links), tables)
        later += sum(a > b for a, b in zip(ready, free, strict=True))
        at_cap += sum(a == b for a, b in zip(ready, free, strict=True))
    assert later > 100
    assert at_cap > 20
