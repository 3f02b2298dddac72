"""Every measure, a line each, in the order of a summary.

A measure that is added here is in the summary, its files, the limits that a scenario may set, and the documentation
(`python scripts/measure_tables.py` writes its tables again). What is shown side by side and on a terminal is chosen in
sim/measures/shown.py. A formula reads facts: of requests all counters that a result has by name (`Result.counts`), of pools
all that it has of them (`Result.pools`), and what sim/analysis/facts.py adds.
"""

from __future__ import annotations

from sim.measures.formulas import (
    billions,
    fact,
    joules,
    mean_seconds,
    per_hour,
    per_million,
    per_second,
    ratio,
    seconds,
    used,
    where,
)
from sim.measures.measure import (
    COUNT,
    GB_PER_SECOND,
    GIGABYTES,
    HIGH,
    JOULES_PER_TOKEN,
    KG,
    KWH,
    LOW,
    NEITHER,
    PER_SECOND,
    SECONDS,
    SHARE,
    TOKENS,
    USD,
    USD_PER_HOUR,
    USD_PER_MILLION,
    WATTS,
    Measure,
)

# fmt: off
#: of a run
TIMES = (
    Measure("duration_s", SECONDS, "when requests stopped counting", fact("duration_s")),
    Measure("warmup_s", SECONDS, "when requests began to count", fact("warmup_s")),
    Measure("window_s", SECONDS, "the measured window", fact("window_s", "`duration_s` − `warmup_s`")),
    Measure("end_s", SECONDS, "when the run was over", fact("end_s")),
)

#: of some requests: the fleet's, a class's, a tenant's
REQUESTS = (
    Measure("offered", COUNT, "measured requests: those that arrived within the window", fact("offered")),
    Measure("completed", COUNT, "measured requests that were completed", fact("completed"), HIGH),
    Measure("rejected", COUNT, "measured requests that were rejected", fact("rejected"), LOW),
    Measure("timed_out", COUNT, "measured requests that ran out of time", fact("timed_out"), LOW),
    Measure("failed", COUNT, "measured requests that were lost with a replica", fact("failed"), LOW),
    Measure("inside", COUNT, "measured requests still in work at the drain limit", fact("inside"), LOW),
    Measure("served_fraction", SHARE, "share of the requests that was completed", ratio("completed", "offered"), HIGH,
            "served"),
    Measure("goodput", COUNT, "requests that met every objective of their class", where("promising", fact("met")),
            HIGH),
    Measure("slo_attainment", SHARE, "share of the judged requests that met every objective",
            where("promising", ratio("met", "judged", "`goodput` / `judged`")), HIGH, "SLO met"),
    Measure("judged", COUNT, "requests of classes that promise something, but for those still inside and not late yet",
            where("promising", fact("judged"))),
    Measure("goodput_per_s", PER_SECOND, "completions of requests that met every objective, per second of the window",
            where("promising", per_second("done_met", "such completions within the window / `window_s`")), HIGH),
    Measure("offered_per_s", PER_SECOND, "arrivals, per second of the window", per_second("offered")),
    Measure("completed_per_s", PER_SECOND, "completions, per second of the window",
            per_second("done", "completions within the window / `window_s`"), HIGH),
    Measure("input_tokens", TOKENS, "prompts of answers, cached prefixes included", fact("tokens_in")),
    Measure("output_tokens", TOKENS, "tokens of answers", fact("tokens_out"), HIGH),
    Measure("input_tokens_per_s", PER_SECOND, "prompt tokens of answers, per second of the window",
            per_second("tokens_in", "`input_tokens` / `window_s`")),
    Measure("output_tokens_per_s", PER_SECOND, "tokens of answers, per second of the window",
            per_second("tokens_out", "`output_tokens` / `window_s`"), HIGH),
    Measure("prefix_hit_ratio", SHARE, "share of the prompt tokens looked up in prefix caches that was found there",
            ratio("cached_tokens", "asked_tokens", "tokens found / tokens looked up"), HIGH, "prefix hits",
            "prompt tokens found in prefix caches"),
    Measure("from_cache_fraction", SHARE, "share of the completed that the response cache answered; null without one",
            where("response_caches", ratio("from_cache", "completed")), HIGH, "from cache"),
    Measure("ttft", SECONDS, "arrival of the first attempt until the first token, and the network", None, LOW,
            per="request"),
    Measure("attempt_ttft", SECONDS, "from when the gateway took an attempt until its first token", None, LOW,
            per="attempt"),
    Measure("itl", SECONDS, "gaps between consecutive tokens", None, LOW, per="gap"),
    Measure("tpot", SECONDS, "a request's mean gap between tokens", None, LOW, per="gap"),
    Measure("e2e", SECONDS, "arrival until the last token, and the network", None, LOW, per="request"),
    Measure("queue_wait", SECONDS, "from when the gateway took an attempt until it was first scheduled", None, LOW,
            per="request"),
    Measure("itl_max", SECONDS, "a request's longest gap between tokens", None, LOW, per="gap"),
    Measure("attempts", COUNT, "attempts of measured requests", fact("attempts"), LOW),
    Measure("retries", COUNT, "attempts of measured requests after an earlier one had ended", fact("retries"), LOW),
    Measure("hedges", COUNT, "attempts of measured requests beside one that was waited for", fact("hedges"), LOW),
    Measure("wasted_tokens", TOKENS, "tokens computed for attempts that answered nobody", fact("wasted_tokens"), LOW),
    Measure("from_cache", COUNT, "requests that the response cache answered", fact("from_cache")),
    Measure("blocked", COUNT, "answers that a guardrail blocked", fact("blocked")),
)

