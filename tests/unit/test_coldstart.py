"""Cold starts that know the model: bytes over bandwidths, work per layer, stages side by side."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coldstart_figures import (
    CASES,
    CONF,
    EXPLAINED,
    LEFT_OUT,
    WITHIN,
    error,
    headline,
    left_out,
    preset_s,
    table,
)
from hypothesis import given
from hypothesis import strategies as st

import sim
from sim.errors import InputError
from sim.fill.rows import StepRow
from sim.pack.coldstart import (
    Subject,
    artifacts_of,
    bytes_of,
    compute_s,
    graph_sizes,
    hit_s_of,
    stage_times,
    subject_of,
    transfer_s,
    typical_s,
)
from sim.pack.start_steps import step_rows
from sim.report.starts import start_lines
from sim.report.text import seconds
from sim.runner import simulate
from sim.scenario.coldstart import SHOWN_AS, STAGES, Compute, Fixed, Transfer, circle, in_order, waits_for
from sim.scenario.compose import load_scenario
from sim.scenario.dist import Constant
from sim.scenario.pool import Pool
from sim.show import as_table
from tests.conftest import shared_data

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cold-starts.md"
PRESETS = (
    "object_store",
    "object_store_streamer",
    "cloud_disk",
    "cloud_disk_streamer",
    "cloud_disk_tensorizer",
)
PRESETS += ("local_nvme", "network_fs", "warm_cache", "snapshot")


def pool(*overrides: str) -> Pool:
    return load_scenario("first_run", list(overrides)).pools[0]


def median_s(found: Pool, name: str) -> float:
    return next(float(np.median(stage.seconds)) for stage in stage_times(found) if stage.name == name)


# ---- against what was measured ----------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.figure}: {case.what}")
def test_a_published_time_is_met_or_the_difference_is_explained(case: Any) -> None:
    is_within = abs(error(case)) <= WITHIN
    assert is_within != (case.what in EXPLAINED), f"{error(case):+.1f} %"


def test_the_page_shows_the_table_as_it_is() -> None:
    text = PAGE.read_text()
    assert table() in text, "renew it: python -m tests.unit.coldstart_figures"
    assert headline() in text
    assert left_out() in text


def test_every_figure_of_the_collection_is_held_against_or_left_out_for_a_reason() -> None:
    collection = json.loads(shared_data("cluster/coldstart_measured.json").read_text())
    figures = [figure["id"] for figure in collection["figures"]]
    held = {case.figure for case in CASES}
    for figure in figures:
        reasons = [why for left, why in LEFT_OUT.items() if figure == left or figure.startswith(f"{left}_")]
        assert (figure in held) != bool(reasons), figure
    assert held - set(figures) == {"figures", "not in it"}


def test_the_page_tells_every_preset() -> None:
    """Within some percent: a catalogue that counts a model's bytes better need not renew the page."""
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert sorted(name for name, *_ in rows) == sorted(path.stem for path in CONF.glob("*.yaml"))
    for name, *told in rows:
        assert [float(seconds) for seconds in told] == pytest.approx(preset_s(name), rel=0.05)


# ---- the model's bytes ----------------------------------------------------------------------
@pytest.mark.parametrize("name", PRESETS)
def test_models_differ_as_their_bytes_do(name: str) -> None:
    small = pool("model=llama_3_1_8b", "gpu=h100", f"coldstart={name}")
    large = pool("model=llama_3_1_70b", "gpu=h100", "pool.tp=4", f"coldstart={name}")
    huge = pool("model=deepseek_v3", "gpu=h200", "pool.tp=8", "pool.precision=fp8", f"coldstart={name}")
    sizes = [subject_of(one).weight_bytes for one in (small, large, huge)]
    assert sizes == pytest.approx([16.06e9, 141.1e9, 671e9], rel=0.01)
    times = [median_s(one, "weights") for one in (small, large, huge)]
    assert times == sorted(times)
    assert times[2] > 2 * times[0]


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_gpus_load_in_proportion_to_the_bytes(name: str) -> None:
    """On one GPU, what is over the setup is proportional to parameters and to bytes a parameter."""
    stage = next(stage for stage in pool(f"coldstart={name}").coldstart.stages if stage.name == "weights")
    assert isinstance(stage, Transfer)
    one, nine = (transfer_s(stage, Subject(size * 1e9))[0] for size in (16, 144))
    plus = stage.plus_gb
    assert nine / one == pytest.approx((stage.times * 144 + plus) / (stage.times * 16 + plus))


