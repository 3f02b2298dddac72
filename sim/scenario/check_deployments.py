"""Rules between deployments and pools: both versions are there, serve one model, and each comes and goes once."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import nearest, problem
from sim.scenario.autoscaler import Fixed
from sim.scenario.check_sense import replicas_max
from sim.scenario.deployments import SAMPLES_MAX, SHARES, Deployment, Gate
from sim.scenario.pool import Pool
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario


def deployment_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule as one line."""
    pools = {pool.name: pool for pool in scenario.pools}
    for place, deployment in enumerate(scenario.deployments):
        key = f"deployments.{place}"
        if deployment.at_s >= scenario.duration_s:
            yield problem(f"{key}.at_s", deployment.at_s, f"less than duration_s ({scenario.duration_s:g} s)")
        unknown = [name for name in ("pool", "to") if getattr(deployment, name) not in pools]
        for name in unknown:
            value = getattr(deployment, name)
            yield problem(f"{key}.{name}", value, ", ".join(pools), nearest(value, list(pools)))
        if not unknown:
            yield from pair_problems(key, deployment, pools, said)
        yield from order_problems(key, deployment, scenario.deployments[:place])
        yield from step_problems(key, deployment)
        for number, gate in enumerate(deployment.gates):
            yield from gate_problems(f"{key}.gates.{number}", gate, deployment)


def pair_problems(key: str, deployment: Deployment, pools: dict[str, Pool], said: Said) -> Iterator[str]:
    """The new version serves what the old one does, is as large, and begins with the deployment."""
    old, new = pools[deployment.pool], pools[deployment.to]
    if old is new:
        yield problem(
            f"{key}.to", deployment.to, "another pool than `pool`: the new version has one of its own"
        )
        return
    if old.model.name != new.model.name:
        allowed = f"a pool that serves {old.model.name}, as {old.name} does; it serves {new.model.name}"
        yield problem(f"{key}.to", deployment.to, allowed)
    if new.initial_replicas is not None and not isinstance(new.autoscaler, Fixed):  # whose number it is
        allowed = f"null: its replicas come with the deployment that replaces {old.name}"
        yield problem(said.key(new.name, "initial_replicas"), new.initial_replicas, allowed)
    if new.max_replicas < replicas_max(old):
        allowed = f"at least {replicas_max(old)}, all that {old.name} can have, which {new.name} replaces"
        yield problem(said.key(new.name, "max_replicas"), new.max_replicas, allowed)


def order_problems(key: str, deployment: Deployment, before: tuple[Deployment, ...]) -> Iterator[str]:
    """No pool is replaced twice or comes twice, and one comes before it is replaced; they are written in that order."""
    for place, other in enumerate(before):
        if other.pool == deployment.pool:
            allowed = f"a pool that deployments.{place} has not replaced before"
            yield problem(f"{key}.pool", deployment.pool, allowed)
        if deployment.to in (other.pool, other.to):
            allowed = f"a pool that is not part of deployments.{place} before"
            yield problem(f"{key}.to", deployment.to, allowed)
        if other.to == deployment.pool and other.at_s >= deployment.at_s:
            allowed = (
                f"more than {other.at_s:g} s, when deployments.{place} begins to bring {deployment.pool}"
            )
            yield problem(f"{key}.at_s", deployment.at_s, allowed)


def step_problems(key: str, deployment: Deployment) -> Iterator[str]:
    """A canary has steps, and nothing else has."""
    if deployment.strategy == "canary" and not deployment.steps:
        yield f"{key}.steps: is missing; a canary has some, as [{{weight: 20, pause_s: 300}}]"
    if deployment.strategy != "canary" and deployment.steps:
        yield problem(f"{key}.steps", len(deployment.steps), "none, unless strategy is canary")
    if deployment.strategy != "canary" and deployment.traffic != "replicas":
        yield problem(f"{key}.traffic", deployment.traffic, "replicas, unless strategy is canary")
    if deployment.strategy != "blue_green":
        nothing = (("preview_replicas", None), ("auto_promotion", True), ("auto_promotion_s", 0))
        for name, default in nothing:
            if getattr(deployment, name) != default:
                allowed = (
                    f"{'null' if default is None else str(default).lower()}, unless strategy is blue_green"
                )
                yield problem(f"{key}.{name}", getattr(deployment, name), allowed)


def gate_problems(key: str, gate: Gate, deployment: Deployment) -> Iterator[str]:
    """A gate can hold and can fail, and says nothing that its measure has no use for."""
    is_judged = gate.measure == "bad_answers"
    if gate.measure in SHARES:
        for name in ("at_most", "fail_above"):
            value = getattr(gate, name)
            if value is not None and value > 1:
                yield problem(f"{key}.{name}", value, f"0 to 1: {gate.measure} is a share")
        if gate.fail_above is None and gate.at_most == 1:
            yield problem(
                f"{key}.at_most", gate.at_most, "less than 1: no share is above it, the gate cannot fail"
            )
    if gate.fail_above is not None and gate.fail_above < gate.at_most:
        yield problem(f"{key}.fail_above", gate.fail_above, f"at least at_most ({gate.at_most:g})")
    if gate.count is not None and deployment.strategy != "canary":
        yield problem(f"{key}.count", gate.count, "null, unless strategy is canary: nothing else has steps")
    if is_judged and gate.samples > SAMPLES_MAX:
        yield problem(f"{key}.samples", gate.samples, f"1 to {SAMPLES_MAX} answers that are looked at")
    for name in () if is_judged else ("missed", "false_alarms"):
        if getattr(gate, name) > 0:
            yield problem(f"{key}.{name}", getattr(gate, name), "0, unless measure is bad_answers")
