"""A plain model of a fleet, walked token by token, that every engine must agree with to the picosecond.

Every step walks every sequence and moves every KV block by hand; no step is skipped, no sum is closed. It
shares no code with the product. Times are int picoseconds, -1 = has not happened. At one instant the
order is: replicas become ready or drain, held requests are released, requests arrive, replica boundaries
in index order.

Input of `simulate` and `run` (all plain ints, strings, lists, dicts; a key with a default may be left
out):

    requests       [(arrival_ps, prompt, output, class_id)], arrivals in order; the row number is the id
    classes        [{priority=0, group=0}]
    groups         [{router="round_robin" | "least_outstanding" | "least_kv", queue_capacity=10**9}]
    pools          [{group=0, ready_at=[ps | None, ...], base_ps=[max_num_seqs+1], slope_ps=[max_num_seqs+1],
                     prefill_ps_per_token=0, attention_q16=0, n_kv_blocks, block_size=16, max_num_seqs,
                     max_num_batched_tokens, max_model_len=10**9, long_prefill_token_threshold=0,
                     scheduling="fcfs" | "priority", batching="continuous" | "static" | "dynamic" | "none",
                     max_batch_delay_ps=0, chunked_prefill=True}]; ready_at has one entry per replica
    interventions  [(time_ps, replica, "ready" | "drain")]; a replica's index counts through all pools

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
    is open and the last has finished.
 8. A static batch that never fills never starts and its requests end as inside, but a draining replica
    starts with what it holds.
 9. A request without a gap has itl_max_ps 0; one that has not finished keeps its gaps and last_token_ps
    -1.
10. Interventions at one instant act in the order given, after the ready_at of that instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from .naive_replica import Replica, Sequence


class Run(NamedTuple):
    """What `run` found: one dict per request (by id) and one per replica (by index)."""

    requests: list[dict[str, Any]]
    replicas: list[dict[str, Any]]


class Group:
    """The replicas that serve one model, the router in front of them and the queue at the gateway."""

    def __init__(self, group: dict[str, Any], replicas: list[Replica]) -> None:
        self.router = group.get("router", "round_robin")
        self.queue_capacity = group.get("queue_capacity", 10**9)
        self.replicas = replicas
        self.held: list[Sequence] = []
        self.last_index = -1

    def arrive(self, seq: Sequence, now_ps: int) -> None:
        """Reject, route or hold a request."""
        if not any(replica.fits(seq) for replica in self.replicas):
            seq.outcome, seq.reason = "rejected", "too_long"
        elif self.route(seq, now_ps):
            pass
        elif len(self.held) >= self.queue_capacity:
            seq.outcome, seq.reason = "rejected", "gateway_full"
        else:
            self.held.append(seq)

    def release(self, now_ps: int) -> None:
        """Route what was held, first come first, as far as ready replicas take it."""
        self.held = [seq for seq in self.held if not self.route(seq, now_ps)]

    def route(self, seq: Sequence, now_ps: int) -> bool:
        """Send the request to a ready replica in which it fits; False if there is none."""
        ready = [replica for replica in self.replicas if replica.state == "ready" and replica.fits(seq)]
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
    return int(replica.pool["n_kv_blocks"]) - len(replica.free)


def act(replica: Replica, what: str) -> None:
    """A replica becomes ready, or stops receiving (it finishes what it has)."""
    before, after = {"ready": ("off", "ready"), "drain": ("ready", "draining")}[what]
    assert replica.state == before, f"replica {replica.index} cannot {what}: it is {replica.state}"
    replica.state = after


@dataclass
class Fleet:
    """Everything simulated and what is still to come, soonest first."""

    groups: list[Group]
    replicas: list[Replica]
    changes: list[tuple[int, int, str]]  # (time_ps, replica, "ready" | "drain")
    arriving: list[tuple[Sequence, Group]]

    def next_ps(self) -> int | None:
        """The next instant at which anything happens; None if nothing ever does."""
        pending = [time_ps for time_ps, _, _ in self.changes[:1]]
        pending += [seq.arrival_ps for seq, _ in self.arriving[:1]]
        pending += [wake_ps for replica in self.replicas if (wake_ps := replica.wake_ps()) is not None]
        return min(pending, default=None)

    def live(self, now_ps: int) -> None:
        """All that happens at one instant, in order."""
        while self.changes and self.changes[0][0] == now_ps:
            _, index, what = self.changes.pop(0)
            act(self.replicas[index], what)
        for group in self.groups:
            group.release(now_ps)
        while self.arriving and self.arriving[0][0].arrival_ps == now_ps:
            seq, group = self.arriving.pop(0)
            group.arrive(seq, now_ps)
        for replica in self.replicas:
            replica.boundary(now_ps)


def make_fleet(
    sequences: list[Sequence],
    group_ids: list[int],
    pools: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    interventions: list[tuple[int, int, str]],
) -> Fleet:
    """The fleet before anything happened; `group_ids` holds the group of each sequence."""
    owners = [pool for pool in pools for _ in pool["ready_at"]]
    replicas = [Replica(index, pool) for index, pool in enumerate(owners)]
    fronts = [
        Group(group, [replica for replica in replicas if replica.pool["group"] == number])
        for number, group in enumerate(groups)
    ]
    ready_at = [ready_ps for pool in pools for ready_ps in pool["ready_at"]]
    changes = [(ready_ps, index, "ready") for index, ready_ps in enumerate(ready_at) if ready_ps is not None]
    changes = sorted(changes + interventions, key=lambda change: change[0])
    arriving = [(seq, fronts[group_id]) for seq, group_id in zip(sequences, group_ids, strict=True)]
    return Fleet(fronts, replicas, changes, arriving)


def run(
    requests: list[tuple[int, int, int, int]],
    pools: list[dict[str, Any]],
    classes: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    end_ps: int,
    interventions: list[tuple[int, int, str]] | None = None,
) -> Run:
    """Simulate [0, end_ps). The module's docstring says what the arguments hold and what is decided where."""
    assert all(a[0] <= b[0] for a, b in pairwise(requests)), "arrivals out of order"
    sequences = [
        Sequence(number, arrival_ps, prompt, output, classes[class_id].get("priority", 0))
        for number, (arrival_ps, prompt, output, class_id) in enumerate(requests)
    ]
    group_ids = [classes[request[3]].get("group", 0) for request in requests]
    fleet = make_fleet(sequences, group_ids, pools, groups, interventions or [])
    while (now_ps := fleet.next_ps()) is not None and now_ps < end_ps:
        fleet.live(now_ps)
    return Run([seq.report() for seq in sequences], [replica.report(end_ps) for replica in fleet.replicas])


def simulate(
    requests: list[tuple[int, int, int, int]],
    pools: list[dict[str, Any]],
    classes: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    end_ps: int,
    interventions: list[tuple[int, int, str]] | None = None,
) -> list[dict[str, Any]]:
    """The requests of `run`, by id: outcome, reason, stamps, replica, preemptions, itl_max_ps, gaps."""
    return run(requests, pools, classes, groups, end_ps, interventions).requests
