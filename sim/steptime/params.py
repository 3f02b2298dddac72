"""What a model weighs and computes: parameters, bytes and FLOPs, from its shapes."""

from __future__ import annotations

from typing import NamedTuple

from sim.errors import InputError, nearest, problem
from sim.scenario.hardware import Model
from sim.steptime.formats import format_of, layer_bits

BITS = {"bf16": 16, "fp16": 16, "fp8": 8, "int8": 8}  # of a number in the KV cache


class Parameters(NamedTuple):
    """Parameter counts of one model by part, all layers together, in units of one parameter."""

    attention: float  # projections
    mlp: float  # dense MLPs
    shared_expert: float  # always-on experts
    router: float
    routed_expert: float  # one routed expert in all its layers together; 0 for a dense model
    recurrent: float  # Mamba2 mixers
    input_embedding: float  # rows that are looked up, not multiplied; 0 when the output layer shares them
    output_layer: float  # hidden → vocabulary, used once for each emitted token
    other: float  # published beside what the shapes give, as a vision tower: in memory, touched by no text
    experts: int = 0
    experts_active: int = 0

    @property
    def common(self) -> float:
        """Parameters that every token uses, embeddings included."""
        layers = self.attention + self.mlp + self.shared_expert + self.router + self.recurrent
        return layers + self.input_embedding + self.output_layer

    @property
    def total(self) -> float:
        """All parameters but `other`."""
        return self.common + self.experts * self.routed_expert

    @property
    def active(self) -> float:
        """Parameters used for one token, embeddings included."""
        return self.common + self.experts_active * self.routed_expert

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


def recurrent_parameters(model: Model) -> float:
    """Parameters of one Mamba2 mixer: in_proj, convolution, out_proj, and A, D and dt's bias of each head.

    arXiv 2405.21060; the names are those of transformers' modeling_nemotron_h.
    """
    inner = model.mamba_heads * model.mamba_head_dim
    convolved = inner + 2 * model.mamba_groups * model.ssm_state
    in_proj = model.hidden * (inner + convolved + model.mamba_heads)
    return in_proj + convolved * (model.conv_kernel + 1) + inner * (model.hidden + 1) + 3 * model.mamba_heads


def attention_layers(model: Model) -> int:
    """How many layers have attention."""
    return model.layers if model.attention_layers is None else model.attention_layers


def moe_layers(model: Model) -> int:
    """How many layers have routed experts."""
    if not model.experts:
        return 0
    return model.layers - model.dense_layers if model.moe_layers is None else model.moe_layers


def mlp_layers(model: Model) -> int:
    """How many layers have a dense MLP."""
    return model.layers - moe_layers(model) if model.mlp_layers is None else model.mlp_layers


def count_parameters(model: Model) -> Parameters:
    """Parameter counts from the shapes where they are given, else from the published totals."""
    if model.vocab and (model.ffn or model.expert_ffn):
        return _from_shapes(model)
    return _from_totals(model)


def _from_shapes(model: Model) -> Parameters:
    """Norms and biases are left out: they are under 0.1 % of every model here."""
    embedding = float(model.vocab * model.hidden)
    with_experts = moe_layers(model)
    matrix = float(model.ffn_matrices * model.hidden)
    counts = Parameters(
        attention=attention_parameters(model) * attention_layers(model),
        mlp=matrix * model.ffn * mlp_layers(model),
        shared_expert=matrix * model.shared_expert_ffn * with_experts,
        router=float(model.hidden * (model.experts or 0) * with_experts),
        routed_expert=matrix * model.expert_ffn * with_experts,
        recurrent=recurrent_parameters(model) * model.recurrent_layers,
        input_embedding=0.0 if model.tied_embeddings else embedding,
        output_layer=embedding,
        other=0.0,
        experts=model.experts or 0,
        experts_active=model.experts_active or 0,
    )
    return counts._replace(other=max(0.0, model.params_b * 1e9 - counts.total))


