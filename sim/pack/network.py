"""What lies between users and the steps of a server: the network, the gateway, and the server's front end."""

from __future__ import annotations

from sim.scenario.pool import Pool
from sim.scenario.pool_choice import round_trip_s
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.units import s_to_ps


def network_row(entry: TrafficClass, scenario: Scenario, pools: list[Pool]) -> tuple[int, ...]:
    """What the network, the gateway and the server's front end add to an answer from each pool, ps."""
    choice, own_s = scenario.pool_choice, scenario.gateway.latency_s
    added = [
        own_s + (round_trip_s(choice, entry.location, pool.region) or 0.0) + overhead_s(pool)
        for pool in pools
    ]
    return tuple(map(s_to_ps, added)) if any(added) else ()


def is_away(entry: TrafficClass, scenario: Scenario, pools: list[Pool]) -> bool:
    """Whether a network or the gateway lies between users and servers, so that the two measure different times."""
    trips = (round_trip_s(scenario.pool_choice, entry.location, pool.region) for pool in pools)
    return scenario.gateway.latency_s > 0 or any(trips)


def overhead_s(pool: Pool) -> float:
    """What a request waits at the pool's servers beside its steps."""
    return pool.runtime.request_overhead_ms * 1e-3
