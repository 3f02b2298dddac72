"""Laws of the step time, over every GPU and model of the catalogue, with and without tables of measured kernels."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hardware_kit import CONF, gpu, model
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.errors import InputError
from sim.scenario.hardware import Law
from sim.steptime.experts import chosen_share, load_of
from sim.steptime.formats import FORMATS, peak_flops, units_of
from sim.steptime.gang import Gang
from sim.steptime.law import choose_kernels, law_curve, padded
from sim.steptime.params import (
    count_parameters,
    flops_per_attended_token,
    kv_shards,
    state_bytes,
    weight_bytes,
)
from sim.steptime.roofline import product_s, window_line
from sim.steptime.table import Curve, decode_s, prompt_s, work_s_at

GPU = {p.stem: gpu(p.stem) for p in (CONF / "gpu").glob("*.yaml")}
MODEL = {p.stem: model(p.stem) for p in (CONF / "model").glob("*.yaml")}
LAW, ROOFLINE = Law(), Law(kind="roofline")
IDEAL = Law(
    kind="roofline",
    weight_bandwidth_use=1.0,
    expert_bandwidth_use=1.0,
    state_bandwidth_use=1.0,
    matmul_use=1.0,
    expert_matmul_use=1.0,
    dequantised_matmul_use=1.0,
    product_us=0.0,
    layer_us=0.0,
    sampling_us=0.0,
    schedule_us=0.0,
    schedule_sequence_us=0.0,
    sequence_us=0.0,
    step_us=0.0,
    mixed_step_us=0.0,
    allreduce_us=0.0,
)


def made(on: str, of: str, precision: str, tp: int, whole_experts: bool, dp: int) -> Gang:
    """A gang that can be: what cannot be split stays whole."""
    described = MODEL[of]
    tp = tp if described.heads % tp == 0 else 1
    spread = tp * dp
    ep = spread if whole_experts and (described.experts or 0) >= spread else 1
    return Gang(GPU[on], described, precision, "bf16", tp, 1, ep, dp)


gangs = st.builds(
    made,
    st.sampled_from(sorted(GPU)),
    st.sampled_from(sorted(MODEL)),
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from([1, 2, 4, 8]),
    st.booleans(),
    st.sampled_from([1, 1, 2]),
)
LLAMA = Gang(GPU["h100"], MODEL["llama_3_1_8b"])
DEEPSEEK = Gang(GPU["h200"], MODEL["deepseek_v3"], "fp8", "bf16", 8)


def whole_step_s(curve: Curve, n: int, kv: int, tokens: int, squares: int) -> float:
    """Seconds of a step that carries `tokens` of prompts beside n decoding sequences."""
    added = float(work_s_at(curve, n + tokens) - work_s_at(curve, n)) + (curve.mixed_s if n else 0.0)
    return float(decode_s(curve, n, kv)) + added + curve.attention_s_per_token2 * squares


@given(
    gangs, st.sampled_from([LAW, ROOFLINE]), st.integers(1, 300), st.integers(0, 10**6), st.integers(0, 10**4)
)
@settings(max_examples=150, deadline=None)
def test_a_step_never_gets_shorter_with_more_sequences_or_more_kv(
    gang: Gang, law: Law, n: int, kv: int, more: int
) -> None:
    curve = law_curve(gang, law, 301)
    base_s = np.maximum.accumulate(curve.base_s[1:])  # as it is packed
    assert 0 < base_s[n - 1] <= base_s[n]
    assert decode_s(curve, n, kv) <= decode_s(curve, n, kv + more)


@given(gangs, st.sampled_from([LAW, ROOFLINE]), st.integers(1, 64), st.integers(1, 8192))
@settings(max_examples=100, deadline=None)
def test_a_longer_or_further_prompt_takes_no_less(gang: Gang, law: Law, n: int, length: int) -> None:
    curve = law_curve(gang, law, 8)
    assert prompt_s(curve, n, length) <= prompt_s(curve, n, length + 1)
    assert prompt_s(curve, n, length) <= prompt_s(curve, n + 1, length)
    assert prompt_s(curve, n, 4 * length + 4096) > prompt_s(curve, n, length)


@given(
    gangs, st.sampled_from([LAW, ROOFLINE]), st.integers(1, 256), st.integers(0, 10**5), st.integers(1, 4096)
)
@settings(max_examples=100, deadline=None)
def test_prompts_beside_decodes_cost_time_and_no_more_than_a_step_of_their_own(
    gang: Gang, law: Law, n: int, kv: int, tokens: int
) -> None:
    curve = law_curve(gang, law, 256)
    together = whole_step_s(curve, n, kv, tokens, tokens**2)
    alone = float(decode_s(curve, n, kv)), whole_step_s(curve, 0, 0, tokens, tokens**2)
    assert together > alone[0]
    assert together <= sum(alone) * 1.02  # knots are joined by straight lines


@given(gangs, st.integers(1, 256))
@settings(max_examples=100, deadline=None)
def test_no_modelled_step_beats_the_peaks(gang: Gang, n: int) -> None:
    """Reading each touched byte once at full bandwidth, or multiplying at full peak, takes less."""
    curve = law_curve(gang, ROOFLINE, n)
    counts = count_parameters(gang.model)
    chosen = gang.model.experts_active or 0
    always = counts.multiplied - chosen * counts.routed_expert
    read_s = always * min(FORMATS[gang.precision].bits, 16) / 8 / (gang.tp * gang.gpu.memory_bw_gb_s * 1e9)
    peak = max(peak_flops(gang.gpu, gang.precision), gang.gpu.dense_bf16_tflops * 1e12)
    work_s = 2 * counts.multiplied * n / (gang.n_gpus * peak)
    assert curve.base_s[n] > max(read_s, work_s)


@pytest.mark.parametrize("law", [LAW, ROOFLINE])
@pytest.mark.parametrize("option", ["llama_3_1_70b", "mistral_large", "mixtral_8x7b"])
@pytest.mark.parametrize("on", ["a100_80", "h100", "h200", "b200"])
def test_tensor_parallelism_makes_decode_and_prompts_faster(option: str, on: str, law: Law) -> None:
    curves = [law_curve(Gang(GPU[on], MODEL[option], tp=tp), law, 64) for tp in (1, 2, 4, 8)]
    n = np.arange(1, 65)
    for wide, wider in pairwise(curves):
        assert (wider.base_s[1:] < wide.base_s[1:]).all()
        assert (decode_s(wider, n, n * 1000) < decode_s(wide, n, n * 1000)).all()
        assert prompt_s(wider, 1, 4096) < prompt_s(wide, 1, 4096)
        assert prompt_s(wider, 1, 4096) > prompt_s(wide, 1, 4096) * 0.48  # and never much better than perfect


def test_links_matter() -> None:
    slow = dataclasses.replace(GPU["h100"], nvlink_gb_s=None)
    gang = Gang(GPU["h100"], MODEL["llama_3_1_70b"], tp=4)
    fast, pcie = (law_curve(g, ROOFLINE, 64) for g in (gang, gang._replace(gpu=slow)))
    assert prompt_s(pcie, 1, 2048) > 1.5 * prompt_s(fast, 1, 2048)


def test_a_pipeline_does_not_shorten_a_step() -> None:
    gang = Gang(GPU["h100"], MODEL["llama_3_1_70b"], tp=4)
    one, two = (law_curve(gang._replace(pp=pp), LAW, 64) for pp in (1, 2))
    assert (two.base_s > one.base_s).all()
    assert two.base_s[1] < 1.05 * one.base_s[1]


def test_small_weights_are_read_faster_but_multiplied_faster_only_by_units_of_their_own() -> None:
    """Weights that are unpacked before they are multiplied gain at small batches and lose at large ones."""
    for on, precision, gains in (
        ("h100", "fp8", True),
        ("a100_80", "fp8", False),
        ("h100", "fp8_weights", False),
        ("h100", "int4", False),
        ("b200", "nvfp4", True),
        ("h100", "nvfp4", False),
    ):
        full, small = (law_curve(Gang(GPU[on], MODEL["qwen3_32b"], p), LAW, 8) for p in ("bf16", precision))
        assert small.base_s[1] < 0.65 * full.base_s[1], (on, precision)
        whole, half = float(work_s_at(full, 8192)), float(work_s_at(small, 8192))
        assert (half < whole) == gains, (on, precision)


def test_a_format_leaves_embeddings_and_output_in_sixteen_bits_and_mxfp4_all_but_the_experts() -> None:
    dense, mixture = MODEL["qwen3_32b"], MODEL["qwen3_30b_a3b"]
    counts = count_parameters(dense)
    whole = counts.input_embedding + counts.output_layer
    assert weight_bytes(dense, "fp8") == pytest.approx(
        counts.total - whole + 2 * whole + 2 * counts.other, rel=1e-9
    )
    routed = count_parameters(mixture).experts * count_parameters(mixture).routed_expert
    saved = weight_bytes(mixture, "bf16") - weight_bytes(mixture, "mxfp4")
    assert saved == pytest.approx(routed * (16 - 4.25) / 8, rel=1e-9)
    assert units_of(GPU["a100_80"], "fp8") == "bf16"
    assert units_of(GPU["h100"], "fp8") == "fp8"


@pytest.mark.parametrize(
    ("n_experts", "n_active", "skew"), [(128, 8, 1.0), (16, 1, 1.0), (8, 2, 0.0), (256, 8, 0.5)]
)
def test_the_chances_of_experts_are_those_of_drawing_without_replacement(
    n_experts: int, n_active: int, skew: float
) -> None:
    share = chosen_share(n_experts, n_active, skew)
    assert share.sum() == pytest.approx(n_active)
    assert (np.diff(share) <= 1e-12).all()
    dice = np.random.default_rng(1)
    weight = -skew * np.log(np.arange(1, n_experts + 1))
    drawn = np.argsort(-(weight + dice.gumbel(size=(20_000, n_experts))), axis=1)[:, :n_active]
    seen = np.bincount(drawn.ravel(), minlength=n_experts) / 20_000
    assert share == pytest.approx(seen, abs=0.02)


def test_the_busiest_of_several_gpus_reads_more_experts_than_its_share_and_fewer_than_all() -> None:
    mixture = MODEL["qwen3_30b_a3b"]
    tokens = np.array([1.0, 4.0, 16.0, 64.0, 256.0, 4096.0])
    together, spread = load_of(mixture, 1, 1.0, tokens), load_of(mixture, 8, 1.0, tokens)
    assert (np.diff(together.touched) > 0).all()
    assert (spread.touched >= together.touched / 8 - 1e-9).all()
    assert (spread.touched <= np.minimum(together.touched, 128 / 8) + 1e-9).all()
    assert (spread.busiest >= 1.0).all()
    assert spread.busiest[-1] < spread.busiest[0]
    assert together.touched[0] == pytest.approx(8, rel=0.01)


def test_one_token_of_a_mixture_reads_its_active_parameters_only() -> None:
    for option in ("mixtral_8x7b", "qwen3_30b_a3b", "llama_4_scout"):
        counts = count_parameters(MODEL[option])
        curve = law_curve(Gang(GPU["h200"], MODEL[option]), IDEAL, 10)
        assert curve.base_s[1] == pytest.approx(2 * counts.multiplied / 4800e9, rel=1e-2)


def test_a_step_of_many_tokens_reads_every_expert() -> None:
    counts = count_parameters(MODEL["mixtral_8x7b"])
    curve = law_curve(Gang(GPU["h200"], MODEL["mixtral_8x7b"]), IDEAL, 300)
    everything = counts.total - counts.input_embedding
    assert curve.base_s[300] >= 2 * everything / 4800e9 * 0.999


def test_mla_keeps_a_full_copy_on_every_rank_and_grouped_heads_do_not() -> None:
    one, eight = (law_curve(DEEPSEEK._replace(tp=tp), ROOFLINE, 4) for tp in (1, 8))
    assert eight.slope_s[1] == one.slope_s[1]
    one, eight = (law_curve(LLAMA._replace(tp=tp), ROOFLINE, 4) for tp in (1, 8))
    assert eight.slope_s[1] == pytest.approx(one.slope_s[1] / 8)
    assert kv_shards(MODEL["qwen3_30b_a3b"], 8) == 4  # four KV heads: ranks beyond hold copies


def test_data_parallel_attention_divides_the_kv_that_mla_copies() -> None:
    tensor, data = DEEPSEEK, DEEPSEEK._replace(tp=1, dp=8, ep=8)
    copied, split = law_curve(tensor, ROOFLINE, 256), law_curve(data, ROOFLINE, 256)
    assert split.slope_s[256] == pytest.approx(copied.slope_s[256] / 8)
    assert split.base_s[256] < 2 * copied.base_s[256]


def test_a_window_bounds_what_its_layers_read() -> None:
    whole = MODEL["llama_3_1_8b"]
    narrow = dataclasses.replace(whole, sliding_window=128, window_layers=16)
    for law in (LAW, ROOFLINE):
        wide, half = (law_curve(Gang(GPU["h100"], m), law, 64) for m in (whole, narrow))
        assert half.slope_s[64] == pytest.approx(wide.slope_s[64] / 2, rel=0.05)
        assert decode_s(half, 64, 64 * 4096) < decode_s(wide, 64, 64 * 4096)
    assert window_line(None) == (0.0, 1.0)
    assert window_line(10**6) == (0.0, 1.0)
    tokens, share = window_line(1024)
    assert [tokens + share * c for c in (256, 4096)] == pytest.approx([256, 1024])


def test_a_recurrent_state_is_read_and_written_in_each_step() -> None:
    hybrids = [name for name, m in MODEL.items() if m.recurrent_layers]
    for name in hybrids:
        curve = law_curve(Gang(GPU["h100"], MODEL[name]), IDEAL, 65)
        step = 2 * state_bytes(MODEL[name]) / 3350e9
        assert curve.base_s[65] - curve.base_s[64] >= step * 0.99


def test_attention_flops_count_scores_and_values_of_every_head() -> None:
    assert flops_per_attended_token(MODEL["llama_3_1_8b"]) == 4 * 32 * 32 * 128
    assert flops_per_attended_token(MODEL["deepseek_v3"]) == 2 * 61 * 128 * (128 + 64 + 128)


def test_without_cuda_graphs_a_step_lasts_as_long_as_its_launches() -> None:
    eager = law_curve(LLAMA._replace(tp=8), Law(launch_us_per_layer=1000.0), 4)
    assert (eager.base_s >= 32 * 1000e-6).all()
    assert eager.base_s[1] < 32 * 1000e-6 + 100e-6  # and the sequence's CPU time
    graphs = law_curve(LLAMA._replace(tp=8), LAW, 4)
    assert (graphs.base_s < eager.base_s).all()


def test_cuda_graph_padding_rounds_batches_up() -> None:
    assert list(padded(np.array([1, 2, 3, 5, 8, 9, 512, 513]))) == [1, 2, 4, 8, 8, 16, 512, 513]
    plain, graphs = (law_curve(LLAMA, Law(cuda_graph_padding=p), 40) for p in (False, True))
    assert graphs.base_s[9] == graphs.base_s[16] == plain.base_s[16]


def test_tables_of_kernels_are_taken_where_there_are_and_no_share_of_the_roofline_is_set() -> None:
    assert "kernels measured" in law_curve(LLAMA, LAW, 2).source
    assert law_curve(LLAMA, ROOFLINE, 2).source.startswith("roofline")
    assert law_curve(LLAMA, Law(kv_bandwidth_use=0.5), 2).source.startswith("roofline")
    assert law_curve(LLAMA._replace(gpu=GPU["mi300x"]), LAW, 2).source.startswith("roofline")
    assert "kernels measured" in choose_kernels(LLAMA, Law(sequence_us=10.0)).kernels.source


@pytest.mark.parametrize("on", ["h100", "a100_80", "h200", "b200", "l40s"])
@pytest.mark.parametrize("option", ["llama_3_1_8b", "qwen3_8b"])
def test_tables_and_roofline_tell_much_the_same(on: str, option: str) -> None:
    """The roofline's shares were read off these tables: the two differ by what one share cannot say."""
    tables, shares = (law_curve(Gang(GPU[on], MODEL[option]), law, 256) for law in (LAW, ROOFLINE))
    n = np.array([1, 8, 64, 256])
    ratio = decode_s(tables, n, n * 1000) / decode_s(shares, n, n * 1000)
    assert (np.abs(np.log(ratio)) < np.log(1.35)).all(), ratio


