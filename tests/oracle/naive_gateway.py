"""What users and the gateway do in the plain model: attempts, patience, retries, hedges, limits, shedding.

Times are int picoseconds; credits are exact fractions. `naive.py` says what is decided where.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .naive_replica import Replica, Sequence
from .philox import draw_below

STREAM_PATIENCE, STREAM_RETRY = 17, 18

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
        sizes = (attempt.prompt, self.row["prompt_max"]), (attempt.output, self.row["output_max"])
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
    group: Any = None
    attempts: list[Sequence] = field(default_factory=list)
    live: list[Sequence] = field(default_factory=list)  # those that may still answer
    shown: Sequence | None = None  # the attempt whose stamps the row has
    retry_ps: int = -1
    outcome: str = "inside"
    reason: str = ""

    @property
    def left(self) -> int:
        """Attempts that may still be made."""
        return int(self.klass.row["attempts_max"]) - len(self.attempts)

    def patience_ps(self, what: str) -> int | None:
        """How long the user waits for the first token or for all of an attempt; None = for ever."""
        table = self.klass.row[f"{what}_patience_ps"]
        return None if table is None else table[draw_below(self.seed, STREAM_PATIENCE, self.id, 0, 1024)]

    def deadline_ps(self, attempt: Sequence) -> int | None:
        """When the user gives this attempt up, as things stand."""
        first_ps = None if attempt.token_ps else self.patience_ps("first")
        spans = [span for span in (first_ps, self.patience_ps("total")) if span is not None]
        return attempt.arrival_ps + min(spans) if spans else None

    def backoff_ps(self) -> int:
        """How long until the next attempt."""
        n, jitter = len(self.attempts), self.klass.row["jitter"]
        most = int(self.klass.row["backoff_ps"][n - 1])
        u = draw_below(self.seed, STREAM_RETRY, self.id, n, 2**20)
        if jitter == "none":
            return most
        return {"full": (most >> 20) * u, "equal": (most >> 1) + (most >> 21) * u}[jitter]

    # ---- an attempt's life as the client sees it ---------------------------------------------------------------
    def attempt(self, now_ps: int) -> None:
        """Make the next attempt: the gateway takes it now."""
        made = Sequence(self.id, now_ps, self.prompt, self.output, self.klass.row["priority"])
        made.n, made.request = len(self.attempts) + 1, self
        if self.klass.row["hedge_ps"] is not None:
            made.hedge_ps = now_ps + self.klass.row["hedge_ps"]
        made.is_hedge = bool(self.live)
        self.attempts.append(made)
        self.live.append(made)
        self.shown = made
        if made.n == 1:
            self.klass.budget.deposit()
        reason = self.group.arrive(made, self.klass, now_ps)
        if reason:
            self.end_attempt(made, "rejected", reason, now_ps)

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
        self.live, self.outcome = [], "completed"
        attempt.end("completed", "", now_ps)
        self.leave_limits(attempt)
        self.group.note_completion(now_ps)

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
        row = self.klass.row
        wanted = self.left > 0 and outcome in row["retry_on"] and reason not in ("too_long", "over_limit")
        if wanted and self.klass.budget.pays():
            self.retry_ps = now_ps + self.backoff_ps()
        else:
            self.outcome, self.reason = outcome, reason

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
        if attempt in self.group.held:
            reason = "in_gateway"
        elif attempt.scheduled_ps < 0:
            reason = "in_queue"
        else:
            reason = "in_stream" if attempt.token_ps else "in_prefill"
        self.disconnect(attempt)
        self.end_attempt(attempt, "timed_out", reason, now_ps)

    def disconnect(self, attempt: Sequence) -> None:
        """Out of the gateway's queue or a replica's at once; out of a running batch at its next boundary."""
        if attempt in self.group.held:
            self.group.held.remove(attempt)
        else:
            self.group.fleet[attempt.replica].leave(attempt)

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
        if self.live == [attempt] and not attempt.token_ps and self.left > 0:
            self.attempt(now_ps)

    def report(self) -> dict[str, Any]:
        """The request's row of the result."""
        nobody = Sequence(self.id, -1, self.prompt, self.output, 0)
        return {
            **(self.shown or nobody).report(),
            "outcome": self.outcome,
            "reason": self.reason,
            "attempts": len(self.attempts),
            "taken_ps": self.shown.arrival_ps if self.shown else -1,
            "wasted_tokens": sum(attempt.wasted for attempt in self.attempts),
        }


class Group:
    """The replicas that serve one model, the router in front of them and the queue at the gateway."""

    def __init__(self, group: dict[str, Any], replicas: list[Replica], fleet: list[Replica]) -> None:
        self.router = group.get("router", "round_robin")
        self.queue_capacity = group.get("queue_capacity", 10**9)
        self.replicas = replicas
        self.fleet = fleet
        self.held: list[Sequence] = []
        self.last_index = -1
        self.completed_ps = -1
        self.gap_ps: int | None = None  # smoothed time between completions

    def arrive(self, seq: Sequence, klass: TrafficClass, now_ps: int) -> str:
        """Route or hold an attempt, or say why not."""
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
        if self.is_overloaded(klass):
            return "shed"
        if klass.row["wait_max_ps"] is not None and self.predicted_ps() > klass.row["wait_max_ps"]:
            return "queue_time"
        if self.route(seq, now_ps):
            return ""
        if len(self.held) >= self.queue_capacity:
            return "gateway_full"
        self.held.append(seq)
        return ""

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
        """Route what was held, first come first, as far as ready replicas take it."""
        self.held = [seq for seq in self.held if not self.route(seq, now_ps)]

    def route(self, seq: Sequence, now_ps: int) -> bool:
        """Send the attempt to a ready replica in which it fits; False if there is none."""
        ready = [replica for replica in self.ready() if replica.fits(seq)]
        if not ready:
            return False
        chosen = self.choose(ready)
        self.last_index = chosen.index
        chosen.take(seq, now_ps)
        return True

    def choose(self, ready: list[Replica]) -> Replica:
        """The router's choice; a tie goes to the lowest index."""
        if self.router == "round_robin":
            return next((replica for replica in ready if replica.index > self.last_index), ready[0])
        if self.router == "least_outstanding":
            return min(ready, key=lambda replica: len(replica.waiting) + len(replica.running))
        assert self.router == "least_kv", self.router
        best = ready[0]
        for other in ready[1:]:
            if used(other) * best.pool["n_kv_blocks"] < used(best) * other.pool["n_kv_blocks"]:
                best = other
        return best


def used(replica: Replica) -> int:
    """KV blocks in use, those of the step under way included."""
    return int(replica.pool["n_kv_blocks"]) - replica.available()
