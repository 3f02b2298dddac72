"""The parts of a config.json that families of models share: attention, MLPs, experts, windows.

Each reader takes the file's keys and adds to the fields of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.errors import InputError
from sim.huggingface.config_json import Config

Fields = dict[str, Any]
GEMMA_WINDOW_EVERY = 6  # Gemma 3: every sixth layer attends to everything
LLAMA_4_FULL_EVERY = 4  # Llama 4: every fourth layer attends beyond its chunk
LAYERS_MAX = 10_000


def shared(config: Config, ffn_matrices: int, tied: bool) -> Fields:
    """What every family says in nearly the same words."""
    layers = count_layers(config)
    if layers > LAYERS_MAX:
        raise config.refuse(
            config.named("num_hidden_layers", "n_layer", "num_layers"), f"at most {LAYERS_MAX}"
        )
    hidden = config.count("hidden_size", "n_embd", "d_model")
    heads = config.count("num_attention_heads", "n_head")
    kv_heads = config.count("num_key_value_heads", "num_kv_heads") if has_kv_heads(config) else heads
    if heads % kv_heads:
        raise config.refuse(
            config.named("num_key_value_heads", "num_kv_heads"), f"a divisor of {heads} heads"
        )
    return {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim(config, hidden, heads),
        "max_model_len": max_model_len(config),
        "attention": "mha" if kv_heads == heads else "gqa",
        "vocab": config.count("vocab_size"),
        "tied_embeddings": config.flag("tie_word_embeddings", tied),
        "ffn_matrices": ffn_matrices,
    }


def count_layers(config: Config) -> int:
    """The stated number of layers; Nemotron's newer files list the layers and state no number."""
    words = config.get("layers_block_type")
    if config.get("num_hidden_layers") is None and isinstance(words, list) and words:
        return len(words)
    return config.count("num_hidden_layers", "n_layer", "num_layers")


def has_kv_heads(config: Config) -> bool:
    """Whether the file says how many heads keep keys and values."""
    return config.get("num_key_value_heads", "num_kv_heads") is not None


def head_dim(config: Config, hidden: int, heads: int) -> int:
    """The width of a head: said, or the hidden state in equal shares."""
    if config.get("head_dim", "attention_head_dim") is not None:
        return config.count("head_dim", "attention_head_dim")
    if hidden % heads:
        raise config.refuse("head_dim", f"the width of a head, for {heads} heads do not divide {hidden}")
    return hidden // heads


def max_model_len(config: Config) -> int:
    """Tokens: what vLLM derives, the trained length stretched by a rope scaling that says so, else the stated one."""
    stated = config.count("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length")
    scaling = config.mapping("rope_scaling")
    kind = scaling.get("rope_type", scaling.get("type"))
    factor = config.number(scaling, "factor")
    trained = config.number(scaling, "original_max_position_embeddings")
    if kind == "yarn" and factor and trained:
        return max(stated, round(trained * factor))
    return stated


def dense(config: Config, fields: Fields) -> None:
    """One MLP in every layer."""
    fields["ffn"] = config.count("intermediate_size", "n_inner", "ffn_dim")


def four_times(config: Config, fields: Fields) -> None:
    """One MLP in every layer, four times as wide as the hidden state unless the file says otherwise."""
    said = config.count_or_zero("intermediate_size", "n_inner", "ffn_hidden_size")
    fields["ffn"] = said or 4 * fields["hidden"]


def experts(config: Config, fields: Fields, width: Sequence[str]) -> None:
    """Routed experts of one layer, how many a token gets, how wide one is."""
    fields["experts"] = config.count(
        "num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"
    )
    fields["experts_active"] = config.count(
        "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k"
    )
    if fields["experts_active"] > fields["experts"]:
        raise config.refuse("num_experts_per_tok", f"at most the {fields['experts']} experts of a layer")
    fields["expert_ffn"] = config.count(*width)


def only_experts(config: Config, fields: Fields) -> None:
    """Experts in every layer, as wide as `intermediate_size`; shared ones beside them where the file has any."""
    experts(config, fields, ("intermediate_size",))
    fields["shared_expert_ffn"] = config.count_or_zero("shared_intermediate_size")


def sparse_steps(config: Config, fields: Fields) -> None:
    """Qwen: experts in every `decoder_sparse_step`th layer except those in `mlp_only_layers`."""
    experts(config, fields, ("moe_intermediate_size",))
    fields["shared_expert_ffn"] = config.count_or_zero("shared_expert_intermediate_size")
    step = config.count("decoder_sparse_step") if config.get("decoder_sparse_step") is not None else 1
    without = config.get("mlp_only_layers") or []
    if not isinstance(without, list):
        raise config.refuse("mlp_only_layers", "a list of layers")
    layers = [i for i in range(fields["layers"]) if (i + 1) % step == 0 and i not in without]
    some_with_experts(config, fields, len(layers))


