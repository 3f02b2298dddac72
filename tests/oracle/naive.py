"""A plain model of a fleet, walked token by token, that every engine must agree with to the picosecond.

Every step walks every sequence and moves every KV block by hand; no step is skipped, no sum is closed. It
shares no code with the product. Times are int picoseconds, -1 = has not happened. At one instant the
order is: replicas are lost, become ready or drain; deadlines, retries, then hedges and cancels, then ends of
CPU work, each by request and attempt; held attempts are released, requests arrive; replica boundaries in index
order. What
makes something of an earlier kind due at the same instant (a retry without a wait) has it done next.

Input of `simulate` and `run` (all plain ints, strings, lists, dicts; a key with a default may be left
out):

    requests       [(arrival_ps, prompt, output, class_id)], arrivals in order; the row number is the id
    classes        [{priority=0, group=0, tenant=0, shed_milli=None, wait_max_ps=None, attempts_max=1,
                     prompt_max=None, output_max=None,
                     first_patience_ps=None, total_patience_ps=None (1024 quantiles each), hedge_ps=None,
                     retry_on=() of "rejected", "timed_out", "failed"; backoff_ps=() one for each retry,
                     jitter="none" | "full" | "equal", budget_ratio_milli=0, budget_burst_milli=None,
                     limit=None | {request_ps=0, request_burst=0, token_ps=0, token_burst=0,
                     concurrent_max=None}, before=(), after=() of (station, base_ps, prompt_ps, output_ps),
                     withheld=False, blocked_q20=0, fallback=None | a group, deadline_ps=None,
                     window_ps=(from, until) of a day, defer_max_ps=0, gap_ps=None, ttft_max_ps=None,
                     session_max=None, persistent=False}]
    groups         [{router="round_robin" | "least_outstanding" | "least_kv", queue_capacity=10**9,
                     outstanding_max=None, hold_order="fifo" | "priority" | "fair"}]
    pools          [{group=0, ready_at=[ps | None, ...], base_ps=[max_num_seqs+1], slope_ps=[max_num_seqs+1],
                     prefill_ps_per_token=0, attention_q16=0, n_kv_blocks, block_size=16, max_num_seqs,
                     max_num_batched_tokens, max_model_len=10**9, long_prefill_token_threshold=0,
                     scheduling="fcfs" | "priority", batching="continuous" | "static" | "dynamic" | "none",
                     max_batch_delay_ps=0, chunked_prefill=True, slow=() of (from_ps, until_ps, factor in 2**-20), by
                     time: steps that begin then take that many times as long}]; ready_at has one entry per replica
    interventions  [(time_ps, replica, "ready" | "drain" | "lose")]; a replica's index counts through all pools
    tenants        [{limit=None, weight=1}]; default one
    front          {workers=() of each station, cache_entries=0, cache_life_ps=None, cache_ps=0}
    contents       what each request asks for, -1 = what nobody asks twice; default all -1
    turns          {after, pause_ps, tokens}, one each request: which follows it (-1 = none) after which pause, and
                   the tokens of its session so far; who follows another one comes last and has arrival_ps None.
                   -2 - n: whoever is then first in line n, of the requests that have it and arrival_ps None
    closes         whether the run is over with the last request, where all requests are of lines
    measured_ps    (from, until): arrivals that count; this model tells of all and leaves counting to others
    look_at        the instants at which somebody looks at the stations, before anything happens then; all below end_ps
    seed           of the draws, by name: patience of a request, jitter of a retry

Where the rules leave room, this model decides:

 1. What falls exactly on end_ps does not happen (the run covers [0, end_ps)).
 2. A schedule that preempts and is left with no work is repeated at once, at the same instant: under
    priority the first running sequence can be its own victim while others run (vLLM simply calls its
    scheduler again).
 3. A running sequence's chunk is fixed before it looks for blocks: tokens its victims give back do not
    lengthen it.
 4. The threshold is applied before chunked_prefill=False looks at the budget, as in vLLM. Only admission
    is held back: the rest of a prompt cut by the threshold, once running, is cut to the budget too. An
    oversized head with an empty step widens that step's budget to what it wants and so is admitted alone.
 5. A request that fits only pools without a ready replica is held; on release it keeps its place, later
    ones pass.
 6. A dynamic batch's delay runs from the instant its oldest waiting request was routed to the replica.
 7. In a static or dynamic batch the number of places is fixed at its start, not who takes them. A
    preempted member gives its place back and the head of the queue takes it; the batch ends when no place
    is open and the last has finished. A member whose client leaves goes like one that has finished; a
    place that nobody is left to take is given up.
 8. A static batch that never fills never starts and its requests end as inside, but a draining replica
    starts with what it holds.
 9. A request without a gap has itl_max_ps 0; one that has not finished keeps its gaps and last_token_ps
    -1. Gaps are those that a client saw: what comes out after it left is nobody's.
10. Interventions at one instant act in the order given, after the ready_at of that instant; losses first.
11. What a lost replica held fails in the order of its queue, then of its batch; a step cut off counts as
    busy as far as it went, its tokens were never computed.
12. To a replica each attempt is a request of its own: under priority its rank is (priority, when it was
    taken, request, attempt), and a dynamic batch's delay starts when it is routed.
13. An attempt that passes the limits is charged and in flight even if it is then shed or rejected, which
    ends it at once. A ghost counts as outstanding until it is gone, but not as in flight.
14. Every first attempt pays into the budget, before anything is asked of it, even one that is too long.
15. Completions that the smoothed time counts are answers only. Two at one instant are 0 ps apart.
16. Wherever a rule says n of a request's next attempt, backoff or draw, it is the number of attempts so
    far (a twin may have raised it since the attempt began that now ends).
17. An attempt gets a twin only while no other attempt of its request may still answer; that holds for a
    twin that is left alone too.
18. Once one of two has emitted its first token (of those at one instant: the lower replica index, then the
    later place in the batch), the other no longer belongs to the request: it goes on as if nothing had happened
    until it is cancelled, and nothing else happens to it. If it completes, or is lost with its replica,
    before that, it is cancelled then.
19. A request's row shows its answering attempt; without one, the last to end; while one is under way, the
    highest numbered of those that may answer. Its preemptions and gaps are that attempt's alone.
20. Wasted is what had been computed by the last boundary when the client left or the replica was lost.
21. An answer from the cache is its attempt's first token, and its all, when it comes; until then its client has
    patience, a deadline and a twin like any other. It counts as routed and scheduled when it was asked for.
22. What is behind the GPU begins a picosecond after the last token; a guardrail alone gives its verdict then, and
    the cache alone takes an answer then: those of one boundary in the order of their requests.
23. Of a withheld answer nothing is seen before it is complete: that is its first token and its last. The gateway
    sees the tokens: the first decides between twins. Gaps are the replica's.
24. A blocked answer is a rejected attempt. Its request goes to the fallback group at once and stays there, twins
    and retries too; that attempt is one more, whatever the class allows, and visits the stations like any other.
    Answers of the fallback group are not judged.
25. An answer is complete when it has passed everything: then it is in the cache, a completion of its group, and no
    longer in flight.
26. No retry is made that would begin at the deadline or later. A deferred request whose deadline has passed when
    it may start is taken, and given up at once.
27. Where tenants share, what one was served is counted in thousandths of a weighted token, rounded down at every
    hand-over and answer; of two equal ones the first goes. Held attempts that no replica takes let others pass.
28. A request that is still deferred when the run ends has no attempt yet.
29. A turn comes a picosecond after the end of the one before it at the earliest, before measured_ps ends, and among
    users' events of an instant with hedges, under the number of the request before it. A client of a line goes on
    whatever became of its request, and takes the first of the line only when the pause is over; who finds it empty then,
    or knows at the end of its request that it is, is gone. A run that closes is over a picosecond after its last request.
30. Who sees nothing new of a stream for gap_ps goes; a token at that very instant is too late. Nothing stalls once the
    last token is computed, or of a withheld answer.
31. The predicted ttft is the stations' work and their lines as they are, the predicted wait, and what the prompt takes
    alone on an idle replica of the first pool that it fits; or, where a ready replica has some of it cached, what is
    left takes on the one that has most (the first of them), if that is less. It knows nothing of slow steps.
32. A slowed step without prompts is its fixed part and its time a token, each multiplied and rounded down; one with
    prompts is multiplied as a whole. A step in progress keeps its length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from .naive_front import Front
from .naive_gateway import Group, Limit, Request, TrafficClass
from .naive_replica import Replica, Sequence

DEADLINE, RETRY, HEDGE, STATION = range(4)


class Run(NamedTuple):
    """What `run` found: one dict per request (by id), replica (by index), attempt (by request, n), look at a station."""

    requests: list[dict[str, Any]]
    replicas: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    stations: tuple[dict[str, int], ...] = ()  # by look, then station


def act(replica: Replica, what: str, now_ps: int) -> None:
    """A replica becomes ready, stops receiving (it finishes what it has), or is lost."""
    if what == "lose":
        assert replica.state != "off", f"replica {replica.index} cannot be lost: it is off"
        replica.state = "off"
        replica.lose(now_ps)
        return
    before, after = {"ready": ("off", "ready"), "drain": ("ready", "draining")}[what]
    assert replica.state == before, f"replica {replica.index} cannot {what}: it is {replica.state}"
    replica.state = after


@dataclass
class Fleet:
    """Everything simulated and what is still to come, soonest first."""

    groups: list[Group]
    replicas: list[Replica]
    changes: list[tuple[int, int, str]]  # (time_ps, replica, "ready" | "drain" | "lose")
    arriving: list[Request]
    under_way: list[Request]  # arrived, and an attempt of theirs has not ended or will be made
    front: Front
    look_ps: int | None = None  # when gateways look whether replicas hold less
    sleeping: list[Request] = field(
        default_factory=list
    )  # over, and the next turn of their session is on its way
    asked: list[Request] = field(default_factory=list)  # all there are
    closes: bool = False
    is_over: bool = False

    def due(self) -> list[tuple[int, tuple[int, int, int], Callable[[int], None]]]:
        """What users do next, as things stand: (when, (phase, request, attempt), what)."""
        found: list[tuple[int, tuple[int, int, int], Callable[[int], None]]] = [
            (request.comes_ps, (HEDGE, request.id, request.shown.n), partial(self.come, request))
            for request in self.sleeping
            if request.shown is not None
        ]
        for request in self.under_way:
            if request.retry_ps >= 0:
                next_n = len(request.attempts) + 1
                found.append((request.retry_ps, (RETRY, request.id, next_n), request.retry))
            for attempt in request.attempts:
                if attempt.outcome == "inside":
                    found += dues(request, attempt)
        return found

    def come(self, before: Request, now_ps: int) -> None:
        """The turn that follows a request arrives."""
        self.sleeping.remove(before)
        if before.line is not None:
            if not before.line:
                self.is_over = self.closes and not any(map(is_open, self.asked))
                return
            before.following = before.line.pop(0)
        before.following.arrival_ps = now_ps
        self.under_way.append(before.following)
        before.following.arrive(now_ps)

    def next_ps(self) -> int | None:
        """The next instant at which anything happens; None if nothing ever does."""
        self.under_way = [request for request in self.under_way if is_under_way(request)]
        pending = [time_ps for time_ps, _, _ in self.changes[:1]]
        pending += [request.arrival_ps for request in self.arriving[:1]]
        pending += [time_ps for time_ps, _, _ in self.due()]
        pending += [] if self.look_ps is None else [self.look_ps]
        pending += [wake_ps for replica in self.replicas if (wake_ps := replica.wake_ps()) is not None]
        return min(pending, default=None)

    def live(self, now_ps: int) -> None:
        """All that happens at one instant, in order."""
        while self.changes and self.changes[0][0] == now_ps:
            _, index, what = self.changes.pop(0)
            act(self.replicas[index], what, now_ps)
        self.users_act(now_ps)
        if self.is_over:
            return
        for group in self.groups:
            group.release(now_ps)
        while self.arriving and self.arriving[0].arrival_ps == now_ps:
            request = self.arriving.pop(0)
            self.under_way.append(request)
            request.arrive(now_ps)
            self.users_act(now_ps)
        before = [len(replica.waiting) + len(replica.running) for replica in self.replicas]
        for replica in self.replicas:
            replica.boundary(now_ps)
        after = [len(replica.waiting) + len(replica.running) for replica in self.replicas]
        self.look_ps = now_ps + 1 if after != before else None

    def users_act(self, now_ps: int) -> None:
        """Deadlines, retries, hedges and cancels of this instant, always the first that there is."""
        while not self.is_over and (now := [event for event in self.due() if event[0] == now_ps]):
            _, _, what = min(now, key=lambda event: event[1])
            what(now_ps)


def dues(
    request: Request, attempt: Sequence
) -> list[tuple[int, tuple[int, int, int], Callable[[int], None]]]:
    """What the user of an attempt under way does next, as things stand."""
    if attempt.cancel_ps >= 0:
        key = (HEDGE, request.id, attempt.n)
        return [(attempt.cancel_ps, key, lambda now_ps: request.cancel(attempt, now_ps))]
    ends = [request.deadline_ps(attempt), request.stall_ps(attempt)]
    deadline_ps = min((end_ps for end_ps in ends if end_ps is not None), default=None)
    found: list[tuple[int, tuple[int, int, int], Callable[[int], None]]] = []
    if deadline_ps is not None:
        key = (DEADLINE, request.id, attempt.n)
        found.append((deadline_ps, key, lambda now_ps: request.time_out(attempt, now_ps)))
    if attempt.hedge_ps >= 0:
        key = (HEDGE, request.id, attempt.n)
        found.append((attempt.hedge_ps, key, lambda now_ps: request.hedge(attempt, now_ps)))
    if attempt.step_ps >= 0:
        key = (STATION, request.id, attempt.n)
        found.append((attempt.step_ps, key, lambda now_ps: request.go_on(attempt, now_ps)))
    return found


def is_open(request: Request) -> bool:
    """Whether the request has no outcome yet."""
    return request.outcome == "inside"


def is_under_way(request: Request) -> bool:
    """Whether anything of the request is still to come."""
    return request.retry_ps >= 0 or any(attempt.outcome == "inside" for attempt in request.attempts)


def make_fleet(
    requests: list[Request],
    pools: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    interventions: list[tuple[int, int, str]],
    front: Front,
    weights: tuple[int, ...],
    make_replica: Callable[[int, dict[str, Any]], Replica] = Replica,
) -> Fleet:
    """The fleet before anything happened."""
    owners = [pool for pool in pools for _ in pool["ready_at"]]
    replicas = [make_replica(index, pool) for index, pool in enumerate(owners)]
    fronts = [
        Group(group, [replica for replica in replicas if replica.pool["group"] == number], replicas, weights)
        for number, group in enumerate(groups)
    ]
    ready_at = [ready_ps for pool in pools for ready_ps in pool["ready_at"]]
    changes = [(ready_ps, index, "ready") for index, ready_ps in enumerate(ready_at) if ready_ps is not None]
    changes = sorted(changes + interventions, key=lambda change: (change[0], change[2] != "lose"))
    return Fleet(fronts, replicas, changes, requests, [], front)


def run(
    requests: list[tuple[int, int, int, int]],
    pools: list[dict[str, Any]],
    classes: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    end_ps: int,
    interventions: list[tuple[int, int, str]] | None = None,
    tenants: list[dict[str, Any]] | None = None,
    seed: int = 1,
    front: dict[str, Any] | None = None,
    contents: list[int] | None = None,
    measured_ps: tuple[int, int] | None = None,
    turns: dict[str, list[int]] | None = None,
    closes: bool = False,
    look_at: tuple[int, ...] = (),
    make_replica: Callable[[int, dict[str, Any]], Replica] = Replica,
) -> Run:
    """Simulate [0, end_ps). The module's docstring says what the arguments hold and what is decided where."""
    own = [request for request in requests if request[0] is not None]
    assert own == requests[: len(own)], "who follows another one comes last"
    assert all(a[0] <= b[0] for a, b in pairwise(own)), "arrivals out of order"
    limits = [Limit(tenant.get("limit")) for tenant in tenants or [{}]]
    kinds = [TrafficClass(number, row, limits) for number, row in enumerate(classes)]
    asked = [
        Request(
            number,
            -1 if arrival_ps is None else arrival_ps,
            prompt,
            output,
            kinds[class_id],
            seed,
            contents[number] if contents else -1,
        )
        for number, (arrival_ps, prompt, output, class_id) in enumerate(requests)
    ]
    weights = tuple(tenant.get("weight", 1) for tenant in tenants or [{}])
    fleet = make_fleet(
        asked[: len(own)], pools, groups, interventions or [], Front(front or {}), weights, make_replica
    )
    fleet.asked, fleet.closes = asked, closes
    lines: dict[int, list[Request]] = {}
    for request, after in zip(asked, turns["after"] if turns else [], strict=bool(turns)):
        if after < -1:
            lines.setdefault(after, []).extend([request] * (request.arrival_ps < 0))
    for request in asked:
        request.group, request.groups = fleet.groups[request.klass.row["group"]], fleet.groups
        request.front, request.sleeping = fleet.front, fleet.sleeping
        request.until_ps = measured_ps[1] if measured_ps else end_ps
        if turns is not None:
            after, request.pause_ps = turns["after"][request.id], turns["pause_ps"][request.id]
            request.following = asked[after] if after >= 0 else None
            request.line = lines[after] if after < -1 else None
            request.session_tokens = turns["tokens"][request.id]
    while not fleet.is_over and (now_ps := fleet.next_ps()) is not None and now_ps < end_ps:
        fleet.live(now_ps)
        end_ps = now_ps if fleet.is_over else end_ps
    attempts = [attempt.told() for request in asked for attempt in request.attempts]
    replicas = [replica.report(end_ps) for replica in fleet.replicas]
    looks = [station.seen(at_ps) for at_ps in look_at for station in fleet.front.stations]
    return Run([request.report() for request in asked], replicas, attempts, tuple(looks))


def simulate(*case: Any, **more: Any) -> list[dict[str, Any]]:
    """The requests of `run`, by id: outcome, reason, stamps, replica, preemptions, itl_max_ps, gaps and more."""
    return run(*case, **more).requests
