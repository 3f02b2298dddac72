"""Sessions in closed loop: who comes back only after the answer, and what the next prompt then contains."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.arrivals import JITTER_MAX_S
from sim.scenario.dist import Constant, Dist
from sim.scenario.types import CONFIG, Count, Flag, Name, Seconds, Text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Sessions:
    """Arrivals are beginnings of sessions; every further request waits for the answer to the one before it.

    A user takes `turns`; between an answer and the next turn pass `think_s`. A turn is one request, or `calls_per_turn`
    of an agent: all but the first come `tool_s` after an answer that calls a tool (of `call_tokens`, or as long as any
    answer) and bring the tool's result of `tool_tokens`. A prompt holds all that was said before and what is new:
    `prompt_tokens` of the class for a turn. A session ends when its user has no more turns, before a request of more
    than `context_tokens`, after one that was not answered (unless the user is `persistent`), and with the run.
    """

    name: Name = "sessions"
    turns: Dist = field(default_factory=lambda: Constant(value=1))
    think_s: Dist = field(default_factory=lambda: Constant(value=0))
    calls_per_turn: Dist = field(default_factory=lambda: Constant(value=1))
    tool_s: Dist = field(default_factory=lambda: Constant(value=0))
    tool_tokens: Dist = field(default_factory=lambda: Constant(value=0))
    call_tokens: Dist | None = None
    context_tokens: Count | None = None
    persistent: Flag = False
    jitter_s: Annotated[Seconds, Field(le=JITTER_MAX_S)] = 0.1
    source: Text = ""
    note: Text = ""
