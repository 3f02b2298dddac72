"""What pools and classes take from the top level, and what replaces it whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.compose import compose, load_scenario, said_where
from sim.scenario.inherit import merge, slug

names = st.sampled_from(["name", "kind", "a", "b", "c"])
trees = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


@given(trees)
def test_merging_nothing_changes_nothing(tree: dict) -> None:
    assert merge(tree, {}) == tree
    assert merge({}, tree) == tree
    assert merge(tree, tree) == tree


@given(trees, trees)
def test_what_is_said_wins(base: dict, own: dict) -> None:
    merged = merge(base, own)
    for key, value in own.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    is_other = any(k in base and k in own and base[k] != own[k] for k in ("name", "kind"))
    assert set(merged) == (set(own) if is_other else set(base) | set(own))


def test_another_kind_replaces_the_whole() -> None:
    base = {"prompt_tokens": {"kind": "lognormal", "mu": 6, "sigma": 1}}
    assert merge(base, {"prompt_tokens": {"kind": "constant", "value": 3}}) == {
        "prompt_tokens": {"kind": "constant", "value": 3}
    }
    assert merge(base, {"prompt_tokens": {"sigma": 2}})["prompt_tokens"] == {
        "kind": "lognormal",
        "mu": 6,
        "sigma": 2,
    }


def test_a_pool_says_only_what_differs() -> None:
    scenario = load_scenario(
        "first_run",
        ["runtime.max_num_seqs=99", "pools.a.gpu.memory_gb=70", "gpu@pools.b.gpu=l4", "pools.b.tp=2"],
    )
    a, b = sorted(scenario.pools, key=lambda pool: pool.name)
    assert (a.name, a.gpu.memory_gb, a.gpu.memory_bw_gb_s, a.tp) == ("a", 70, 3350, 1)
    assert (b.name, b.gpu.memory_gb, b.gpu.memory_bw_gb_s, b.tp) == ("b", 24, 300, 2)
    assert a.runtime == b.runtime
    assert a.runtime.max_num_seqs == 99


def test_without_pools_and_classes_there_is_one_of_each() -> None:
    scenario = load_scenario("first_run")
    assert [pool.name for pool in scenario.pools] == ["main"]
    assert [entry.name for entry in scenario.classes] == ["chat"]


def test_what_pool_says_of_a_group_stands_over_the_top_level() -> None:
    overrides = ["pool.runtime.max_num_seqs=7", "runtime.block_size=32", "pool.gpu.memory_gb=70"]
    (pool,) = load_scenario("first_run", overrides).pools
    assert (pool.runtime.max_num_seqs, pool.runtime.block_size, pool.gpu.memory_gb) == (7, 32, 70)
    assert said_where("first_run", overrides)["runtime.max_num_seqs"] == "command line"


def test_a_class_says_only_what_differs() -> None:
    scenario = load_scenario(
        "first_run", ["classes.vip.priority=-1", "classes.rest={}", "traffic.priority=3"]
    )
    assert [(c.name, c.priority) for c in scenario.classes] == [("vip", -1), ("rest", 3)]
    assert scenario.classes[0].prompt_tokens == scenario.classes[1].prompt_tokens


@pytest.mark.parametrize(
    ("overrides", "replicas", "start"),
    [
        (["autoscaler=fixed", "pool.min_replicas=2"], 2, 2),
        (["autoscaler=fixed", "pool.initial_replicas=3"], 3, 3),
        (["autoscaler=fixed", "autoscaler.replicas=5"], 5, 5),
        (["autoscaler=fixed_max"], 9, 9),
        (["autoscaler=fixed", "autoscaler.replicas=min", "pool.initial_replicas=0"], 1, 0),
    ],
)
def test_what_a_fixed_autoscaler_holds(overrides: list[str], replicas: int, start: int) -> None:
    base = ["pool.min_replicas=1", "pool.max_replicas=9"]
    pool = load_scenario("first_run", [*base, *overrides]).pools[0]
    assert (pool.autoscaler.replicas, pool.replicas_at_start) == (replicas, start)


def test_an_autoscaler_brings_its_own_lower_limit() -> None:
    assert load_scenario("first_run", ["autoscaler=queue_to_zero"]).pools[0].min_replicas == 0


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        (["autoscaler=hpa"], "outstanding"),
        (["autoscaler=hpa", "autoscaler.metric=kv_use", "autoscaler.target=0.7"], "kv_use"),
        (["autoscaler=queue"], "backlog"),
        (["autoscaler=fixed", "metrics.source=waiting"], "waiting"),
    ],
)
def test_the_pipeline_carries_what_the_autoscaler_follows(overrides: list[str], source: str) -> None:
    assert load_scenario("first_run", overrides).pools[0].metrics.source == source


def test_a_pipeline_that_carries_something_else_is_refused() -> None:
    with pytest.raises(InputError, match=r"^metrics.source: 'waiting' is not valid"):
        load_scenario("first_run", ["autoscaler=hpa", "metrics.source=waiting"])


KV_USE = "autoscaler.more_metrics=[{metric: kv_use, target: 0.8}]"
HPA = ("autoscaler=hpa", KV_USE)
ARRIVALS = "autoscaler.more_triggers=[{metric: arrival_rate, target_backlog_per_replica: 3, activation: 1}]"


@pytest.mark.parametrize(
    ("overrides", "pipelines"),
    [
        (HPA, [("outstanding", 15, 0, "mean", 0), ("kv_use", 15, 0, "mean", 0)]),
        (
            (*HPA, "metrics=prometheus"),
            [("outstanding", 30, 120, "mean", 30), ("kv_use", 30, 120, "mean", 30)],
        ),
        (
            (*HPA, "metrics.more=[{window_s: 60, aggregation: max}, {source: waiting, lag_s: 5}]"),
            [
                ("outstanding", 15, 0, "mean", 0),
                ("kv_use", 15, 60, "max", 0),
                ("waiting", 15, 0, "mean", 5),
            ],
        ),
        (("autoscaler=queue", ARRIVALS), [("backlog", 15, 0, "mean", 0), ("arrival_rate", 15, 0, "mean", 0)]),
        (
            ("autoscaler=fixed", "metrics.more=[{source: backlog}]"),
            [("outstanding", 15, 0, "mean", 0), ("backlog", 15, 0, "mean", 0)],
        ),
    ],
)
def test_each_metric_has_a_pipeline_and_each_pipeline_is_as_the_first_unless_it_says(
    overrides: tuple[str, ...], pipelines: list[tuple[str, float, float, str, float]]
) -> None:
    first = load_scenario("first_run", overrides).pools[0].metrics
    found = [(x.source, x.scrape_period_s, x.window_s, x.aggregation, x.lag_s) for x in (first, *first.more)]
    assert found == pipelines


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            (*HPA, "metrics.more=[{source: waiting}]"),
            "metrics.more[0].source: 'waiting' is not valid; allowed: kv_use, or null, while "
            "autoscaler.more_metrics[0].metric is kv_use",
        ),
        (
            ("autoscaler=hpa", "autoscaler.more_metrics=[{metric: kv_use, target: 8}]"),
            "autoscaler.more_metrics[0].target: 8.0 is not valid; allowed: ≤ 1 while "
            "autoscaler.more_metrics[0].metric is kv_use, a share",
        ),
        (
            ("autoscaler=hpa", "autoscaler.more_metrics=[{metric: kvuse, target: 0.8}]"),
            "autoscaler.more_metrics[0].metric: 'kvuse' is not valid; allowed: outstanding, waiting, running, kv_use, "
            "arrival_rate, backlog; did you mean 'kv_use'?",
        ),
        (
            ("metrics.aggregation=mx",),
            "metrics.aggregation: 'mx' is not valid; allowed: mean, max, last; did you mean 'max'?",
        ),
        (("metrics.more=[3]",), "metrics.more[0]: 3 is not valid; allowed: a mapping"),
        (
            ("metrics.more=[{sorce: waiting}]",),
            "metrics.more[0].sorce: no such key; allowed: source, scrape_period_s, window_s, aggregation, lag_s; "
            "did you mean 'source'?",
        ),
    ],
)
def test_what_is_wrong_with_a_further_metric_is_said_in_one_line(
    overrides: tuple[str, ...], line: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario("first_run", overrides)
    assert refused.value.problems == [line]


def test_any_trigger_that_is_there_without_a_replica_can_wake_a_pool() -> None:
    waiting = [
        "autoscaler=queue_to_zero",
        "autoscaler.metric=waiting",
        "autoscaler.target_backlog_per_replica=3",
    ]
    with pytest.raises(InputError, match=r"^autoscaler.metric: 'waiting' is not valid; allowed: backlog or"):
        load_scenario("first_run", waiting)
    assert load_scenario("first_run", [*waiting, ARRIVALS]).pools[0].min_replicas == 0


@pytest.mark.parametrize("said", ["llama_3_1_8b", "Llama 3.1 8B", "LLAMA-3.1-8B"])
def test_a_class_names_its_model_by_either_name(said: str) -> None:
    raw = compose("first_run")
    raw["traffic"]["model"] = said
    assert from_dict(raw).classes[0].model == raw["model"]["name"]


def test_several_models_need_a_choice() -> None:
    with pytest.raises(InputError, match=r"traffic.model: is missing; several models are served"):
        load_scenario("first_run", ["model@pools.a.model=qwen3_8b", "model@pools.b.model=llama_3_1_8b"])


@given(st.text(max_size=20))
def test_a_short_name_is_its_own_short_name(text: str) -> None:
    assert slug(slug(text)) == slug(text)


def test_merge_does_not_touch_its_arguments() -> None:
    base: dict[str, Any] = {"a": {"b": 1}}
    merge(base, {"a": {"c": 2}})
    assert base == {"a": {"b": 1}}
