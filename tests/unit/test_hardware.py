"""The catalogue of GPUs and models: complete, sourced, and right about sizes."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import shared_data
from hardware_kit import CONF, gpu, model
from pydantic import ValidationError

from sim.scenario.hardware import Grid, Model
from sim.steptime.params import (
    count_parameters,
    kv_bytes_per_token,
    state_bytes,
    weight_bytes,
    window_kv_bytes_per_token,
)

GPUS = {  # option: name in the recorded catalogue
    "a10g": "A10G",
    "l4": "L4",
    "l40s": "L40S",
    "a100_40": "A100-40-SXM",
    "a100_80": "A100-80-SXM",
    "h100": "H100-SXM",
    "h100_pcie": "H100-PCIe",
    "h200": "H200-SXM",
    "b200": "B200-SXM",
    "mi300x": "MI300X",
}

# option: (published total, published active) in 1e9, from the model cards and papers
PUBLISHED = {
    "llama_3_1_8b": (8.03, 8.03),
    "llama_3_1_70b": (70.55, 70.55),
    "llama_3_1_405b": (405.85, 405.85),
    "llama_3_2_1b": (1.236, 1.236),
    "llama_3_2_3b": (3.213, 3.213),
    "llama_3_3_70b": (70.55, 70.55),
    "llama_4_scout": (109.0, 17.0),
    "llama_4_maverick": (401.6, 17.0),
    "qwen3_8b": (8.19, 8.19),
    "qwen3_14b": (14.8, 14.8),
    "qwen3_32b": (32.8, 32.8),
    "qwen3_30b_a3b": (30.5, 3.3),
    "qwen3_coder_30b_a3b": (30.5, 3.3),
    "qwen3_235b_a22b": (235.0, 22.0),
    "qwen3_coder_480b_a35b": (480.0, 35.0),
    "mixtral_8x7b": (46.7, 12.9),
    "deepseek_v3": (671.0, 37.0),
    "deepseek_v3_1": (671.0, 37.0),
    "deepseek_r1": (671.0, 37.0),
    "mistral_nemo": (12.25, 12.25),
    "mistral_large": (122.6, 122.6),
    "embedding_300m": (0.3076, 0.303),
    "llama2_70b": (68.98, 68.98),
    "bloom_176b": (176.25, 176.25),
    "gpt_oss_20b": (20.91, 3.61),
    "gpt_oss_120b": (116.83, 5.13),
    "gemma_3_12b": (12.188, 11.771),  # arXiv 2503.19786, table 1
    "gemma_3_27b": (27.433, 27.016),
    "glm_4_7": (355.0, 32.0),
    "kimi_k2": (1026.0, 32.0),  # the card rounds the total to 1000
    "nemotron_nano_9b_v2": (8.89, 8.89),
    "nemotron_nano_12b_v2": (12.31, 12.31),
    "nemotron_3_nano_30b_a3b": (31.6, 3.6),
}
TOWERS = {
    "embedding_300m": 0.0048,
    "llama_4_scout": 0.86,
    "llama_4_maverick": 0.86,
    "gemma_3_12b": 0.417,
    "gemma_3_27b": 0.417,
}
LEFT_OUT = {  # embeddings that the published active count leaves out
    "gpt_oss_20b": ("input_embedding",),
    "gpt_oss_120b": ("input_embedding",),
    "kimi_k2": ("input_embedding",),
    "glm_4_7": ("input_embedding", "output_layer"),
}
KV_BYTES = {  # bf16, one token, all layers: 2·layers·kv_heads·head_dim·2, or layers·(rank + rope)·2 under MLA
    "llama_3_1_8b": 131_072,
    "llama_3_1_70b": 327_680,
    "llama_4_scout": 196_608,
    "qwen3_8b": 147_456,
    "qwen3_32b": 262_144,
    "qwen3_30b_a3b": 98_304,
    "mixtral_8x7b": 131_072,
    "deepseek_v3": 70_272,
    "mistral_nemo": 163_840,
    "mistral_large": 360_448,
    "embedding_300m": 24_576,
    "llama2_70b": 327_680,
    "bloom_176b": 4_014_080,
    "gpt_oss_120b": 73_728,
    "gemma_3_27b": 507_904,
    "kimi_k2": 70_272,
    "glm_4_7": 376_832,
    "llama_3_1_405b": 516_096,
    "nemotron_nano_9b_v2": 16_384,  # 4 layers with attention
    "qwen3_235b_a22b": 192_512,
}
CONFIG_FILES = {  # public config.json → option
    "llama-3.1-8b-instruct": "llama_3_1_8b",
    "llama-3.1-70b-instruct": "llama_3_1_70b",
    "llama-4-scout-17b-16e-instruct-fp8-dynamic": "llama_4_scout",
    "mistral-nemo-instruct-2407": "mistral_nemo",
    "mixtral-8x7b-v0.1": "mixtral_8x7b",
    "qwen3-30b-a3b": "qwen3_30b_a3b",
}
CONFIG_KEYS = {  # ours → theirs, in order of preference
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "vocab": ("vocab_size",),
    "experts": ("num_local_experts", "num_experts"),
    "experts_active": ("num_experts_per_tok",),
}


ALSO = {"rtx_pro_6000", "rtx_4090", "rtx_5090", "b300", "gb200", "mi325x", "mi355x", "t4"}


def test_the_catalogue_has_every_promised_option() -> None:
    assert set(GPUS) | ALSO <= {p.stem for p in (CONF / "gpu").glob("*.yaml")}
    assert set(PUBLISHED) <= {p.stem for p in (CONF / "model").glob("*.yaml")}


@pytest.mark.parametrize("option", sorted(p.stem for p in (CONF / "gpu").glob("*.yaml")))
def test_every_gpu_says_where_its_numbers_come_from(option: str) -> None:
    found = gpu(option)
    assert found.source
    assert found.price_source
    assert found.price_confidence
    assert (found.price_confidence == "MISSING") == found.price_source.startswith("assumption: ")
    assert found.device_memory_gib is not None
    assert 0.9 < found.device_memory_gib * 2**30 / (found.memory_gb * 1e9) < 1.1


@pytest.mark.parametrize("option", sorted(p.stem for p in (CONF / "model").glob("*.yaml")))
def test_every_model_is_sourced_and_its_shapes_give_the_stated_counts(option: str) -> None:
    found = model(option)
    counts = count_parameters(found)
    assert found.source.startswith("https://")
    assert option in PUBLISHED
    assert counts.total / 1e9 + TOWERS.get(option, 0.0) == pytest.approx(found.params_b, rel=0.015)
    assert counts.active / 1e9 == pytest.approx(found.active_params_b, rel=0.02)


@pytest.mark.parametrize("option", sorted(PUBLISHED))
def test_parameter_counts_match_the_published_ones(option: str) -> None:
    total, active = PUBLISHED[option]
    counts = count_parameters(model(option))
    left_out = sum(getattr(counts, part) for part in LEFT_OUT.get(option, ()))
    assert counts.total / 1e9 + TOWERS.get(option, 0.0) == pytest.approx(total, rel=0.015)
    assert (counts.active - left_out) / 1e9 == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("option", sorted(PUBLISHED))
def test_the_parts_are_the_whole(option: str) -> None:
    counts = count_parameters(model(option))
    parts = counts._asdict()
    routed = parts.pop("routed_expert"), parts.pop("experts"), parts.pop("experts_active")
    rest = sum(parts.values()) - counts.other
    assert counts.total == pytest.approx(rest + routed[0] * routed[1])
    assert counts.active == pytest.approx(rest + routed[0] * routed[2])
    assert counts.total + counts.other >= 0.985 * model(option).params_b * 1e9


CHECKPOINTS = {  # option: (precision, GiB of the published safetensors files)
    "gpt_oss_120b": ("mxfp4", 60.8),  # both from openai's model card
    "gpt_oss_20b": ("mxfp4", 12.8),
    "llama_3_1_8b": ("bf16", 14.96),
    "llama_3_1_405b": ("bf16", 755.9),
}


@pytest.mark.parametrize("option", sorted(CHECKPOINTS))
def test_weights_take_what_the_published_files_do(option: str) -> None:
    precision, gib = CHECKPOINTS[option]
    assert weight_bytes(model(option), precision) / 2**30 == pytest.approx(gib, rel=0.01)


def test_parts_of_gpt_oss_are_those_of_its_card() -> None:
    """openai's card of gpt-oss-120b: MLP 114.71, attention 0.96, embedding and unembedding 1.16."""
    counts = count_parameters(model("gpt_oss_120b"))
    assert counts.experts * counts.routed_expert / 1e9 == pytest.approx(114.71, rel=0.002)
    assert counts.attention / 1e9 == pytest.approx(0.96, rel=0.01)
    assert (counts.input_embedding + counts.output_layer) / 1e9 == pytest.approx(1.16, rel=0.005)


