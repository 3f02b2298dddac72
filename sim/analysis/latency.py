"""The latency measures of one scope (the fleet, or one traffic class)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.analysis.percentiles import Histograms, Population, lost_in_proportion, statistics_of
from sim.engine.result import RESULT_METRICS
from sim.measures.listed import LATENCIES

PER = {measure.name: measure.per for measure in LATENCIES}
MANY_OR_NONE = tuple(name for name, per in PER.items() if per == "gap")  # a request can have several, or none


def latencies(result: Any, scope: int, edges_ps: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Measure → its statistics; scope 0 is the fleet, 1 + c is class c."""
    counts = histograms(result, scope)
    seen = Histograms(counts)
    populations = [
        Population(counts[i], int(result.sums[name][scope]), n_lost(result, name, scope, seen.n_values(i)))
        for i, name in enumerate(RESULT_METRICS)
    ]
    return dict(zip(RESULT_METRICS, statistics_of(populations, seen, edges_ps), strict=True))


def population(result: Any, measure: str, scope: int) -> Population:
    """The durations of one measure, and how many the requests that were not served lack."""
    counts = histograms(result, scope)[RESULT_METRICS.index(measure)]
    lost = n_lost(result, measure, scope, int(counts.sum()))
    return Population(counts, int(result.sums[measure][scope]), lost)


def histograms(result: Any, scope: int) -> np.ndarray:
    """(measure, bucket) of one scope; gaps of answers that nobody got, as those a guardrail blocked, do not count."""
    counts = np.asarray(result.hist[scope])
    if count(result, "completed", scope) > 0:
        return counts
    nobodys = np.isin(RESULT_METRICS, MANY_OR_NONE)
    return np.where(nobodys[:, np.newaxis], 0, counts)


def n_lost(result: Any, measure: str, scope: int, n_values: int) -> int:
    """How many durations of a measure the requests that were not served lack, where the others have `n_values`."""
    tries = "attempts" if PER[measure] == "attempt" else "offered"
    n_offered, n_completed = count(result, tries, scope), count(result, "completed", scope)
    if measure in MANY_OR_NONE:
        return lost_in_proportion(n_values, n_completed, n_offered - n_completed)
    return max(0, n_offered - n_values)


def count(result: Any, name: str, scope: int) -> int:
    """One counter of one scope."""
    return int(result.counts[name][scope])
