"""One server of the plain model: it walks every sequence of every step and moves every KV block by hand.

Times are int picoseconds, -1 = has not happened. `naive.py` says what a pool holds and what is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

POOL_DEFAULTS: dict[str, Any] = {
    "group": 0,
    "prefill_ps_per_token": 0,
    "work_ps": None,
    "mixed_ps": 0,
    "attention_q16": 0,
    "block_size": 16,
    "max_model_len": 10**9,
    "long_prefill_token_threshold": 0,
    "scheduling": "fcfs",
    "batching": "continuous",
    "max_batch_delay_ps": 0,
    "chunked_prefill": True,
    "prefill_schedule_interval": 1,
    "slow": (),
}


@dataclass(eq=False)
class Sequence:
    """One attempt at a request, and what a replica knows of it; `arrival_ps` is when the gateway took it."""

    id: int
    arrival_ps: int
    prompt: int
    output: int
    priority: int
    n: int = 1
    request: Any = None
    group: Any = None  # whose replicas may take it
    is_hedge: bool = False  # made beside another one
    is_fallback: bool = False  # made because the one before was blocked
    withheld: bool = False  # its client sees nothing before it has it all
    place: str = ""  # "before" or "after" the GPU at a CPU station, "in" between them, or at the "cache"
    to_visit: list[Any] = field(default_factory=list)  # stations, before or after the GPU
    step_ps: int = -1  # when it is done with its station, or what the cache says has come
    cached_ps: int = -1  # when it was answered from the cache
    counted: bool = False  # it passed the limits
    hedge_ps: int = -1  # when its client may try a second one beside it
    cancel_ps: int = -1  # when its client leaves, because its twin was faster
    end_ps: int = -1  # as the client sees it
    ghost: bool = False  # its client has left while it was in a batch
    wasted: int = 0
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    token_ps: list[int] = field(default_factory=list)
    routed_ps: int = -1
    scheduled_ps: int = -1
    completed_ps: int = -1
    replica: int = -1
    preemptions: int = 0
    outcome: str = "inside"
    reason: str = ""

    @property
    def length(self) -> int:
        """Prompt and generated tokens so far."""
        return self.prompt + len(self.token_ps)

    @property
    def left(self) -> int:
        """Tokens to compute before the next one comes out."""
        return self.length - self.computed

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """The place in a priority queue, smallest first; the largest is preempted first."""
        return (self.priority, self.arrival_ps, self.id, self.n)

    @property
    def finished(self) -> bool:
        """Whether its last token is computed."""
        return self.completed_ps >= 0

    @property
    def emitted_ps(self) -> int:
        """When its first token came out of the replica or the cache, its all if it has none; -1 = not yet."""
        return self.token_ps[0] if self.token_ps else max(self.completed_ps, self.cached_ps)

    def advance(self, chunk: int, now_ps: int) -> None:
        """Count `chunk` tokens as computed at `now_ps`; emit one when caught up, finish after the last."""
        self.computed += chunk
        if self.left > 0 or self.ghost:
            return
        if self.output > 0:
            self.token_ps.append(now_ps)
        if len(self.token_ps) <= 1:
            self.request.emits(self, now_ps)
        if len(self.token_ps) == self.output:
            self.completed_ps = now_ps
            self.request.completes(self, now_ps)

    def end(self, outcome: str, reason: str, now_ps: int) -> None:
        """The client has its answer, or will not get one from this attempt."""
        assert self.outcome == "inside"
        self.outcome, self.reason, self.end_ps = outcome, reason, now_ps
        self.hedge_ps = self.cancel_ps = self.step_ps = -1

    def told(self) -> dict[str, Any]:
        """The attempt as it ended."""
        identity = {"request": self.id, "n": self.n, "taken_ps": self.arrival_ps, "end_ps": self.end_ps}
        return {
            **identity,
            **self.report(),
            "wasted": self.wasted,
            "counted": self.counted,
            "is_hedge": self.is_hedge,
            "is_fallback": self.is_fallback,
            "emitted_ps": self.emitted_ps,
            "tokens_ps": list(self.token_ps),
            "from_cache": self.cached_ps >= 0,
        }

    def report(self) -> dict[str, Any]:
        """The request's row of the result."""
        gaps = [b - a for a, b in pairwise(self.token_ps)]
        last_ps = self.end_ps if self.outcome == "completed" else -1
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "routed_ps": self.routed_ps,
            "scheduled_ps": self.scheduled_ps,
            "first_token_ps": last_ps if self.withheld else self.emitted_ps,
            "computed_ps": last_ps if self.withheld else max(self.completed_ps, self.cached_ps),
            "last_token_ps": last_ps,
            "replica": self.replica,
            "preemptions": self.preemptions,
            "itl_max_ps": max(gaps, default=0),
            "gaps": gaps,
            "place": self.place,
        }


