"""Deployments: what became of each, when, by which gate, and what the new version answered."""

from __future__ import annotations

from typing import Any

from sim.model.tables.rollout import LATE
from sim.units import ps_to_s

Row = dict[str, Any]


def rollout_measures(scenario: Any, result: Any) -> dict[str, Row]:
    """`OLD to NEW` → its outcome and times in s, null where they did not come; replicas wanted, most there, fewest
    available; what its gates looked at, and what the new version answered, null where versions do not differ.
    """
    deployments = getattr(scenario, "deployments", ()) if getattr(result, "rollouts", ()) else ()
    return {
        f"{deployment.pool} to {deployment.to}": _measures(scenario, result, number)
        for number, deployment in enumerate(deployments)
    }


def _measures(scenario: Any, result: Any, number: int) -> Row:
    deployment, found = scenario.deployments[number], result.rollouts[number]
    first = sum(len(other.gates) for other in scenario.deployments[:number])
    gates = result.gates[first : first + len(deployment.gates)]
    return {
        "strategy": deployment.strategy,
        "outcome": _outcome(found),
        "because": _because(deployment, found),
        **{
            f"{name}_s": _seconds(found[f"{name}_ps"])
            for name in ("started", "promoted", "ended", "timed_out", "aborted", "paused")
        },
        "took_s": _seconds(found["ended_ps"] - found["started_ps"]) if found["ended_ps"] >= 0 else None,
        "replicas": found["replicas"],
        "steps_done": found["step"],
        "replicas_max": found["most"],
        "available_min": found["least"],
        "measurements": sum(gate["measured"] for gate in gates),
        **_answers(scenario, result, deployment),
    }


def _outcome(found: Row) -> str:
    """What a deployment came to: all replicas are of the new version, or of the old one again, or of neither yet."""
    if found["started_ps"] < 0:
        return "not_begun"
    if found["ended_ps"] >= 0:
        return "promoted" if found["aborted_ps"] < 0 else "rolled_back"
    if found["paused_ps"] >= 0:
        return "paused"
    if found["timed_out_ps"] >= 0:
        return "stuck"
    return "in_progress" if found["aborted_ps"] < 0 else "rolling_back"


def _because(deployment: Any, found: Row) -> str | None:
    """Why it went back or waits: the measure of the gate that said so, or its deadline."""
    if found["because"] == LATE:
        return "progress_deadline"
    return deployment.gates[found["because"] - 1].measure if found["because"] > 0 else None


def _answers(scenario: Any, result: Any, deployment: Any) -> Row:
    """Requests that the new version answered in the whole run, and how many of these answers are bad."""
    place = [pool.name for pool in scenario.pools].index(deployment.to)
    known = result.versions[place] if result.versions else {}
    return {f"new_{name}": known.get(name) for name in ("answered", "bad", "failed")}


def _seconds(time_ps: int) -> float | None:
    """A time in seconds; None where it never came."""
    return None if time_ps < 0 else ps_to_s(time_ps)
