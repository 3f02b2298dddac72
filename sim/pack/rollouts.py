"""Deployments in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.model.rollout.limits import STRATEGIES
from sim.model.tables.gate import GATE_BAD, GATE_MEASURES, MILLION
from sim.model.tables.rollout import NONE
from sim.scenario.amounts import amount_of
from sim.scenario.deployments import SHARES, Deployment, Gate, measure_parts
from sim.scenario.pool import Pool
from sim.units import NEVER, s_to_ps

Rows = list[dict[str, Any]]


def rollout_rows(deployments: Sequence[Deployment], pools: Sequence[Pool]) -> dict[str, Rows]:
    """The rows of deployments, of their steps and gates, and of the pools as versions, where any need them."""
    names = [pool.name for pool in pools]
    rows: Rows = []
    steps: Rows = []
    gates: Rows = []
    versions: Rows = [{"bad_q30": q30(pool.bad_answer_share)} for pool in pools]
    for deployment in deployments:
        to = names.index(deployment.to)
        of_gates = {"first_gate": len(gates), "n_gate": len(deployment.gates)}
        rows.append(rollout_row(deployment, names) | {"first_step": len(steps), **of_gates})
        versions[to] |= of_gates
        steps += [{"weight": step.weight, "pause_ps": s_to_ps(step.pause_s)} for step in deployment.steps]
        gates += [gate_row(gate, pools[to].bad_answer_share) for gate in deployment.gates]
    is_needed = gates or any(row["bad_q30"] for row in versions)
    found = {"rollout": rows, "rollout_step": steps, "gate": gates}
    return found | {"version": versions if is_needed else []}


def q30(share: float) -> int:
    """A share in parts of 2³⁰."""
    return round(share * 2**30)


def gate_row(gate: Gate, bad_share: float) -> dict[str, int]:
    """A gate's row; `bad_share` is that of the version that it looks at."""
    name, percentile = measure_parts(gate.measure)
    measure = GATE_MEASURES.index(name)

    def bound(value: float) -> int:
        return round(value * MILLION) if name in SHARES else s_to_ps(value)

    return {
        "measure": measure,
        "percentile_milli": round(1000 * percentile),
        "at_most": bound(gate.at_most),
        "fail_above": NEVER if gate.fail_above is None else bound(gate.fail_above),
        "window_ps": s_to_ps(gate.window_s),
        "period_ps": s_to_ps(gate.interval_s),
        "delay_ps": s_to_ps(gate.initial_delay_s),
        "samples": gate.samples,
        "seen_q30": q30(bad_share * (1 - gate.missed) + (1 - bad_share) * gate.false_alarms)
        if measure == GATE_BAD
        else 0,
        "count": gate.count or 0,
        "failure_limit": gate.failure_limit,
        "inconclusive_limit": gate.inconclusive_limit,
        "error_limit": gate.consecutive_error_limit,
    }


def rollout_row(deployment: Deployment, pools: Sequence[str]) -> dict[str, int]:
    """A deployment's row, but for where its steps and gates start."""
    surge, unavailable = amount_of(deployment.max_surge), amount_of(deployment.max_unavailable)
    return {
        "at_ps": s_to_ps(deployment.at_s),
        "pool": list(pools).index(deployment.pool),
        "to_pool": list(pools).index(deployment.to),
        "strategy": STRATEGIES.index(deployment.strategy),
        "surge": surge.value,
        "surge_percent": int(surge.is_percent),
        "unavailable": unavailable.value,
        "unavailable_percent": int(unavailable.is_percent),
        "min_ready_ps": s_to_ps(deployment.min_ready_s),
        "progress_deadline_ps": s_to_ps(deployment.progress_deadline_s),
        "aborts_late": int(deployment.progress_deadline_abort),
        "sync_ps": s_to_ps(deployment.sync_s),
        "routed": int(deployment.traffic == "router"),
        "preview": NONE if deployment.preview_replicas is None else deployment.preview_replicas,
        "auto_promotion": int(deployment.auto_promotion),
        "auto_promotion_ps": s_to_ps(deployment.auto_promotion_s),
        "scale_down_delay_ps": s_to_ps(deployment.scale_down_delay_s),
        "abort_delay_ps": s_to_ps(deployment.abort_scale_down_delay_s),
        "n_step": len(deployment.steps),
    }
