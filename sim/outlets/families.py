"""The metrics that a run is told in: names, kinds, labels and buckets as the programs have them that they are taken from.

vLLM: vllm/v1/metrics/loggers.py (github.com/vllm-project/vllm). Endpoint picker: pkg/epp/metrics/metrics.go
(github.com/kubernetes-sigs/gateway-api-inference-extension). kube-state-metrics: docs/metrics/workload.
"""

from __future__ import annotations

from typing import NamedTuple

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"


class Family(NamedTuple):
    """A metric family; `buckets` are upper bounds without infinity. A counter's samples end in `_total`."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names that its samples have."""
        if self.kind == HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (f"{self.name}_total",) if self.kind == COUNTER else (self.name,)


_TTFT = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_TOKEN = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
_REQUEST = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_PICKER = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0),
    *(20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0),
    *(1200.0, 1800.0, 2700.0, 3600.0),
)
_INPUT = (
    *(1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0),
    *(32778.0, 65536.0, 131072.0, 262144.0, 524288.0, 1048576.0),  # 32778 is theirs
)
_OUTPUT = _INPUT[:12]
_PER_TOKEN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

POD = ("model_name", "engine", "namespace", "pod")
MODEL = ("model_name",)
TARGET = ("model_name", "target_model_name")
POOL = ("name",)
DEPLOYMENT = ("namespace", "deployment")
SCALER = ("namespace", "horizontalpodautoscaler")

VLLM_GAUGES = (
    Family("vllm:num_requests_running", GAUGE, "Number of requests in model execution batches.", POD),
    Family("vllm:num_requests_waiting", GAUGE, "Number of requests waiting to be processed.", POD),
    Family("vllm:kv_cache_usage_perc", GAUGE, "KV-cache usage. 1 means 100 percent usage.", POD),
    Family(
        "vllm:gpu_cache_usage_perc", GAUGE, "KV-cache usage, by the name that it had before vLLM 0.9.", POD
    ),
)
VLLM_COUNTERS = (
    Family("vllm:prompt_tokens", COUNTER, "Number of prefill tokens processed.", POD),
    Family("vllm:generation_tokens", COUNTER, "Number of generation tokens processed.", POD),
    Family("vllm:num_preemptions", COUNTER, "Cumulative number of preemption from the engine.", POD),
    Family("vllm:prefix_cache_queries", COUNTER, "Prefix cache queries, in queried tokens.", POD),
    Family("vllm:prefix_cache_hits", COUNTER, "Prefix cache hits, in cached tokens.", POD),
    Family(
        "vllm:request_success",
        COUNTER,
        "Count of successfully processed requests.",
        (*POD, "finished_reason"),
    ),
)
VLLM_HISTOGRAMS = (
    Family("vllm:time_to_first_token_seconds", HISTOGRAM, "Time to first token in seconds.", POD, _TTFT),
    Family(
        "vllm:request_time_per_output_token_seconds",
        HISTOGRAM,
        "Mean gap of a request's tokens.",
        POD,
        _TOKEN,
    ),
    Family("vllm:e2e_request_latency_seconds", HISTOGRAM, "End to end request latency.", POD, _REQUEST),
    Family("vllm:request_queue_time_seconds", HISTOGRAM, "Time spent in WAITING phase.", POD, _REQUEST),
    Family("vllm:request_inference_time_seconds", HISTOGRAM, "Time spent in RUNNING phase.", POD, _REQUEST),
    Family("vllm:request_prefill_time_seconds", HISTOGRAM, "Time spent in PREFILL phase.", POD, _REQUEST),
    Family("vllm:request_decode_time_seconds", HISTOGRAM, "Time spent in DECODE phase.", POD, _REQUEST),
)
#: Their buckets are 1, 2, 5, 10 … up to the model's context.
VLLM_LENGTHS = (
    Family("vllm:request_prompt_tokens", HISTOGRAM, "Number of prefill tokens processed.", POD),
    Family("vllm:request_generation_tokens", HISTOGRAM, "Number of generation tokens processed.", POD),
)
VLLM_GAPS = tuple(
    Family(name, HISTOGRAM, about, MODEL, _TOKEN)
    for name, about in (
        ("vllm:inter_token_latency_seconds", "Gaps between tokens, of all pods of a model."),
        ("vllm:time_per_output_token_seconds", "The same, by the name that it had before vLLM 0.11."),
    )
)

