"""What users and the gateway do in the plain model: attempts, patience, retries, hedges, limits, shedding, stations.

Times are int picoseconds; credits are exact fractions. `naive.py` says what is decided where.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .naive_replica import Replica, Sequence, prompts_ps
from .philox import draw_below

STREAM_PATIENCE, STREAM_RETRY, STREAM_GUARD, STREAM_TIE = 17, 18, 19, 22
DAY_PS = 24 * 3600 * 10**12
FINAL = ("too_long", "over_limit", "blocked")  # reasons after which nobody tries again

CLASS_DEFAULTS: dict[str, Any] = {
    "priority": 0,
    "group": 0,
    "tenant": 0,
    "shed_milli": None,
    "wait_max_ps": None,
    "prompt_max": None,
    "output_max": None,
    "first_patience_ps": None,
    "total_patience_ps": None,
    "attempts_max": 1,
    "retry_on": (),
    "backoff_ps": (),
    "jitter": "none",
    "budget_ratio_milli": 0,
    "budget_burst_milli": None,
    "hedge_ps": None,
    "limit": None,
    "before": (),
    "after": (),
    "withheld": False,
    "blocked_q20": 0,
    "fallback": None,
    "deadline_ps": None,
    "window_ps": (0, 0),
    "defer_max_ps": 0,
    "gap_ps": None,
    "ttft_max_ps": None,
    "session_max": None,
    "persistent": False,
}


class Bucket:
    """A bucket of `burst` units, refilled with one unit every `period_ps`, full at time 0."""

    def __init__(self, period_ps: int, burst: int) -> None:
        self.period_ps, self.burst = period_ps, burst
        self.units, self.seen_ps = Fraction(burst), 0

    def fill(self, now_ps: int) -> None:
        """Add what has flowed in since the last look; what does not fit is lost."""
        if self.period_ps > 0:
            flowed = Fraction(now_ps - self.seen_ps, self.period_ps)
            self.units, self.seen_ps = min(Fraction(self.burst), self.units + flowed), now_ps

    def lacks(self, units: int, now_ps: int) -> bool:
        """Whether so many units are not there now; a bucket without a period lacks nothing."""
        self.fill(now_ps)
        return self.period_ps > 0 and self.units < units

    def take(self, units: int) -> None:
        """Take units that are there."""
        if self.period_ps > 0:
            self.units -= units
            assert 0 <= self.units <= self.burst


class Limit:
    """What a class or a tenant may ask for: attempts at once, attempts and tokens over time."""

    def __init__(self, limit: dict[str, Any] | None) -> None:
        limit = limit or {}
        self.requests = Bucket(limit.get("request_ps", 0), limit.get("request_burst", 0))
        self.tokens = Bucket(limit.get("token_ps", 0), limit.get("token_burst", 0))
        self.concurrent_max = limit.get("concurrent_max")
        self.in_flight = 0

    def objection(self, attempt: Sequence, now_ps: int) -> str:
        """Why the attempt may not pass; empty where it may."""
        if self.concurrent_max is not None and self.in_flight >= self.concurrent_max:
            return "concurrency"
        short = self.requests.lacks(1, now_ps), self.tokens.lacks(attempt.prompt + attempt.output, now_ps)
        return "rate_limited" if any(short) else ""

    def charge(self, attempt: Sequence) -> None:
        """The attempt passes."""
        self.requests.take(1)
        self.tokens.take(attempt.prompt + attempt.output)
        self.in_flight += 1


class Budget:
    """How many retries a class can pay for, in thousandths; None = as many as it likes."""

    def __init__(self, ratio_milli: int, burst_milli: int | None) -> None:
        self.ratio_milli, self.burst_milli = ratio_milli, burst_milli
        self.milli = burst_milli

    def deposit(self) -> None:
        """A first attempt was taken."""
        if self.milli is not None and self.burst_milli is not None:
            self.milli = min(self.burst_milli, self.milli + self.ratio_milli)

    def pays(self) -> bool:
        """Pay for one retry, if there is enough."""
        if self.milli is None:
            return True
        if self.milli < 1000:
            return False
        self.milli -= 1000
        return True


class TrafficClass:
    """A class's rules, and what of them changes: its limit, its tenant's, its budget."""

    def __init__(self, number: int, row: dict[str, Any], tenants: list[Limit]) -> None:
        self.number = number
        self.row = {**CLASS_DEFAULTS, **row}
        self.limits = [Limit(self.row["limit"]), tenants[self.row["tenant"]]]
        self.budget = Budget(self.row["budget_ratio_milli"], self.row["budget_burst_milli"])

    def caps(self, attempt: Sequence) -> bool:
        """Whether the attempt has more prompt or output tokens than its class may."""
        sizes = (
            (attempt.prompt, self.row["prompt_max"]),
            (attempt.output, self.row["output_max"]),
            (attempt.request.session_tokens, self.row["session_max"]),
        )
        return any(most is not None and tokens > most for tokens, most in sizes)


@dataclass(eq=False)
class Request:
    """What a user wants: a row of the trace, its attempts, and how it ends."""

    id: int
    arrival_ps: int
    prompt: int
    output: int
    klass: TrafficClass
    seed: int
    content: int = -1  # what it asks for
    group: Any = None  # whose turn it is: its class's, or the fallback
    groups: list[Any] = field(default_factory=list)  # all there are
    front: Any = None
    attempts: list[Sequence] = field(default_factory=list)
    live: list[Sequence] = field(default_factory=list)  # those that may still answer
    shown: Sequence | None = None  # the attempt whose stamps the row has
    retry_ps: int = -1
    following: Any = None  # the next turn of its session
    line: list[Any] | None = None  # of requests; its client sends the first of them when it is over
    pause_ps: int = 0  # before that
    session_tokens: int = 0
    comes_ps: int = -1  # when that turn comes
    sleeping: list[Any] = field(
        default_factory=list
    )  # requests whose next turn is on its way, of the whole fleet
    until_ps: int = 0  # nobody comes then or later
    outcome: str = "inside"
    reason: str = ""

    @property
    def left(self) -> int:
        """Attempts that the user may still make."""
        return int(self.klass.row["attempts_max"]) - len(self.attempts)

    @property
    def last_call_ps(self) -> int | None:
        """When the user wants no answer any more, whatever was tried; None = never."""
        deadline_ps = self.klass.row["deadline_ps"]
        return None if deadline_ps is None else self.arrival_ps + deadline_ps

    def patience_ps(self, what: str) -> int | None:
        """How long the user waits for the first token or for all of an attempt; None = for ever."""
        table = self.klass.row[f"{what}_patience_ps"]
        return None if table is None else table[draw_below(self.seed, STREAM_PATIENCE, self.id, 0, 1024)]

    def deadline_ps(self, attempt: Sequence) -> int | None:
        """When the user gives this attempt up, as things stand."""
        sees_nothing = attempt.emitted_ps < 0 or self.klass.row["withheld"]
        first_ps = self.patience_ps("first") if sees_nothing else None
        spans = [span for span in (first_ps, self.patience_ps("total")) if span is not None]
        ends = [attempt.arrival_ps + span for span in spans]
        if self.last_call_ps is not None:
            ends.append(max(attempt.arrival_ps, self.last_call_ps))
        return min(ends, default=None)

    def stall_ps(self, attempt: Sequence) -> int | None:
        """When the user has seen no new token of the attempt for too long, as things stand."""
        gap_ps, streams = self.klass.row["gap_ps"], attempt.token_ps and attempt.place == "in"
        return attempt.token_ps[-1] + gap_ps if gap_ps and streams and not attempt.withheld else None

    def backoff_ps(self) -> int:
        """How long until the next attempt."""
        n, jitter = len(self.attempts), self.klass.row["jitter"]
        most = int(self.klass.row["backoff_ps"][n - 1])
        u = draw_below(self.seed, STREAM_RETRY, self.id, n, 2**20)
        if jitter == "none":
            return most
        return {"full": (most >> 20) * u, "equal": (most >> 1) + (most >> 21) * u}[jitter]

    # ---- an attempt's life as the client sees it ---------------------------------------------------------------
    def arrive(self, now_ps: int) -> None:
        """The user asks: now, or when the hours come in which the class may start."""
        wait_ps = self.deferral_ps(now_ps)
        if wait_ps > 0:
            self.retry_ps = now_ps + wait_ps
        else:
            self.attempt(now_ps)

    def deferral_ps(self, now_ps: int) -> int:
        """How long the request waits for its hours; it starts outside them when it had to wait longer than it may."""
        most_ps, (opens_ps, closes_ps) = self.klass.row["defer_max_ps"], self.klass.row["window_ps"]
        midnight_ps = now_ps - now_ps % DAY_PS
        if closes_ps < opens_ps:
            closes_ps += DAY_PS
        days = [midnight_ps + n * DAY_PS for n in (-1, 0, 1)]  # the hours may have begun yesterday
        if any(day_ps + opens_ps <= now_ps < day_ps + closes_ps for day_ps in days):
            return 0
        opens = [day_ps + opens_ps - now_ps for day_ps in days]
        return min(most_ps, min(wait_ps for wait_ps in opens if wait_ps >= 0))

    def attempt(self, now_ps: int, is_fallback: bool = False) -> None:
        """Make the next attempt: the gateway takes it now."""
        made = Sequence(self.id, now_ps, self.prompt, self.output, self.klass.row["priority"])
        made.n, made.request, made.group = len(self.attempts) + 1, self, self.group
        if self.klass.row["hedge_ps"] is not None:
            made.hedge_ps = now_ps + self.klass.row["hedge_ps"]
        made.is_hedge, made.is_fallback = bool(self.live), is_fallback
        made.withheld = bool(self.klass.row["withheld"])
        self.attempts.append(made)
        self.live.append(made)
        self.shown = made
        if made.n == 1:
            self.klass.budget.deposit()
        if reason := self.group.refusal(made, self.klass, now_ps):
            self.end_attempt(made, "rejected", reason, now_ps)
        elif self.front.cache.serves(self.content, now_ps):
            made.place, made.routed_ps, made.scheduled_ps = "cache", now_ps, now_ps
            made.step_ps = now_ps + self.front.cache_ps
        elif reason := self.group.overload(made, self.klass, now_ps):
            self.end_attempt(made, "rejected", reason, now_ps)
        else:
            made.place, made.to_visit = "before", list(self.klass.row["before"])
            self.go_on(made, now_ps)

    def stations_ps(self, now_ps: int) -> int:
        """How long the way to the GPU takes somebody who comes now, if nobody else does."""
        at_ps = now_ps
        for station, base_ps, prompt_ps, output_ps in self.klass.row["before"]:
            line = self.front.stations[station]
            at_ps = (
                line.turn_ps(at_ps, line.jobs) + base_ps + prompt_ps * self.prompt + output_ps * self.output
            )
        return at_ps - now_ps

    def go_on(self, attempt: Sequence, now_ps: int) -> None:
        """An attempt is done with a station, or has none behind it: to the next, in, or out."""
        attempt.step_ps = -1
        if attempt.place == "cache":
            attempt.cached_ps = now_ps
            self.emits(attempt, now_ps)
            self.answer(attempt, now_ps)
        elif attempt.to_visit:
            station, base_ps, prompt_ps, output_ps = attempt.to_visit.pop(0)
            work_ps = base_ps + prompt_ps * self.prompt + output_ps * self.output
            attempt.step_ps = self.front.stations[station].enter(now_ps, work_ps)
        elif attempt.place == "after":
            self.leave_gpu(attempt, now_ps)
        else:
            attempt.place = "in"
            if not attempt.group.accept(attempt, now_ps):
                self.end_attempt(attempt, "rejected", "gateway_full", now_ps)

    def leave_gpu(self, attempt: Sequence, now_ps: int) -> None:
        """The answer has passed all stations: the guardrail lets it out or not."""
        fallback, share = self.klass.row["fallback"], self.klass.row["blocked_q20"]
        is_fallback = fallback is not None and attempt.group is self.groups[fallback]
        if is_fallback or draw_below(self.seed, STREAM_GUARD, self.id, attempt.n, 2**20) >= share:
            self.answer(attempt, now_ps)
            return
        attempt.wasted = attempt.computed
        if fallback is None:
            self.end_attempt(attempt, "rejected", "blocked", now_ps)
            return
        attempt.end("rejected", "blocked", now_ps)
        self.leave_limits(attempt)
        self.live.remove(attempt)
        self.group = self.groups[fallback]
        self.attempt(now_ps, is_fallback=True)

    def emits(self, attempt: Sequence, now_ps: int) -> None:
        """An attempt's first token is out (or all of it, if it has none): it wins."""
        if attempt not in self.live:
            return
        for other in self.live:
            if other is not attempt:
                other.cancel_ps = now_ps + 1
        self.live, self.shown = [attempt], attempt

    def completes(self, attempt: Sequence, now_ps: int) -> None:
        """An attempt has its last token."""
        if attempt not in self.live:
            self.end_attempt(attempt, "cancelled", "", now_ps)
            return
        after = list(self.klass.row["after"])
        is_kept = self.front.cache.entries > 0 and self.content >= 0
        if after or is_kept or self.klass.row["blocked_q20"] > 0:
            attempt.place, attempt.to_visit, attempt.step_ps = "after", after, now_ps + 1
        else:
            self.answer(attempt, now_ps)

    def answer(self, attempt: Sequence, now_ps: int) -> None:
        """The user has all of an attempt's answer."""
        self.live, self.outcome = [], "completed"
        attempt.end("completed", "", now_ps)
        self.leave_limits(attempt)
        if attempt.place != "cache":
            attempt.group.note_completion(now_ps)
            attempt.group.serve(attempt, 2 * attempt.output)
            self.front.cache.keep(self.content, now_ps)
        self.over(now_ps)

    def end_attempt(self, attempt: Sequence, outcome: str, reason: str, now_ps: int) -> None:
        """An attempt ends without an answer; with the last one the request ends, or is tried again."""
        attempt.end(outcome, reason, now_ps)
        self.leave_limits(attempt)
        if attempt not in self.live:
            return
        self.live.remove(attempt)
        if self.live:
            self.shown = self.live[-1]
            return
        self.shown = attempt
        wanted = self.left > 0 and outcome in self.klass.row["retry_on"] and reason not in FINAL
        if wanted and self.is_in_time(now_ps) and self.klass.budget.pays():
            self.retry_ps = now_ps + self.backoff_ps()
        else:
            self.outcome, self.reason = outcome, reason
            self.over(now_ps)

    def over(self, now_ps: int) -> None:
        """The request has ended: its session's next turn comes after a pause, unless its user is gone; a client with a
        line looks there, at once where it finds it empty now.
        """
        stays = self.outcome == "completed" or self.klass.row["persistent"] or self.line is not None
        comes_ps = now_ps + (1 if self.line == [] else max(1, self.pause_ps))
        if (self.following is not None or self.line is not None) and stays and comes_ps < self.until_ps:
            self.comes_ps = comes_ps
            self.sleeping.append(self)

    def is_in_time(self, now_ps: int) -> bool:
        """Whether the next attempt would be made before the deadline."""
        return self.last_call_ps is None or now_ps + self.backoff_ps() < self.last_call_ps

    def lose(self, attempt: Sequence, now_ps: int) -> None:
        """An attempt's replica is lost."""
        beaten = attempt.cancel_ps >= 0
        self.end_attempt(attempt, *(("cancelled", "") if beaten else ("failed", "replica_lost")), now_ps)

    def leave_limits(self, attempt: Sequence) -> None:
        """An attempt that passed the limits is no longer in flight."""
        if attempt.counted:
            for limit in self.klass.limits:
                limit.in_flight -= 1

    def time_out(self, attempt: Sequence, now_ps: int) -> None:
        """The user gives an attempt up."""
        ends_ps, stall_ps = self.deadline_ps(attempt), self.stall_ps(attempt)
        if stall_ps is not None and stall_ps <= now_ps and (ends_ps is None or now_ps < ends_ps):
            reason = "stalled"
        elif attempt.place in ("before", "after"):
            reason = "in_cpu_stage"
        elif attempt.place == "cache" or attempt in attempt.group.held:
            reason = "in_gateway"
        elif attempt.scheduled_ps < 0:
            reason = "in_queue"
        else:
            reason = "in_stream" if attempt.token_ps else "in_prefill"
        self.disconnect(attempt)
        self.end_attempt(attempt, "timed_out", reason, now_ps)

    def disconnect(self, attempt: Sequence) -> None:
        """Out of the gateway's queue or a replica's at once; out of a running batch at its next boundary.

        A station does what it was given even so.
        """
        if attempt.place == "after":
            attempt.wasted = attempt.computed
        elif attempt in attempt.group.held:
            attempt.group.held.remove(attempt)
        elif attempt.place == "in":
            attempt.group.fleet[attempt.replica].leave(attempt)

    def cancel(self, attempt: Sequence, now_ps: int) -> None:
        """Its twin was faster."""
        self.disconnect(attempt)
        self.end_attempt(attempt, "cancelled", "", now_ps)

    def retry(self, now_ps: int) -> None:
        """The wait for the next attempt is over."""
        self.retry_ps = -1
        self.attempt(now_ps)

    def hedge(self, attempt: Sequence, now_ps: int) -> None:
        """Give an attempt that is alone and has no token yet a twin."""
        attempt.hedge_ps = -1
        if self.live == [attempt] and attempt.emitted_ps < 0 and self.left > 0:
            self.attempt(now_ps)

    def report(self) -> dict[str, Any]:
        """The request's row of the result."""
        nobody = Sequence(self.id, -1, self.prompt, self.output, 0)
        return {
            **(self.shown or nobody).report(),
            "outcome": self.outcome,
            "reason": self.reason,
            "attempts": len(self.attempts),
            "arrival_ps": self.arrival_ps,
            "taken_ps": self.shown.arrival_ps if self.shown else -1,
            "wasted_tokens": sum(attempt.wasted for attempt in self.attempts),
        }


