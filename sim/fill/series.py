"""Runs of one world, one after the other: the header is laid out once, and a state takes the memory of the one before.

`Series.params` and `Series.fresh` give what `sim.fill.params.with_traffic` and `sim.fill.state.new_state` give, word for
word but for how many slots there is room for.
"""

from __future__ import annotations

import numpy as np

from sim.fill.params import World, fits, with_traffic
from sim.fill.rows import AUTO_RUNS
from sim.fill.state import SLOTS_AT_FIRST, line_of_zeros, new_state
from sim.fill.trace import Traffic
from sim.model.router.choose import CONSISTENT_HASH
from sim.model.tables.run import Params, State
from sim.model.tables.traffic import CLASS_BITS, TOKEN_BITS, TOKENS_MAX

SEED, N_REQUEST, ALL_FIT = (Params.FIELDS[name].offset for name in ("seed", "n_request", "all_fit"))
#: How many slots there may be room for at first.
SLOTS = (64, 256, SLOTS_AT_FIRST)
#: Tables of which a run writes a row a sample, from the first on.
SAMPLED = ("sample", "station_sample", "work_sample")


class Layout:
    """A state as it begins: where its words are not 0, and what stands there."""

    def __init__(self, params: Params, n_slot: int) -> None:
        header = Params(params.m.copy(), np.zeros(0, dtype=np.int64))
        header.n_request = n_slot  # a state has no more slots than requests
        fresh = new_state(header, n_slot)
        self.n_word = len(fresh.m)
        self.at = np.flatnonzero(fresh.m)
        self.values = fresh.m[self.at]
        self._tables = []  # (first word, words a sample, end) of what is written sample by sample
        n_pool = int(params.n_pool)
        sizes = {"sample": n_pool, "station_sample": int(params.n_station), "work_sample": n_pool}
        for name in SAMPLED:
            row = State.TABLES[name].row
            assert row is not None
            start, n = State.TABLES[name].start_of(fresh), int(params.n_sample)
            self._tables.append((start, sizes[name] * row.SIZE, start + n * sizes[name] * row.SIZE))

    def clear(self, state: State) -> None:
        """Make a state that has been run one that has not."""
        n_sample, m, at = int(state.n_sample), state.m, 0
        for start, words, end in self._tables:
            m[at : min(end, start + (n_sample + 1) * words)] = 0
            at = end
        m[at:] = 0
        m[self.at] = self.values


class Memory:
    """Where one run after the other has its state."""

    def __init__(self) -> None:
        self._words = line_of_zeros(0)
        self._layout: Layout | None = None
        self._state = State(self._words)

    def state(self, layout: Layout) -> State:
        """A fresh state; the one before is gone."""
        if layout is self._layout:
            layout.clear(self._state)
            return self._state
        if len(self._words) < layout.n_word:
            self._words = line_of_zeros(layout.n_word)
        else:
            self._words[:] = 0
        self._state, self._layout = State(self._words[: layout.n_word]), layout
        self._state.m[layout.at] = layout.values
        return self._state


class Series:
    """Runs of one world. What it keeps is some 50 kB."""

    def __init__(self, world: World) -> None:
        self._world = world
        known = Params(world.m, np.zeros(0, dtype=np.int64))
        routers = known.rows("served_model", int(known.n_served_model))["router"]
        pools = known.rows("pool", int(known.n_pool))
        self._room = int(np.minimum(pools["max_model_len"], pools["n_blocks"] * pools["block_size"]).min())
        # a ring depends on the seed, and a prefix cache of no given size on the requests
        self._is_plain = not (
            known.keeps_records
            or (routers == CONSISTENT_HASH).any()
            or (pools["prefix_runs"] == AUTO_RUNS).any()
        )
        self._header: np.ndarray | None = None
        self._layouts: dict[int, Layout] = {}

    def is_plain(self, traffic: Traffic) -> bool:
        """Whether runs differ by their seed and by when which requests come, and by nothing that they make room for."""
        return self._is_plain and all(more is None for more in traffic[4:])

    def params(self, seed: int, traffic: Traffic) -> Params:
        """A run of the world. Raises InputError where its requests are impossible."""
        if not self.is_plain(traffic):
            return with_traffic(self._world, seed, traffic)
        if self._header is None:
            self._header = with_traffic(self._world, seed, traffic).m
        prompt, output = traffic.prompt_tokens, traffic.output_tokens
        longest = int(prompt.max(initial=0)), int(output.max(initial=0))
        if max(longest) > TOKENS_MAX:
            return with_traffic(self._world, seed, traffic)  # says what is wrong with it
        m, n = self._header.copy(), len(traffic.arrival_ps)
        m[SEED], m[N_REQUEST] = seed, n
        m[ALL_FIT] = longest[0] + max(1, longest[1]) <= self._room or fits(prompt, output, self._room)
        trace = np.empty(2 * n, dtype=np.int64)
        trace[:n], packed = traffic.arrival_ps, trace[n:]
        np.left_shift(prompt, TOKEN_BITS, out=packed, dtype=np.int64)
        packed |= output
        packed <<= CLASS_BITS
        packed |= traffic.class_id
        return Params(m, trace)

    def fresh(self, params: Params, traffic: Traffic, memory: Memory) -> State:
        """The state that a run of this series begins with. It lies in `memory`, until the next one does."""
        if not self.is_plain(traffic):
            return new_state(params)
        n_slot = next(n for n in SLOTS if n >= min(SLOTS_AT_FIRST, int(params.n_request)))
        layout = self._layouts.get(n_slot)
        if layout is None:
            layout = self._layouts[n_slot] = Layout(params, n_slot)
        return memory.state(layout)