def test_what_the_scenario_says_replaces_the_architectures_value() -> None:
    usual, slow = (law_curve(LLAMA, law, 4) for law in (ROOFLINE, Law(kv_bandwidth_use=0.425)))
    assert slow.slope_s[1] == pytest.approx(2 * usual.slope_s[1])
    assert slow.base_s == pytest.approx(usual.base_s)


@pytest.mark.parametrize(
    ("gpu_name", "law", "words"),
    [
        ("mi300x", Law(kind="kernels"), "steptime.kind.*auto or roofline"),
        ("h100", Law(kind="kernels", matmul_use=0.5), "steptime.matmul_use"),
    ],
)
def test_tables_that_are_asked_for_and_not_there_are_refused(gpu_name: str, law: Law, words: str) -> None:
    with pytest.raises(InputError, match=words):
        law_curve(LLAMA._replace(gpu=GPU[gpu_name]), law, 2)


SHAREGPT = (
    "traffic.prompt_tokens={kind: lognormal, mu: 4.8, sigma: 1.2, min: 4, max: 1024}",
    "traffic.output_tokens={kind: lognormal, mu: 4.77, sigma: 1.1, min: 1, max: 1024}",
    "traffic.arrivals={kind: batch, requests: 1000, at_s: 0}",
    *("pool.min_replicas=1", "pool.max_replicas=1", "autoscaler=fixed", "coldstart=none", "slo=none"),
    *(
        "duration_s=10",
        "warmup_s=0",
        "drain_s=10000",
        "model=qwen3_32b",
        "gpu=a100_80",
        "runtime=vllm_api_server",
    ),
)