def test_precision_and_parallelism_change_a_cold_start() -> None:
    bf16 = median_s(pool("coldstart=cloud_disk"), "weights")
    fp8 = median_s(pool("coldstart=cloud_disk", "pool.precision=fp8"), "weights")
    two = median_s(pool("coldstart=cloud_disk", "pool.tp=2"), "weights")
    assert bf16 / 2 <= fp8 < bf16 * 0.6  # embeddings and the output layer stay as they are
    assert two == pytest.approx(bf16 / 2)


def test_an_eager_engine_compiles_and_captures_nothing() -> None:
    usual, eager = (pool("coldstart=cloud_disk", f"runtime.enforce_eager={x}") for x in ("false", "true"))
    assert median_s(usual, "compile") > 30
    assert median_s(eager, "compile") == median_s(eager, "graphs") == 0
    assert median_s(eager, "weights") == median_s(usual, "weights")


def test_groups_of_gpus_each_read_a_copy_of_all_but_the_experts() -> None:
    """What one GPU holds decides how long its own loader takes: more than a share where groups keep copies."""
    wide = ["model=deepseek_v3", "gpu=h200", "pool.precision=fp8", "coldstart=warm_cache"]
    even, copied = (pool(*wide, *how) for how in (["pool.tp=8"], ["pool.tp=1", "pool.dp=8", "pool.ep=8"]))
    assert subject_of(even).rank_bytes == pytest.approx(subject_of(even).weight_bytes / 8)
    assert subject_of(copied).rank_bytes > 1.1 * subject_of(even).rank_bytes
    assert median_s(even, "weights") == pytest.approx(0.5 + subject_of(even).rank_bytes / 4.5e9, rel=0.001)
    assert median_s(copied, "weights") == pytest.approx(
        0.5 + subject_of(copied).rank_bytes / 4.5e9, rel=0.001
    )


# ---- laws ----------------------------------------------------------------------
gigabytes = st.floats(0.1, 2000)
rates = st.none() | st.floats(0.01, 100)
transfers = st.builds(
    Transfer,
    name=st.just("weights"),
    times=st.floats(0.1, 3),
    plus_gb=st.floats(0, 100),
    bandwidth_gb_s=st.floats(0.01, 100),
    use=st.floats(0.1, 1),
    readers=st.integers(1, 64),
    reader_gb_s=rates,
    rank_gb_s=rates,
    ranks=st.sampled_from(("share", "whole", "copies")),
)


@given(transfers, gigabytes, gigabytes, st.integers(1, 16))
def test_more_bytes_are_never_faster(stage: Transfer, one: float, more: float, ranks: int) -> None:
    few, many = sorted((one, more))
    assert transfer_s(stage, Subject(few * 1e9, ranks))[0] <= transfer_s(stage, Subject(many * 1e9, ranks))[0]


@given(
    transfers, gigabytes, st.integers(1, 16), st.sampled_from(("bandwidth_gb_s", "reader_gb_s", "rank_gb_s"))
)
def test_twice_a_bandwidth_is_never_slower(stage: Transfer, gb: float, ranks: int, name: str) -> None:
    subject = Subject(gb * 1e9, ranks)
    old = getattr(stage, name)
    if old is not None:
        faster = replace(stage, **{name: 2 * old})
        assert transfer_s(stage, subject)[0] / 2 * (1 - 1e-12) <= transfer_s(faster, subject)[0]
        assert transfer_s(faster, subject)[0] <= transfer_s(stage, subject)[0]


@given(transfers, gigabytes, st.integers(1, 16))
def test_ranks_that_share_are_no_slower_than_one_and_no_rank_beats_its_limits(
    stage: Transfer, gb: float, ranks: int
) -> None:
    alone, subject = Subject(gb * 1e9), Subject(gb * 1e9, ranks)
    share, whole, copies = (
        transfer_s(replace(stage, ranks=how), subject)[0] for how in ("share", "whole", "copies")
    )
    assert share <= whole <= copies
    assert whole == transfer_s(replace(stage, ranks="share"), alone)[0]
    assert share >= whole / ranks * (1 - 1e-12)
    n_bytes = bytes_of(stage, subject)
    assert n_bytes / share <= stage.use * (stage.bandwidth_gb_s or 0) * 1e9 * (1 + 1e-12)