class Replica:
    """One server: a waiting queue, a running batch, a pile of free KV blocks, at most one step under way."""

    def __init__(self, index: int, pool: dict[str, Any]) -> None:
        self.index = index
        self.pool = {**POOL_DEFAULTS, **pool}
        self.max_num_seqs = 1 if self.pool["batching"] == "none" else self.pool["max_num_seqs"]
        self.in_batches = self.pool["batching"] in ("static", "dynamic")
        self.state = "off"  # off, ready, draining
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.free = list(range(self.pool["n_kv_blocks"]))
        self.step_end_ps = -1  # -1 = no step under way
        self.work: dict[Sequence, int] = {}  # tokens of each sequence in the step under way
        self.members: list[Sequence] = []  # of the static or dynamic batch, unfinished
        self.places = 0  # of that batch, not yet taken
        self.steps: list[dict[str, Any]] = []
        self.n_ended = self.admits_from = (
            0  # steps that have ended; how many must have before it admits again
        )
        self.now_ps = 0
        self.evicted: list[tuple[int, int, int]] = []  # (when, who, computed tokens it lost)

    def fits(self, seq: Sequence) -> bool:
        """Whether the request could ever run here, alone."""
        tokens = seq.prompt + max(seq.output, 1) - 1
        short = seq.prompt + seq.output <= self.pool["max_model_len"]
        return short and self.blocks_of(tokens) <= self.pool["n_kv_blocks"]

    def blocks_of(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self.pool["block_size"])

    def warm_tokens(self, seq: Sequence) -> int:
        """Leading tokens of an attempt's prompt that need not be computed here."""
        return 0

    def available(self) -> int:
        """Blocks that can be had."""
        return len(self.free)

    def wake_ps(self) -> int | None:
        """When this replica does something by itself next: its step ends, or a batch delay runs out."""
        if self.step_end_ps >= 0:
            return self.step_end_ps
        if self.pool["batching"] == "dynamic" and self.waiting:
            return self.deadline_ps()
        return None

    def deadline_ps(self) -> int:
        """When the oldest waiting request has waited for the whole batch delay."""
        oldest_ps = min(seq.routed_ps for seq in self.waiting)
        return oldest_ps + int(self.pool["max_batch_delay_ps"])

    def take(self, seq: Sequence, now_ps: int) -> None:
        """A routed request joins the waiting queue."""
        seq.routed_ps, seq.replica = now_ps, self.index
        self.waiting.append(seq)
        self.sort_waiting()

    def sort_waiting(self) -> None:
        """Under priority the queue is always in order of rank; otherwise it is as it was made."""
        if self.pool["scheduling"] == "priority":
            self.waiting.sort(key=lambda seq: seq.rank)

    def boundary(self, now_ps: int) -> None:
        """End the step that ends now, then start one if none is under way and there is work."""
        self.now_ps = now_ps
        if self.step_end_ps == now_ps:
            self.end_step(now_ps)
        if self.step_end_ps < 0:
            self.start_step(now_ps)
        self.check_blocks()

    def end_step(self, now_ps: int) -> None:
        """Tokens come out, of the last in the batch first; finished sequences leave and free their blocks."""
        for seq, chunk in reversed(self.work.items()):
            seq.advance(chunk, now_ps)
        for seq in [seq for seq in self.running if seq.finished or seq.ghost]:
            self.running.remove(seq)
            self.give_back(seq)
            if seq.finished and seq.outcome == "cancelled":
                waste(seq)
        self.members = [seq for seq in self.members if seq in self.running]
        self.work, self.step_end_ps = {}, -1
        self.n_ended += 1

    def leave(self, seq: Sequence) -> None:
        """A client leaves: out of the queue at once, out of the batch when the step under way has ended."""
        waste(seq)
        if seq in self.running:
            seq.ghost = True
        else:
            self.waiting.remove(seq)
            self.places = min(self.places, len(self.waiting))

    def lose(self, now_ps: int) -> None:
        """Everything here is lost; the place can be used again."""
        lost = [seq for seq in self.waiting + self.running if not seq.ghost]
        if self.step_end_ps >= 0:
            self.steps[-1]["lost_ps"] = now_ps
        self.running, self.waiting, self.members, self.places = [], [], [], 0
        self.free, self.step_end_ps, self.work = list(range(self.pool["n_kv_blocks"])), -1, {}
        for seq in lost:
            waste(seq)
            seq.request.lose(seq, now_ps)

    def start_step(self, now_ps: int) -> None:
        """Schedule a step at `now_ps`, again while preemption leaves it empty; idle without work."""
        preempted = True
        while not self.work and preempted:
            budget, preempted = self.schedule_running()
            if not preempted:
                self.schedule_waiting(budget, now_ps)
        if not self.work:
            assert not self.running
            assert self.in_batches or not self.waiting, "idle with work that fits"
            return
        dt_ps = self.step_ps()
        assert dt_ps >= 1
        self.step_end_ps = now_ps + dt_ps
        chunks = [(seq.id, seq.computed, chunk) for seq, chunk in self.work.items()]
        attempts = [seq.n for seq in self.work]
        self.steps.append({"start_ps": now_ps, "dt_ps": dt_ps, "chunks": chunks, "attempts": attempts})

    def schedule_running(self) -> tuple[int, bool]:
        """Running sequences, in order; (budget left, whether anything was preempted)."""
        budget, preempted, i = self.pool["max_num_batched_tokens"], False, 0
        while i < len(self.running) and budget > 0:
            seq = self.running[i]
            chunk = min(self.want(seq), budget)
            while not self.allocate(seq, chunk):
                victim = self.victim()
                preempted = True
                if self.running.index(victim) < i:
                    i -= 1
                budget += self.work.pop(victim, 0)
                self.preempt(victim)
                if victim is seq:
                    return budget, True
            self.work[seq] = chunk
            budget -= chunk
            i += 1
        return budget, preempted

    def schedule_waiting(self, budget: int, now_ps: int) -> None:
        """Admit from the waiting queue until tokens, seats, blocks or the batch's places run out."""
        if self.running and self.n_ended < self.admits_from:
            return
        self.open_batch(now_ps)
        while budget > 0 and len(self.running) < self.max_num_seqs:
            seq = self.next_waiting()
            if seq is None:
                return
            want = self.want(seq)
            if want > budget and not self.pool["chunked_prefill"]:
                if self.work:
                    return
                budget = want
            chunk = min(want, budget)
            if not self.allocate(seq, chunk):
                return
            self.admit(seq, now_ps)
            self.admits_from = self.n_ended + self.pool["prefill_schedule_interval"]
            self.work[seq] = chunk
            budget -= chunk

    def want(self, seq: Sequence) -> int:
        """Tokens that the sequence would compute with a boundless budget."""
        threshold = self.pool["long_prefill_token_threshold"]
        return threshold if 0 < threshold < seq.left else seq.left

    def allocate(self, seq: Sequence, chunk: int) -> bool:
        """Give the sequence the blocks that `chunk` more tokens need, all or none."""
        need = self.blocks_of(seq.computed + chunk) - len(seq.blocks)
        if need > len(self.free):
            return False
        for _ in range(need):
            seq.blocks.append(self.free.pop())
        return True

    def give_back(self, seq: Sequence) -> None:
        """Free all blocks of a sequence."""
        self.free.extend(seq.blocks)
        seq.blocks = []

    def victim(self) -> Sequence:
        """Who is preempted next."""
        if self.pool["scheduling"] == "priority":
            return max(self.running, key=lambda seq: seq.rank)
        return self.running[-1]

    def preempt(self, seq: Sequence) -> None:
        """Out of the batch, to be computed again from its first token."""
        self.running.remove(seq)
        self.give_back(seq)
        if seq in self.members:
            self.members.remove(seq)
            self.places += 1
        self.evicted.append((self.now_ps, seq.id, seq.computed))
        seq.computed = 0
        seq.preemptions += 1
        self.waiting.insert(0, seq)
        self.sort_waiting()

    def open_batch(self, now_ps: int) -> None:
        """Static and dynamic: fix the places of a batch when the last is over and this one may start."""
        if not self.in_batches or self.members or self.places or not self.waiting:
            return
        full = len(self.waiting) >= self.max_num_seqs
        late = self.pool["batching"] == "dynamic" and now_ps >= self.deadline_ps()
        if full or late or self.state == "draining":
            self.places = min(len(self.waiting), self.max_num_seqs)

    def next_waiting(self) -> Sequence | None:
        """Who may be admitted next: the head of the queue, nobody once a batch's places are taken."""
        if self.in_batches and self.places == 0:
            return None
        return self.waiting[0] if self.waiting else None

    def admit(self, seq: Sequence, now_ps: int) -> None:
        """From the waiting queue to the end of the batch."""
        self.waiting.remove(seq)
        self.running.append(seq)
        if seq.scheduled_ps < 0:
            seq.scheduled_ps = now_ps
        if self.in_batches and seq not in self.members:
            self.members.append(seq)
            self.places -= 1

    def step_ps(self) -> int:
        """How long the scheduled step takes."""
        decoding = kv_tokens = chunk_tokens = attended = 0
        for seq, chunk in self.work.items():
            if seq.token_ps and seq.left == 1:
                decoding += 1
                kv_tokens += seq.computed + 1
            else:
                chunk_tokens += chunk
                attended += chunk * (2 * seq.computed + chunk)
        share = slow_share(self.pool, self.now_ps)
        base_ps, slope_ps = self.pool["base_ps"][decoding], self.pool["slope_ps"][decoding]
        if chunk_tokens == 0:
            return int(base_ps * share) + int(slope_ps * share) * kv_tokens
        whole_ps = base_ps + slope_ps * kv_tokens + prompts_ps(self.pool, decoding, chunk_tokens, attended)
        return int(whole_ps * share)

    def check_blocks(self) -> None:
        """No block is lost, made, held twice, or held for nothing."""
        held = [block for seq in self.running for block in seq.blocks]
        assert sorted(held + self.free) == list(range(self.pool["n_kv_blocks"]))
        assert not any(seq.blocks or seq.computed for seq in self.waiting)
        assert len(self.running) <= self.max_num_seqs
        for seq in self.running:
            assert len(seq.blocks) == self.blocks_of(seq.computed + self.work.get(seq, 0))

    def report(self, end_ps: int) -> dict[str, Any]:
        """The replica's row: steps that ended, their time, and how long one cut off by the end had run."""
        whole = [step for step in self.steps if "lost_ps" not in step]
        over = [step for step in whole if step["start_ps"] + step["dt_ps"] < end_ps]
        cut_ps = sum(end_ps - step["start_ps"] for step in whole[len(over) :])
        busy_ps = sum(step["dt_ps"] for step in over)
        busy_ps += sum(step["lost_ps"] - step["start_ps"] for step in self.steps if "lost_ps" in step)
        return {
            "busy_ps": busy_ps,
            "steps": len(over),
            "cut_ps": cut_ps,
            "log": self.steps,
            "evicted": self.evicted,
        }