#: of some pools: the fleet's, or one
POOLS = (
    Measure("gpu_seconds", SECONDS, "GPU seconds billed within the window",
            seconds("gpu_ps", "replica seconds × GPUs of a replica"), LOW),
    Measure("usd", USD, "cost of the window", fact("usd", "sum of `usd_lines`"), LOW),
    Measure("usd_per_hour", USD_PER_HOUR, "cost of an hour of the window", per_hour("usd"), LOW, "cost"),
    Measure("usd_per_million_input_tokens", USD_PER_MILLION, "price of a million prompt tokens",
            per_million("prompt_usd", "tokens_in", "prefill's part of `usd` / million `input_tokens`"), LOW,
            "per 1M in", column_unit=USD),
    Measure("usd_per_million_output_tokens", USD_PER_MILLION, "price of a million tokens of answers",
            per_million("output_usd", "tokens_out", "decode's part of `usd` / million `output_tokens`"), LOW,
            "per 1M out", column_unit=USD),
    Measure("usd_per_million_output_tokens_all_in", USD_PER_MILLION,
            "price of a million tokens of answers that pay for everything",
            per_million("usd", "tokens_out", "`usd` / million `output_tokens`"), LOW, "per 1M out, all in",
            column_unit=USD),
    Measure("run_gpu_seconds", SECONDS, "GPU seconds billed over the whole run",
            seconds("run_gpu_ps", "replica seconds × GPUs of a replica"), LOW),
    Measure("run_usd", USD, "cost of the whole run", fact("run_usd"), LOW),
    Measure("gpu_kwh", KWH, "energy of the GPUs alone in the window, modelled", fact("gpu_kwh"), LOW),
    Measure("kwh", KWH, "energy of the window with the GPUs' machines and the data centre's overhead, modelled",
            fact("kwh", "(GPUs + machines) × `pue`"), LOW, "energy"),
    Measure("kgco2e", KG, "CO2 that this electricity brings", fact("kgco2e", "`kwh` × `g_co2e_per_kwh` / 1000"), LOW,
            "CO2e"),
    Measure("watts_mean", WATTS, "mean of the window", joules("kwh", "window_s", "`kwh` / `window_s`"), LOW),
    Measure("joules_per_output_token", JOULES_PER_TOKEN, "energy of a token of the answers that pay for everything",
            joules("kwh", "tokens_out", "`kwh` / `output_tokens`"), LOW, "energy per token out"),
    Measure("gpu_joules_per_output_token", JOULES_PER_TOKEN, "the same of the GPUs alone, as benchmarks measure it",
            joules("gpu_kwh", "tokens_out", "`gpu_kwh` / `output_tokens`"), LOW),
    Measure("run_kwh", KWH, "energy of the whole run", fact("run_kwh"), LOW),
    Measure("mfu", SHARE, "share of the GPUs' peak arithmetic that was used",
            used("flops", "peak_flops", "model FLOPs of the tokens computed / (peak × serving time)"), HIGH,
            "model FLOPs"),
    Measure("bandwidth_use", SHARE, "share of the GPUs' peak memory bandwidth that was used",
            used("bytes_read", "peak_bytes", "bytes of weights and KV cache read / (peak × serving time)"), HIGH,
            "bandwidth"),
    Measure("step_busy", SHARE, "share of serving time with a step running",
            used("busy", "serving", "time with a step running / serving time"), NEITHER, "steps running"),
    Measure("slot_use", SHARE, "share of the places in running batches that was taken",
            used("slots", "slots_max", "sequences in the batch × step time / (serving time × `max_num_seqs`)"), NEITHER,
            "batch slots"),
    Measure("kv_use", SHARE, "share of the KV blocks of serving replicas that was in use",
            fact("kv_use", "mean over the window's samples of blocks in use / blocks"), NEITHER, "KV cache"),
    Measure("preemptions", COUNT, "sequences preempted within the window", fact("preemptions"), LOW),
    Measure("replicas_mean", COUNT, "replicas billed, mean over the window",
            ratio("billed_ps", "window_ps", "replica seconds / `window_s`"), LOW, "replicas", column_unit="mean"),
    Measure("replicas_ready_mean", COUNT, "replicas ready, mean over the window",
            ratio("ready_ps", "window_ps", "ready replica seconds / `window_s`"), NEITHER, "replicas ready",
            column_unit="mean"),
    Measure("replicas_ready_max", COUNT, "most replicas ready in a sample of the run", fact("replicas_ready_max")),
    Measure("replicas_wanted_max", COUNT, "most replicas that an autoscaler asked for in a sample of the run",
            fact("replicas_wanted_max")),
    Measure("scale_ups", COUNT, "times that replicas were added, over the whole run", fact("scaled_up")),
    Measure("scale_downs", COUNT, "times that replicas were taken away, over the whole run", fact("scaled_down")),
    Measure("cold_starts", COUNT, "replicas started, over the whole run", fact("run_replicas_started"), LOW),
    Measure("restarts", COUNT, "processes that crashed and started again in place, in the whole run", fact("crashed"), LOW),
)

