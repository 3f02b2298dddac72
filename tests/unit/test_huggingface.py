"""A checkpoint's config.json becomes a model: the families, against the catalogue and published counts; bad files."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hardware_kit import CONF, DATA, model
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import cli
from sim.errors import InputError
from sim.huggingface.config_json import Config
from sim.huggingface.families import FAMILIES
from sim.huggingface.importing import import_model, to_yaml
from sim.huggingface.quantization import weight_format
from sim.scenario.compose import load_scenario
from sim.scenario.hardware import Model
from sim.scenario.inherit import slug
from sim.steptime.params import count_parameters

CONFIGS: dict[str, dict[str, Any]] = json.loads((DATA / "hf_configs.json").read_text())
SAID_OTHERWISE = ("name", "params_b", "active_params_b", "source", "note", "max_model_len")
SHORTER_HERE = {"llama_4_scout", "mistral_nemo"}  # the catalogue gives what servers allow, or the card


def imported(folder: Path, config: dict[str, Any], name: str | None = None) -> Model:
    """The model of a config, through a file."""
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return import_model(str(file), name).model


@pytest.mark.parametrize("option", sorted(CONFIGS))
def test_the_public_config_gives_the_catalogues_model(option: str, tmp_path: Path) -> None:
    found, known = imported(tmp_path, CONFIGS[option]), model(option)
    for field in dataclasses.fields(Model):
        if field.name not in SAID_OTHERWISE:
            assert getattr(found, field.name) == getattr(known, field.name), field.name
    assert found.params_b == pytest.approx(known.params_b, rel=0.04 if "gemma" in option else 0.01)
    assert found.active_params_b == pytest.approx(known.active_params_b, rel=0.002)
    if option not in SHORTER_HERE:
        assert found.max_model_len == known.max_model_len


# facts of public config files, and the count that the checkpoint or the paper states, in 1e9 (total, active)
GRANITE = {
    "model_type": "granitemoehybrid",
    "hidden_size": 1536,
    "num_hidden_layers": 40,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "layer_types": ["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)],
    "num_local_experts": 64,
    "num_experts_per_tok": 6,
    "intermediate_size": 512,
    "shared_intermediate_size": 1024,
    "mamba_n_heads": 48,
    "mamba_d_head": 64,
    "mamba_d_state": 128,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "vocab_size": 100352,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}
OTHERS: dict[str, tuple[dict[str, Any], float, float, int]] = {  # … and the layers with a window
    "Mistral 7B v0.1": (
        {
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "sliding_window": 4096,
            "vocab_size": 32000,
        },
        7.242,
        7.242,
        32,
    ),
    "Gemma 2 9B": (
        {
            "model_type": "gemma2",
            "hidden_size": 3584,
            "intermediate_size": 14336,
            "max_position_embeddings": 8192,
            "num_attention_heads": 16,
            "num_hidden_layers": 42,
            "num_key_value_heads": 8,
            "head_dim": 256,
            "sliding_window": 4096,
            "vocab_size": 256000,
        },
        9.242,
        9.242,
        21,
    ),
    "Phi 3 mini": (
        {
            "model_type": "phi3",
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "max_position_embeddings": 4096,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 32,
            "sliding_window": 2047,
            "vocab_size": 32064,
        },
        3.821,
        3.821,
        32,
    ),
    "Qwen1.5 MoE A2.7B": (
        {
            "model_type": "qwen2_moe",
            "decoder_sparse_step": 1,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "max_position_embeddings": 8192,
            "moe_intermediate_size": 1408,
            "num_attention_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "num_hidden_layers": 24,
            "num_key_value_heads": 16,
            "shared_expert_intermediate_size": 5632,
            "use_sliding_window": False,
            "sliding_window": 32768,
            "max_window_layers": 21,
            "vocab_size": 151936,
        },
        14.316,
        2.69,
        0,
    ),
    "DeepSeek V2 Lite": (
        {
            "model_type": "deepseek_v2",
            "first_k_dense_replace": 1,
            "hidden_size": 2048,
            "intermediate_size": 10944,
            "kv_lora_rank": 512,
            "max_position_embeddings": 163840,
            "moe_intermediate_size": 1408,
            "moe_layer_freq": 1,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_attention_heads": 16,
            "num_experts_per_tok": 6,
            "num_hidden_layers": 27,
            "num_key_value_heads": 16,
            "q_lora_rank": None,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
            "vocab_size": 102400,
        },
        15.706,
        2.66,
        0,
    ),
    "StarCoder 2 7B": (
        {
            "model_type": "starcoder2",
            "hidden_size": 4608,
            "intermediate_size": 18432,
            "max_position_embeddings": 16384,
            "num_attention_heads": 36,
            "num_hidden_layers": 32,
            "num_key_value_heads": 4,
            "sliding_window": 4096,
            "vocab_size": 49152,
        },
        7.174,
        7.174,
        32,
    ),
    "OLMoE 1B 7B": (
        {
            "model_type": "olmoe",
            "hidden_size": 2048,
            "intermediate_size": 1024,
            "max_position_embeddings": 4096,
            "num_attention_heads": 16,
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "num_hidden_layers": 16,
            "num_key_value_heads": 16,
            "vocab_size": 50304,
        },
        6.919,
        1.28,
        0,
    ),
    "Command R": (
        {
            "model_type": "cohere",
            "hidden_size": 8192,
            "intermediate_size": 22528,
            "max_position_embeddings": 8192,
            "num_attention_heads": 64,
            "num_hidden_layers": 40,
            "num_key_value_heads": 64,
            "vocab_size": 256000,
        },
        34.981,
        34.981,
        0,
    ),
    "MiniMax M2": (
        {
            "model_type": "minimax_m2",
            "hidden_size": 3072,
            "intermediate_size": 1536,
            "max_position_embeddings": 196608,
            "num_attention_heads": 48,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_hidden_layers": 62,
            "num_local_experts": 256,
            "num_experts_per_tok": 8,
            "shared_intermediate_size": 0,
            "vocab_size": 200064,
        },
        228.7,
        11.0,
        0,
    ),
    "Phi 2": (
        {
            "model_type": "phi",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "max_position_embeddings": 2048,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": None,
            "vocab_size": 51200,
        },
        2.78,
        2.78,
        0,
    ),
    "BERT large": (
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "max_position_embeddings": 512,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "vocab_size": 30522,
        },
        0.335,
        0.335,
        0,
    ),
    "Granite 4 H Tiny": (GRANITE, 6.94, 1.47, 0),
    "BLOOM 176B": (
        {"model_type": "bloom", "hidden_size": 14336, "n_layer": 70, "n_head": 112, "vocab_size": 250880},
        176.247,
        176.247,
        0,
    ),
}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_other_families_have_the_parameters_that_are_published(name: str, tmp_path: Path) -> None:
    config, total, active, n_window = OTHERS[name]
    found = imported(tmp_path, config, name)
    assert found.params_b == pytest.approx(total, rel=0.01)
    assert found.active_params_b == pytest.approx(active, rel=0.02)
    assert found.window_layers == n_window
    assert found.name == name
    assert found.kind == ("embedding" if name == "BERT large" else "llm")


def test_the_yaml_reads_back_as_the_model(tmp_path: Path) -> None:
    for option, config in CONFIGS.items():
        (tmp_path / "config.json").write_text(json.dumps(config))
        found = import_model(str(tmp_path / "config.json"), option)
        assert Model(**yaml.safe_load(found.yaml)) == found.model
        assert found.option == option
        assert to_yaml(found.model) == found.yaml


def test_layers_in_words_are_those_in_letters(tmp_path: Path) -> None:
    old = CONFIGS["nemotron_3_nano_30b_a3b"]
    words = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
    new = {**old, "layers_block_type": [words[c] for c in old["hybrid_override_pattern"]]}
    for key in ("hybrid_override_pattern", "num_hidden_layers"):
        del new[key]
    assert imported(tmp_path, new) == imported(tmp_path, old)


def test_a_stretched_context_is_as_long_as_vllm_derives_it(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    assert imported(tmp_path, {**CONFIGS["qwen3_8b"], "rope_scaling": yarn}).max_model_len == 131_072
    assert (
        imported(tmp_path, CONFIGS["llama_3_1_8b"]).max_model_len == 131_072
    )  # llama3: stated after stretching


def test_windows_follow_the_list_of_layers(tmp_path: Path) -> None:
    config = {**CONFIGS["gpt_oss_20b"], "layer_types": ["full_attention"] * 20 + ["sliding_attention"] * 4}
    assert imported(tmp_path, config).window_layers == 4
    endless = imported(tmp_path, {**CONFIGS["gpt_oss_20b"], "sliding_window": 131_072})
    assert (endless.window_layers, endless.sliding_window) == (0, None)


def test_some_layers_of_qwen_have_no_experts(tmp_path: Path) -> None:
    config = {**CONFIGS["qwen3_30b_a3b"], "mlp_only_layers": [0, 1], "decoder_sparse_step": 2}
    found = imported(tmp_path, config)
    assert (found.moe_layers, found.ffn) == (23, 6144)  # of the odd layers all but the first
    assert imported(tmp_path, {**config, "mlp_only_layers": list(range(48))}).experts is None


def group(**weights: object) -> dict[str, object]:
    """compressed-tensors with one group of weights; `inputs` quantises the activations too."""
    inputs = {"num_bits": weights["num_bits"]} if weights.pop("inputs", False) else None
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights, "input_activations": inputs}},
    }


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, ""),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_algo": "FP8"}, "fp8"),
        (group(num_bits=8, type="float", inputs=True), "fp8"),
        (group(num_bits=8, type="float"), "fp8_weights"),
        (group(num_bits=4, type="int"), "int4"),
        (group(num_bits=8, type="int", inputs=True), "int8"),
        (group(num_bits=4, type="float", group_size=16, inputs=True), "nvfp4"),
        ({"quant_method": "exl3"}, "?exl3"),
        ({"quant_method": "compressed-tensors", "config_groups": 7}, "?compressed-tensors"),
        ({"quant_method": ["x"]}, "?['x']"),
    ],
)
def test_how_weights_are_published_is_read_off(said: object, found: str) -> None:
    assert weight_format(Config("config.json", {"quantization_config": said})) == found


def test_quantised_weights_are_said_and_so_are_nvidias_in_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["deepseek_r1"]))
    found = import_model(str(tmp_path))
    assert found.precision == "fp8"
    assert "pool.precision=fp8" in found.model.note
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama_3_1_8b"]))
    assert import_model(str(tmp_path)).precision == ""
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert import_model(str(tmp_path)).precision == "fp8"


def test_a_name_comes_from_the_repository_or_the_folder(tmp_path: Path) -> None:
    config = CONFIGS["qwen3_8b"]
    hub = tmp_path / "models--Qwen--Qwen3-8B" / "snapshots" / ("0123456789" * 4)
    hub.mkdir(parents=True)
    assert imported(hub, config).name == "Qwen3-8B"
    assert imported(hub, {**config, "_name_or_path": "org/Other-1B"}).name == "Other-1B"
    assert imported(hub, {**config, "_name_or_path": "../../etc/\x1b[31m"}).name == "Qwen3-8B"
    assert imported(hub, config, "mine").name == "mine"
    with pytest.raises(InputError, match="--name"):
        imported(hub, config, "../x\n")


FILES: list[tuple[str | bytes, str]] = [
    ("", "not valid JSON"),
    ("{", "not valid JSON"),
    ("[1, 2]", "this is a list"),
    ("null", "this is null"),
    (b"\xff\xfe\x00", "not UTF-8"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
    ("[" * 3000 + "]" * 3000, "nested too deep"),
    ('{"a": ' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
    ('{"model_type": "llama", "num_hidden_layers": ' + "9" * 5000 + "}", "a number is too long"),
    ('{"model_type": "llama", "num_hidden_layers": ' + "9" * 400 + "}", "a whole number ≥ 1"),
    ('{"date": 1, "backend": "vllm", "request_throughput": 3.2}', "model_type is missing"),
    ('{"model_type": "lama"}', "near it is 'llama'"),
    ('{"model_type": 7}', "model_type: 7"),
    ('{"model_type": "qwen3_next"}', "linear attention"),
    ('{"model_type": "llama"}', "num_hidden_layers is missing"),
]


@pytest.mark.parametrize(("content", "says"), FILES, ids=[says for _, says in FILES])
def test_a_file_that_is_none_is_one_line(
    content: str | bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["import-model", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("fleetsim: ")
    assert err.count("\n") == 1
    assert len(err) < 2000


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("llama_3_1_8b", {"num_attention_heads": 31}, "num_key_value_heads: 8"),
    ("llama_3_1_8b", {"hidden_size": -4096}, "hidden_size: -4096"),
    ("llama_3_1_8b", {"vocab_size": "128256"}, "vocab_size: '128256'"),
    ("llama_3_1_8b", {"tie_word_embeddings": "no"}, "true or false"),
    ("llama_3_1_8b", {"num_hidden_layers": 10**9}, "at most 10000"),
    ("llama_3_1_8b", {"hidden_size": 9_600_000, "intermediate_size": 10**7}, "parameters; allowed"),
    ("llama_3_1_8b", {"rope_scaling": []}, "rope_scaling"),
    ("qwen3_30b_a3b", {"num_experts_per_tok": 129}, "at most the 128 experts"),
    ("qwen3_30b_a3b", {"mlp_only_layers": 3}, "mlp_only_layers: 3"),
    ("deepseek_r1", {"kv_lora_rank": None}, "kv_lora_rank is missing"),
    ("deepseek_r1", {"first_k_dense_replace": 61}, "fewer than the 61 layers"),
    ("deepseek_r1", {"quantization_config": "fp8"}, "quantization_config: 'fp8'"),
    ("gpt_oss_20b", {"layer_types": ["full_attention"]}, "each of 24 layers"),
    ("gpt_oss_20b", {"layer_types": ["linear_attention"] * 24}, "'linear_attention' is not known"),
    ("nemotron_nano_9b_v2", {"hybrid_override_pattern": "M-*"}, "for each of 56 layers"),
    ("nemotron_nano_9b_v2", {"hybrid_override_pattern": "M" * 56}, "at least one layer with attention"),
    ("nemotron_nano_9b_v2", {"n_groups": 7}, "a divisor of 128 heads"),
    ("nemotron_3_nano_30b_a3b", {"moe_latent_size": 64}, "latent space"),
    ("llama_4_maverick", {"text_config": {"model_type": "llama4_text"}}, "num_hidden_layers is missing"),
]


@pytest.mark.parametrize(("option", "change", "says"), CHANGES)
def test_a_wrong_value_is_named(option: str, change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        imported(tmp_path, CONFIGS[option] | change)
    (line,) = caught.value.problems
    assert says in line
    assert "\n" not in line


HOSTILE = st.sampled_from(
    [
        *(None, True, 0, -1, 1, 7, 2**31, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan")),
        *("", "x" * 10_000, "\x1b[2J", "${oc.env:HOME}"),
        *([], [[]], {}, {"a": 1}, [None] * 5, [[[[[1]]]]]),
    ]
)


@given(st.sampled_from(sorted(CONFIGS)), st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_stands_under_a_key_is_a_model_or_one_line(option: str, data: st.DataObject) -> None:
    """The rule over every key of every family: a model whose own checks hold, or an InputError of one line."""
    config = json.loads(json.dumps(CONFIGS[option]))
    places = [config, *(part for part in config.values() if isinstance(part, dict))]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(HOSTILE)
    read = Config("config.json", config)
    try:
        read.model_type(FAMILIES, {})
    except InputError:
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        problems = []
        try:
            found = import_model(folder)
        except InputError as error:
            problems = error.problems
    if problems:
        assert len(problems) == 1
        assert "\n" not in problems[0]
        return
    assert 0 < count_parameters(found.model).total < 1e14
    assert Model(**yaml.safe_load(found.yaml)) == found.model


def test_an_imported_model_is_chosen_by_name_or_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["qwen3_14b"]))
    assert cli.main(["import-model", "config.json", "--name", "Our 14B", "-o", "conf"]) == 0
    out, err = capsys.readouterr()
    assert out == "conf/model/our_14b.yaml\n"
    assert err.endswith("choose it as model=our_14b\n")
    assert cli.main(["import-model", "config.json", "--name", "Our 14B", "-o", "elsewhere"]) == 0
    out, err = capsys.readouterr()
    assert out == "elsewhere/our_14b.yaml\n"
    assert err.endswith("choose it as model=elsewhere/our_14b.yaml\n")
    by_name = load_scenario("first_run", ["model=our_14b", "gpu=h100"])
    assert by_name.pools[0].model.params_b == pytest.approx(14.768, rel=1e-3)
    assert cli.main(["import-model", "config.json", "--name", "Our 14B", "-o", "my/own.yaml"]) == 0
    assert load_scenario("first_run", ["model=my/own.yaml", "gpu=h100"]) == by_name
    assert (
        load_scenario("first_run", ["model=my/own.yaml", "gpu=h100", "model.layers=39"]).pools[0].model.layers
        == 39
    )
    story = "defaults:\n  - first_run\n  - override /model: my/own.yaml\n  - override /gpu: h100\n"
    (tmp_path / "story.yaml").write_text(story)
    assert load_scenario("story.yaml").pools[0].model == by_name.pools[0].model


def test_a_class_may_use_the_file_name_of_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["qwen3_14b"]))
    text = import_model("config.json", "Our 14B").yaml
    (tmp_path / "conf" / "model" / "chat_model.yaml").write_text(text)
    for name in ("chat_model", "our_14b"):
        found = load_scenario("first_run", ["model=chat_model", "gpu=h100", f"traffic.model={name}"])
        assert found.classes[0].model == "Our 14B"


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["qwen3_14b"]))
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert cli.main(["import-model", "config.json", "-o", "mine.yaml"]) == 2
    assert (tmp_path / "mine.yaml").read_text() == "name: mine\n"
    for _ in range(2):  # the same once more changes nothing
        assert cli.main(["import-model", "config.json", "--name", "x", "-o", "conf"]) == 0
    assert cli.main(["import-model", "config.json", "--name", "qwen3 14b", "-o", "conf"]) == 2
    assert sorted(path.name for path in tmp_path.rglob("*.yaml")) == ["mine.yaml", "x.yaml"]
    assert cli.main(["import-model", "config.json", "-o", "config.json/x.yaml"]) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs one config.json"),
        (["a.json", "b.json"], "needs one config.json"),
        (["a.json", "--name"], "--name needs a value"),
        (["a.json", "-o="], "-o needs a value"),
        (["a.json", "--name=a", "--name=b"], "given twice"),
        (["a.json", "--nam", "x"], "did you mean '--name'"),
        (["no-such-file.json"], "no-such-file.json: cannot be read"),
        (["a\x00b"], "cannot be read"),
    ],
)
def test_words_that_cannot_be_used(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import-model", *words]) == 2
    assert says in capsys.readouterr().err


def test_every_model_of_the_catalogue_has_one_name() -> None:
    """The file's name is the model's name as classes write it."""
    for path in (CONF / "model").glob("*.yaml"):
        assert slug(model(path.stem).name) == path.stem
