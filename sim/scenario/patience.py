"""How long a client waits for an answer before it goes."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from sim.scenario.dist import Dist
from sim.scenario.types import CONFIG, Name, SomeSeconds, Text


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Patience:
    """A client gives an attempt up without a first token after `first_token_s`, or unfinished after `total_s`.

    Both are counted from the moment the attempt reached the gateway, and drawn once per request with one rank:
    who waits long for the first token waits long for the whole. A stream that brings no new token for `stall_s` is
    given up too. None waits for ever.
    """

    name: Name = "none"
    first_token_s: Dist | None = None
    total_s: Dist | None = None
    stall_s: SomeSeconds | None = None
    source: Text = ""
    note: Text = ""
