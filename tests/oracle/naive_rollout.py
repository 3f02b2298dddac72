"""Deployments in plain Python: replicas of versions in lists, controllers that look at them again and again.

It shares nothing with the product, and is written from what docs/deployments.md says. No request comes, so that a replica
is gone when it is not wanted. Times are ps; a replica's start takes as long as its pool says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from .philox import philox

LOW = 2**32 - 1
STREAM_EVALUATION = 24
NEVER = 2**63 - 1


@dataclass(frozen=True)
class GateKind:
    """A gate on bad answers."""

    at_most: Fraction
    fail_above: Fraction | None
    period_ps: int
    retry_ps: int
    delay_ps: int
    samples: int
    seen_q30: int
    count: int
    failure_limit: int
    inconclusive_limit: int
    error_limit: int


@dataclass(frozen=True)
class Plan:
    """A deployment: a limit is (amount, whether it is a percentage), a step (weight, pause)."""

    at_ps: int
    pool: int
    to: int
    strategy: str
    surge: tuple[int, bool]
    unavailable: tuple[int, bool]
    min_ready_ps: int
    deadline_ps: int
    aborts_late: bool
    sync_ps: int
    steps: list[tuple[int, int]]
    gates: list[tuple[int, GateKind]]  # with its number among all gates
    routed: bool = False
    preview: int | None = None
    auto: bool = True
    auto_ps: int = 0
    stays_ps: int = 0
    abort_stays_ps: int = 0


@dataclass
class Unit:
    """A replica: its place, since when it has been starting, and since when it has been ready."""

    place: int
    began_ps: int
    ready_ps: int | None = None


class Set:
    """All replicas of a pool."""

    def __init__(self, most: int, start_ps: int, initial: int) -> None:
        self.most, self.start_ps, self.wanted = most, start_ps, initial
        self.units = [Unit(i, 0, 0) for i in range(initial)]
        self.going: list[
            tuple[int, int]
        ] = []  # (place, when it was told): those that drain are gone a moment later

    def scale(self, wanted: int, t: int) -> None:
        """Ask for so many: the lowest places are filled; those that are not ready go first, then the youngest."""
        self.wanted = min(wanted, self.most)
        while len(self.units) < self.wanted:
            taken = {unit.place for unit in self.units} | {place for place, _ in self.going}
            free = set(range(self.most)) - taken
            if not free:
                break
            self.units.append(Unit(min(free), t, t if self.start_ps == 0 else None))
        while len(self.units) > self.wanted:
            starting = [unit for unit in self.units if unit.ready_ps is None]
            worst = max(
                starting or self.units,
                key=lambda u: (u.began_ps if u.ready_ps is None else u.ready_ps, u.place),
            )
            self.units.remove(worst)
            if worst.ready_ps is not None:
                self.going.append((worst.place, t))

    def lose(self, n: int, t: int) -> None:
        """Ready replicas are lost, the lowest first, and replaced."""
        for _ in range(n):
            up = sorted((unit for unit in self.units if unit.ready_ps is not None), key=lambda u: u.place)
            if up:
                self.units.remove(up[0])
        self.scale(self.wanted, t)

    def grow_up(self, t: int) -> None:
        """Starts end, and so do drains."""
        self.going = [(place, told_ps) for place, told_ps in self.going if told_ps == t]
        for unit in self.units:
            if unit.ready_ps is None and unit.began_ps + self.start_ps <= t:
                unit.ready_ps = unit.began_ps + self.start_ps

    @property
    def ready(self) -> int:
        """Ready replicas."""
        return sum(unit.ready_ps is not None for unit in self.units)

    def available(self, min_ready_ps: int, t: int) -> int:
        """Those that have been ready for long enough."""
        return sum(unit.ready_ps is not None and unit.ready_ps + min_ready_ps <= t for unit in self.units)


@dataclass
class Watch:
    """An analysis by one gate."""

    number: int
    kind: GateKind
    next_ps: int = NEVER
    measured: int = 0
    said: list[str] = field(default_factory=list)

    def begin(self, t: int) -> None:
        """A new one."""
        self.said, self.next_ps = [], t + self.kind.delay_ps

    def measure(self, seed: int, is_served: bool, t: int) -> None:
        """One measurement, if it is due."""
        if self.next_ps > t:
            return
        said = self.evaluate(seed) if is_served else "error"
        self.measured += 1
        self.said.append(said)
        self.next_ps = t + (self.kind.retry_ps if said == "error" else self.kind.period_ps)
        if self.kind.count and len(self.results) >= self.kind.count:
            self.next_ps = NEVER

    @property
    def results(self) -> list[str]:
        """What the measurements said that had something to look at."""
        return [said for said in self.said if said != "error"]

    def evaluate(self, seed: int) -> str:
        """Look at some answers."""
        bad = 0
        for i in range(self.kind.samples):
            index = self.measured * self.kind.samples + i
            words = philox(
                (index & LOW, index >> 32, self.number, STREAM_EVALUATION), (seed & LOW, seed >> 32)
            )
            bad += (words[0] >> 2) < self.kind.seen_q30
        share = Fraction(bad, self.kind.samples)
        if share <= self.kind.at_most:
            return "good"
        return "unclear" if self.kind.fail_above is not None and share <= self.kind.fail_above else "failed"

    @property
    def verdict(self) -> str:
        """What it has come to."""
        trailing = 0
        for said in reversed(self.said):
            if said != "error":
                break
            trailing += 1
        if self.results.count("failed") > self.kind.failure_limit:
            return "failed"
        if self.results.count("unclear") > self.kind.inconclusive_limit:
            return "unclear"
        if trailing > self.kind.error_limit:
            return "failed"
        return "passed" if self.kind.count and len(self.results) >= self.kind.count else "open"


def share_of(amount: tuple[int, bool], total: int, up: bool) -> int:
    """A count or a percentage, in whole replicas."""
    n, is_percent = amount
    if not is_percent:
        return n
    exact = Fraction(n * total, 100)
    return math.ceil(exact) if up else math.floor(exact)


def limits(plan: Plan, replicas: int) -> tuple[int, int]:
    """(replicas above the wanted count, replicas that may be missing)."""
    surge, missing = share_of(plan.surge, replicas, True), share_of(plan.unavailable, replicas, False)
    if surge == 0 and missing == 0:
        missing = 1
    return surge, min(missing, replicas)


# ---- strategies ------------------------------------------------------------------------------------------------------
def roll(plan: Plan, replicas: int, old: list[int], new: list[int]) -> tuple[int, int]:
    """What a rolling update asks for: `old` and `new` are (wanted, available)."""
    surge, missing = limits(plan, replicas)
    (old_n, old_up), (new_n, new_up) = old, new
    while True:
        if new_n > replicas:
            new_n = replicas
            continue
        room = replicas + surge - old_n - new_n
        if new_n < replicas and room > 0:
            new_n += min(room, replicas - new_n)
            continue
        least = replicas - missing
        spare = old_n + new_n - least - (new_n - new_up)
        if old_n == 0 or spare <= 0:
            return old_n, new_n
        sick = max(0, min(spare, old_n - old_up))
        well = max(0, min(old_n - sick, old_up + new_up - least))
        if sick + well == 0:
            return old_n, new_n
        old_n -= sick + well
        old_up = min(old_up, old_n)


def canary_aim(replicas: int, weight: int, surge: int) -> tuple[int, int]:
    """(stable, new) that come nearest to a weight."""
    if replicas == 0:
        return 0, 0
    free = weight in (0, 100) or (replicas == 1 and surge == 0)
    best: tuple[Fraction, int, int] | None = None
    for total in (replicas, replicas + 1) if surge > 0 else (replicas,):
        exact = Fraction(total * weight, 100)
        up, down = -(-replicas * weight // 100), replicas * weight // 100
        for new in (up, down):
            if new == down and new != up and exact - math.floor(exact) == Fraction(1, 2):
                continue
            both = 0 < new < total
            if both or free or (total > replicas and new == up):
                off = abs(Fraction(new * 100, total) - weight)
                if best is None or off < best[0]:
                    best = off, total - new, new
    return (replicas, 0) if best is None else best[1:]


def canary(plan: Plan, replicas: int, weight: int, stable: list[int], new: list[int]) -> tuple[int, int]:
    """What a canary asks for: the stable set grows, then the new one; then one of them shrinks."""
    surge, missing = limits(plan, replicas)
    stable_aim, new_aim = canary_aim(replicas, weight, surge)
    (stable_n, stable_up), (new_n, new_up) = stable, new
    want_stable, want_new = stable_n, new_n
    room = replicas + surge - stable_n - new_n
    if stable_n < stable_aim and room > 0:
        want_stable = min(stable_n + room, stable_aim)
        room -= want_stable - stable_n
    if new_n < new_aim and room > 0:
        want_new = min(new_n + room, new_aim)
    leaves_new = new_aim < new_n
    counted = (new_n if leaves_new else min(new_n, new_up)) + (
        min(stable_n, stable_up) if leaves_new else stable_n
    )
    spare = counted - (replicas - missing)
    if spare > 0 and leaves_new:
        want_new = max(new_aim, new_n - spare)
    elif spare > 0 and stable_n > stable_aim:
        want_stable = max(stable_aim, stable_n - spare)
    return want_stable, want_new


# ---- the controller ----------------------------------------------------------------------------------------------------
class Controller:
    """What looks at one deployment."""

    def __init__(self, plan: Plan, sets: list[Set], seed: int) -> None:
        self.plan, self.sets, self.seed = plan, sets, seed
        self.pool, self.step, self.replicas = plan.pool, 0, 0
        self.next_ps = plan.at_ps
        self.started: int | None = None
        self.ended: int | None = None
        self.late: int | None = None
        self.aborted: int | None = None
        self.paused: int | None = None
        self.pause: int | None = None
        self.served = self.analysed = self.paused_before = self.checked = False
        self.promoted: int | None = None
        self.deadline: int | None = None
        self.because = 0
        self.progress = self.most = self.least = 0
        self.status = (0, 0, 0, 0)
        self.watches = [Watch(number, kind) for number, kind in plan.gates]

    @property
    def both(self) -> tuple[Set, Set]:
        """(what goes, what comes)."""
        old, new = self.sets[self.pool], self.sets[self.plan.to]
        return (
            (new, old)
            if self.aborted is not None and self.plan.strategy in ("rolling", "recreate")
            else (old, new)
        )

    def counts(self, t: int) -> tuple[list[int], list[int]]:
        """(wanted, available) of what goes and of what comes."""
        old, new = ([s.wanted, s.available(self.plan.min_ready_ps, t)] for s in self.both)
        self.least = min(self.least, old[1] + new[1])
        self.most = max(self.most, sum(len(s.units) + len(s.going) for s in self.both))
        return old, new

    def seen(self, t: int) -> tuple[int, int, int, int]:
        """(replicas that come, replicas that go, ready ones, available ones)."""
        old, new = self.both
        up = sum(s.available(self.plan.min_ready_ps, t) for s in self.both)
        return len(new.units), len(old.units), old.ready + new.ready, up

    def is_nearer(self, now: tuple[int, int, int, int]) -> bool:
        """Whether the deployment got on since the last look."""
        was = self.status
        return now[0] > was[0] or now[1] < was[1] or now[2] > was[2] or now[3] > was[3]

    def look(self, others: list[Controller], t: int) -> None:
        """One sync."""
        self.next_ps = t + self.plan.sync_ps
        if self.started is None and not self.begin(others, t):
            return
        self.counts(t)
        now = self.seen(t)
        waits = self.pause is not None or self.paused is not None or self.promoted is not None
        if waits or self.is_nearer(now):
            self.progress = t
        self.status = now
        if t - self.progress > self.plan.deadline_ps and self.late is None:
            self.late = t
        if self.aborted is None and self.paused is None:
            self.judge(t)
        if self.paused is None:
            self.act(t)
            self.counts(t)

    def begin(self, others: list[Controller], t: int) -> bool:
        """Whether it begins: what it replaces has to be there."""
        for other in others:
            if other.plan.to == self.plan.pool:
                if other.ended is None:
                    return False
                if other.aborted is not None:
                    self.pool = other.pool
        self.started = self.progress = t
        self.replicas = self.most = self.least = self.sets[self.pool].wanted
        self.counts(t)
        self.status = self.seen(t)
        return True

    def judge(self, t: int) -> None:
        """Gates, then the deadline."""
        is_served = self.sets[self.plan.to].available(self.plan.min_ready_ps, t) > 0
        if is_served and not self.served:
            self.served = True
            for watch in self.watches:
                if watch.kind.count == 0:
                    watch.begin(t)
        found = "open"
        for i, watch in enumerate(self.watches):
            watch.measure(self.seed, is_served, t)
            if watch.verdict in ("failed", "unclear") and found == "open":
                self.because, found = 1 + i, watch.verdict
        if found == "open" and self.plan.aborts_late and self.late is not None:
            found, self.because = "failed", -1
        if found == "failed":
            self.aborted = self.progress = t
            self.pause = self.promoted = None
            self.stop()
            self.counts(t)
            self.status = self.seen(t)
        elif found == "unclear":
            self.paused = t

    def stop(self) -> None:
        """Nothing more is measured."""
        for watch in self.watches:
            watch.next_ps = NEVER

    def act(self, t: int) -> None:
        """Scale both versions, and see whether that was the end."""
        old = self.both[0]
        if self.promoted is not None:
            is_left = t >= self.promoted + self.plan.stays_ps
            self.scale(0 if is_left else self.replicas, self.replicas, t)
            is_over = is_left and not self.sets[self.pool].units
        elif self.plan.strategy == "blue_green":
            is_over = self.act_blue_green(t)
        elif self.plan.strategy == "canary":
            is_over = self.act_canary(t)
        else:
            now = self.seen(t)
            is_over = now[0] == now[0] + now[1] == now[3] == self.replicas
            if self.plan.strategy == "rolling":
                old_n, new_n = roll(self.plan, self.replicas, *self.counts(t))
            else:
                old_n, new_n = 0, 0 if old.units or old.going else self.replicas
            self.scale(old_n, new_n, t)
        if is_over:
            self.ended, self.next_ps = t, NEVER
            self.stop()

    def scale(self, old_n: int, new_n: int, t: int) -> None:
        """Set what both are to have."""
        old, new = self.both
        old.scale(old_n, t)
        new.scale(new_n, t)

    def act_canary(self, t: int) -> bool:
        """A canary's sync; whether it is over."""
        steps = self.plan.steps
        weight = 100 if self.step == len(steps) else steps[self.step][0]
        weight = 0 if self.aborted is not None else weight
        self.scale(*self.canary_counts(weight, t), t)
        stable, new = self.counts(t)
        if self.aborted is not None:
            return stable[1] >= self.replicas and not self.sets[self.plan.to].units
        if self.pause is None:
            want_stable, want_new = self.canary_counts(weight, t)
            is_there = new == [want_new, want_new] and stable[0] == want_stable
            if not is_there or len(self.sets[self.pool].units) != want_stable:
                return False
        if self.step == len(steps):
            if self.plan.routed:
                self.promoted, self.pause = t, None
            return not self.plan.routed
        self.pause = t if self.pause is None else self.pause
        if t >= self.pause + steps[self.step][1] and self.is_passed(t):
            self.step, self.pause = self.step + 1, None
        return False

    def canary_counts(self, weight: int, t: int) -> tuple[int, int]:
        """(stable, new) that a canary asks for; with a router the stable version stays whole."""
        stable, new = self.counts(t)
        if not self.plan.routed:
            return canary(self.plan, self.replicas, weight, stable, new)
        stays = self.plan.abort_stays_ps
        if self.aborted is not None and (stays == 0 or t < self.aborted + stays):
            return self.replicas, new[0]
        return self.replicas, -(-self.replicas * weight // 100)

    def act_blue_green(self, t: int) -> bool:
        """Blue-green until requests go to the new version, or on the way back; whether it is over."""
        auto_ps = self.plan.auto_ps
        if self.pause is not None and auto_ps > 0 and t - self.pause > auto_ps:
            self.pause = None
        stable, new = self.counts(t)
        if self.aborted is not None and self.plan.abort_stays_ps > 0:
            if self.deadline is not None:
                want = new[0] if self.deadline > t else 0
            else:
                want = new[0]
                if stable[1] == self.replicas:
                    self.deadline = t + self.plan.abort_stays_ps
        else:
            want = self.preview_or_all()
        self.scale(self.replicas, want, t)
        if self.aborted is not None:
            return self.counts(t)[0][1] >= self.replicas and not self.sets[self.plan.to].units
        _, new = self.counts(t)
        is_whole = new == [self.replicas, self.replicas]
        if new == [self.preview_or_all()] * 2:
            needs_pause = (not self.plan.auto or auto_ps > 0) and not self.checked
            if needs_pause and self.pause is None and not self.paused_before:
                self.pause, self.paused_before = t, True
            elif is_whole and not (needs_pause and self.pause is not None):
                self.promote_blue_green(t)
                return False
        if self.plan.preview is not None and self.pause is None and new[1] == self.plan.preview:
            self.checked = True
        return False

    def promote_blue_green(self, t: int) -> None:
        """All requests change over."""
        self.promoted, self.pause = t, None

    def preview_or_all(self) -> int:
        """Replicas of blue-green's new version."""
        is_running = self.pause is None and self.checked
        return self.replicas if self.plan.preview is None or is_running else self.plan.preview

    def is_passed(self, t: int) -> bool:
        """Whether the gates of a step are done."""
        mine = [watch for watch in self.watches if watch.kind.count]
        if not self.analysed:
            for watch in mine:
                watch.begin(t)
        self.analysed = any(watch.verdict != "passed" for watch in mine)
        return not self.analysed


def simulate(
    seed: int,
    sets: list[Set],
    plans: list[Plan],
    losses: list[tuple[int, int, int]],
    end_ps: int,
    every_ps: int,
) -> tuple[list[Controller], list[list[tuple[int, int]]]]:
    """(controllers, at each sample what each pool wants and has ready). `losses` are (when, pool, replicas)."""
    controllers = [Controller(plan, sets, seed) for plan in plans]
    samples, t = [], 0
    while True:
        for at_ps, pool, n in sorted(losses):
            if at_ps == t:
                for s in sets:
                    s.grow_up(t - 1)
                sets[pool].lose(n, t)
        for s in sets:
            s.grow_up(t)
        if t % every_ps == 0:
            samples.append([(s.wanted, s.ready) for s in sets])
        if t >= end_ps:
            return controllers, samples
        for controller in controllers:
            if controller.next_ps == t:
                controller.look(controllers, t)
        soon = [every_ps * (t // every_ps + 1), *(c.next_ps for c in controllers)]
        soon += [at_ps for at_ps, _, _ in losses]
        soon += [u.began_ps + s.start_ps for s in sets for u in s.units if u.ready_ps is None]
        t = min(at for at in soon if at > t)