@pytest.mark.parametrize("option", sorted(KV_BYTES))
def test_kv_bytes_per_token(option: str) -> None:
    assert kv_bytes_per_token(model(option), "bf16") == KV_BYTES[option]
    assert kv_bytes_per_token(model(option), "fp8") == KV_BYTES[option] / 2


def test_windows_and_states() -> None:
    """Gemma 3 27B: 52 of 62 layers; gpt-oss: every other one; Nemotron Nano 9B v2: 27 mixers of 128·80·128."""
    for option, share in (("gemma_3_27b", 52 / 62), ("gpt_oss_120b", 1 / 2), ("llama_3_1_8b", 0.0)):
        whole = kv_bytes_per_token(model(option), "bf16")
        assert window_kv_bytes_per_token(model(option), "bf16") == pytest.approx(share * whole)
    assert state_bytes(model("nemotron_nano_9b_v2")) == 27 * (
        128 * 80 * 128 * 4 + (10240 + 2 * 8 * 128) * 3 * 2
    )
    assert state_bytes(model("gpt_oss_120b")) == 0


def test_weight_bytes_follow_precision() -> None:
    llama = model("llama_3_1_8b")
    assert weight_bytes(llama, "bf16") == pytest.approx(14.96 * 2**30, rel=0.002)  # what vLLM logs for it
    assert weight_bytes(llama, "fp8") == pytest.approx(
        9.08e9, rel=1e-3
    )  # embeddings and output layer stay in bf16
    assert weight_bytes(llama, "int4") == pytest.approx(5.81e9, rel=1e-3)  # published AWQ files: 5.7 GB


