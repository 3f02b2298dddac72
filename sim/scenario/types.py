"""The number types every description is written in: strict, finite, with a range at both ends.

A bool is not a number, a string is not a number, and NaN and ±∞ are refused everywhere. A bound is where no machine and
no fleet lies, with room above the largest there are: what is beyond is a slip of the unit or of the finger.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints

from sim.units import HORIZON_MAX_S

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_\-]*$"
CLOCK_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
INT_MAX = 2**31 - 1
SEED_MAX = 2**63 - 1
TOKENS_MAX = 2**24 - 1  # of a request: what its row in a run can hold
PLAIN_MAX = 1e12  # of a number without a unit: the arithmetic of thousandths stays far inside 63 bits


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"{value} is not valid; allowed: a power of two, as 16 or 512, in tokens")
    return value


Flag = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(ge=-PLAIN_MAX, le=PLAIN_MAX)]
NonNegative = Annotated[float, Strict(), Field(ge=0, le=PLAIN_MAX)]
Positive = Annotated[float, Strict(), Field(gt=0, le=PLAIN_MAX)]
# Times: the clock reaches 45 days, and nothing that a person sets is shorter than a microsecond. What happens again
# and again does so at most a thousand times a second.
Seconds = Annotated[float, Strict(), Field(ge=0, le=HORIZON_MAX_S)]
SomeSeconds = Annotated[float, Strict(), Field(ge=1e-6, le=HORIZON_MAX_S)]
PeriodS = Annotated[float, Strict(), Field(ge=1e-3, le=HORIZON_MAX_S)]
StepMs = Annotated[float, Strict(), Field(ge=0, le=3.6e6)]  # no part of a step takes an hour
StepUs = Annotated[float, Strict(), Field(ge=0, le=1e9)]  # nor a thousand seconds
RatePerS = Annotated[float, Strict(), Field(ge=0, le=1e6)]  # requests: the largest public services stay below
UsdPerHour = Annotated[float, Strict(), Field(ge=0, le=1e6)]
UsdPerGpuHour = Annotated[float, Strict(), Field(ge=0, le=1000)]  # the dearest GPU on demand is near 20
Share = Annotated[float, Strict(), Field(gt=0, le=1)]  # (0, 1]
Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
Count = Annotated[int, Strict(), Field(ge=1, le=INT_MAX)]
CountOrZero = Annotated[int, Strict(), Field(ge=0, le=INT_MAX)]
PowerOfTwo = Annotated[Count, AfterValidator(_power_of_two)]
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
Law = Annotated[str, StringConstraints(pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$")]  # code of the user's
MigWord = Annotated[  # as dynamic, 1g.10gb or all-balanced
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+\-]*$")
]
PriorityClass = Annotated[
    int, Strict(), Field(ge=-1_000_000_000, le=1_000_000_000)
]  # Kubernetes' range for users