def test_pcie_is_each_ranks_own() -> None:
    stage = Transfer(name="load", over="pcie", use=0.5)
    assert transfer_s(stage, Subject(64e9, 1, pcie_gb_s=64))[0] == pytest.approx(2.0)
    assert transfer_s(stage, Subject(64e9, 4, pcie_gb_s=64))[0] == pytest.approx(0.5)


def test_captured_sizes_are_those_of_vllm() -> None:
    stage = Compute(name="graphs", graph_layer_s=0.001)
    assert graph_sizes(stage, 256) == (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16))
    assert len(graph_sizes(stage, 256)) == 51
    assert graph_sizes(stage, 4) == (1, 2, 4, 8)
    assert graph_sizes(replace(stage, graph_sizes=(1, 5)), 256) == (1, 5)


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 1024), st.integers(1, 1024))
def test_more_layers_and_more_graphs_take_longer(few: int, more: int, one: int, other: int) -> None:
    stage = Compute(name="graphs", base_s=1, layer_s=0.5, graph_layer_s=0.001)
    layers, seqs = sorted((few, more)), sorted((one, other))
    small = compute_s(stage, Subject(1e9, 1, layers[0], 1e9, max_num_seqs=seqs[0]))[0]
    large = compute_s(stage, Subject(1e9, 1, layers[1], 1e9, max_num_seqs=seqs[1]))[0]
    assert small <= large


# ---- stages side by side ----------------------------------------------------------------------
NAMES = tuple(SHOWN_AS)
NO_START = pool("coldstart=none")