SYSTEMS = {  # option: aiconfigurator's file
    "a100_80": "a100_sxm",
    "h100": "h100_sxm",
    "h200": "h200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "l4": "l4",
    "l40s": "l40s",
}


@pytest.mark.parametrize("option", sorted(SYSTEMS))
def test_gpu_numbers_are_those_of_aiconfigurator(option: str) -> None:
    theirs = yaml.safe_load(shared_data(f"latency/aiconfigurator/{SYSTEMS[option]}.yaml").read_text())["gpu"]
    found = gpu(option)
    for ours, key in (
        ("memory_bw_gb_s", "mem_bw"),
        ("dense_bf16_tflops", "bfloat16_tc_flops"),
        ("tdp_w", "power"),
    ):
        scale = {"mem_bw": 1e9, "bfloat16_tc_flops": 1e12, "power": 1}[key]
        assert getattr(found, ours) == pytest.approx(theirs[key] / scale, rel=0.005), ours
    for ours, key in (("dense_fp8_tflops", "fp8_tc_flops"), ("dense_fp4_tflops", "fp4_tc_flops")):
        stated = theirs.get(key)
        if stated and getattr(found, ours):
            assert getattr(found, ours) == pytest.approx(stated / 1e12, rel=0.005), ours
    assert (found.device_memory_gib or 0) * 2**30 <= theirs["mem_capacity"] * 1.001


def test_fp4_units_are_those_of_blackwell_and_cdna4() -> None:
    with_fp4 = {p.stem for p in (CONF / "gpu").glob("*.yaml") if gpu(p.stem).dense_fp4_tflops is not None}
    assert with_fp4 == {"b200", "b300", "gb200", "rtx_5090", "rtx_pro_6000", "mi355x"}