#: of the fleet alone
FLEET = (
    Measure("usd_idle", USD, "cost of pools that served nobody", fact("usd_idle", "`usd` − what the classes cost"),
            LOW),
    Measure("kwh_idle", KWH, "energy of pools that served nobody and of nodes that no replica held",
            fact("kwh_idle", "`kwh` − what the classes drew"), LOW),
)

#: of a class or a tenant alone
CLASS = (
    Measure("usd", USD, "its part of the cost of the window", fact("usd"), LOW),
    Measure("kwh", KWH, "its part of the energy of the window", fact("kwh"), LOW),
    Measure("kgco2e", KG, "its part of the CO2", fact("kgco2e"), LOW),
)

#: of one pool alone, before what it shares with the fleet
POOL = (
    Measure("completions", COUNT, "answers completed by the pool", fact("completions"), HIGH),
    Measure("steps", COUNT, "steps ended", fact("steps")),
    Measure("prefill_tokens", TOKENS, "prompt tokens computed, for anybody", fact("prefill_tokens")),
    Measure("decode_tokens", TOKENS, "tokens of answers computed, for anybody", fact("decode_tokens")),
    Measure("prefix_hit_ratio", SHARE, "share of the prompt tokens looked up in its prefix caches that was found there",
            ratio("cached_tokens", "asked_tokens", "tokens found / tokens looked up"), HIGH),
    Measure("prefix_runs_dropped", COUNT, "times that hits were lost for want of runs", fact("prefix_runs_dropped"),
            LOW),
)

