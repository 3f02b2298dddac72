"""What each family of models means by the keys of its config.json.

The keys and the defaults that a file may leave out are those of transformers' configuration classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sim.huggingface.config_json import Config
from sim.huggingface.hybrids import granite_hybrid, nemotron_h
from sim.huggingface.parts import (
    Fields,
    deepseek_experts,
    dense,
    four_times,
    latent_attention,
    llama_4,
    only_experts,
    sparse_steps,
    window_after,
    window_but_every,
    window_every_other,
    window_everywhere,
)


class Family(NamedTuple):
    """How one `model_type` is read."""

    parts: tuple[Callable[[Config, Fields], None], ...] = ()  # what is special about it, in order
    ffn_matrices: int = 3
    tied: bool = False  # output and input embedding are one unless the file says otherwise
    defaults: Mapping[str, Any] = {}  # what files of this family leave out


GEMMA_3 = Family(
    (dense, window_but_every),
    tied=True,
    defaults={
        "vocab_size": 262_208,
        "head_dim": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131_072,
        "sliding_window": 4096,
    },
)
MLA = Family((latent_attention, deepseek_experts))

FAMILIES: dict[str, Family] = {
    "llama": Family((dense,)),
    "mistral": Family((dense, window_everywhere)),
    "ministral": Family((dense, window_everywhere)),
    "mixtral": Family((only_experts, window_everywhere)),
    "qwen2": Family((dense, window_after)),
    "qwen2_moe": Family((sparse_steps, window_after)),
    "qwen3": Family((dense, window_after)),
    "qwen3_moe": Family((sparse_steps, window_after)),
    "qwen2_vl": Family((dense, window_after)),
    "qwen2_vl_text": Family((dense, window_after)),
    "qwen2_5_vl": Family((dense, window_after)),
    "qwen2_5_vl_text": Family((dense, window_after)),
    "qwen3_vl_text": Family((dense,)),
    "qwen3_vl_moe_text": Family((sparse_steps,)),
    "gemma": Family((dense,), tied=True, defaults={"head_dim": 256}),
    "gemma2": Family(
        (dense, window_every_other), tied=True, defaults={"head_dim": 256, "sliding_window": 4096}
    ),
    "gemma3": GEMMA_3,
    "gemma3_text": GEMMA_3,
    "gpt_oss": Family((only_experts, window_every_other)),
    "deepseek_v2": MLA,
    "deepseek_v3": MLA,
    "deepseek_v32": MLA,
    "kimi_k2": MLA,
    "glm_moe_dsa": MLA,
    "glm4_moe_lite": MLA,
    "glm": Family((dense,)),
    "glm4": Family((dense,)),
    "glm4v_text": Family((dense,)),
    "glm4_moe": Family((deepseek_experts,)),
    "glm4v_moe_text": Family((deepseek_experts,)),
    "llama4": Family((llama_4,)),
    "llama4_text": Family((llama_4,)),
    "nemotron_h": Family((nemotron_h,), ffn_matrices=2),
    "granitemoehybrid": Family((granite_hybrid,)),
    "granite": Family((dense,)),
    "granitemoe": Family((only_experts,)),
    "granitemoeshared": Family((only_experts,)),
    "minimax_m2": Family((only_experts,)),
    "mimo": Family((dense, window_after)),
    "phi3": Family((dense, window_everywhere)),
    "phimoe": Family((only_experts, window_everywhere)),
    "olmo2": Family((dense,)),
    "olmo3": Family((dense, window_but_every), defaults={"sliding_window_pattern": 4}),
    "olmoe": Family((only_experts,)),
    "cohere": Family((dense,), tied=True),
    "cohere2": Family((dense, window_but_every), tied=True, defaults={"sliding_window_pattern": 4}),
    "smollm3": Family((dense,), tied=True),
    "seed_oss": Family((dense,)),
    "internlm2": Family((dense,)),
    "internlm3": Family((dense,)),
    "ernie4_5": Family((dense,), tied=True),
    "stablelm": Family((dense,)),
    "phi": Family((dense,), ffn_matrices=2),
    "bert": Family((dense,), ffn_matrices=2, tied=True),
    "roberta": Family((dense,), ffn_matrices=2, tied=True),
    "xlm-roberta": Family((dense,), ffn_matrices=2, tied=True),
    "dots1": Family((deepseek_experts,)),
    "starcoder2": Family((dense, window_everywhere), ffn_matrices=2, tied=True),
    "nemotron": Family((dense,), ffn_matrices=2),
    "gpt_neox": Family((dense,), ffn_matrices=2),
    "bloom": Family((four_times,), ffn_matrices=2, tied=True, defaults={"seq_length": 2048}),
}
NOT_MODELLED = {
    "qwen3_next": "linear attention",
    "qwen3_5_text": "linear attention",
    "qwen3_5_moe_text": "linear attention",
    "kimi_linear": "linear attention",
    "gemma4": "layers whose heads differ",
    "gemma4_text": "layers whose heads differ",
    "gemma3n": "layers that share their KV",
    "mamba2": "models without attention",
    "nemotron-nas": "layers that differ (block_configs)",
    "deci": "layers that differ (block_configs)",
    "mllama_text_model": "cross attention to images",
    "jamba": "Mamba1 mixers",
    "falcon_h1": "attention and mixers in one layer",
    "t5": "encoders beside decoders",
}
