"""How a provider charges for nodes: what runs are billed against what their events say, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import sim
from sim.compile.jit import plain
from sim.model.capacity.billing import charged_ps
from sim.records.cost import PS_PER_HOUR
from sim.scenario.catalogue import option_files

QUICK = ["duration_s=900", "drain_s=60", "coldstart=none"]
SCALER = "autoscaler: {scan_period_s: 5, unneeded_s: 20, delay_after_add_s: 10}"
PARTS = ("used", "free", "fragmented", "not_ready", "rounding", "unused")


@pytest.mark.parametrize(
    ("life", "unit", "least", "charged"),
    [(0, 1, 0, 0), (59, 60, 0, 60), (60, 60, 0, 60), (61, 60, 0, 120), (10, 1, 60, 60), (70, 60, 60, 120)],
)
def test_time_is_charged_in_whole_units_and_no_less_than_the_least(
    life: int, unit: int, least: int, charged: int
) -> None:
    assert plain(charged_ps)(life, unit, least) == charged


def clusters(n: int) -> Iterator[list[str]]:
    """Scenarios with one to three groups of every market, billed in every way; nodes come, go and are lost."""
    for seed in range(n):
        dice = np.random.default_rng([seed, 77])
        groups = []
        for i in range(int(dice.integers(1, 4))):
            unit = [None, 1.0, 60.0, 3600.0, 7.25][dice.integers(5)]
            billing = (
                f"{{starts: {['requested', 'running'][dice.integers(2)]}, unit_s: {'null' if unit is None else unit},"
                f" minimum_s: {[0, 60, 600][dice.integers(3)]}}}"
            )
            market = ["on_demand", "on_demand", "spot", "reserved", "owned"][dice.integers(5)]
            groups.append(
                f"{{name: g{i}, gpu: h100, gpus: {int(dice.integers(1, 4))}, min_nodes: 0, max_nodes: 3, market: {market},"
                f" usd_per_node_hour: {int(dice.integers(1, 30))}, billing: {billing},"
                f" provision: {{provisioning: {int(dice.integers(0, 60))}, booting: 10, driver: 5}}}}"
            )
        fault = "random_faults: [{zone: zone_a, nodes: 1, gap: {kind: exponential, mean: 200}}]"
        yield [
            f"cluster={{node_groups: [{', '.join(groups)}], {SCALER}, {fault}}}",
            f"seed={seed}",
            f"warmup_s={[0, 300][dice.integers(2)]}",
            "traffic.spikes=[{at_s: 200, height: 6, ramp_s: 30, length_s: 200}]",
        ]


def charged_h(run: Any, place: int) -> float:
    """Hours of a group that are charged over the whole run, from its events: each node's life by itself."""
    group = run.scenario.cluster.node_groups[place]
    bill, end_s = group.billing, run.summary["end_s"]
    if group.market in ("reserved", "owned"):
        return float(group.max_nodes * end_s / 3600)
    since: dict[int, float] = {}
    total_s = 0.0
    for event in run.events.to_pylist():
        node, what, t = event["node"], event["event"], event["time_s"]
        if event["node_group"] != group.name or node is None:
            continue
        runs = what == "node_ready" or (what == "node_stage" and event["stage"] != "provisioning")
        begins = runs or (bill.starts == "requested" and what == "node_requested")
        if begins:
            since.setdefault(node, t)
        elif what in ("node_removed", "node_lost") and node in since:
            life = t - since.pop(node)
            unit = bill.unit_s
            whole = life if unit is None else float(np.ceil(round(life / unit, 9))) * unit
            total_s += max(whole, bill.minimum_s)
    return (total_s + sum(end_s - t for t in since.values())) / 3600


@pytest.mark.parametrize("words", clusters(8))
def test_every_second_is_in_one_line_and_lines_sum_to_the_bill(words: list[str]) -> None:
    run = sim.run("spiky_hour", [*QUICK, *words])
    found = run.summary
    for place, (name, group) in enumerate(found["node_groups"].items()):
        parts = [group[f"usd_{part}"] for part in PARTS]
        assert all(part >= -1e-9 for part in parts), (name, parts)
        assert sum(parts) == pytest.approx(group["usd"])
        price = run.scenario.cluster.node_groups[place].usd_per_hour
        if found["warmup_s"] == 0 and found["end_s"] == found["duration_s"]:
            assert group["usd"] == pytest.approx(price * charged_h(run, place))
        counted = run.result.node_groups[place]
        if run.scenario.cluster.node_groups[place].market not in ("reserved", "owned"):
            hours = (counted["run_paid_ps"] + counted["run_rounded_ps"]) / PS_PER_HOUR
            assert hours == pytest.approx(charged_h(run, place))
    assert sum(line["usd"] for line in found["usd_lines"]) == pytest.approx(found["usd"])
    assert found["usd"] == pytest.approx(sum(group["usd"] for group in found["node_groups"].values()))


@pytest.mark.parametrize("option", sorted(option_files("billing")))
def test_presets_are_read_by_name(option: str) -> None:
    node = f"cluster.node_groups=[{{name: a, gpu: h100, billing: {option}}}]"
    billing = sim.load("first_run", [node]).cluster.node_groups[0].billing
    assert billing.name == option
    assert billing.confidence


def test_what_no_provider_does_is_refused() -> None:
    with pytest.raises(sim.InputError, match=r"node_groups\.0\.billing.*aws"):
        sim.load("first_run", ["cluster.node_groups=[{name: a, gpu: h100, billing: awz}]"])
    with pytest.raises(sim.InputError, match=r"billing\.unit_s"):
        sim.load("first_run", ["cluster.node_groups=[{name: a, gpu: h100, billing: {unit_s: 0}}]"])
    with pytest.raises(sim.InputError, match=r"billing\.starts"):
        sim.load("first_run", ["cluster.node_groups=[{name: a, gpu: h100, billing: {starts: later}}]"])
