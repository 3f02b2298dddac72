"""Models that mix Mamba2 mixers with attention, layer by layer."""

from __future__ import annotations

from sim.errors import InputError
from sim.huggingface.config_json import Config
from sim.huggingface.parts import Fields, experts, only_experts


def block_pattern(config: Config) -> str:
    """A letter for each layer: M Mamba2, * attention, - MLP, E experts; newer files write the words out."""
    words = config.get("layers_block_type")
    if config.get("hybrid_override_pattern") is not None or not isinstance(words, list):
        return config.text("hybrid_override_pattern")
    letters = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
    return "".join(letters.get(word, "?") if isinstance(word, str) else "?" for word in words)


def nemotron_h(config: Config, fields: Fields) -> None:
    """Each layer is a Mamba2 mixer, attention, an MLP or experts, and nothing else."""
    pattern = block_pattern(config)
    if len(pattern) != fields["layers"] or set(pattern) - set("M*-E"):
        raise config.refuse(
            "hybrid_override_pattern", f"one of M, *, - and E for each of {fields['layers']} layers"
        )
    if config.get("moe_latent_size") is not None:
        raise InputError(f"{config.shown}: moe_latent_size: experts in a latent space are not modelled")
    if "*" not in pattern:
        raise config.refuse("hybrid_override_pattern", "at least one layer with attention (*)")
    fields["attention_layers"] = pattern.count("*")
    fields["mlp_layers"] = pattern.count("-")
    if "-" in pattern:
        fields["ffn"] = config.count("intermediate_size")
    if "E" in pattern:
        experts(config, fields, ("moe_intermediate_size",))
        fields["moe_layers"] = pattern.count("E")
        fields["shared_expert_ffn"] = config.count_or_zero("moe_shared_expert_intermediate_size")
    if "M" in pattern:
        fields["recurrent_layers"] = pattern.count("M")
        mamba_2(config, fields)


def mamba_2(config: Config, fields: Fields) -> None:
    """The words of a Mamba2 mixer, in the spellings of Nemotron and of Granite and Bamba."""
    fields["mamba_heads"] = config.count("mamba_num_heads", "mamba_n_heads")
    fields["mamba_head_dim"] = config.count("mamba_head_dim", "mamba_d_head")
    fields["ssm_state"] = config.count("ssm_state_size", "mamba_d_state")
    fields["mamba_groups"] = config.count("n_groups", "mamba_n_groups")
    fields["conv_kernel"] = config.count("conv_kernel", "mamba_d_conv")
    if fields["mamba_heads"] % fields["mamba_groups"]:
        raise config.refuse(
            config.named("n_groups", "mamba_n_groups"), f"a divisor of {fields['mamba_heads']} heads"
        )


def granite_hybrid(config: Config, fields: Fields) -> None:
    """Granite 4: a mixer or attention in each layer, and experts with a shared MLP, or that MLP alone, behind it."""
    kinds = config.listed("layer_types", fields["layers"])
    n = kinds.count("attention")
    if not n or n + kinds.count("mamba") != len(kinds):
        raise config.refuse("layer_types", "mamba or attention for each layer, attention at least once")
    if n < len(kinds):
        fields["attention_layers"], fields["recurrent_layers"] = n, len(kinds) - n
        mamba_2(config, fields)
    if config.count_or_zero("num_local_experts"):
        only_experts(config, fields)
    else:
        fields["ffn"] = config.count("shared_intermediate_size")
