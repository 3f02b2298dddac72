"""Instances of MIG: what they are as GPUs, how fast they are, what fits on them."""

from __future__ import annotations

import pytest

from sim.scenario.geometry import cut_into, full_geometries, names_in, nearest_geometries, placed
from sim.scenario.mig import MigKind, MigProfile, mig_kind
from sim.scenario.slices import kind_for, parts_of, profile_named, slice_gpu
from sim.steptime import make_step_table, pool_basis
from sim.steptime.slices import first_enough, with_slices
from tests.unit.hardware_kit import gpu, pool

A100, H100 = "a100_80", "h100"


def profile(on: str, name: str) -> tuple[MigKind, MigProfile]:
    kind = mig_kind(on)
    found = profile_named(kind, name)
    assert found is not None
    return kind, found


def test_an_instance_is_a_smaller_gpu() -> None:
    whole, (kind, small) = gpu(A100), profile(A100, "1g.10gb")
    part = slice_gpu(whole, kind, small)
    assert part.memory_bw_gb_s == pytest.approx(whole.memory_bw_gb_s / 8)
    assert part.dense_bf16_tflops == pytest.approx(whole.dense_bf16_tflops * 14 / 108)
    assert part.pcie_gb_s == pytest.approx(whole.pcie_gb_s / 7)
    assert part.usd_per_hour == pytest.approx(whole.usd_per_hour / 8)
    assert (part.device_memory_gib, part.nvlink_gb_s, part.kernels, part.mig_capable) == (
        9.5,
        None,
        None,
        False,
    )
    assert (part.dense_fp8_tflops, part.name) == (None, "A100 SXM 80 GB (1g.10gb)")


@pytest.mark.parametrize("on", ["a100_40", "a100_80", "h100", "h200", "b200"])
def test_parts_are_parts_and_grow_with_the_profile(on: str) -> None:
    kind = mig_kind(on)
    for one in kind.profiles:
        assert all(0 < part <= 1 for part in parts_of(kind, one)), one.profile
    for geometry in full_geometries(kind):
        found = [parts_of(kind, profile(on, name)[1]) for name in geometry]
        assert sum(part.memory for part in found) <= 1, geometry
        assert sum(profile(on, name)[1].compute_slices for name in geometry) <= 7, geometry


def test_a_gpu_without_multiprocessors_goes_by_compute_slices() -> None:
    kind, one = profile("b200", "2g.45gb")
    assert parts_of(kind, one).compute == pytest.approx(2 / 7)


def test_step_times_follow_memory_and_multiprocessors() -> None:
    """Decode of few sequences reads weights: an eighth of the bandwidth takes eight times as long as all of it. Prompts
    multiply: they go by multiprocessors."""
    tables = {
        name: make_step_table(pool(A100, "llama_3_2_1b", slice=name, max_num_seqs=64))
        for name in ("1g.10gb", "2g.20gb", "7g.80gb")
    }
    one, two, seven = (tables[name] for name in ("1g.10gb", "2g.20gb", "7g.80gb"))
    assert int(one.slope_ps[8]) == pytest.approx(8 * int(seven.slope_ps[8]), rel=0.001)
    assert int(one.slope_ps[8]) == pytest.approx(2 * int(two.slope_ps[8]), rel=0.001)
    assert int(one.work_ps[-1]) == pytest.approx(98 / 14 * int(seven.work_ps[-1]), rel=0.02)
    assert one.n_kv_blocks < two.n_kv_blocks < seven.n_kv_blocks
    assert one.peak_bytes_per_s == pytest.approx(seven.peak_bytes_per_s / 8)


def test_an_instance_of_all_is_nearly_the_gpu() -> None:
    """7g of an H100 has all multiprocessors and all of the bandwidth: the law by shares of peaks says the same of both."""
    from sim.scenario.hardware import Law

    law = Law(kind="roofline")
    whole, seven = (make_step_table(pool(H100, slice=name, steptime=law)) for name in (None, "7g.80gb"))
    assert list(seven.base_ps) == list(whole.base_ps)
    assert seven.n_kv_blocks == pytest.approx(whole.n_kv_blocks, rel=0.01)