def waste(seq: Sequence) -> None:
    """A client leaves its attempt: unless it is the answer, what was computed by the last boundary is wasted."""
    if seq.outcome != "completed":
        seq.wasted = seq.computed


def slow_share(pool: dict[str, Any], now_ps: int) -> Fraction:
    """What the times of steps that begin now are multiplied by; the product of some is cut to 2**-20 before the next."""
    share = Fraction(1)
    for from_ps, until_ps, factor_q20 in pool["slow"]:
        if from_ps <= now_ps < until_ps:
            share = Fraction(int(share * factor_q20), 2**20)
    return min(share, Fraction(1024))


def prompts_ps(pool: dict[str, Any], decoding: int, tokens: int, attended: int) -> int:
    """What prompts add to a step: their tokens in its matrix products, their attention, and a fixed time beside decodes."""
    if tokens == 0:
        return 0
    added = work_of(pool, decoding + tokens) - work_of(pool, decoding)
    fixed = pool["mixed_ps"] if decoding > 0 else 0
    return int(added + fixed + (pool["attention_q16"] * attended >> 17))


def work_of(pool: dict[str, Any], tokens: int) -> int:
    """Time by tokens: so much each, or a curve over 0, 1, …, 16 and from there eight sizes an octave."""
    if pool["work_ps"] is None:
        return int(pool["prefill_ps_per_token"] * tokens)
    sizes = [*range(16), *(step << octave for octave in range(1, 23) for step in range(8, 16))]
    i = max(k for k, size in enumerate(sizes) if size <= tokens)
    left, right = pool["work_ps"][i : i + 2]
    return int(left + (right - left) * (tokens - sizes[i]) // (sizes[i + 1] - sizes[i]))
