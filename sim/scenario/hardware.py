"""What a person says about the machine, the model it serves and how fast steps are taken to be."""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator
from pydantic.dataclasses import dataclass

from sim.scenario.power import Power, Watts
from sim.scenario.types import (
    CONFIG,
    TOKENS_MAX,
    Count,
    CountOrZero,
    Flag,
    Name,
    Positive,
    Share,
    StepMs,
    StepUs,
    Text,
    UsdPerGpuHour,
)

Precision = Literal["fp32", "bf16", "fp16", "fp8", "fp8_weights", "int8", "int4", "nvfp4", "mxfp4"]
KvPrecision = Literal["bf16", "fp16", "fp8", "int8"]
Architecture = Literal["turing", "ampere", "ada", "hopper", "blackwell", "cdna3", "cdna4"]
Attention = Literal["mha", "gqa", "mla", "none"]

# Bounds that no machine and no model reaches: the smallest slice of a GPU has 1 GB and some tens of GB/s, a rack sold as
# one GPU some 20 TB, 600 TB/s and 3,000 PFLOP/s; the largest model has a few 1e12 parameters, the smallest some 1e6.
Gigabytes = Annotated[float, Strict(), Field(ge=0.5, le=100_000)]
MemoryGbS = Annotated[float, Strict(), Field(ge=1, le=1_000_000)]
LinkGbS = Annotated[float, Strict(), Field(ge=0.1, le=100_000)]
Tflops = Annotated[float, Strict(), Field(ge=0.1, le=10_000_000)]
Billions = Annotated[Positive, Field(ge=1e-4, le=100_000)]
Layers = Annotated[Count, Field(le=10_000)]
LayersOrZero = Annotated[CountOrZero, Field(le=10_000)]
Width = Annotated[Count, Field(le=10_000_000)]
WidthOrZero = Annotated[CountOrZero, Field(le=10_000_000)]
Heads = Annotated[Count, Field(le=100_000)]
HeadsOrZero = Annotated[CountOrZero, Field(le=100_000)]
SomeStepMs = Annotated[StepMs, Field(gt=0)]
Context = Annotated[Count, Field(le=TOKENS_MAX)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Gpu:
    """One GPU. Peaks are dense (no sparsity); GB and GB/s are decimal, GiB is 2**30 bytes."""

    name: Name
    memory_gb: Gigabytes
    memory_bw_gb_s: MemoryGbS
    dense_bf16_tflops: Tflops
    dense_fp8_tflops: Tflops | None = None  # None: no fp8 matrix units, fp8 weights are unpacked to bf16
    dense_fp4_tflops: Tflops | None = None  # None: no fp4 matrix units
    tdp_w: Watts = 400.0
    mig_capable: Flag = False
    usd_per_hour: UsdPerGpuHour = 0.0  # on demand, one GPU
    nvlink_gb_s: LinkGbS | None = None  # one direction; None: the GPUs of a node talk over PCIe
    pcie_gb_s: LinkGbS = 32.0  # one direction
    architecture: Architecture = "hopper"  # chooses the roofline's efficiency factors
    device_memory_gib: Gigabytes | None = None  # what the driver reports; None: memory_gb exactly
    kernels: Text | None = None  # table of measured kernel times in conf/kernels; None: there is none
    source: Text = ""
    price_source: Text = ""
    price_confidence: Text = ""
    note: Text = ""
    power: Power = field(default_factory=Power)


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Model:
    """A model's size and shapes, in the words of its config.json.

    `params_b` and `active_params_b` are the published counts in 1e9. The shapes below `kind` are optional:
    with them the counts are computed exactly, without them a dense model or a plain mixture of experts is
    taken apart by the published counts alone. Layers are alike unless a count says how many of them have
    experts, a dense MLP, attention, a window or a recurrent mixer.
    """

    name: Name
    params_b: Billions
    active_params_b: Billions
    layers: Layers
    hidden: Width
    heads: Heads
    kv_heads: Heads
    head_dim: Width
    max_model_len: Context  # tokens, prompt and output together
    attention: Attention = "gqa"
    kind: Literal["llm", "embedding"] = "llm"
    vocab: WidthOrZero = 0
    tied_embeddings: Flag = False
    ffn: WidthOrZero = 0  # width of a dense layer's MLP
    ffn_matrices: Annotated[Count, Field(ge=2, le=3)] = 3  # 3: gated (SwiGLU), 2: plain
    experts: Heads | None = None  # routed experts of one layer
    experts_active: Heads | None = None  # of them, chosen for each token
    expert_ffn: WidthOrZero = 0
    shared_expert_ffn: WidthOrZero = 0  # all always-on experts of a layer together
    dense_layers: LayersOrZero = 0  # leading layers without experts
    moe_layers: Layers | None = None  # layers with experts; None: all but the leading dense ones
    mlp_layers: LayersOrZero | None = None  # layers with a dense MLP; None: all that have no experts
    attention_layers: Layers | None = None  # None: every layer has attention
    recurrent_layers: LayersOrZero = 0  # Mamba2 mixers, instead of attention or beside it
    mamba_heads: HeadsOrZero = 0
    mamba_head_dim: WidthOrZero = 0
    ssm_state: WidthOrZero = 0  # width of one mixer head's state
    mamba_groups: HeadsOrZero = 0
    conv_kernel: HeadsOrZero = 0  # taps of a mixer's convolution
    kv_lora_rank: Width | None = None  # MLA: width of the compressed keys and values
    rope_dim: Width | None = None  # MLA: width of the shared positional key
    q_lora_rank: WidthOrZero = 0  # MLA: 0 = queries are not compressed
    nope_dim: WidthOrZero = 0  # MLA: a query head's width without position
    v_head_dim: WidthOrZero = 0  # MLA: a value head's width
    sliding_window: Context | None = None  # tokens
    window_layers: LayersOrZero = 0  # layers that attend (or chunk) within sliding_window tokens only
    source: Text = ""
    note: Text = ""

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        """Raise ValueError on shapes that contradict each other."""
        if self.active_params_b > self.params_b:
            raise ValueError(f"active_params_b {self.active_params_b} is more than params_b {self.params_b}")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}")
        if self.attention == "mla" and (self.kv_lora_rank is None or self.rope_dim is None):
            raise ValueError("attention 'mla' needs kv_lora_rank and rope_dim")
        if (self.experts is None) != (self.experts_active is None):
            raise ValueError("experts and experts_active come together")
        if (self.experts_active or 0) > (self.experts or 0):
            raise ValueError(f"experts_active {self.experts_active} is more than experts {self.experts}")
        self._check_layers()
        self._check_mixers()
        return self

    def _check_layers(self) -> None:
        """Raise ValueError on counts of layers that contradict each other."""
        for key in ("dense_layers", "moe_layers", "mlp_layers", "attention_layers", "recurrent_layers"):
            if (getattr(self, key) or 0) > self.layers:
                raise ValueError(f"{key} {getattr(self, key)} is more than layers {self.layers}")
        if self.moe_layers is not None and self.experts is None:
            raise ValueError("moe_layers needs experts and experts_active")
        if self.dense_layers + (self.moe_layers or 0) > self.layers:
            raise ValueError(
                f"dense_layers {self.dense_layers} and moe_layers {self.moe_layers} are more than layers {self.layers}"
            )
        if self.window_layers and self.sliding_window is None:
            raise ValueError("window_layers needs sliding_window")
        attending = self.layers if self.attention_layers is None else self.attention_layers
        if self.window_layers > attending:
            raise ValueError(
                f"window_layers {self.window_layers} is more than the {attending} with attention"
            )

    def _check_mixers(self) -> None:
        """Raise ValueError when the words of recurrent layers are incomplete."""
        words = ("mamba_heads", "mamba_head_dim", "ssm_state", "mamba_groups", "conv_kernel")
        given = [word for word in words if getattr(self, word)]
        if self.recurrent_layers and len(given) < len(words):
            raise ValueError(f"recurrent_layers needs {', '.join(w for w in words if w not in given)}")
        if given and not self.recurrent_layers:
            raise ValueError(f"{given[0]} needs recurrent_layers")
        if self.recurrent_layers and self.mamba_heads % self.mamba_groups:
            raise ValueError(
                f"mamba_groups {self.mamba_groups} does not divide mamba_heads {self.mamba_heads}"
            )


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Law:
    """Step time from GPU, model, weight format, parallelism and engine; null = the architecture's or the runtime's value.

    `auto` takes the kernels' measured times where the GPU has tables of them, else shares of its peaks;
    `kernels` and `roofline` ask for one of the two. A share of a peak that is set here means the roofline.
    """

    kind: Literal["auto", "kernels", "roofline"] = "auto"
    product_us: StepUs | None = None  # per matrix product, whatever its size
    matmul_use: Share | None = None  # share of the bf16 peak FLOP/s that matrix products reach
    fp8_matmul_use: Share | None = None  # share of the fp8 or fp4 peak
    dequantised_matmul_use: Share | None = None  # of the bf16 peak, by products that unpack integers or fp4
    dequantised_fp8_use: Share | None = None  # … that unpack fp8 weights
    attention_use: Share | None = None  # share of the peak FLOP/s that prompt attention reaches
    weight_bandwidth_use: Share | None = None  # share of the memory bandwidth that weight reads reach
    kv_bandwidth_use: Share | None = None  # share of the memory bandwidth that KV reads reach
    link_bandwidth_use: Share | None = None  # share of the link bandwidth that all-reduce reaches
    allreduce_us: StepUs | None = None  # latency of one all-reduce
    layer_us: StepUs | None = None  # per layer and step, whatever the batch
    expert_bandwidth_use: Share | None = (
        None  # share of the memory bandwidth that reads of routed experts reach
    )
    expert_matmul_use: Share | None = None  # share of the peak FLOP/s that products with routed experts reach
    state_bandwidth_use: Share | None = None  # share of the memory bandwidth for recurrent states
    sampling_us: StepUs | None = None  # per decoding sequence, step and 100,000 entries of the vocabulary
    sequence_us: StepUs | None = (
        None  # the engine's CPU time per decoding sequence and step, never overlapped
    )
    step_us: StepUs | None = None  # per step
    schedule_us: StepUs | None = None  # for scheduling a step: overlaps with the GPU under async_scheduling
    schedule_sequence_us: StepUs | None = None  # the same per decoding sequence
    stream_us: StepUs | None = None  # an API server's CPU time for handing out one token
    mixed_step_us: StepUs | None = None  # per step that carries prompts
    router_skew: Annotated[float, Strict(), Field(ge=0, le=3)] | None = (
        None  # popularity of experts: rank^-skew
    )
    launch_us_per_layer: StepUs | None = None  # without CUDA graphs a step is no shorter than this per layer
    cuda_graph_padding: Flag = False  # the batch counts as the next captured graph size


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Coefficients:
    """Published linear step time.

    decode step = d0 + d1·sequences + d2·kv tokens; prompt step = p0 + p1·tokens + p2·Σ length².
    """

    kind: Literal["coefficients"] = "coefficients"
    d0_ms: SomeStepMs
    d1_ms: StepMs
    d2_ms: StepMs
    p0_ms: StepMs
    p1_ms: StepMs
    p2_ms: StepMs
    mixed_ms: StepMs = 0.0  # that prompts add to a step in which sequences decode
    source: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Grid:
    """Step time fitted to measurements: decode base and slope by batch size, prompts as a polynomial."""

    kind: Literal["grid"] = "grid"
    batch_size: tuple[Count, ...]  # strictly increasing
    base_ms: tuple[SomeStepMs, ...]  # decode step at no KV, one for each batch size
    slope_ms: tuple[StepMs, ...]  # per KV token attended, one for each batch size
    p0_ms: StepMs
    p1_ms: StepMs
    p2_ms: StepMs
    prompt_tokens: tuple[Count, ...] = ()  # strictly increasing: with prompt_ms a curve in the place of p1_ms
    prompt_ms: tuple[StepMs, ...] = ()  # what so many tokens in a step take, beside p0_ms and attention
    mixed_ms: StepMs = 0.0  # that prompts add to a step in which sequences decode
    source: Text = ""
    error: Text = ""  # what the fit reported, for the reader

    @model_validator(mode="after")
    def _aligned(self) -> Grid:
        """Raise ValueError unless the three lists are one table with increasing batch sizes."""
        if not self.batch_size or not len(self.batch_size) == len(self.base_ms) == len(self.slope_ms):
            raise ValueError("batch_size, base_ms and slope_ms must be equally long and not empty")
        if any(b <= a for a, b in zip(self.batch_size, self.batch_size[1:], strict=False)):
            raise ValueError("batch_size must increase")
        if len(self.prompt_tokens) != len(self.prompt_ms):
            raise ValueError("prompt_tokens and prompt_ms must be equally long")
        for name in ("prompt_tokens", "prompt_ms"):
            values = getattr(self, name)
            if any(b < a or (b == a and name == "prompt_tokens") for a, b in pairwise(values)):
                raise ValueError(f"{name} must not fall" if name == "prompt_ms" else f"{name} must increase")
        return self


StepTime = Annotated[Law | Coefficients | Grid, Field(discriminator="kind")]