@st.composite
def stage_lists(draw: Any) -> tuple[Fixed, ...]:
    """Stages in any order, each waiting for any others: circles too."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    return tuple(
        Fixed(
            name=name,
            duration=Constant(value=draw(st.integers(0, 9))),
            after=draw(st.none() | st.lists(st.sampled_from(names), unique=True, max_size=3).map(tuple)),
        )
        for name in names
    )


@given(stage_lists())
def test_the_order_is_found_or_the_circle_is_named(stages: tuple[Fixed, ...]) -> None:
    places, round_ = in_order(stages), circle(stages)
    assert bool(round_) == (len(places) < len(stages))
    waits = {stage.name: waits_for(stages, i) for i, stage in enumerate(stages)}
    assert all(after in waits[before] for before, after in itertools.pairwise(round_))
    assert not round_ or round_[0] == round_[-1]
    done: set[str] = set()
    for place in places:
        assert set(waits[stages[place].name]) <= done
        done.add(stages[place].name)


@given(stage_lists())
def test_a_start_takes_the_longest_way_through_its_stages(stages: tuple[Fixed, ...]) -> None:
    """Against every chain of stages of which each waits for the one before."""
    if circle(stages):
        return
    found = stage_times(replace(NO_START, coldstart=replace(NO_START.coldstart, stages=stages)))
    seconds = {stage.name: float(stage.seconds[0]) for stage in found}
    waits = {stage.name: stage.after for stage in found}
    chains = (
        chain
        for n in range(1, len(seconds) + 1)
        for chain in itertools.permutations(seconds, n)
        if all(one in waits[other] for one, other in itertools.pairwise(chain))
    )
    assert typical_s(found) == max(sum(seconds[name] for name in chain) for chain in chains)


def test_a_stage_that_is_added_leaves_the_draws_of_the_others() -> None:
    fixed = "coldstart.stages=[{name: weights, duration: 5}, {name: engine, duration: 7}]"
    more = "coldstart.stages=[{name: weights, duration: 5}, {name: load, duration: 1}, {name: engine, duration: 7}]"
    rows = [
        {step.stage: step.draw for step in step_rows(pool(text))[1] if step.draw <= 5}
        for text in (fixed, more)
    ]
    assert rows[0] == rows[1] == {4: 4, 5: 5}


def test_stages_of_old_are_as_they_were() -> None:
    """Stages that give a duration alone: the five streams, one after the other."""
    table, steps = step_rows(
        pool("coldstart.stages=[{name: image, duration: 3}, {name: engine, duration: 7}]")
    )
    assert steps == (StepRow(3, 3, 0), StepRow(5, 5, 1))
    assert table[:, 0].tolist() == [3 * 10**12, 7 * 10**12]
    assert STAGES == ("slice", "provision", "image", "weights", "engine")


# ---- what is refused ----------------------------------------------------------------------
WEIGHTS = "coldstart.stages=[{name: weights, kind: transfer, "
REFUSED = [
    (WEIGHTS + "bandwidth_gb_s: 0}]", "bandwidth_gb_s: 0.0 is not valid; allowed: 0.001 to 1000"),
    (WEIGHTS + "bandwidth_gb_s: 1e6}]", "bandwidth_gb_s: 1000000.0 is not valid; allowed: 0.001 to 1000"),
    (WEIGHTS + "reader_gb_s: -1}]", "reader_gb_s: -1.0 is not valid"),
    (WEIGHTS + "bandwidth_gb_s: 1, plus_gb: -2}]", "plus_gb: -2 is not valid; allowed: a number ≥ 0"),
    (WEIGHTS + "bandwidth_gb_s: 1, times: 0}]", "plus_gb: a transfer without bytes"),
    (WEIGHTS + "bandwidth_gb_s: 1, of: image}]", "of: 'image' has no bytes; needed: coldstart.image_gb"),
    (WEIGHTS + "bandwidth_gb_s: 1, of: other}]", "plus_gb: a transfer without bytes"),
    (WEIGHTS + "setup_s: 1}]", "bandwidth_gb_s: is missing; needed: bandwidth_gb_s, reader_gb_s, rank_gb_s"),
    (
        WEIGHTS + "over: pcie, bandwidth_gb_s: 3}]",
        "bandwidth_gb_s: 3.0 is not valid; allowed: null over pcie",
    ),
    (WEIGHTS + "bandwidth_gb_s: 1, spread: -1}]", "spread: can be negative (-1)"),
    (WEIGHTS + "bandwidth_gb_s: 1, plus_gb: 1e9}]", "allowed: at most 3888000 s"),
    (
        "coldstart.stages=[{name: weights, kind: tranfer}]",
        "kind: 'tranfer' is not valid; allowed: fixed, transfer",
    ),
    ("coldstart.stages=[{name: wieghts, duration: 1}]", "did you mean 'weights'?"),
    ("coldstart.stages=[{name: weights}]", "stages[0].duration: is missing"),
    ("coldstart.stages=[{name: weights, duration: 1, after: [weights]}]", "weights after weights"),
    (
        "coldstart.stages=[{name: weights, duration: 1, after: [engine]}, {name: engine, duration: 1}]",
        "a circle of stages that wait for each other: weights after engine after weights",
    ),
    (
        "coldstart.stages=[{name: weights, duration: 1, after: [image]}]",
        "after: 'image' is not valid; allowed: stages",
    ),
    (
        "coldstart.stages=[{name: weights, kind: transfer, rank_gb_s: 1, cached: true, kept: {}}]",
        "stages[0].kept: stands beside `cached: true`",
    ),
    (
        "coldstart.stages=[{name: engine, duration: 1, kept: {gb_s: 1e9}}]",
        "stages[0].kept.gb_s: 1000000000.0 is not",
    ),
    ("coldstart.stages=[{name: engine, duration: 1, kept: {seconds: 3}}]", "kept.seconds"),
    ("coldstart.stages=[{name: engine, duration: 1, after: [engien]}]", "did you mean 'engine'?"),
]


@pytest.mark.parametrize(("override", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_nonsense_is_refused_in_one_line(override: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        step_rows(pool(override))
    assert len(caught.value.problems) == 1
    assert line in caught.value.problems[0]
    assert "coldstart" in caught.value.problems[0]


# ---- what is shown ----------------------------------------------------------------------
def test_show_tells_bytes_bandwidth_and_seconds() -> None:
    text = as_table("first_run", ["coldstart=cloud_disk", "model=llama_3_1_8b"])
    assert "16.06 GB of weights in bf16" in text
    line = next(line for line in text.splitlines() if line.startswith("weights "))
    assert "16.06 GB" in line
    assert "0.338 GB/s" in line
    assert "47.5 s" in line
    assert "cold start of" not in as_table("first_run", ["coldstart=none"])


@pytest.mark.parametrize(
    ("model", "weights_s"),
    [
        (["model=llama_3_1_8b", "gpu=h100"], 16.06 / 0.338),
        (["model=deepseek_v3", "gpu=h200", "pool.tp=8", "pool.precision=fp8"], 671 / 1.049),
    ],
)
def test_a_run_loads_as_long_as_its_weights_take(model: list[str], weights_s: float, tmp_path: Path) -> None:
    """Three starts at once, from nothing: what the time series and the summary say of them."""
    start = [
        "coldstart=cloud_disk",
        "coldstart.stages.1.spread=1",
        "autoscaler=fixed",
        "autoscaler.replicas=3",
    ]
    work = [
        "pool.initial_replicas=0",
        "pool.max_replicas=3",
        "duration_s=1500",
        "output.sample_interval_s=1",
        "slo=none",
    ]
    traffic = ["traffic.arrivals={kind: batch, requests: 20, at_s: 10}"]
    run = sim.run("first_run", [*model, *start, *work, *traffic], out=tmp_path)
    found = run.summary["pools"]["main"]["cold_start"]
    assert run.summary["cold_starts"] == 3
    assert found["stages"]["weights"] == pytest.approx(weights_s, rel=0.01)
    assert found["median_s"] == pytest.approx(sum(found["stages"].values()), rel=0.3)
    loading_s = sum(run.timeseries["weight_load"].to_pylist()) / 3
    assert loading_s == pytest.approx(found["stages"]["weights"], abs=1.0)
    assert f"cold start of main: median {seconds(found['median_s'])}" in "\n".join(start_lines(run.summary))
    assert max(run.timeseries["ready"].to_pylist()) == 3


# ---- what a node keeps ----------------------------------------------------------------------
def hits(*words: str) -> dict[str, float]:
    """Seconds of each stage of the main pool's start where its node has what there is."""
    found = load_scenario("spiky_hour", ["cluster=one_dgx_h100", *words]).pools[0]
    return {stage.name: stage.hit_s for stage in stage_times(found, has_nodes=True) if stage.artifact}


