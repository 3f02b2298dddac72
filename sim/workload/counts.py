"""How many requests arrive in a run, without making them: a control that needs no simulation."""

from __future__ import annotations

from sim.scenario.arrivals import Concurrency
from sim.scenario.scenario import Scenario
from sim.units import s_to_ps
from sim.workload.calls import is_written, make_calls, shared_arrivals


def n_arrivals(scenario: Scenario, seed: int) -> int | None:
    """Arrivals within the measured window, of sessions their beginnings; None where clients of a closed loop send when
    they like. Raises InputError where the traffic cannot be made.
    """
    if any(isinstance(one.arrivals, Concurrency) for one in scenario.classes):
        return None
    shared = shared_arrivals(scenario, seed)
    begin, end, found = s_to_ps(scenario.warmup_s), s_to_ps(scenario.duration_s), 0
    for i, traffic in enumerate(scenario.classes):
        calls = shared.get(i) or make_calls(
            traffic, scenario.duration_s, seed, writes=is_written(scenario, traffic)
        )
        found += int(((calls.arrival_ps >= begin) & (calls.arrival_ps < end)).sum())
    return found
