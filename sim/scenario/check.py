"""What no single field can know: rules between the parts of a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sim.errors import InputError, nearest, problem
from sim.scenario.autoscaler import Fixed, Queue, User, targets_of
from sim.scenario.check_cluster import cluster_problems
from sim.scenario.check_coldstart import start_problems
from sim.scenario.check_deployments import deployment_problems
from sim.scenario.check_faults import fault_problems
from sim.scenario.check_jobs import job_problems
from sim.scenario.check_queues import queue_problems
from sim.scenario.check_sense import sense_problems
from sim.scenario.check_stations import around_problems
from sim.scenario.check_traffic import traffic_problems
from sim.scenario.inherit import slug
from sim.scenario.links import link_problems
from sim.scenario.pool import Pool
from sim.scenario.pool_choice import choice_problems
from sim.scenario.problems import key_text
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.slo import contradictions, parse_slo
from sim.scenario.traffic import TrafficClass
from sim.units import HORIZON_MAX_S

SAMPLE_ROWS_MAX = 1_000_000  # of a time series
WAKING = ("backlog", "arrival_rate")  # metrics that are there without a replica


def problems_between(scenario: Scenario, said: Said) -> list[str]:
    """Every broken rule as one line, once however many pools or classes inherit it."""
    lines = [
        *time_problems(scenario),
        *(line for pool in scenario.pools for line in pool_problems(pool, said)),
        *(line for entry in scenario.classes for line in class_problems(entry, scenario, said)),
        *traffic_problems(scenario, said),
        *around_problems(scenario, said),
        *choice_problems(scenario, said),
        *sense_problems(scenario, said),
        *router_problems(scenario),
        *fault_problems(scenario),
        *deployment_problems(scenario, said),
        *cluster_problems(scenario, said),
        *job_problems(scenario),
        *queue_problems(scenario, said),
        *link_problems(scenario),
        *slo_problems(scenario),
    ]
    return list(dict.fromkeys(lines))


def time_problems(scenario: Scenario) -> Iterator[str]:
    """The measured window is not empty and the clock reaches the end."""
    if scenario.warmup_s >= scenario.duration_s:
        yield problem("warmup_s", scenario.warmup_s, f"less than duration_s ({scenario.duration_s:g} s)")
    if scenario.duration_s + scenario.drain_s > HORIZON_MAX_S:
        room = HORIZON_MAX_S - scenario.duration_s
        yield problem("drain_s", scenario.drain_s, f"≤ {room:g} s: duration_s + drain_s end within 45 days")
    interval_s = scenario.output.sample_interval_s
    width = max(len(scenario.pools), len(scenario.gateway.stations))
    least_s = (scenario.duration_s + scenario.drain_s) * width / SAMPLE_ROWS_MAX
    if interval_s is not None and interval_s < least_s:
        allowed = f"at least {least_s:.3g}, in s: a time series has at most {SAMPLE_ROWS_MAX:,} rows"
        yield problem("output.sample_interval_s", interval_s, allowed)


def router_problems(scenario: Scenario) -> Iterator[str]:
    """A router that looks into prefix caches finds some."""
    cached = any(pool.runtime.prefix_caching for pool in scenario.pools)
    if scenario.router.kind == "prefix_aware" and not cached:
        yield "router.kind: prefix_aware finds no prefix cache; set runtime.prefix_caching=true, or take another router"


def pool_problems(pool: Pool, said: Said) -> Iterator[str]:
    """One pool's replicas, batch and stages agree with each other."""
    yield from replica_problems(pool, said)
    runtime = pool.runtime
    if runtime.max_num_batched_tokens < runtime.max_num_seqs:
        key = said.key(pool.name, "runtime", "max_num_batched_tokens")
        yield problem(key, runtime.max_num_batched_tokens, f"at least max_num_seqs ({runtime.max_num_seqs})")
    if runtime.batching != "dynamic" and runtime.max_batch_delay_s > 0:
        key = said.key(pool.name, "runtime", "max_batch_delay_s")
        yield problem(
            key, runtime.max_batch_delay_s, f"0 unless batching is dynamic (it is {runtime.batching})"
        )
    yield from start_problems(pool, said)
    yield from scaler_problems(pool, said)


def replica_problems(pool: Pool, said: Said) -> Iterator[str]:
    """min ≤ max, and neither the start nor a fixed number above it."""
    allowed = f"≤ max_replicas ({pool.max_replicas})"
    if pool.min_replicas > pool.max_replicas:
        yield problem(said.key(pool.name, "min_replicas"), pool.min_replicas, allowed)
        return
    fixed = pool.autoscaler.replicas if isinstance(pool.autoscaler, Fixed) else 0
    if fixed > pool.max_replicas and said.has(pool.name, "autoscaler", "replicas"):
        yield problem(said.key(pool.name, "autoscaler", "replicas"), fixed, allowed)
    elif pool.replicas_at_start > pool.max_replicas:
        yield problem(said.key(pool.name, "initial_replicas"), pool.replicas_at_start, allowed)


def scaler_problems(pool: Pool, said: Said) -> Iterator[str]:
    """The pipelines carry the autoscaler's metrics, and only a queue scaler comes back from zero."""
    scaler = pool.autoscaler
    yield from pipeline_problems(pool, said)
    if pool.min_replicas > 0 or isinstance(scaler, Fixed | User):
        return
    if not isinstance(scaler, Queue):
        yield problem(said.key(pool.name, "min_replicas"), 0, "≥ 1 with autoscaler hpa: it cannot leave zero")
    elif all(trigger.metric not in WAKING for _, trigger in targets_of(scaler)):
        why = "while min_replicas is 0: no replica is there to show anything else"
        yield problem(
            said.key(pool.name, "autoscaler", "metric"), scaler.metric, f"{' or '.join(WAKING)} {why}"
        )


def pipeline_problems(pool: Pool, said: Said) -> Iterator[str]:
    """Each pipeline carries the metric that the autoscaler sees through it."""
    pipelines = (pool.metrics, *pool.metrics.more)
    for i, ((place, of), pipeline) in enumerate(zip(targets_of(pool.autoscaler), pipelines, strict=False)):
        if pipeline.source != of.metric:
            where = key_text(("autoscaler", *place, "metric"))
            key = said.key(pool.name, "metrics", *(("more", i - 1) if i else ()), "source")
            yield problem(key, pipeline.source, f"{of.metric}, or null, while {where} is {of.metric}")


def class_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """A class's model is served by some pool, and said when there are several."""
    models = scenario.models
    key = said.class_key(entry.name, "model")
    if entry.model is None and len(models) > 1 and not scenario.pool_choice.across_models:
        yield f"{key}: is missing; several models are served: {', '.join(map(slug, models))}"
    if entry.model is not None and entry.model not in models:
        names = [slug(model) for model in models]
        yield problem(
            key, entry.model, f"a model that a pool serves: {', '.join(names)}", nearest(entry.model, names)
        )


def slo_problems(scenario: Scenario) -> Iterator[str]:
    """Every limit can be read, and all of them can hold together."""
    classes = [entry.name for entry in scenario.classes]
    wrong = list(unreadable(scenario.slo, classes))
    yield from wrong or contradictions([parse_slo(text, classes) for text in scenario.slo])


def unreadable(limits: Iterable[str], classes: list[str]) -> Iterator[str]:
    """One line for each limit that does not parse."""
    for text in limits:
        try:
            parse_slo(text, classes)
        except InputError as error:
            yield from error.problems
