"""What a pool or a traffic class does not say, it takes from the top level."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, get_args

from sim.scenario.catalogue import own_options
from sim.scenario.yaml_file import read_yaml

POOL_GROUPS = ("gpu", "model", "runtime", "coldstart", "autoscaler", "metrics", "price", "site")
CLASS_GROUPS = ("patience", "retry")
IDENTITY = ("name", "kind")
USUAL_METRIC = {"hpa": "outstanding", "queue": "backlog"}  # of the autoscalers that follow metrics
MORE_METRICS = {"hpa": "more_metrics", "queue": "more_triggers"}  # where they say the others


def is_other(base: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """True when `own` names another thing than `base`, so that nothing of `base` applies to it."""
    return any(key in base and key in own and base[key] != own[key] for key in IDENTITY)


def merge(base: Any, own: Any) -> Any:
    """`own` over `base`, key by key; a mapping of another `name` or `kind` replaces the whole."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping) or is_other(base, own):
        return own
    return {**base, **{key: merge(base[key], value) if key in base else value for key, value in own.items()}}


def pool_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What every pool starts from: the groups of the top level, and over them what `pool` says."""
    fields = raw.get("pool") or {}
    groups = {group: raw[group] for group in POOL_GROUPS if raw.get(group) is not None}
    return dict(merge(groups, fields)) if isinstance(fields, Mapping) else groups


def merged_pools(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every pool complete, by name; without `pools` there is one, called main."""
    own = raw.get("pools") or {"main": {}}
    base = pool_defaults(raw)
    return {name: completed_pool(name, merge(base, pool or {})) for name, pool in own.items()}


def completed_pool(name: str, pool: Any) -> Any:
    """The pool with its name, the number that `fixed` holds, and a pipeline for each metric of its scaler."""
    if not isinstance(pool, Mapping):
        return pool
    named = {**pool, "name": name}
    return with_stage_kinds(with_steptime(with_metric(with_fixed_replicas(with_lower_limit(named)))))


def with_stage_kinds(pool: dict[str, Any]) -> dict[str, Any]:
    """A stage of a cold start that does not say its kind is one whose time was measured."""
    start = pool.get("coldstart")
    if not isinstance(start, Mapping) or not is_list(start.get("stages")):
        return pool
    stages = [
        {"kind": "fixed", **stage} if isinstance(stage, Mapping) else stage for stage in start["stages"]
    ]
    return {**pool, "coldstart": {**start, "stages": stages}}


def with_steptime(pool: dict[str, Any]) -> dict[str, Any]:
    """A step time that does not say its kind is the law."""
    steptime = pool.get("steptime")
    return {**pool, "steptime": {"kind": "auto", **steptime}} if isinstance(steptime, Mapping) else pool


def with_lower_limit(pool: dict[str, Any]) -> dict[str, Any]:
    """An autoscaler that comes with its own `min_replicas` (down to zero, say) replaces the pool's."""
    scaler = pool.get("autoscaler")
    if not isinstance(scaler, Mapping) or "min_replicas" not in scaler:
        return pool
    rest = {key: value for key, value in scaler.items() if key != "min_replicas"}
    return {**pool, "autoscaler": rest, "min_replicas": scaler["min_replicas"]}


def with_fixed_replicas(pool: dict[str, Any]) -> dict[str, Any]:
    """`fixed` without a number holds the start's, `min` and `max` are the pool's; the start follows it."""
    scaler = pool.get("autoscaler")
    if not isinstance(scaler, Mapping) or scaler.get("kind") != "fixed":
        return pool
    start = pool.get("initial_replicas")
    lowest, highest = pool.get("min_replicas", 1), pool.get("max_replicas", 16)
    wanted = scaler.get("replicas")
    if wanted is None:
        wanted = lowest if start is None else start
    elif wanted in ("min", "max"):
        wanted = lowest if wanted == "min" else highest
    start = wanted if start is None else start
    return {**pool, "autoscaler": {**scaler, "replicas": wanted}, "initial_replicas": start}