def _from_totals(model: Model) -> Parameters:
    """total = common + E·e and active = common + k·e give the size of one expert, e.

    What is left of `common` after embeddings and attention counts as dense MLP.
    """
    total, active = model.params_b * 1e9, model.active_params_b * 1e9
    experts, chosen = model.experts or 0, model.experts_active or 0
    routed = (total - active) / (experts - chosen) if experts > chosen else 0.0
    common = active - chosen * routed
    embedding = min(float(model.vocab * model.hidden), common / 2)
    looked_up = 0.0 if model.tied_embeddings else embedding
    attention = min(attention_parameters(model) * attention_layers(model), common - embedding - looked_up)
    return Parameters(
        attention=attention,
        mlp=common - embedding - looked_up - attention,
        shared_expert=0.0,
        router=0.0,
        routed_expert=routed,
        recurrent=0.0,
        input_embedding=looked_up,
        output_layer=embedding,
        other=0.0,
        experts=experts,
        experts_active=chosen,
    )


def weight_bytes(model: Model, precision: str) -> float:
    """Bytes of all weights in one format; what the format leaves as it is counts with its own bits."""
    return other_bytes(model, precision) + layer_bytes(model, precision) + routed_bytes(model, precision)


def layer_bytes(model: Model, precision: str) -> float:
    """Bytes of attention, dense MLPs, shared experts and recurrent mixers, all layers together."""
    counts = count_parameters(model)
    layers = counts.attention + counts.mlp + counts.shared_expert + counts.recurrent
    return layers * layer_bits(precision, model) / 8


def routed_bytes(model: Model, precision: str) -> float:
    """Bytes of all routed experts."""
    counts = count_parameters(model)
    return counts.experts * counts.routed_expert * format_of(precision).bits / 8


def other_bytes(model: Model, precision: str) -> float:
    """Bytes of embeddings, output layer, router and what text does not touch."""
    counts = count_parameters(model)
    others = counts.router + counts.input_embedding + counts.output_layer + counts.other
    return others * format_of(precision).others_bits / 8


def kv_bytes_per_layer(model: Model, kv_precision: str) -> float:
    """Bytes of KV cache that one token takes in one layer with attention, one copy.

    Grouped heads keep a key and a value per KV head; MLA keeps one compressed vector and one positional key
    (arXiv 2405.04434, section 2.1).
    """
    if model.attention == "none":
        return 0.0
    size = bytes_per_number("kv_precision", kv_precision)
    if model.attention == "mla":
        return ((model.kv_lora_rank or 0) + (model.rope_dim or 0)) * size
    return 2 * model.kv_heads * model.head_dim * size


def kv_bytes_per_token(model: Model, kv_precision: str) -> float:
    """Bytes of KV cache that one token takes in all layers while it is inside every window, one copy."""
    return attention_layers(model) * kv_bytes_per_layer(model, kv_precision)


def window_kv_bytes_per_token(model: Model, kv_precision: str) -> float:
    """Of these, the bytes in layers that keep `sliding_window` tokens of a sequence at most."""
    return model.window_layers * kv_bytes_per_layer(model, kv_precision)


def state_bytes(model: Model) -> float:
    """Bytes of one sequence's recurrent state, all layers: the state in fp32 and the convolution's tail in bf16.

    Each decode step reads and writes it once, whatever the sequence's length.
    """
    inner = model.mamba_heads * model.mamba_head_dim
    tail = (inner + 2 * model.mamba_groups * model.ssm_state) * max(0, model.conv_kernel - 1)
    return float(model.recurrent_layers * (4 * inner * model.ssm_state + 2 * tail))


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
    """FLOPs of one token attending to one token in all layers with attention: a score and a weighted value in each head."""
    if model.attention == "none":
        return 0.0
    if model.attention == "mla":
        width = model.nope_dim + (model.rope_dim or 0) + model.v_head_dim
    else:
        width = 2 * model.head_dim
    return 2.0 * attention_layers(model) * model.heads * width
