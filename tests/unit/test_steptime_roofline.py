"""Laws of the roofline, over every GPU and model of the catalogue."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hardware_kit import CONF, gpu, model
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario.hardware import Law
from sim.steptime.params import count_parameters, distinct_experts, flops_per_attended_token, kv_shards
from sim.steptime.roofline import Gang, padded, peak_flops, roofline_curve
from sim.steptime.table import decode_s, prompt_s

GPU = {p.stem: gpu(p.stem) for p in (CONF / "gpu").glob("*.yaml")}
MODEL = {p.stem: model(p.stem) for p in (CONF / "model").glob("*.yaml")}
gangs = st.builds(
    lambda g, m, precision, tp: Gang(
        GPU[g], MODEL[m], precision, "bf16", tp if MODEL[m].heads % tp == 0 else 1
    ),
    st.sampled_from(sorted(GPU)),
    st.sampled_from(sorted(MODEL)),
    st.sampled_from(["bf16", "fp8", "int4"]),
    st.sampled_from([1, 2, 4, 8]),
)
LLAMA = Gang(GPU["h100"], MODEL["llama_3_1_8b"])
DEEPSEEK = Gang(GPU["h200"], MODEL["deepseek_v3"], "fp8", "bf16", 8)


@given(gangs, st.integers(1, 300), st.integers(0, 10**6), st.integers(0, 10**4))
@settings(max_examples=150, deadline=None)
def test_a_step_never_gets_shorter_with_more_sequences_or_more_kv(
    gang: Gang, n: int, kv: int, more: int
) -> None:
    curve = roofline_curve(gang, Law(), 301)
    assert 0 < decode_s(curve, n, kv) <= decode_s(curve, n + 1, kv)
    assert decode_s(curve, n, kv) <= decode_s(curve, n, kv + more)


@given(gangs, st.integers(1, 64), st.integers(1, 8192))
@settings(max_examples=100, deadline=None)
def test_a_longer_or_further_prompt_takes_longer(gang: Gang, n: int, length: int) -> None:
    curve = roofline_curve(gang, Law(), 8)
    assert prompt_s(curve, n, length) < prompt_s(curve, n, length + 1)
    assert prompt_s(curve, n, length) < prompt_s(curve, n + 1, length)


@given(gangs, st.integers(1, 256))
@settings(max_examples=100, deadline=None)
def test_no_step_beats_the_peaks(gang: Gang, n: int) -> None:
    """Reading each touched byte once at full bandwidth, or multiplying at full peak, takes less."""
    curve = roofline_curve(gang, Law(), n)
    counts = count_parameters(gang.model)
    bits = {"bf16": 16, "fp8": 8, "int4": 4}[gang.precision]
    chosen = gang.model.experts_active or 0
    always = counts.multiplied - chosen * counts.routed_expert
    touched = always + counts.routed_expert * float(distinct_experts(gang.model, np.array(n)))
    read_s = touched * bits / 8 / (gang.tp * gang.gpu.memory_bw_gb_s * 1e9)
    work_s = 2 * counts.multiplied * n / (gang.tp * peak_flops(gang.gpu, gang.precision))
    assert curve.base_s[n] > max(read_s, work_s)


@pytest.mark.parametrize("option", ["llama_3_1_70b", "mistral_large", "mixtral_8x7b"])
@pytest.mark.parametrize("on", ["a100_80", "h100", "h200", "b200"])
def test_tensor_parallelism_makes_decode_and_prompts_faster(option: str, on: str) -> None:
    curves = [roofline_curve(Gang(GPU[on], MODEL[option], tp=tp), Law(), 64) for tp in (1, 2, 4, 8)]
    for wide, wider in pairwise(curves):
        assert (wider.base_s[1:] < wide.base_s[1:]).all()
        assert (wider.slope_s[1:] < wide.slope_s[1:]).all()
        assert prompt_s(wider, 1, 4096) < prompt_s(wide, 1, 4096)
        assert prompt_s(wider, 1, 4096) > prompt_s(wide, 1, 4096) / 2  # and never better than perfect


def test_links_matter() -> None:
    slow = dataclasses.replace(GPU["h100"], nvlink_gb_s=None)
    gang = Gang(GPU["h100"], MODEL["llama_3_1_70b"], tp=4)
    fast, pcie = (roofline_curve(g, Law(), 64) for g in (gang, gang._replace(gpu=slow)))
    assert prompt_s(pcie, 1, 2048) > 1.5 * prompt_s(fast, 1, 2048)


def test_a_pipeline_does_not_shorten_a_step() -> None:
    gang = Gang(GPU["h100"], MODEL["llama_3_1_70b"], tp=4)
    one, two = (roofline_curve(gang._replace(pp=pp), Law(), 64) for pp in (1, 2))
    assert (two.base_s > one.base_s).all()
    assert two.base_s[1] < 1.05 * one.base_s[1]


def test_smaller_weights_are_read_faster_and_fp8_computes_faster_only_where_it_can() -> None:
    for on, sooner in (("h100", True), ("a100_80", False)):
        full, small = (
            roofline_curve(Gang(GPU[on], MODEL["qwen3_32b"], p), Law(), 8) for p in ("bf16", "fp8")
        )
        assert small.base_s[1] < 0.6 * full.base_s[1]
        assert (small.prefill_s_per_token < full.prefill_s_per_token) == sooner


def test_distinct_experts_of_one_token_and_of_very_many() -> None:
    mixtral = MODEL["mixtral_8x7b"]
    found = distinct_experts(mixtral, np.array([1.0, 2.0, 1e6]))
    assert found == pytest.approx([2.0, 8 * (1 - 0.75**2), 8.0])
    assert distinct_experts(MODEL["llama_3_1_8b"], np.array([5.0])) == pytest.approx([0.0])


def test_distinct_experts_is_what_random_choices_touch() -> None:
    rng = np.random.default_rng(1)
    qwen = MODEL["qwen3_30b_a3b"]
    assert qwen.experts is not None
    touched = [
        len({int(e) for _ in range(12) for e in rng.permutation(qwen.experts)[: qwen.experts_active]})
        for _ in range(400)
    ]
    assert float(distinct_experts(qwen, np.array(12.0))) == pytest.approx(np.mean(touched), rel=0.02)


def test_one_token_of_a_mixture_reads_its_active_parameters_only() -> None:
    ideal = Law(
        weight_bandwidth_use=1.0, layer_us=0.0, sequence_us=0.0, step_us=0.0, allreduce_us=0.0, matmul_use=1.0
    )
    for option in ("mixtral_8x7b", "qwen3_30b_a3b", "deepseek_v3", "llama_4_scout"):
        counts = count_parameters(MODEL[option])
        curve = roofline_curve(Gang(GPU["h200"], MODEL[option]), ideal, 100_000)
        bandwidth = 4800e9
        assert curve.base_s[1] == pytest.approx(2 * counts.multiplied / bandwidth, rel=1e-9)
        everything = counts.total - counts.input_embedding
        assert curve.base_s[0] == pytest.approx(0.52 * 2 * everything / bandwidth, rel=1e-9)


def test_a_mixture_is_taken_apart_alike_by_its_shapes_and_by_its_totals() -> None:
    for option in ("mixtral_8x7b", "qwen3_30b_a3b", "deepseek_v3"):
        shaped = count_parameters(MODEL[option])
        bare = dataclasses.replace(MODEL[option], ffn=0, expert_ffn=0)
        totals = count_parameters(bare)
        assert totals.routed_expert == pytest.approx(shaped.routed_expert, rel=0.01)
        assert totals.total == pytest.approx(shaped.total, rel=0.01)


def test_mla_keeps_a_full_copy_on_every_rank_and_grouped_heads_do_not() -> None:
    one, eight = (roofline_curve(DEEPSEEK._replace(tp=tp), Law(), 4) for tp in (1, 8))
    assert eight.slope_s[1] == one.slope_s[1]
    one, eight = (roofline_curve(LLAMA._replace(tp=tp), Law(), 4) for tp in (1, 8))
    assert eight.slope_s[1] == pytest.approx(one.slope_s[1] / 8)
    assert kv_shards(MODEL["qwen3_30b_a3b"], 8) == 4  # four KV heads: ranks beyond hold copies


def test_attention_flops_count_scores_and_values_of_every_head() -> None:
    assert flops_per_attended_token(MODEL["llama_3_1_8b"]) == 4 * 32 * 32 * 128
    assert flops_per_attended_token(MODEL["deepseek_v3"]) == 2 * 61 * 128 * (128 + 64 + 128)


def test_without_cuda_graphs_a_step_lasts_as_long_as_its_launches() -> None:
    eager = roofline_curve(LLAMA._replace(tp=8), Law(launch_us_per_layer=500.0), 4)
    assert eager.base_s[[0, 1, 2]] == pytest.approx(32 * 500e-6)
    graphs = roofline_curve(LLAMA._replace(tp=8), Law(), 4)
    assert (graphs.base_s < eager.base_s).all()


def test_cuda_graph_padding_rounds_batches_up() -> None:
    assert list(padded(np.array([1, 2, 3, 5, 8, 9, 512, 513]))) == [1, 2, 4, 8, 8, 16, 512, 513]
    plain, graphs = (roofline_curve(LLAMA, Law(cuda_graph_padding=p), 40) for p in (False, True))
    assert graphs.base_s[9] == graphs.base_s[16] == plain.base_s[16]
    assert graphs.base_s[16] == plain.base_s[16]


def test_what_the_scenario_says_replaces_the_architectures_value() -> None:
    usual, slow = (
        roofline_curve(LLAMA, Law(), 4),
        roofline_curve(LLAMA, Law(kv_bandwidth_use=0.45), 4),
    )
    assert slow.slope_s[1] == pytest.approx(2 * usual.slope_s[1])
    assert slow.base_s == pytest.approx(usual.base_s)
