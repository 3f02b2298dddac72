"""What a class or a tenant may use of the gateway, and the longest requests that a class may send."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Count, Number, Positive, Text

RequestsPerS = Annotated[Positive, Field(le=1e6)]
TokensPerS = Annotated[Number, Field(ge=10, le=1e9)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Limits:
    """Rate limits (429s) and a cap on requests in flight; None limits nothing.

    A bucket fills at its rate, up to `burst` requests or `token_burst` tokens, and starts full; an attempt takes
    one request, and its prompt and output tokens. Left out, a bucket holds a second's worth of requests (one at
    least) and a minute's worth of tokens.
    """

    requests_per_s: RequestsPerS | None = None
    burst: Count | None = None
    tokens_per_s: TokensPerS | None = None
    token_burst: Count | None = None
    max_concurrent: Count | None = None
    source: Text = ""

    @property
    def request_burst(self) -> int:
        """Requests that the bucket holds: as said, or a second's worth."""
        if self.burst is not None or self.requests_per_s is None:
            return self.burst or 0
        return max(1, round(self.requests_per_s))

    @property
    def tokens_burst(self) -> int:
        """Tokens that the bucket holds: as said, or a minute's worth."""
        if self.token_burst is not None or self.tokens_per_s is None:
            return self.token_burst or 0
        return max(1, round(60 * self.tokens_per_s))


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Caps:
    """The most tokens a request may have; None allows any.

    A prompt above `input_tokens` is refused, or loses what is above it (`truncate`); an answer above
    `output_tokens` ends there (`clamp`), or its request is refused. A turn is refused that would bring its session's
    prompts and answers above `session_tokens`.
    """

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    long_input: Literal["reject", "truncate"] = "reject"
    long_output: Literal["clamp", "reject"] = "clamp"
    session_tokens: Count | None = None