def rate_of(precision: str) -> float:
    """Output tokens per second of a thousand requests given at once."""
    run = sim.run("first_run", [*SHAREGPT, f"pool.precision={precision}"])
    return sum(run.requests["output_tokens"].to_pylist()) / max(run.requests["last_token_s"].to_pylist())


def test_quantised_weights_on_an_a100_gain_nothing_under_load() -> None:
    """Measured with Qwen3-32B on an A100 80 GB, vLLM 0.11 (gpustack performance lab): fp8 weights -10 %, AWQ +2 %.

    The constants were read off these two, so this holds their signs and sizes, not that they carry over.
    """
    whole = rate_of("bf16")
    assert rate_of("fp8_weights") / whole == pytest.approx(0.90, abs=0.04)
    assert rate_of("int4") / whole == pytest.approx(1.02, abs=0.04)


@pytest.mark.parametrize("option", ["llama_3_1_8b", "gemma_3_12b"])
def test_sampling_sorts_the_whole_vocabulary_of_each_sequence_on_every_rank(option: str) -> None:
    law = replace(IDEAL, sampling_us=50.0)
    for tp in (1, 4):
        gang = Gang(GPU["h100"], MODEL[option], tp=tp)
        added_s = law_curve(gang, law, 64).base_s - law_curve(gang, IDEAL, 64).base_s
        assert added_s[1:] == pytest.approx(50e-6 * np.arange(1, 65) * MODEL[option].vocab / 1e5)
        assert added_s[0] == 0.0