#: of a CPU station, over the whole run
STATION = (
    Measure("workers", COUNT, "workers that it has", fact("workers")),
    Measure("run_visits", COUNT, "visits that joined its line", fact("visits")),
    Measure("run_busy_s", SECONDS, "work done, of all workers together", seconds("busy_ps", "")),
    Measure("run_use", SHARE, "share of its workers' time that was used",
            ratio("busy_ps", "workers_ps", "`run_busy_s` / (`workers` × `end_s`)")),
    Measure("run_wait_mean_s", SECONDS, "mean wait in line of a visit",
            mean_seconds("wait_ps", "visits", "time in line / `run_visits`"), LOW),
)

#: of a group of nodes: their time and cost in the window, their counts over the whole run
NODE_GROUP = (
    Measure("nodes_mean", COUNT, "nodes asked for and not gone, on average",
            ratio("billed_ps", "window_ps", "node time / window")),
    Measure("nodes_ready_mean", COUNT, "nodes that are ready, on average",
            ratio("ready_ps", "window_ps", "ready node time / window")),
    Measure("run_nodes_max", COUNT, "most nodes at one time that were asked for and not gone", fact("peak_nodes")),
    Measure("slice_use", SHARE, "share of ready nodes' GPUs that replicas and jobs held, by memory slices",
            ratio("used_ps", "room_ps", "slices held × time / slices × ready time")),
    Measure("run_requested", COUNT, "nodes that were asked for", fact("requested")),
    Measure("run_refused", COUNT, "of these, how often the provider had none", fact("refused"), LOW),
    Measure("run_removed", COUNT, "nodes that were given back", fact("removed")),
    Measure("run_lost", COUNT, "nodes that were lost", fact("lost"), LOW),
    Measure("run_served_gb", GIGABYTES, "bytes that its nodes served to others", billions("served_bytes")),
    Measure("usd", USD, "cost of its nodes in the window", fact("bill_usd", "sum of the seven below"), LOW),
    Measure("usd_used", USD, "of that, for what replicas held", fact("used_usd")),
    Measure("usd_jobs", USD, "… for what batch jobs held", fact("jobs_usd")),
    Measure("usd_free", USD, "… for free GPUs and slices that some replica could have taken", fact("free_usd"), LOW),
    Measure("usd_fragmented", USD, "… for free slices that no replica of any pool could have taken",
            fact("fragmented_usd", "the rest of ready nodes × the samples' share of useless slices"), LOW),
    Measure("usd_not_ready", USD, "… for nodes that were paid for and not ready yet", fact("not_ready_usd"), LOW),
    Measure("usd_rounding", USD, "… beyond their time, for a provider's units and minimum", fact("rounding_usd"), LOW),
    Measure("usd_unused", USD, "… for reserved or owned nodes that nobody asked for", fact("unused_usd"), LOW),
)

#: of a pool's replicas on a cluster, over the whole run
SLICE_WAIT = (
    Measure("run_placed", COUNT, "replicas that got their GPUs", fact("placed")),
    Measure("run_wait_s", SECONDS, "time that replicas waited for GPUs, of all that no longer do",
            seconds("waited_ps", ""), LOW),
    Measure("run_wait_max_s", SECONDS, "the longest of these waits", seconds("waited_max_ps", ""), LOW),
    Measure("run_preempted", COUNT, "replicas preempted by others of a higher priority class", fact("preempted"), LOW),
    Measure("run_evicted", COUNT, "replicas evicted from nodes that were drained", fact("evicted")),
    Measure("run_evictions_refused", COUNT, "evictions that its disruption budget forbade, each try", fact("refused")),
    Measure(
        "run_budget_broken", COUNT, "preemptions against its disruption budget that nothing avoided", fact("broken"), LOW
    ),
)

