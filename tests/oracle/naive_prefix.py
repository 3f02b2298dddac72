"""The plain model's server with a prefix cache: a literal table of blocks, each known by all tokens up to its end.

    chains   {"leaf": [segment | -1 per request], "shared": [tokens per request],
              "parent": [segment | -1 per segment], "start": [first token per segment]}

spells out what the tokens of a request are: those before `shared` are named by their segment and place, those behind
it by the request and their place. What is decided here:

 1. A prompt's full blocks are in the table once scheduled, the full blocks of an answer when their sequence leaves.
 2. A block that is in the table already is shared: the sequence's own copy is empty again.
 3. Empty blocks are taken first; then, of the blocks that nobody holds, the one given up longest ago, of one
    sequence's the last first.
 4. Sequences that finish at one instant give their blocks up in the order of their requests.
 5. The last token of a sequence is always computed: a prompt that is cached in full recomputes its last block.
"""

from __future__ import annotations

from typing import Any

from . import naive
from .naive_replica import Replica, Sequence

Token = tuple[str, int, int]
Key = tuple[Token, ...]


def tokens_of(number: int, length: int, chains: dict[str, list[int]]) -> list[Token]:
    """The tokens of a request, prompt and answer."""
    tokens: list[Token] = []
    for x in range(length):
        segment = chains["leaf"][number] if x < chains["shared"][number] else -1
        while segment >= 0 and chains["start"][segment] > x:
            segment = chains["parent"][segment]
        tokens.append(("shared", segment, x) if segment >= 0 else ("own", number, x))
    return tokens


