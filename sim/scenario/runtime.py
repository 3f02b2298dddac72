"""The inference server's engine: vLLM's own option names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.types import CONFIG, Count, CountOrZero, Flag, Name, NonNegative, Share, Text

BlockSize = Annotated[Count, Field(le=1024)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Runtime:
    """How one replica batches requests and holds their KV cache.

    `num_kv_blocks` replaces the count that follows from the memory left beside the weights;
    `max_batch_delay_s` is read by `dynamic` batching alone. With `prefix_caching` full blocks stay after their
    sequence has left, in the same memory, until it is needed; `prefix_runs` is how many stretches of blocks a
    replica tells apart (None: as many as its KV blocks can hold of what this traffic's prompts have in common).
    """

    name: Name
    version: Text = ""
    batching: Literal["continuous", "static", "dynamic", "none"] = "continuous"
    max_num_seqs: Count = 256
    max_num_batched_tokens: Count = 8192
    block_size: BlockSize = 16
    gpu_memory_utilization: Share = 0.9
    scheduling: Literal["fcfs", "priority"] = "fcfs"
    long_prefill_token_threshold: CountOrZero = 0
    chunked_prefill: Flag = True
    max_batch_delay_s: NonNegative = 0.0
    num_kv_blocks: Count | None = None
    prefix_caching: Flag = False
    prefix_runs: Annotated[Count, Field(le=4_000_000)] | None = None
    source: Text = ""