def test_gpu_numbers_are_the_catalogues() -> None:
    catalogue = json.loads(shared_data("hardware/gpu_catalog.json").read_text())["gpus"]
    entries = {entry["name"]: entry for entry in catalogue}
    for option, name in GPUS.items():
        found, entry = gpu(option), entries[name]
        for key in ("memory_gb", "memory_bw_gb_s", "dense_bf16_tflops", "dense_fp8_tflops", "tdp_w"):
            assert getattr(found, key) == entry[key], (entry["name"], key)
        assert found.mig_capable == entry["mig_capable"]
        assert found.architecture == entry["architecture"].lower()


@pytest.mark.parametrize("file", sorted(CONFIG_FILES))
def test_shapes_are_those_of_the_public_config(file: str) -> None:
    config = json.loads(shared_data(f"latency/blis/model_config_{file}.json").read_text())
    config = config.get("text_config", config)
    found = model(CONFIG_FILES[file])
    for ours, theirs in CONFIG_KEYS.items():
        stated = next((config[key] for key in theirs if config.get(key) is not None), None)
        if stated is not None:
            assert getattr(found, ours) == stated, ours


GOOD_MODEL = {
    "name": "m",
    "params_b": 8.0,
    "active_params_b": 8.0,
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "max_model_len": 4096,
}


MIXERS = {
    "recurrent_layers": 4,
    "mamba_heads": 8,
    "mamba_head_dim": 64,
    "ssm_state": 128,
    "mamba_groups": 2,
    "conv_kernel": 4,
}


def test_layers_may_differ() -> None:
    found = Model(
        **GOOD_MODEL, **MIXERS, sliding_window=128, window_layers=2, attention_layers=4, mlp_layers=8
    )
    assert found.recurrent_layers + (found.attention_layers or 0) + (found.mlp_layers or 0) == 16


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"active_params_b": 9.0}, "active_params_b"),
        ({"kv_heads": 7}, "kv_heads"),
        ({"attention": "mla"}, "kv_lora_rank"),
        ({"experts": 8}, "experts_active"),
        ({"experts": 8, "experts_active": 9}, "experts_active"),
        ({"dense_layers": 33}, "dense_layers"),
        ({"dense_layers": 20, "moe_layers": 20, "experts": 8, "experts_active": 2}, "moe_layers 20"),
        ({"moe_layers": 8}, "moe_layers needs experts"),
        ({"mlp_layers": 33}, "mlp_layers"),
        ({"attention_layers": 33}, "attention_layers"),
        ({"window_layers": 4}, "needs sliding_window"),
        ({"window_layers": 5, "attention_layers": 4, "sliding_window": 128}, "window_layers 5"),
        ({"recurrent_layers": 4, "mamba_heads": 8}, "mamba_head_dim, ssm_state, mamba_groups, conv_kernel"),
        ({"ssm_state": 128}, "needs recurrent_layers"),
        ({**MIXERS, "mamba_groups": 3}, "mamba_groups 3"),
        ({"layer": 32}, "layer"),
        ({"params_b": float("nan")}, "finite"),
        ({"params_b": -1.0}, "greater than"),
        ({"layers": "32"}, "integer"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(change: dict[str, object], word: str) -> None:
    Model(**GOOD_MODEL)
    with pytest.raises(ValidationError, match=word):
        Model(**(GOOD_MODEL | change))


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": (4, 1)},
        {"batch_size": (1, 1)},
        {"base_ms": (1.0,)},
        {"batch_size": (), "base_ms": (), "slope_ms": ()},
        {"slope_ms": (0.1, -0.1)},
    ],
)
def test_a_grid_must_be_one_table(change: dict[str, object]) -> None:
    good = {"batch_size": (1, 4), "base_ms": (1.0, 2.0), "slope_ms": (0.1, 0.1), "p0_ms": 1.0, "p1_ms": 0.1}
    Grid(**good, p2_ms=0.0)
    with pytest.raises(ValidationError):
        Grid(**(good | change), p2_ms=0.0)
