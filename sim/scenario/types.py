"""The number types every description is written in: strict, finite, with a range.

A bool is not a number, a string is not a number, and NaN and ±∞ are refused everywhere.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, Strict, StringConstraints

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_\-]*$"
CLOCK_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
INT_MAX = 2**31 - 1
SEED_MAX = 2**63 - 1

Flag = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
NonNegative = Annotated[float, Strict(), Field(ge=0)]
Positive = Annotated[float, Strict(), Field(gt=0)]
Share = Annotated[float, Strict(), Field(gt=0, le=1)]  # (0, 1]
Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
Count = Annotated[int, Strict(), Field(ge=1, le=INT_MAX)]
CountOrZero = Annotated[int, Strict(), Field(ge=0, le=INT_MAX)]
Tier = Annotated[int, Strict(), Field(ge=0, le=1000)]  # of capability: more can do more
Text = Annotated[str, StringConstraints(max_length=2000)]
Name = Annotated[  # what a thing is called, as `Llama 3.1 8B`
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\- /()+]*$")
]
Key = Annotated[  # a name that stands in key paths and folder names, as `spiky_hour`
    str, StringConstraints(min_length=1, max_length=64, pattern=KEY_PATTERN)
]
Clock = Annotated[str, StringConstraints(pattern=CLOCK_PATTERN)]  # a time of day, as `22:00`
Tags = Annotated[tuple[Key, ...], Field(max_length=100)]