#: of a batch job, over the whole run
JOB = (
    Measure("run_submitted", COUNT, "runs submitted", fact("submitted")),
    Measure("run_finished", COUNT, "of these, finished", fact("finished"), HIGH),
    Measure("run_failed", COUNT, "… given up, for they had begun again as often as they may", fact("failed"), LOW),
    Measure("run_late", COUNT, "… not finished within `deadline_s`, of those whose time is over", fact("late"), LOW),
    Measure("run_placed", COUNT, "times that a run got its GPUs", fact("placed")),
    Measure("run_preempted", COUNT, "times that one had to give them up", fact("preempted"), LOW),
    Measure("run_lost", COUNT, "times that one lost a node", fact("lost"), LOW),
    Measure("run_start_mean_s", SECONDS, "mean time from submission to its first GPUs, of those that got them",
            mean_seconds("start_ps", "started", "time / runs"), LOW),
    Measure("run_turnaround_mean_s", SECONDS, "mean time from submission to the end, of those that finished",
            mean_seconds("turnaround_ps", "finished", "time / `run_finished`"), LOW),
    Measure("run_wait_max_s", SECONDS, "the longest wait for GPUs", seconds("wait_max_ps", ""), LOW),
    Measure("run_gpu_s", SECONDS, "GPU time held, of all GPUs together", seconds("gpu_ps", "")),
    Measure("run_lost_gpu_s", SECONDS, "of that, for work that was lost", seconds("lost_gpu_ps", ""), LOW),
)

#: of a queue with quotas: what it used in the window, its counts over the whole run
QUEUE = (
    Measure("nominal_gpus", COUNT, "GPUs of its own quota, of all flavors", fact("nominal_gpus")),
    Measure("used_gpus_mean", COUNT, "GPUs of quota in use, on average",
            ratio("used_gpu_ps", "window_ps", "quota time / window")),
    Measure("borrowed_gpus_mean", COUNT, "of these, beyond its own quota",
            ratio("borrowed_gpu_ps", "window_ps", "borrowed quota time / window")),
    Measure("run_admitted", COUNT, "times that a replica or run of it got quota", fact("admitted")),
    Measure("run_quota_wait_mean_s", SECONDS, "mean wait for quota, of those that got it",
            mean_seconds("waited_ps", "admitted", "time / `run_admitted`"), LOW),
    Measure("run_quota_wait_max_s", SECONDS, "the longest of these waits", seconds("waited_max_ps", ""), LOW),
    Measure("run_taken", COUNT, "times that quota was taken from one of it for others", fact("taken"), LOW),
    Measure("run_unplaceable", COUNT, "times that one got quota and found no GPUs at once", fact("unplaceable"), LOW),
)

#: of a link that starts share, over the whole run
LINK = (
    Measure("bandwidth_gb_s", GB_PER_SECOND, "what it carries", fact("bandwidth_gb_s")),
    Measure("run_transfers_max", COUNT, "most transfers in progress over it at one time", fact("transfers_max")),
    Measure("run_moved_gb", GIGABYTES, "bytes of the transfers that ended", billions("moved_bytes")),
    Measure("run_busy_s", SECONDS, "time with a transfer in progress", seconds("busy_ps", "")),
    Measure("run_full_s", SECONDS, "time in which it held transfers back", seconds("full_ps", ""), LOW),
)
# fmt: on

LATENCIES = tuple(measure for measure in REQUESTS if measure.is_latency)
#: what a summary has of the whole fleet, and a limit may be set for
WHOLE = (*REQUESTS, *POOLS, *FLEET)