def test_an_instance_says_that_nothing_checked_it() -> None:
    basis = pool_basis(pool(H100, "llama_3_2_1b", slice="2g.20gb"))
    assert basis.kind == "modelled"
    assert "instances of MIG" in basis.text
    assert "MIG" not in pool_basis(pool(H100, "llama_3_2_1b")).text


@pytest.mark.parametrize(
    ("tokens", "smallest"), [(16, "1g.20gb"), (4096, "1g.20gb"), (8192, "3g.40gb"), (131_072, "3g.40gb")]
)
def test_the_smallest_holds_weights_and_a_sequence(tokens: int, smallest: str) -> None:
    kind = mig_kind(A100)
    asked = pool(A100, slice="smallest_that_fits", max_model_len=tokens)
    found = first_enough(asked, kind, tokens)
    assert found is not None
    assert found.profile == smallest
    table = make_step_table(asked)
    assert table.n_kv_blocks * 16 >= tokens
    assert table.source == f"roofline: A100 SXM 80 GB ({smallest}), Llama 3.1 8B, bf16, tp 1"
    smaller = [one for one in kind.profiles if one.usable_memory_gib < found.usable_memory_gib]
    assert all(first_enough(asked, kind, tokens, [one]) is None for one in smaller)


def test_the_smallest_is_one_that_the_pools_groups_have() -> None:
    from sim.scenario.compose import load_scenario

    words = [
        "cluster=mig_a100_pool",
        "gpu=a100_80",
        "pool.slice=smallest_that_fits",
        "runtime.max_model_len=4096",
    ]
    for mig, chosen in (
        ("dynamic", "1g.20gb"),
        ("all-2g.20gb", "2g.20gb"),
        ("[4g.40gb, 3g.40gb]", "3g.40gb"),
    ):
        scenario = with_slices(load_scenario("first_run", [*words, f"cluster.node_groups.0.mig={mig}"]))
        assert scenario.pools[0].slice == chosen


# ---- geometries ----------------------------------------------------------------------
@pytest.mark.parametrize("on", ["a100_40", "a100_80", "h100", "h200", "b200", "a30"])
def test_as_many_of_a_profile_fit_as_nvidia_says(on: str) -> None:
    kind = mig_kind(on)
    for one in kind.profiles:
        assert placed(kind, [one] * one.max_instances) is not None, one.profile
        assert placed(kind, [one] * (one.max_instances + 1)) is None, one.profile
    assert placed(kind, [profile(on, name)[1] for name in names_in(kind, "all-balanced") or []]) is not None


def test_placed_instances_begin_where_they_may_and_do_not_overlap() -> None:
    kind = mig_kind(A100)
    for geometry in full_geometries(kind):
        found = placed(kind, [profile(A100, name)[1] for name in geometry])
        assert found is not None
        taken = [place for start, one in found for place in range(start, start + one.memory_slices)]
        assert len(taken) == len(set(taken))
        assert max(taken) < 8
        assert all(start in one.start_indices for start, one in found)


def test_no_profile_can_be_added_to_a_full_geometry() -> None:
    kind = mig_kind(H100)
    plain = [one for one in kind.profiles if not one.is_media]
    for geometry in full_geometries(kind):
        there = [profile(H100, name)[1] for name in geometry]
        assert all(placed(kind, [*there, one]) is None for one in plain), geometry


def test_at_most_one_has_the_media_extensions() -> None:
    kind, media = profile(A100, "1g.10gb+me")
    assert placed(kind, [media]) is not None
    assert placed(kind, [media, media]) is None
    assert nearest_geometries(kind, ["1g.10gb+me"] * 7)[0] == f"[{', '.join(['1g.10gb'] * 7)}]"


def test_a_group_is_cut_as_it_says() -> None:
    from sim.scenario.cluster import NodeGroup

    cut = cut_into(NodeGroup(name="a", gpu=gpu(A100), mig=("1g.10gb", "3g.40gb", "1g.10gb", "2g.20gb")))
    places = [
        (0, "2g.20gb"),
        (2, "1g.10gb"),
        (3, "1g.10gb"),
        (4, "3g.40gb"),
    ]  # nothing of one slice begins at the last
    assert [(start, one.profile) for start, one in cut] == places
    assert cut_into(NodeGroup(name="a", gpu=gpu(A100), mig="dynamic")) == ()
    assert kind_for(gpu("l4")) is None