@pytest.mark.parametrize(
    ("model", "measured_s"),
    [
        (["model=qwen3_coder_30b_a3b"], 2.87),
        (["model=qwen3_235b_a22b", "pool.precision=fp8", "pool.tp=4"], 5.41),
    ],
)
def test_a_sleeping_server_wakes_as_long_as_was_measured(model: list[str], measured_s: float) -> None:
    """vLLM 0.11, level 1, on A100 (vllm-project.github.io 2025-10-26)."""
    found = hits("coldstart=sleep", *model)
    assert sum(found.values()) == pytest.approx(measured_s, rel=0.1)
    assert set(found) == {"server", "weights", "compile", "warmup", "graphs"}


def test_the_fixed_part_of_a_wake_up_is_that_of_a_small_model() -> None:
    """Qwen3-0.6B: 0.25 and 0.28 s (the same)."""
    kept = load_scenario("first_run", ["coldstart=sleep"]).pools[0].coldstart.stages[1].kept
    assert kept is not None
    assert hit_s_of(kept, Subject(1.2e9)) == pytest.approx(0.265, rel=0.1)


def test_what_is_kept_is_a_pools_own_and_as_large_as_it_says() -> None:
    words = ["coldstart=local_nvme", "coldstart.stages.2.kept={times: 0.5, plus_gb: 2, setup_s: 3, gb_s: 4}"]
    found = load_scenario("two_models", ["cluster=one_dgx_h100", "gpu@pools.chat.gpu=h100", *words]).pools
    kept = artifacts_of(found)
    sizes = [subject_of(one).weight_bytes / 2 + 2e9 for one in found]
    assert [one.n_bytes for one in kept] == sizes
    assert len({one.whose for one in kept}) == 2
    assert [stage_times(one, True)[2].hit_s for one in found] == [3 + size / 4e9 for size in sizes]


def test_the_second_start_on_a_node_is_a_wake_up_and_one_without_a_cache_is_not() -> None:
    words = ["coldstart=sleep", "cluster=one_dgx_h100", "pool.max_replicas=8"]
    first = simulate(load_scenario("spiky_hour", words)).summary["pools"]["main"]["cold_start"]
    without = [*words, "cluster.node_groups.0.cache_gb=0"]
    other = simulate(load_scenario("spiky_hour", without)).summary["pools"]["main"]["cold_start"]
    assert first["median_s"] < 2 < 40 < other["median_s"]
