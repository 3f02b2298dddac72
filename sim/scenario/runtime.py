"""The inference server's engine: vLLM's own option names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import (
    CONFIG,
    TOKENS_MAX,
    Count,
    CountOrZero,
    Flag,
    Name,
    PowerOfTwo,
    Seconds,
    Share,
    StepMs,
    StepUs,
    Text,
)

BlockSize = Annotated[PowerOfTwo, Field(le=1024)]
Batch = Annotated[
    Count, Field(le=65_536)
]  # the step-time table has a row for each; engines start with 256 to 1024
Budget = Annotated[Count, Field(le=TOKENS_MAX)]
BudgetOrZero = Annotated[CountOrZero, Field(le=TOKENS_MAX)]
Blocks = Annotated[Count, Field(le=1_000_000_000)]
Interval = Annotated[Count, Field(le=10_000)]  # steps
MemoryShare = Annotated[Share, Field(lt=1)]  # the driver and the engine's own context always hold some


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Runtime:
    """How one replica batches requests and holds their KV cache.

    `num_kv_blocks` replaces the count that follows from the memory left beside the weights;
    `max_batch_delay_s` is read by `dynamic` batching alone. With `prefix_caching` full blocks stay after their
    sequence has left, in the same memory, until it is needed; `prefix_runs` is how many stretches of blocks a
    replica tells apart (None: as many as its KV blocks can hold of what this traffic's prompts have in common).

    `prefill_schedule_interval`: an engine that runs sequences admits waiting ones in every so many-th step only, so that
    prompts disturb fewer steps; an idle engine admits at once. The rule is an assumption: no engine documents it.

    The times of the engine's CPU work belong to the engine's version and the host, not to the GPU; None is the
    value of the step-time law, which was fitted to vLLM 0.11. `request_overhead_ms` is what a request waits beside
    its steps: HTTP, tokenising, the first scheduling, and the way of its tokens back.

    `async_scheduling` decides whether scheduling adds to a step or runs beside the GPU (sim/steptime/host.py). All CPU
    times but `request_overhead_ms` are the step-time law's: a measured or published table holds them already.
    """

    name: Name
    version: Text = ""
    batching: Literal["continuous", "static", "dynamic", "none"] = "continuous"
    max_num_seqs: Batch = 256
    max_num_batched_tokens: Budget = 8192
    block_size: BlockSize = 16
    gpu_memory_utilization: MemoryShare = 0.9
    scheduling: Literal["fcfs", "priority"] = "fcfs"
    long_prefill_token_threshold: BudgetOrZero = 0
    chunked_prefill: Flag = True
    prefill_schedule_interval: Interval = 1
    max_batch_delay_s: Seconds = 0.0
    num_kv_blocks: Blocks | None = None
    prefix_caching: Flag = False
    prefix_runs: Annotated[Count, Field(le=4_000_000)] | None = None
    max_model_len: Count | None = None  # tokens of prompt and output together; None: the model's
    enforce_eager: Flag = False  # no CUDA graphs: the CPU launches every kernel of every step
    request_overhead_ms: StepMs = 0.0
    async_scheduling: Flag = True  # the next step is scheduled while the GPU computes this one
    api_server_count: Count | None = (
        None  # processes that hand tokens to clients; None: one a data-parallel group
    )
    sampling_us: StepUs | None = None  # per decoding sequence, step and 100,000 entries of the vocabulary
    sequence_us: StepUs | None = (
        None  # CPU time per decoding sequence and step that never overlaps with the GPU
    )
    step_us: StepUs | None = None  # the same per step
    schedule_us: StepUs | None = None  # CPU time for scheduling a step
    schedule_sequence_us: StepUs | None = None  # the same per decoding sequence
    stream_us: StepUs | None = None  # an API server's CPU time for handing out one token
    mixed_step_us: StepUs | None = None  # that prompts add to a step, beside their arithmetic
    layer_us: StepUs | None = None  # per layer and step: what lies between its kernels
    launch_us_per_layer: StepUs | None = None  # of a step without CUDA graphs
    matmul_use: Share | None = (
        None  # shares of peaks that an engine's own kernels reach, where they are not vLLM's
    )
    fp8_matmul_use: Share | None = None
    attention_use: Share | None = None
    weight_bandwidth_use: Share | None = None
    kv_bandwidth_use: Share | None = None
    link_bandwidth_use: Share | None = None
    source: Text = ""
    confidence: Text = ""
