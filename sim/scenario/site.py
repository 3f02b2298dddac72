"""Where machines stand: what a data centre needs beside them, and how much CO2 its electricity brings."""

from __future__ import annotations

import copy
from typing import Annotated

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Name, Text

Pue = Annotated[float, Strict(), Field(ge=1, le=10)]
GramsPerKwh = Annotated[float, Strict(), Field(ge=0, le=5_000)]  # lignite alone has some 1,200


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Site:
    """`pue` is the data centre's energy over its machines'; `g_co2e_per_kwh` are the grams that its electricity brings.
    `g_co2e_by_hour`, where it is given, stands in its place: those of each hour from t = 0 on, again from the first behind
    the last.
    """

    name: Name = "world"
    pue: Pue = 1.58
    g_co2e_per_kwh: GramsPerKwh = 475.0
    g_co2e_by_hour: Annotated[tuple[GramsPerKwh, ...], Field(max_length=24 * 366)] = ()
    pue_source: Text = "Uptime Institute survey, 2023: the industry's mean"
    pue_confidence: Text = "survey"
    source: Text = (
        "world average of electricity; codecarbon (MIT), data/private_infra/carbon_intensity_per_source.json"
    )
    confidence: Text = "third-party table; a year's mean"

    def known(self, grams: float) -> Site:
        """The same with one intensity for a run, which has been worked out and is NaN where it could not be."""
        other = copy.copy(self)
        object.__setattr__(other, "g_co2e_per_kwh", grams)
        object.__setattr__(other, "g_co2e_by_hour", ())
        return other
