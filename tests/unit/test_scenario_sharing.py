"""GPUs that replicas share: what is refused, what a share gives and costs, and what is packed of it."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.pack.cluster import cluster_rows, with_node_prices
from sim.scenario.compose import load_scenario
from sim.scenario.scenario import Scenario
from sim.show import as_table
from sim.steptime import make_step_table
from sim.steptime.slices import with_slices

HALF = "runtime.gpu_memory_utilization=0.5"


def group(sharing: str, more: str = "", gpu: str = "h100", name: str = "mine") -> str:
    """A node group in the words of the command line."""
    return f"{{name: {name}, gpu: {gpu}, gpus: 2, min_nodes: 1, sharing: {sharing}{more}}}"


def words(*groups: str, slice_: str = "shared") -> list[str]:
    """A cluster of these groups, and a pool of two replicas that asks for a slice."""
    own = ["pool.min_replicas=1", "pool.max_replicas=2", HALF] + [f"pool.slice={slice_}"] * bool(slice_)
    return [f"cluster.node_groups=[{', '.join(groups)}]", *own]


BY_TURNS = group("{time_slicing: {replicas: 2}}")
BY_MPS = group("{mps: {replicas: 4, active_thread_percentage: 40}}")
QUARTER = "runtime.gpu_memory_utilization=0.25"


def story(*more: str) -> Scenario:
    """first_run on shared GPUs."""
    return with_slices(load_scenario("first_run", [*words(BY_TURNS), *more]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            words(group("{}")),
            "cluster.node_groups.0.sharing: 'nothing' is not valid; allowed: one of time_slicing",
        ),
        (
            words(group("{time_slicing: {replicas: 2}, mps: {replicas: 2}}")),
            "cluster.node_groups.0.sharing: 'time_slicing and mps' is not valid; allowed: one of",
        ),
        (words(group("{time_slicing: {replicas: 1}}")), "sharing.time_slicing.replicas: 1 is not valid"),
        (words(group("{time_slicing: {replicas: 9}}")), "sharing.time_slicing.replicas: 9 is not valid"),
        (
            words(group("{time_slicing: {replicas: 2, switch: 1}}")),
            "switch: no such key; allowed: replicas, switching",
        ),
        (words(group("{mps: {replicas: 2, active_thread_percentage: 0}}")), "active_thread_percentage: 0 is"),
        (
            words(group("{time_slicing: {replicas: 2}}", ", mig: dynamic")),
            "cluster.node_groups.0.sharing: 'time_slicing' is not valid; allowed: null where mig of mine is not",
        ),
        (
            [*words(BY_TURNS), "pool.tp=2"],
            "pool.tp: 2 is not valid; allowed: 1 with slice shared: a share is of one",
        ),
        (
            words(BY_TURNS, slice_=""),
            "pool.slice: null is not valid; allowed: shared: GPUs of mine are shared",
        ),
        (
            words(BY_TURNS, slice_="1g.10gb"),
            "pool.slice: '1g.10gb' is not valid; allowed: shared: GPUs of mine",
        ),
        (
            words(group("null")),
            "pool.slice: 'shared' is not valid; allowed: null or a profile, or sharing in mine",
        ),
        (words(BY_TURNS, slice_="shared-3"), "pool.slice: 'shared-3' is not valid; allowed: shared-2"),
        (
            [*words(BY_TURNS, BY_MPS.replace("mine", "other")), QUARTER, "pool.active_thread_percentage=40"],
            "pool.slice: 'shared' is not valid; allowed: one of them, for its node groups differ: shared-2 (in mine), sha",
        ),
        (["pool.slice=shared"], "allowed: null without a cluster, or one with a node group that has sharing"),
        (
            [*words(BY_TURNS), "runtime.gpu_memory_utilization=0.9"],
            "runtime.gpu_memory_utilization: 0.9 is not valid; allowed: at most 0.5 for each of 2 replicas on one GPU",
        ),
        (
            [*words(BY_TURNS), "pool.active_thread_percentage=30"],
            "pool.active_thread_percentage: 30 is not valid; allowed: null but for a pool with slice: shared on",
        ),
        (
            [
                *words(group("{mps: {replicas: 4}}"), BY_MPS.replace("mine", "other")),
                QUARTER,
            ],
            "pool.active_thread_percentage: null is not valid; allowed: one number of its own: its node groups have",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(wrong: list[str], told: str) -> None:
    with pytest.raises(InputError) as error:
        load_scenario("first_run", wrong)
    assert len(error.value.problems) == 1, error.value.problems
    assert told in error.value.problems[0]


def test_memory_that_is_too_little_says_by_how_many_gib() -> None:
    with pytest.raises(InputError, match=r"0\.9 is not valid.* too much by 63\.3 GiB of its 79\.1"):
        load_scenario("first_run", [*words(BY_TURNS), "runtime.gpu_memory_utilization=0.9"])
    with pytest.raises(
        InputError, match=r"0\.1 is not valid; allowed: at least 0\.\d+ for .* too little by \d"
    ):
        make_step_table(story("runtime.gpu_memory_utilization=0.1").pools[0])


def test_only_neighbours_that_there_can_be_count_against_the_memory() -> None:
    alone = [*words(BY_TURNS), "pool.max_replicas=1", "runtime.gpu_memory_utilization=0.9"]
    assert load_scenario("first_run", alone).pools[0].runtime.gpu_memory_utilization == 0.9


def test_a_share_costs_its_part_of_the_node() -> None:
    pool = with_node_prices(story("cluster.node_groups.0.usd_per_node_hour=8")).pools[0]
    assert pool.usd_per_gpu_hour == pytest.approx(8 / 2 / 2)


def test_places_switching_and_threads_are_packed() -> None:
    turns = story("cluster.node_groups.0.sharing.time_slicing.switching=0.2")
    rows = cluster_rows(turns, turns.pools)
    assert {name: rows["node_group"][0][name] for name in ("slices", "sharing", "beside_q10")} == {
        "slices": 2,
        "sharing": 1,
        "beside_q10": 256,  # a fifth of the time is lost: five quarters of it are needed
    }
    assert rows["slice_ask"][0]["starts"] == 0b11
    mps = with_slices(load_scenario("first_run", [*words(BY_MPS), QUARTER]))
    rows = cluster_rows(mps, mps.pools)
    assert rows["pool_place"][0]["thread_percent"] == 40
    assert (rows["node_group"][0]["slices"], rows["node_group"][0]["sharing"]) == (4, 2)


def test_a_part_of_the_multiprocessors_makes_prompts_slower_and_leaves_decoding_its_bandwidth() -> None:
    law = ["gpu.kernels=null", QUARTER, "pool.min_replicas=1"]
    groups = [BY_MPS, group("{mps: {replicas: 4}}")]
    part, whole = (
        make_step_table(with_slices(load_scenario("first_run", [*words(one), *law])).pools[0])
        for one in groups
    )
    assert part.work_ps[-1] > 2 * whole.work_ps[-1]
    assert part.base_ps[1] < 1.1 * whole.base_ps[1]


def test_show_says_what_a_share_gives_and_what_is_assumed() -> None:
    text = as_table("first_run", words(BY_TURNS))
    assert "share of main: one of 2 places of H100" in text
    assert "2 take turns, and switching" in text
    assert "sharing of mine: switching is assumed" in text
    assert "shared by 2 replicas each, time-slicing" in text
