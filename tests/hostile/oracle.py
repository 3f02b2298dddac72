"""What a key may hold, from its name and its unit alone: nothing here reads the product's own checks.

An answer is True (may be accepted), False (must be refused) or None (depends on what else is said).
"""

from __future__ import annotations

import math
import re
from typing import Any

DAYS_45 = 45 * 86_400
COUNT_MAX = 2**31 - 1

#: keys that hold free text
TEXTS = re.compile(
    r"(^|\.)((price_|pue_|host_)?(source|confidence)|over|note|question|version|error|look_at|kernels)$"
)
#: keys that hold the name of a thing, of a file or of one choice among a few
NAMES = re.compile(
    r"(^|\.)(name|kind|dir|file|law|pool|model|tenant|region|location|station|fallback|metric|source|type|shape"
    r"|attention|architecture|precision|kv_precision|weight_format|batching|scheduling|hold_order|select_policy|jitter|order"
    r"|long_input|long_output|format|time_unit|origin|failed_rows|gpu|class|zone|market|placement|mig_placement|expander"
    r"|slice|mig)$"
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/()+ ]{0,99}\Z")
#: keys that hold what a user's own file or column is called
CALLED = re.compile(r"(^|\.)(file|dir|trace\.tenant|columns\.[a-z_]+)$")
#: keys that hold true or false
FLAGS = re.compile(
    r"(^|\.)(active|records|persistent|withheld|count_own|across_models|mig_capable|tied_embeddings|chunked_prefill"
    r"|prefix_caching|cuda_graph_padding|sort|repeat|async_scheduling|enforce_eager|data_parallel_attention|preemption"
    r"|cached|drains|auto_promotion|progress_deadline_abort)$"
)
#: keys that hold a list or nothing
LISTS = re.compile(r"(^|\.)(after|before|cheap_hours|day|week|jumps|graph_sizes)$")
#: keys that hold a part of a whole
SHARES = re.compile(
    r"(^|\.)(share|cacheable|blocked|match_min|gpu_memory_utilization|weibull_share|p|prefill_weight_share|exponent|full_at_mfu|[a-z_]*_use)$"
)
#: keys that may hold something below zero
SIGNED = re.compile(
    r"(spearman|priority(_class)?|preference|mu|min|max|low|high|value|v|v\.\d+|mu\.\d+|correlation)$"
)
#: keys at which nothing at all is a mistake
NOT_ZERO = re.compile(
    r"(^|\.)(duration_s|memory_gb|memory_bw_gb_s|dense_[a-z0-9]+_tflops|tdp_w|pcie_gb_s|params_b|active_params_b|layers|hidden"
    r"|heads|kv_heads|head_dim|max_model_len|max_num_seqs|max_num_batched_tokens|block_size|gpu_memory_utilization"
    r"|sync_period_s|polling_interval_s|scrape_period_s|period_s|target|target_backlog_per_replica|tp|pp|ep|gpus|max_replicas"
    r"|attempts|workers|weight|catalogue|cacheable|hash_block_tokens|speed_up|scale|n_clients|requests"
    r"|sojourn_s\.\d+|on_s|off_s|every_s|virtual_nodes|d0_ms)$"
)
#: the most of a unit that any machine, fleet or run has, with room above it
MOST = (
    (r"_usd_per_hour$|usd_per_[a-z0-9_]+$", 1e6),
    (r"_gb_s$", 1e6),
    (r"_tflops$", 1e7),
    (r"_(gb|gib)$", 1e5),
    (r"_w$", 1e6),
    (r"_b$", 1e5),
    (r"_per_s$", 1e9),
    (r"_us(_per_layer)?$", 1e9),
    (r"_ms(\.\d+)?$", 3.6e6),
    (r"trace\.(start|end)_s$", 4e9),  # traces count from 1970
    (r"(_s|duration)(\.\d+)?$", DAYS_45),
    (r"seed$", 2**63 - 1),
)


def may_hold(key: str, value: Any, is_list: bool = False) -> bool | None:
    """Whether a key that holds one thing, or a list of them, may hold this."""
    if value is None:
        return None
    if isinstance(value, dict):
        return False if value else None
    if isinstance(value, list):
        return None if (is_list or LISTS.search(key)) and not value else False
    if is_list:
        return False
    if TEXTS.search(key) and not key.endswith("metrics.source"):
        return isinstance(value, str) and len(value) <= 2000
    if CALLED.search(key):
        return None if isinstance(value, str) and value else False
    if NAMES.search(key) and not (key.endswith("shape") and not isinstance(value, str)):
        return None if isinstance(value, str) and NAME.match(value) else False
    if isinstance(value, bool):
        return None if FLAGS.search(key) else False
    if FLAGS.search(key) or isinstance(value, str):
        return False
    return number_may_stand(key, value)


def number_may_stand(key: str, value: float) -> bool | None:
    """Whether a number is within what its unit can be."""
    try:
        number = float(value)
    except OverflowError:
        return False
    if not math.isfinite(number):
        return False
    if number < 0 and not SIGNED.search(key):
        return False
    if number == 0 and NOT_ZERO.search(key):
        return False
    if SHARES.search(key):
        return 0 <= number <= 1 or None if key.endswith("kv_use") else 0 <= number <= 1
    most = next((most for pattern, most in MOST if re.search(pattern, key)), 1e12)
    return None if abs(number) <= most else False
