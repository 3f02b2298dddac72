"""Watts of a GPU, and what a run drew: worked out by hand, and sums that must hold."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import shared_data
from hardware_kit import gpu
from scripts_kit import script

import sim
from sim.report.assumed import ASSUMED, MODELLED, assumptions
from sim.scenario.power import Power, host_w, idle_w, max_w, watts
from sim.scenario.resolved import resolved
from sim.show import as_table

SHORT = ["duration_s=120", "drain_s=60"]
MEASURED = "latency/ml_energy/measured.csv"


def test_a_gpu_draws_from_idle_to_its_most_as_its_arithmetic_rises() -> None:
    power = Power(idle_w=70, max_w=690, full_at_mfu=0.5, exponent=0.5)
    assert watts(power, 700, 0.0) == 70
    assert watts(power, 700, 0.125) == pytest.approx(70 + 620 / 2)
    assert watts(power, 700, 0.5) == watts(power, 700, 1.0) == 690
    seen = [watts(power, 700, m / 100) for m in range(101)]
    assert seen == sorted(seen)


def test_what_is_not_said_of_a_gpu_follows_from_its_tdp() -> None:
    power = Power()
    assert (idle_w(power, 400), max_w(power, 400), host_w(power, 400)) == (40, 400, 120)
    assert max_w(Power(max_w=10), 400) == 40, "the most is no less than idle"


@pytest.mark.parametrize("option", ["h100", "b200", "h200", "gb200"])
def test_facts_in_the_catalogue_name_their_source(option: str) -> None:
    power = gpu(option).power
    assert "none of this GPU" not in power.source
    assert power.confidence.split()[0] in ("fitted:", "third-party,", "vendor")


def by_hand(pool: Any, counted: dict[str, int], table: Any) -> float:
    """kWh of a pool of whole GPUs, from its counters."""
    power, tdp_w, n = pool.gpu.power, pool.gpu.tdp_w, pool.gpus_per_replica
    joules = counted["gpu_ps"] / 1e12 * (power.idle_w + host_w(power, tdp_w))
    for kind, attended in (
        ("prefill", counted["prefill_squares"] / 2),
        ("decode", counted["kv_read_tokens"]),
    ):
        step_s = counted[f"{kind}_ps"] / 1e12
        flops = counted[f"{kind}_tokens"] * table.flops_per_token + attended * table.flops_per_attended_token
        use = min(1, flops / step_s / table.peak_flops / power.full_at_mfu)
        joules += (power.max_w - power.idle_w) * use**power.exponent * step_s * n
    return float(joules * pool.site.pue / 3.6e6)


def test_a_runs_energy_is_what_its_counters_give_by_hand() -> None:
    run = sim.run("first_run", [*SHORT, "pool.tp=2", "site=gcp_europe_west9"])
    pool, counted = run.scenario.pools[0], run.result.pools[0]
    from sim.steptime import make_step_table

    kwh = by_hand(pool, counted, make_step_table(pool))
    found = run.summary
    assert found["kwh"] == pytest.approx(kwh, rel=1e-12)
    assert found["kgco2e"] == pytest.approx(kwh * 0.034, rel=1e-12)
    assert found["joules_per_output_token"] == pytest.approx(kwh * 3.6e6 / found["output_tokens"])
    assert found["watts_mean"] == pytest.approx(kwh * 3.6e6 / found["window_s"])
    assert found["gpu_kwh"] < found["kwh"] <= found["run_kwh"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["cluster=three_zones"],
        ["cluster=mig_a100_pool", "gpu=a100_80", "pool.slice=1g.20gb", "runtime.max_model_len=2048"],
    ],
)
def test_classes_and_what_is_idle_are_the_whole(words: list[str]) -> None:
    run = sim.run("noisy_tenant" if not words else "first_run", [*SHORT, *words])
    found = run.summary
    for kind in ("classes", "tenants") if found["tenants"] else ("classes",):
        parts = sum(part["kwh"] for part in found[kind].values())
        assert parts + found["kwh_idle"] == pytest.approx(found["kwh"], rel=1e-9)
    if words:
        assert found["kwh_idle"] > 0


def test_nodes_draw_their_idle_watts_and_what_steps_add() -> None:
    node = "{name: a, gpu: h100, gpus: 4, min_nodes: 2, max_nodes: 2, base_w: 800, site: gcp_us_west1}"
    run = sim.run("first_run", [*SHORT, f"cluster.node_groups=[{node}]"])
    alone = sim.run("first_run", [*SHORT, "site=gcp_us_west1", "gpu.power.host_w=200"])
    found, pool = run.summary, alone.result.pools[0]
    idle_j = 120 * 2 * (800 + 4 * 70)
    held_j = pool["gpu_ps"] / 1e12 * (200 + 70)
    steps_j = alone.summary["kwh"] * 3.6e6 / 1.1 - held_j
    assert found["kwh"] * 3.6e6 / 1.1 == pytest.approx(idle_j + steps_j, rel=1e-9)
    assert found["kgco2e"] == pytest.approx(found["kwh"] * 0.094)


def test_a_slice_draws_its_compute_slices_part() -> None:
    words = [*SHORT, "gpu=a100_80", "runtime.max_model_len=2048"]
    run = sim.run("first_run", ["cluster=mig_a100_pool", *words, "pool.slice=3g.40gb"])
    pool = run.scenario.pools[0]
    assert pool.watt_share == pytest.approx(3 / 7)


def test_a_sweep_has_the_energy_of_single_runs() -> None:
    sweep = sim.sweep(sim.load("first_run", SHORT), seeds=[1, 2])
    for row in sweep.rows:
        one = sim.run("first_run", [*SHORT, f"seed={row['seed']}"]).summary
        assert (row["kwh"], row["kgco2e"], row["kwh_idle"]) == (one["kwh"], one["kgco2e"], one["kwh_idle"])


def test_limits_on_energy() -> None:
    words = ['slo=["kwh < 100 kWh", "gpu_joules_per_output_token < 0.001 J/token", "kgco2e < 9 kgCO2e"]']
    run = sim.run("first_run", [*SHORT, *words])
    assert [verdict.ok for verdict in run.verdicts] == [True, False, True]
    with pytest.raises(sim.InputError, match="kwh is in kWh, not in 'W'"):
        sim.load("first_run", ['slo=["kwh < 5 W"]'])


def test_a_site_that_there_is_not() -> None:
    node = "cluster.node_groups=[{name: a, gpu: h100, site: gcp_europe_west99}]"
    with pytest.raises(sim.InputError, match=r"node_groups\.0\.site.*gcp_europe_west9"):
        sim.load("first_run", [node])
    with pytest.raises(sim.InputError, match=r"site\.pue: 0\.9"):
        sim.load("first_run", ["site.pue=0.9"])


def test_nodes_stand_where_the_scenario_does_unless_they_say_otherwise() -> None:
    groups = "[{name: a, gpu: h100}, {name: b, gpu: h100, site: {pue: 1.3}}, {name: c, gpu: h100, site: aws_us_east_1}]"
    words = ["site=gcp_europe_west9", "site.pue=1.2", f"cluster.node_groups={groups}"]
    a, b, c = (group.site for group in sim.load("first_run", words).cluster.node_groups)
    assert (a.pue, a.g_co2e_per_kwh, b.pue, b.g_co2e_per_kwh) == (1.2, 34, 1.3, 34)
    assert (c.name, c.pue) == ("aws_us_east_1", 1.15)


def test_what_it_rests_on_is_said() -> None:
    text = as_table("first_run", ["gpu=l4"])
    assert "watts of L4 24 GB: 7.2 idle to 72" in text
    assert "assumed: idle a tenth of the TDP" in text
    scenario = sim.load("first_run", [])
    said = {one.what: one for one in assumptions({"config": resolved(scenario)}, {"pools": {}})}
    assert said["watts of H100 SXM 80 GB"].kind == MODELLED
    assert said["watts around H100 SXM 80 GB"].kind == ASSUMED
    assert said["CO2 of world"].value == "475 g/kWh"


# ---- measurements ----------------------------------------------------------------------
def test_the_fitted_curves_are_as_far_off_as_the_page_says() -> None:
    """Measured watts of vLLM on H100 and B200, which are not part of this repository."""
    path = shared_data(MEASURED)
    script("accuracy_cases")
    study = script("energy_study")
    with open(path, newline="") as stream:
        assert len(list(csv.DictReader(stream))) > 300
    points = [p for p in study.points_in(Path(path).parents[2]) if study.is_fair(p)]
    for name, option, most in (("H100", "h100", 0.09), ("B200", "b200", 0.11)):
        mine = [p for p in points if p.gpu == name]
        found = study.errors(mine, gpu(option).power, gpu(option).tdp_w)
        assert abs(found).mean() < most
        assert math.isfinite(found.sum())


# ---- over time ----------------------------------------------------------------------
def test_watts_over_time_add_up_to_the_runs_energy() -> None:
    run = sim.run("first_run", [*SHORT, "output.sample_interval_s=5"])
    rows = run.timeseries.to_pylist()
    joules = sum(row["watts"] * row["interval_s"] for row in rows if row["watts"] is not None)
    kwh = run.summary["run_kwh"]
    assert joules / 3.6e6 == pytest.approx(kwh, rel=0.02), "but for the curve, which is concave"
    assert joules / 3.6e6 <= kwh * (1 + 1e-9)


def test_what_samples_count_ends_as_the_marks_do() -> None:
    run = sim.run("first_run", [*SHORT, "output.sample_interval_s=7"])
    samples, pool = run.result.samples, run.result.pools[0]
    for name in (
        "prefill_ps",
        "decode_ps",
        "prefill_tokens",
        "prefill_squares",
        "decode_tokens",
        "kv_read_tokens",
    ):
        column = [int(value) for value in samples[name]]
        assert column == sorted(column), name
        assert column[-1] == pool[f"run_{name}"], name


def test_carbon_by_the_hour_follows_when_energy_is_drawn() -> None:
    hours = "site.g_co2e_by_hour=[100, 700]"
    long = ["duration_s=7200", "traffic.arrivals.rate_per_s=1", "output.sample_interval_s=60"]
    run = sim.run("first_run", [*long, hours])
    rows = [row for row in run.timeseries.to_pylist() if 0 < row["time_s"] <= 7200]
    kg = sum(
        row["watts"] * row["interval_s"] / 3.6e6 * (0.1 if row["time_s"] <= 3600 else 0.7) for row in rows
    )
    kwh = sum(row["watts"] * row["interval_s"] for row in rows) / 3.6e6
    assert run.summary["kgco2e"] == pytest.approx(kg * run.summary["kwh"] / kwh, rel=1e-9)
    same = sim.run("first_run", [*long, "site.g_co2e_by_hour=[475]"]).summary
    assert same["kgco2e"] == pytest.approx(sim.run("first_run", long).summary["kgco2e"])
    sweep = sim.sweep(sim.load("first_run", [*SHORT, hours]), seeds=[1])
    assert sweep.rows[0]["kgco2e"] is None, "a sweep keeps no watts over time"