class Group:
    """The replicas that serve one model, the router in front of them and the queue at the gateway."""

    def __init__(
        self,
        group: dict[str, Any],
        replicas: list[Replica],
        fleet: list[Replica],
        weights: tuple[int, ...] = (1,),
    ) -> None:
        self.router = group.get("router", "round_robin")
        self.queue_capacity = group.get("queue_capacity", 10**9)
        self.outstanding_max = group.get("outstanding_max")
        self.hold_order = group.get("hold_order", "fifo")
        self.weights = weights
        self.served = [0] * len(weights)  # by tenant: weighted tokens, in thousandths
        self.replicas = replicas
        self.fleet = fleet
        self.held: list[Sequence] = []
        self.last_index = -1
        self.completed_ps = -1
        self.gap_ps: int | None = None  # smoothed time between completions

    def refusal(self, seq: Sequence, klass: TrafficClass, now_ps: int) -> str:
        """Why an attempt may not pass: its length, its class's limits, its tenant's; empty where it may."""
        if not any(replica.fits(seq) for replica in self.replicas):
            return "too_long"
        if klass.caps(seq):
            return "over_limit"
        for limit in klass.limits:
            if objection := limit.objection(seq, now_ps):
                return objection
        for limit in klass.limits:
            limit.charge(seq)
        seq.counted = True
        return ""

    def overload(self, seq: Sequence, klass: TrafficClass, now_ps: int) -> str:
        """Why there is too much to do for an attempt of this class; empty where there is not."""
        if self.is_overloaded(klass):
            return "shed"
        if klass.row["wait_max_ps"] is not None and self.predicted_ps() > klass.row["wait_max_ps"]:
            return "queue_time"
        most_ps = klass.row["ttft_max_ps"]
        if most_ps is not None:
            before_ps = seq.request.stations_ps(now_ps) + self.predicted_ps()
            if before_ps + self.prompt_ps(seq) > most_ps:
                return "predicted_ttft"
        return ""

    def prompt_ps(self, seq: Sequence) -> int:
        """How long an attempt's prompt takes alone: on the first replica that it fits, or the one that has most of it
        cached, whatever is less.
        """
        first = next(replica for replica in self.replicas if replica.fits(seq))
        cold_ps = self.alone_ps(first.pool, seq.prompt, 0)
        warm = [replica for replica in self.ready() if replica.fits(seq) and replica.warm_tokens(seq)]
        if not warm:
            return cold_ps
        best = max(warm, key=lambda replica: replica.warm_tokens(seq))
        return min(cold_ps, self.alone_ps(best.pool, seq.prompt, best.warm_tokens(seq)))

    def alone_ps(self, pool: dict[str, Any], prompt: int, done: int) -> int:
        """How long the rest of a prompt takes on an idle replica, chunk by chunk."""
        spent_ps = 0
        while done < prompt:
            chunk = min(pool["max_num_batched_tokens"], prompt - done)
            attended = chunk * (2 * done + chunk)
            spent_ps += pool["base_ps"][0] + prompts_ps(pool, 0, chunk, attended)
            done += chunk
        return int(spent_ps)

    def accept(self, seq: Sequence, now_ps: int) -> bool:
        """Route or hold an attempt, if there is room for it."""
        if self.route(seq, now_ps):
            return True
        if len(self.held) >= self.queue_capacity:
            return False
        if self.hold_order == "fair" and tenant_of(seq) not in map(tenant_of, self.held):
            waiting = [self.served[tenant_of(other)] for other in self.held]
            self.served[tenant_of(seq)] = max(self.served[tenant_of(seq)], min(waiting, default=0))
        self.held.append(seq)
        if self.hold_order == "priority":
            self.held.sort(key=lambda held: held.rank)
        return True

    def serve(self, seq: Sequence, tokens: int) -> None:
        """An attempt's tenant was served so many tokens."""
        self.served[tenant_of(seq)] += 1000 * tokens // self.weights[tenant_of(seq)]

    def ready(self) -> list[Replica]:
        """The replicas that receive."""
        return [replica for replica in self.replicas if replica.state == "ready"]

    def is_overloaded(self, klass: TrafficClass) -> bool:
        """Whether there is so much work for each ready replica that this class is turned away."""
        if klass.row["shed_milli"] is None:
            return False
        ready = self.ready()
        work = sum(len(replica.waiting) + len(replica.running) for replica in ready) + len(self.held)
        return bool(1000 * work >= klass.row["shed_milli"] * max(1, len(ready)))

    def predicted_ps(self) -> int:
        """How long a new attempt will wait before it is scheduled, by the last completions."""
        queue = sum(len(replica.waiting) for replica in self.ready()) + len(self.held)
        return queue * (self.gap_ps or 0)

    def note_completion(self, now_ps: int) -> None:
        """Keep the smoothed time between completions."""
        if self.completed_ps >= 0:
            gap_ps = now_ps - self.completed_ps
            self.gap_ps = gap_ps if self.gap_ps is None else self.gap_ps + (gap_ps - self.gap_ps >> 4)
        self.completed_ps = now_ps

    def release(self, now_ps: int) -> None:
        """Route what was held, in order, as far as ready replicas take it; where tenants share, one after the other."""
        if self.hold_order != "fair":
            self.held = [seq for seq in self.held if not self.route(seq, now_ps)]
            return
        tenants = set(map(tenant_of, self.held))
        while tenants:
            turn = min(tenants, key=lambda tenant: (self.served[tenant], tenant))
            mine = [seq for seq in self.held if tenant_of(seq) == turn]
            gone = next((seq for seq in mine if self.route(seq, now_ps)), None)
            if gone is None or len(mine) == 1:
                tenants.remove(turn)
            if gone is not None:
                self.held.remove(gone)

    def route(self, seq: Sequence, now_ps: int) -> bool:
        """Send the attempt to a ready replica in which it fits; False if there is none."""
        most = self.outstanding_max
        ready = [replica for replica in self.ready() if replica.fits(seq) and has_place(replica, most)]
        if not ready:
            return False
        chosen = self.choose(ready, seq, self.looked_at(seq))
        self.last_index = chosen.index
        self.serve(seq, seq.prompt)
        chosen.take(seq, now_ps)
        return True

    def looked_at(self, seq: Sequence) -> list[Replica] | None:
        """Those that the least loaded is looked for among where a request fits every pool: the full ones too."""
        everywhere = all(replica.fits(seq) for replica in self.replicas)
        return self.ready() if everywhere and self.router == "least_outstanding" else None

    def choose(self, ready: list[Replica], seq: Sequence, among: list[Replica] | None = None) -> Replica:
        """The router's choice; a tie goes to the first from one on that is drawn for the attempt."""
        if self.router == "round_robin":
            return next((replica for replica in ready if replica.index > self.last_index), ready[0])
        among = among or ready
        first = among[draw_below(seq.request.seed, STREAM_TIE, seq.id, seq.n - 1, len(among))].index
        ready = sorted(ready, key=lambda replica: (replica.index < first, replica.index))
        if self.router == "least_outstanding":
            return min(ready, key=lambda replica: len(replica.waiting) + len(replica.running))
        assert self.router == "least_kv", self.router
        best = ready[0]
        for other in ready[1:]:
            if used(other) * best.pool["n_kv_blocks"] < used(best) * other.pool["n_kv_blocks"]:
                best = other
        return best


def has_place(replica: Replica, most: int | None) -> bool:
    """Whether a replica may be handed one more."""
    return most is None or len(replica.waiting) + len(replica.running) < most


def tenant_of(seq: Sequence) -> int:
    """Whose attempt it is."""
    return int(seq.request.klass.row["tenant"])


def used(replica: Replica) -> int:
    """KV blocks in use, those of the step under way included."""
    return int(replica.pool["n_kv_blocks"]) - replica.available()
