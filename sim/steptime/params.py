"""What a model weighs and computes: parameters, bytes and FLOPs, from its shapes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.errors import InputError, nearest, problem
from sim.scenario.hardware import Model

BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4}


class Parameters(NamedTuple):
    """Parameter counts of one model, in units of one parameter."""

    total: float
    active: float  # used for one token, embeddings included
    input_embedding: float  # rows that are looked up, not multiplied; 0 when the output layer shares them
    output_layer: float  # hidden → vocabulary, used once for each emitted token
    routed_expert: float  # one routed expert in all its layers together; 0 for a dense model

    @property
    def multiplied(self) -> float:
        """Parameters that every emitted token multiplies with."""
        return self.active - self.input_embedding


def bytes_per_number(key: str, precision: str) -> float:
    """Bytes of one number; raises InputError for a precision that is not known."""
    if precision not in BITS:
        raise InputError(problem(key, precision, ", ".join(BITS), nearest(precision, BITS)))
    return BITS[precision] / 8


def attention_parameters(model: Model) -> float:
    """Parameters of one layer's attention projections."""
    if model.attention == "none":
        return 0.0
    if model.attention != "mla":
        return model.hidden * model.head_dim * 2 * (model.heads + model.kv_heads)
    rank, rope = model.kv_lora_rank or 0, model.rope_dim or 0
    query_width = model.heads * (model.nope_dim + rope)
    query = model.hidden * query_width
    if model.q_lora_rank:
        query = model.q_lora_rank * (model.hidden + query_width)
    keys_values = model.hidden * (rank + rope) + rank * model.heads * (model.nope_dim + model.v_head_dim)
    return query + keys_values + model.heads * model.v_head_dim * model.hidden


def count_parameters(model: Model) -> Parameters:
    """Parameter counts from the shapes where they are given, else from the published totals."""
    if model.vocab and (model.ffn or model.expert_ffn):
        return _from_shapes(model)
    return _from_totals(model)


def _from_shapes(model: Model) -> Parameters:
    """Norms and biases are left out: they are under 0.1 % of every model here."""
    embedding = float(model.vocab * model.hidden)
    experts, chosen = model.experts or 0, model.experts_active or 0
    moe_layers = model.layers - model.dense_layers if experts else 0
    mlp = model.ffn_matrices * model.hidden
    routed = float(mlp * model.expert_ffn * moe_layers)
    always = (
        embedding * (1 if model.tied_embeddings else 2)
        + attention_parameters(model) * model.layers
        + mlp * model.ffn * (model.layers - moe_layers)
        + (mlp * model.shared_expert_ffn + model.hidden * experts) * moe_layers
    )
    return Parameters(
        total=always + experts * routed,
        active=always + chosen * routed,
        input_embedding=0.0 if model.tied_embeddings else embedding,
        output_layer=embedding,
        routed_expert=routed,
    )


def _from_totals(model: Model) -> Parameters:
    """total = common + E·e and active = common + k·e give the size of one expert, e."""
    total, active = model.params_b * 1e9, model.active_params_b * 1e9
    embedding = float(model.vocab * model.hidden)
    routed = 0.0
    if model.experts and model.experts_active and model.experts > model.experts_active:
        routed = (total - active) / (model.experts - model.experts_active)
    return Parameters(total, active, 0.0 if model.tied_embeddings else embedding, embedding, routed)


def weight_bytes(model: Model, precision: str) -> float:
    """Bytes of all weights at one precision, by the published parameter count."""
    return model.params_b * 1e9 * bytes_per_number("precision", precision)


def kv_bytes_per_token(model: Model, kv_precision: str) -> float:
    """Bytes of KV cache that one token takes in all layers, one copy.

    Grouped heads keep a key and a value per KV head; MLA keeps one compressed vector and one positional key
    (arXiv 2405.04434, section 2.1).
    """
    if model.attention == "none":
        return 0.0
    size = bytes_per_number("kv_precision", kv_precision)
    if model.attention == "mla":
        return model.layers * ((model.kv_lora_rank or 0) + (model.rope_dim or 0)) * size
    return 2 * model.layers * model.kv_heads * model.head_dim * size


def kv_shards(model: Model, tp: int) -> int:
    """Over how many tensor-parallel ranks one token's KV is spread; MLA keeps a full copy on each."""
    return 1 if model.attention == "mla" else min(tp, model.kv_heads)


def flops_per_token(model: Model) -> float:
    """FLOPs of the matrix products of one decoded token: two for each multiplied parameter."""
    return 2.0 * count_parameters(model).multiplied


def prompt_flops_per_token(model: Model) -> float:
    """The same for a prompt token, whose output layer is not computed."""
    counts = count_parameters(model)
    return 2.0 * (counts.multiplied - counts.output_layer)


def flops_per_attended_token(model: Model) -> float:
    """FLOPs of one token attending to one token in all layers: a score and a weighted value in each head."""
    if model.attention == "none":
        return 0.0
    if model.attention == "mla":
        width = model.nope_dim + (model.rope_dim or 0) + model.v_head_dim
    else:
        width = 2 * model.head_dim
    return 2.0 * model.layers * model.heads * width


def distinct_experts(model: Model, n_tokens: np.ndarray) -> np.ndarray:
    """Expected number of a layer's routed experts that `n_tokens` tokens touch, each choosing uniformly."""
    if not model.experts or not model.experts_active:
        return np.zeros(np.shape(n_tokens))
    return model.experts * (1.0 - (1.0 - model.experts_active / model.experts) ** n_tokens)
