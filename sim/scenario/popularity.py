"""How often the same thing is asked: what a response cache lives on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Int, NonNegative, Share, Text

CATALOGUE_MAX = 10_000_000
Questions = Annotated[Int, Field(ge=1, le=CATALOGUE_MAX)]
Exponent = Annotated[NonNegative, Field(le=10)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Popularity:
    """A share `cacheable` of the requests asks one of `catalogue` questions, the k-th of them in proportion to
    1 / k^`exponent` (Zipf's law); the rest asks something of its own. Requests that ask the same are equally long.
    """

    catalogue: Questions
    exponent: Exponent = 1.0
    cacheable: Share = 1.0
    source: Text = ""