class CachingReplica(Replica):
    """A server that finds what it has computed before."""

    def __init__(self, index: int, pool: dict[str, Any], tokens: list[list[Token]]) -> None:
        super().__init__(index, pool)
        self.tokens = tokens
        self.table: dict[Key, int] = {}
        self.keys: dict[int, Key] = {}  # block → its key, of those in the table
        self.refs: dict[int, int] = {}
        self.given_up: list[int] = []  # blocks in the table that nobody holds, longest ago first
        self.held: dict[Sequence, int] = {}  # leading blocks of a sequence that it holds in the table
        self.scheduled: dict[Sequence, int] = {}  # tokens of a sequence that have blocks
        self.leavers: list[Sequence] | None = None  # of the step that is ending
        self.asked = self.cached = 0
        self.hits: dict[
            tuple[int, int], int
        ] = {}  # (request, attempt) → tokens found when it was first scheduled

    def key(self, seq: Sequence, j: int) -> Key:
        """What block j of a sequence is known by."""
        return tuple(self.tokens[seq.id][: (j + 1) * self.pool["block_size"]])

    def find(self, seq: Sequence) -> list[int]:
        """The leading blocks of a sequence that are in the table."""
        found: list[int] = []
        while len(found) < (seq.length - 1) // self.pool["block_size"]:
            block = self.table.get(self.key(seq, len(found)))
            if block is None:
                break
            found.append(block)
        return found

    def warm_tokens(self, seq: Sequence) -> int:
        return len(self.find(seq)) * self.pool["block_size"]

    def available(self) -> int:
        """Blocks that can be had: empty ones and those that nobody holds."""
        return len(self.free) + len(self.given_up)

    def take_block(self) -> int:
        """An empty block, or the one whose turn it is to be evicted."""
        if self.free:
            return self.free.pop()
        block = self.given_up.pop(0)
        del self.table[self.keys.pop(block)]
        return block

    def hold(self, block: int) -> None:
        """One more sequence holds a block of the table."""
        if self.refs.get(block, 0) == 0 and block in self.given_up:
            self.given_up.remove(block)
        self.refs[block] = self.refs.get(block, 0) + 1

    def enter(self, seq: Sequence, tokens: int) -> None:
        """The full blocks of a sequence's first `tokens` tokens are in the table."""
        for j in range(self.held.get(seq, 0), tokens // self.pool["block_size"]):
            key, own = self.key(seq, j), seq.blocks[j]
            there = self.table.get(key)
            if there is None:
                self.table[key], self.keys[own] = own, key
                self.hold(own)
            else:
                self.free.append(own)
                self.hold(there)
                seq.blocks[j] = there
            self.held[seq] = j + 1

    def allocate(self, seq: Sequence, chunk: int) -> bool:
        need = self.blocks_of(seq.computed + chunk) - len(seq.blocks)
        if need > self.available():
            return False
        for _ in range(need):
            seq.blocks.append(self.take_block())
        self.scheduled[seq] = seq.computed + chunk
        self.enter(seq, min(seq.computed + chunk, seq.prompt))
        return True

    def end_step(self, now_ps: int) -> None:
        self.leavers = []
        super().end_step(now_ps)
        leavers, self.leavers = self.leavers, None
        for seq in sorted(leavers, key=lambda seq: (seq.id, seq.n)):
            self.give_back(seq)

    def lose(self, now_ps: int) -> None:
        super().lose(now_ps)
        self.table, self.keys, self.refs, self.given_up, self.held = {}, {}, {}, [], {}

    def give_back(self, seq: Sequence) -> None:
        if self.leavers is not None:
            self.leavers.append(seq)
            return
        self.enter(seq, self.scheduled[seq])
        held = self.held.pop(seq, 0)
        for block in reversed(seq.blocks[held:]):
            self.free.append(block)
        for block in reversed(seq.blocks[:held]):
            self.refs[block] -= 1
            if self.refs[block] == 0:
                self.given_up.append(block)
        seq.blocks = []

    def schedule_waiting(self, budget: int, now_ps: int) -> None:
        if self.running and self.n_ended < self.admits_from:
            return
        self.open_batch(now_ps)
        while budget > 0 and len(self.running) < self.max_num_seqs:
            seq = self.next_waiting()
            if seq is None:
                return
            found = self.find(seq)
            seq.computed = len(found) * self.pool["block_size"]
            want = self.want(seq)
            whole = want > budget and not self.pool["chunked_prefill"]
            if whole and not self.work:
                budget = want
            chunk = min(want, budget)
            loose = sum(self.refs.get(block, 0) == 0 for block in found)
            need = self.blocks_of(seq.computed + chunk) - len(found)
            if (whole and self.work) or need + loose > self.available():
                seq.computed = 0
                return
            self.start(seq, found, now_ps)
            self.admits_from = self.n_ended + self.pool["prefill_schedule_interval"]
            assert self.allocate(seq, chunk)
            self.work[seq] = chunk
            budget -= chunk

    def start(self, seq: Sequence, found: list[int], now_ps: int) -> None:
        """Into the batch, with what was found."""
        if seq.scheduled_ps < 0:
            self.asked += seq.prompt
            self.cached += seq.computed
            self.hits[seq.id, seq.n] = seq.computed
        for block in found:
            self.hold(block)
        seq.blocks = list(found)
        self.held[seq] = len(found)
        self.admit(seq, now_ps)

    def check_blocks(self) -> None:
        held = {block for seq in self.running for block in seq.blocks}
        assert sorted([*held, *self.free, *self.given_up]) == list(range(self.pool["n_kv_blocks"]))
        assert {block for block, n in self.refs.items() if n > 0} <= held
        assert all(self.refs[block] == 0 for block in self.given_up)
        assert not any(seq.blocks or seq.computed for seq in self.waiting)
        for seq in self.running:
            assert len(seq.blocks) == self.blocks_of(seq.computed + self.work.get(seq, 0))
        for key in list(self.table)[:30]:  # whatever is cached, all before it is
            assert len(key) <= self.pool["block_size"] or key[: -self.pool["block_size"]] in self.table

    def report(self, end_ps: int) -> dict[str, Any]:
        seen = {"asked": self.asked, "cached": self.cached, "hits": self.hits}
        kept = sorted((list(key) for key in self.table), key=str)
        return {**super().report(end_ps), **seen, "table": kept, "given_up": len(self.given_up)}


def run(chains: dict[str, list[int]], **case: Any) -> naive.Run:
    """`naive.run` of a case in which every pool with `prefix_runs` has a prefix cache."""
    tokens = [
        tokens_of(number, prompt + output, chains)
        for number, (_, prompt, output, _) in enumerate(case["requests"])
    ]

    def make(index: int, pool: dict[str, Any]) -> Replica:
        return CachingReplica(index, pool, tokens) if pool.get("prefix_runs") else Replica(index, pool)

    return naive.run(**case, make_replica=make)
