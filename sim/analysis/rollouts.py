"""Deployments: when each began, ended and stood still, and how many replicas there were meanwhile."""

from __future__ import annotations

from typing import Any

from sim.units import ps_to_s


def rollout_measures(scenario: Any, result: Any) -> dict[str, dict[str, Any]]:
    """`OLD to NEW` → its times in s, null where they did not come; replicas wanted, most there, fewest available."""
    deployments = getattr(scenario, "deployments", ()) if getattr(result, "rollouts", ()) else ()
    return {
        f"{deployment.pool} to {deployment.to}": {
            "strategy": deployment.strategy,
            **{f"{name}_s": _seconds(found[f"{name}_ps"]) for name in ("started", "ended", "timed_out")},
            "replicas": found["replicas"],
            "steps_done": found["step"],
            "replicas_max": found["most"],
            "available_min": found["least"],
        }
        for deployment, found in zip(deployments, result.rollouts, strict=True)
    }


def _seconds(time_ps: int) -> float | None:
    """A time in seconds; None where it never came."""
    return None if time_ps < 0 else ps_to_s(time_ps)