PICKER_POOLS = (
    Family("inference_pool_average_kv_cache_utilization", GAUGE, "Average KV cache utilization.", POOL),
    Family("inference_pool_average_queue_size", GAUGE, "Average number of requests in a queue.", POOL),
    Family("inference_pool_ready_pods", GAUGE, "Number of ready pods.", POOL),
)
PICKER_QUEUE = Family(
    "inference_pool_per_pod_queue_size",
    GAUGE,
    "Requests in the queue of each pod.",
    ("name", "model_server_pod"),
)
PICKER_REQUESTS = Family(
    "inference_objective_request", COUNTER, "Requests: attempts that reached the gateway.", TARGET
)
PICKER_ERRORS = Family(
    "inference_objective_request_error", COUNTER, "Requests that got an error.", (*TARGET, "error_code")
)
PICKER_HISTOGRAMS = (
    Family("inference_objective_request_duration_seconds", HISTOGRAM, "Response latency.", TARGET, _PICKER),
    Family("inference_objective_input_tokens", HISTOGRAM, "Input tokens of requests.", TARGET, _INPUT),
    Family("inference_objective_output_tokens", HISTOGRAM, "Output tokens of requests.", TARGET, _OUTPUT),
    Family(
        "inference_objective_normalized_time_per_output_token_seconds",
        HISTOGRAM,
        "Response latency over output tokens.",
        TARGET,
        _PER_TOKEN,
    ),
)
PICKER_RUNNING = Family("inference_objective_running_requests", GAUGE, "Running requests.", MODEL)

KUBE_DEPLOYMENT = (
    Family("kube_deployment_spec_replicas", GAUGE, "Number of desired pods for a deployment.", DEPLOYMENT),
    Family("kube_deployment_status_replicas", GAUGE, "The number of replicas per deployment.", DEPLOYMENT),
    Family("kube_deployment_status_replicas_ready", GAUGE, "Ready replicas per deployment.", DEPLOYMENT),
    Family("kube_deployment_status_replicas_available", GAUGE, "Available replicas.", DEPLOYMENT),
    Family("kube_deployment_status_replicas_unavailable", GAUGE, "Unavailable replicas.", DEPLOYMENT),
)
KUBE_SCALER = (
    Family("kube_horizontalpodautoscaler_status_desired_replicas", GAUGE, "Desired replicas.", SCALER),
    Family("kube_horizontalpodautoscaler_status_current_replicas", GAUGE, "Current replicas.", SCALER),
    Family("kube_horizontalpodautoscaler_spec_min_replicas", GAUGE, "Lower limit of replicas.", SCALER),
    Family("kube_horizontalpodautoscaler_spec_max_replicas", GAUGE, "Upper limit of replicas.", SCALER),
)

OWN_ENDED = Family(
    "fleetsim_requests_ended",
    COUNTER,
    "Requests that are over, as their clients saw it.",
    ("class", "model_name", "outcome", "reason"),
)
OWN_TTFT = Family(
    "fleetsim_time_to_first_token_seconds",
    HISTOGRAM,
    "Arrival of the first attempt until the first token, and the network: what the client saw.",
    ("class", "model_name"),
    _TTFT,
)
OWN_COST = Family("fleetsim_cost_usd", COUNTER, "What the pool has cost.", ("pool",))
OWN_NODES = Family("fleetsim_nodes", GAUGE, "Nodes of a group, by stage.", ("node_group", "stage"))
OWN_SLICES = Family(
    "fleetsim_gpu_slices",
    GAUGE,
    "Memory slices of a group's GPUs: of replicas, of jobs, free, and free but useless to everybody.",
    ("node_group", "state"),
)
OWN_LINK_TRANSFERS = Family("fleetsim_link_transfers", GAUGE, "Transfers in progress over a link.", ("link",))
OWN_LINK_RATE = Family("fleetsim_link_bytes_per_second", GAUGE, "What moves over a link.", ("link",))

FAMILIES: tuple[Family, ...] = (
    *VLLM_GAUGES,
    *VLLM_COUNTERS,
    *VLLM_HISTOGRAMS,
    *VLLM_LENGTHS,
    *VLLM_GAPS,
    *PICKER_POOLS,
    PICKER_QUEUE,
    PICKER_REQUESTS,
    PICKER_ERRORS,
    *PICKER_HISTOGRAMS,
    PICKER_RUNNING,
    *KUBE_DEPLOYMENT,
    *KUBE_SCALER,
    OWN_ENDED,
    OWN_TTFT,
    OWN_COST,
    OWN_NODES,
    OWN_SLICES,
    OWN_LINK_TRANSFERS,
    OWN_LINK_RATE,
)


def buckets_1_2_5(most: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50 … up to `most`, as vLLM makes the buckets of lengths."""
    found: list[float] = []
    power = 1
    while power <= most:
        found += [float(m * power) for m in (1, 2, 5) if m * power <= most]
        power *= 10
    return tuple(found)