def some_with_experts(config: Config, fields: Fields, n: int) -> None:
    """So many layers have experts, the others a dense MLP."""
    if n == fields["layers"]:
        return
    fields["ffn"] = config.count("intermediate_size")
    if n == 0:
        for key in ("experts", "experts_active", "expert_ffn", "shared_expert_ffn"):
            fields.pop(key, None)
        return
    fields["moe_layers"] = n


def deepseek_experts(config: Config, fields: Fields) -> None:
    """DeepSeek, GLM, Kimi: leading dense layers, then experts with always-on ones beside them."""
    if config.get("n_routed_experts", "num_experts", "num_local_experts") is None:
        dense(config, fields)
        return
    experts(config, fields, ("moe_intermediate_size",))
    fields["shared_expert_ffn"] = (
        config.count_or_zero("n_shared_experts", "num_shared_experts") * fields["expert_ffn"]
    )
    leading = config.count_or_zero("first_k_dense_replace")
    every = config.count("moe_layer_freq") if isinstance(config.get("moe_layer_freq"), int) else 1
    if leading >= fields["layers"]:
        raise config.refuse("first_k_dense_replace", f"fewer than the {fields['layers']} layers")
    if leading:
        fields["dense_layers"], fields["ffn"] = leading, config.count("intermediate_size")
    if every > 1:
        fields["moe_layers"] = sum(i >= leading and i % every == 0 for i in range(fields["layers"]))
        fields["ffn"] = config.count("intermediate_size")


def latent_attention(config: Config, fields: Fields) -> None:
    """MLA: keys and values are kept as one compressed vector."""
    fields["attention"] = "mla"
    fields["kv_heads"] = fields["heads"]
    fields["kv_lora_rank"] = config.count("kv_lora_rank")
    fields["rope_dim"] = config.count("qk_rope_head_dim")
    fields["q_lora_rank"] = config.count_or_zero("q_lora_rank")
    fields["nope_dim"] = config.count("qk_nope_head_dim")
    fields["v_head_dim"] = fields["head_dim"] = config.count("v_head_dim")


def llama_4(config: Config, fields: Fields) -> None:
    """Experts in every so many layers, a shared one beside them; chunks in three layers of four."""
    experts(config, fields, ("intermediate_size",))
    fields["shared_expert_ffn"] = fields["expert_ffn"]
    every = (
        config.count("interleave_moe_layer_step")
        if config.get("interleave_moe_layer_step") is not None
        else 1
    )
    listed = config.get("moe_layers")
    n = len(listed) if isinstance(listed, list) and listed else fields["layers"] // every
    if not 1 <= n <= fields["layers"]:
        raise config.refuse("interleave_moe_layer_step", f"at most the {fields['layers']} layers")
    if n < fields["layers"]:
        fields["moe_layers"], fields["ffn"] = n, config.count("intermediate_size_mlp")
    chunk = config.count_or_zero("attention_chunk_size")
    rope = config.listed(
        "no_rope_layers", fields["layers"]
    )  # 1: the layer has positions, and attends in chunks
    full = fields["layers"] // LLAMA_4_FULL_EVERY
    windowed(config, fields, chunk, fields["layers"] - (rope.count(0) if rope else full))


def windowed(config: Config, fields: Fields, window: int, usual: int) -> None:
    """`usual` layers attend within the window, or as many as `layer_types` says; a window that never ends is none."""
    kinds = config.listed("layer_types", fields["layers"])
    unknown = set(map(str, kinds)) - {"sliding_attention", "chunked_attention", "full_attention"}
    if unknown:
        raise InputError(
            f"{config.shown}: layer_types: {min(unknown)[:40]!r} is not known; allowed: sliding_attention, "
            "chunked_attention, full_attention"
        )
    n = len(kinds) - kinds.count("full_attention") if kinds else usual
    if window and n > 0 and window < fields["max_model_len"]:
        fields["sliding_window"], fields["window_layers"] = window, n


def window_everywhere(config: Config, fields: Fields) -> None:
    """Mistral, Phi: all layers attend within the window, where there is one."""
    windowed(config, fields, config.count_or_zero("sliding_window"), fields["layers"])


def window_after(config: Config, fields: Fields) -> None:
    """Qwen: the layers from `max_window_layers` on, where `use_sliding_window` says so."""
    if config.flag("use_sliding_window", default=False):
        first = config.count_or_zero("max_window_layers")
        windowed(config, fields, config.count_or_zero("sliding_window"), max(0, fields["layers"] - first))


def window_every_other(config: Config, fields: Fields) -> None:
    """Gemma 2, gpt-oss: the first layer, the third, …"""
    windowed(config, fields, config.count_or_zero("sliding_window"), (fields["layers"] + 1) // 2)


def window_but_every(config: Config, fields: Fields) -> None:
    """Gemma 3, Cohere 2: all but every `sliding_window_pattern`th layer."""
    pattern = config.count_or_zero("sliding_window_pattern", "_sliding_window_pattern") or GEMMA_WINDOW_EVERY
    full = fields["layers"] // pattern
    windowed(config, fields, config.count_or_zero("sliding_window"), fields["layers"] - full)
