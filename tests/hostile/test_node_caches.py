"""Caches of nodes that make no sense are one clear line each; those that do become rows of the model."""

from __future__ import annotations

from typing import Any

import pytest

from sim.errors import InputError
from sim.pack.cluster import cluster_rows
from sim.pack.coldstart import artifacts_of
from sim.scenario.compose import load_scenario

GROUP = "cluster.node_groups.0"


def made(*words: str) -> Any:
    """A scenario on a machine with eight H100."""
    return load_scenario("spiky_hour", ["cluster=one_dgx_h100", "gpu=h100", "coldstart=object_store", *words])


def told(*words: str) -> list[str]:
    """The lines that say what is wrong."""
    with pytest.raises(InputError) as error:
        made(*words)
    return list(error.value.problems)


@pytest.mark.parametrize(
    ("word", "key"),
    [
        (f"{GROUP}.preloaded=[mian]", f"{GROUP}.preloaded"),
        (f"{GROUP}.cache_gb=-1", f"{GROUP}.cache_gb"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_names_its_key(word: str, key: str) -> None:
    lines = told(word)
    assert len(lines) == 1
    assert lines[0].replace("[0]", ".0").startswith(f"{key}:")


def test_a_cache_of_no_size_is_preloaded_with_nothing() -> None:
    assert told(f"{GROUP}.cache_gb=0", f"{GROUP}.preloaded=[main]")[0].startswith(f"{GROUP}.preloaded:")


def test_the_nearest_name_is_told() -> None:
    assert "main" in told(f"{GROUP}.preloaded=[mian]")[0]


def test_what_nodes_keep_becomes_rows() -> None:
    scenario = made(f"{GROUP}.preloaded=[main]")
    artifacts = artifacts_of(scenario.pools)
    rows = cluster_rows(scenario, scenario.pools, artifacts)
    assert [one.of for one in artifacts] == ["image", "unpacked_image", "weights"]
    assert rows["node_group"][0]["preloaded"] == 0b111
    assert rows["node_group"][0]["cache_bytes"] == 30_720 * 10**9
    assert [row["size_bytes"] for row in rows["artifact"]] == [round(one.n_bytes) for one in artifacts]