@pytest.mark.parametrize(
    ("option", "us"),
    [
        ("llama_3_1_8b", 32 * 70),
        ("qwen3_30b_a3b", 48 * (70 + 58)),
        ("deepseek_v3", 61 * (70 + 424) + 58 * 58),
        ("nemotron_nano_9b_v2", 56 * 70 + 27 * 1092),
    ],
)
def test_prompts_add_the_launches_of_each_kind_of_layer_to_a_step(option: str, us: float) -> None:
    gang = Gang(GPU["h200"], MODEL[option], "fp8", tp=8)
    curve, none = (law_curve(gang, law, 4) for law in (ROOFLINE, replace(ROOFLINE, mixed_step_us=0.0)))
    assert curve.mixed_s == pytest.approx(us * 1e-6)
    assert none.mixed_s == 0.0
    assert curve.base_s[0] - none.base_s[0] == pytest.approx(us * 1e-6)
    assert law_curve(gang, replace(ROOFLINE, mixed_step_us=7.0), 4).mixed_s == pytest.approx(7e-6)
    launched = 50 * gang.model.layers  # without CUDA graphs a step launches its kernels one by one anyway
    eager = law_curve(gang, replace(ROOFLINE, launch_us_per_layer=50.0), 4)
    assert eager.mixed_s == pytest.approx((us - launched) * 1e-6)


@pytest.mark.parametrize(
    ("option", "products"),
    [("llama_3_1_8b", 4 * 32), ("qwen3_30b_a3b", 3 * 48), ("deepseek_v3", 4 * 61 + 2 * 3 + 3 * 58)],
)
def test_each_matrix_product_takes_its_start_and_quantised_activations_a_little_more(
    option: str, products: int
) -> None:
    started = replace(IDEAL, product_us=10.0)
    output_layer = 10e-6
    for precision, more_s in (("bf16", 0.0), ("fp8", 3e-6)):
        gang = Gang(GPU["h200"], MODEL[option], precision, tp=8)
        none, some = (law_curve(gang, law, 4).base_s[1:] for law in (IDEAL, started))
        assert some - none == pytest.approx(products * 10e-6 + output_layer)
        assert product_s(gang, choose_kernels(gang, started).eff) == pytest.approx(10e-6 + more_s)
