"""Replicas on shared GPUs in the plain model: each step looks, when it begins, at whose steps are under way on its GPU.

It shares no code with the product. A pool on a shared GPU has more keys: card (which GPU), sharing ("time_slicing" or
"mps"), beside_q10 (what is added beside others, in 1024ths), threads (percent of the multiprocessors for each replica).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

from .naive_replica import Replica, slow_share

Cards = dict[int, list["SharedReplica"]]


class SharedReplica(Replica):
    """A server that may have neighbours on its GPU."""

    def __init__(self, cards: Cards, index: int, pool: dict[str, Any]) -> None:
        super().__init__(index, pool)
        self.neighbours: list[SharedReplica] = []
        self.parts: list[int] = [0, 0]  # of the step under way, had it the GPU alone: decoding, prompts
        if self.pool.get("card") is not None:
            self.neighbours = cards.setdefault(self.pool["card"], [])
            self.neighbours.append(self)

    def step_ps(self) -> int:
        """How long the scheduled step takes beside those that are under way."""
        n, kv_tokens = self.decoding()
        alone_ps = super().step_ps()
        pace = slow_share(self.pool, self.now_ps)
        base_ps, slope_ps = (int(self.pool[name][n] * pace) for name in ("base_ps", "slope_ps"))
        decode_ps = base_ps + slope_ps * kv_tokens if n else 0
        self.parts = [decode_ps, alone_ps - decode_ps]
        slower, prompts_slower = self.factors()
        decode_ps = ceil(base_ps * slower) + ceil(slope_ps * slower) * kv_tokens if n else 0
        return decode_ps + ceil(self.parts[1] * prompts_slower)

    def decoding(self) -> tuple[int, int]:
        """(sequences that decode in the scheduled step, the tokens that they attend)."""
        able = [seq for seq in self.work if seq.token_ps and seq.left == 1]
        return len(able), sum(seq.computed + 1 for seq in able)

    def factors(self) -> tuple[Fraction, Fraction]:
        """How much longer decoding and prompts take than alone."""
        others = [one for one in self.neighbours if one is not self and one.step_end_ps >= 0]
        if not others:
            return Fraction(1), Fraction(1)
        beside = Fraction(1024 + self.pool["beside_q10"], 1024)
        if self.pool["sharing"] == "time_slicing":
            both = (1 + len(others)) * beside
            return both, both
        decoding = [one for one in others if one.parts[0]]
        prompting = [one for one in others if one.parts[1]]
        decode = Fraction(1 + len(decoding)) * (beside if prompting else 1)
        percent = self.pool["threads"] + sum(one.pool["threads"] for one in prompting)
        # the product counts in 1024ths and rounds up, once for each
        prompt = Fraction(max(1024, ceil(Fraction(1024 * percent, 100))), 1024)
        if decoding:
            prompt = Fraction(ceil(prompt * beside * 1024), 1024)
        return decode, prompt

    def start_step(self, now_ps: int) -> None:
        """As of any server; what the step would have taken alone is kept in the log."""
        n_step = len(self.steps)
        super().start_step(now_ps)
        if len(self.steps) > n_step:
            self.steps[-1]["alone_ps"] = sum(self.parts)