def with_metric(pool: dict[str, Any]) -> dict[str, Any]:
    """The pipeline carries what the autoscaler asks for, unless one of the two is said alone."""
    scaler, metrics = pool.get("autoscaler"), pool.get("metrics")
    metrics = {} if metrics is None else metrics
    if not isinstance(scaler, Mapping) or not isinstance(metrics, Mapping):
        return pool
    usual = USUAL_METRIC.get(str(scaler.get("kind")))
    said = [metrics.get("source"), scaler.get("metric"), usual, "outstanding"]
    source = next(name for name in said if name is not None)
    if usual is not None:
        scaler = {**scaler, "metric": source if scaler.get("metric") is None else scaler["metric"]}
    metrics = {**metrics, "source": source}
    return {**pool, "autoscaler": scaler, "metrics": {**metrics, "more": more_pipelines(metrics, scaler)}}


def more_pipelines(metrics: Mapping[str, Any], scaler: Mapping[str, Any]) -> Any:
    """The pipelines behind the first: one at least for each further metric of the scaler, which it carries unless it says
    another source, and like the first one in what it does not say.
    """
    said = metrics.get("more")
    if said is not None and not is_list(said):
        return said
    wanted = scaler.get(MORE_METRICS.get(str(scaler.get("kind")), ""))
    sources = [metric_of(more) for more in wanted] if is_list(wanted) else []
    own = [*(said or ()), *({} for _ in sources[len(said or ()) :])]
    like = {key: value for key, value in metrics.items() if key not in ("name", "more")}
    return [
        pipeline_like(like, pipeline, sources[i] if i < len(sources) else None)
        for i, pipeline in enumerate(own)
    ]


def metric_of(more: Any) -> str | None:
    """The metric of an entry, None where it has none that there is: what is wrong with it is said there alone."""
    from sim.scenario.metrics import MetricSource  # its classes take long to make

    metric = more.get("metric") if isinstance(more, Mapping) else None
    return metric if metric in get_args(MetricSource) else None


def pipeline_like(like: Mapping[str, Any], own: Any, source: Any) -> Any:
    """One further pipeline, complete; anything but a mapping unchanged, for validation to refuse."""
    if not isinstance(own, Mapping):
        return own
    said = {key: value for key, value in own.items() if value is not None}
    return {**like, **({} if source is None else {"source": source}), **said}


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list of something."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def slug(name: str) -> str:
    """`Llama 3.1 8B` as `llama_3_1_8b`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def with_model_name(spec: Any, models: Sequence[str]) -> Any:
    """A class asks for its models by name or, as in conf/model, by their short names; here it gets the names."""
    if not isinstance(spec, Mapping):
        return spec
    named = dict(spec)
    guardrail = spec.get("guardrail")
    if isinstance(spec.get("model"), str):
        named["model"] = full_name(spec["model"], models)
    if isinstance(guardrail, Mapping) and isinstance(guardrail.get("fallback"), str):
        named["guardrail"] = {**guardrail, "fallback": full_name(guardrail["fallback"], models)}
    return named


def full_name(name: str, models: Sequence[str]) -> str:
    """The model that is meant by `name`, which stays as it is where there is none.

    A file of the user's may be called otherwise than the model in it: both names mean the model.
    """
    found = next((model for model in models if slug(model) == slug(name)), None)
    if found is None and name in (files := own_options("model")):
        said = read_yaml(files[name]).get("name")
        found = said if said in models else None
    return found or name


def models_of(pools: Mapping[str, Any]) -> list[str]:
    """Names of the models in merged pools, as far as they can be read."""
    models = [pool.get("model") for pool in pools.values() if isinstance(pool, Mapping)]
    names = [model.get("name") for model in models if isinstance(model, Mapping)]
    return [name for name in names if isinstance(name, str)]


def merged_tenants(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every tenant by name; one that says nothing has weight 1 and no limits."""
    return {name: named(name, spec or {}) for name, spec in (raw.get("tenants") or {}).items()}


def merged_classes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every traffic class complete, by name; without `classes` there is one, called as `traffic` is.

    Under all of them lie the top level's groups of a class, which another kind of traffic does not replace.
    """
    groups = {group: raw[group] for group in CLASS_GROUPS if raw.get(group) is not None}
    base = raw.get("traffic") or {}
    own = raw.get("classes")
    if not own:
        name = base.get("name") or "default" if isinstance(base, Mapping) else "default"
        return {name: named(name, merge(groups, base))}
    return {name: named(name, merge(groups, merge(base, spec or {}))) for name, spec in own.items()}


def named(name: str, spec: Any) -> Any:
    """The mapping called `name`; anything else unchanged, for validation to refuse."""
    return {**spec, "name": name} if isinstance(spec, Mapping) else spec
