"""What a measure is."""

from __future__ import annotations

from typing import NamedTuple

from sim.measures.formulas import Facts, Formula

COUNT, TOKENS, SECONDS, PER_SECOND = "1", "tokens", "s", "1/s"
GIGABYTES, GB_PER_SECOND = "GB", "GB/s"
SHARE = "share"  # a fraction in [0, 1], shown in percent; files call its unit "1"
KWH, KG, WATTS, JOULES_PER_TOKEN = "kWh", "kgCO2e", "W", "J/token"
ENERGY = (KWH, KG, WATTS, JOULES_PER_TOKEN)
USD, USD_PER_HOUR, USD_PER_MILLION = "usd", "usd/h", "usd/1e6 tokens"
LOW, HIGH, NEITHER = "low", "high", ""


class Measure(NamedTuple):
    """One measure of a summary."""

    name: str  # its key in the summary, and its name in a limit
    unit: str
    means: str  # in words, as the documentation and the files say it
    formula: Formula | None  # None for a latency, which has statistics instead of one value
    better: str = NEITHER
    label: str = ""  # where it is shown; empty: its name with blanks
    long_label: str = ""  # where it stands in a sentence; empty: its label
    column_unit: str | None = None  # what a column's title says after its label; None: its unit
    per: str = (
        ""  # of a latency, what has one value: "request", "attempt", or "gap" (a request has many, or none)
    )

    @property
    def is_latency(self) -> bool:
        """Whether it has statistics, from a histogram, instead of one value."""
        return self.formula is None

    @property
    def file_unit(self) -> str:
        """Its unit in files."""
        return COUNT if self.unit == SHARE else self.unit

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.label or self.name.replace("_", " ")

    def value(self, facts: Facts) -> float | int | None:
        """Its value by its formula; a latency has none."""
        return None if self.formula is None else self.formula.value(facts)


def values(measures: tuple[Measure, ...], facts: Facts) -> dict[str, float | int | None]:
    """Name → value of some measures, in their order; latencies are left out."""
    return {m.name: m.formula.value(facts) for m in measures if m.formula is not None}
