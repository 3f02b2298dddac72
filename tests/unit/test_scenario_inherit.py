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
