"""What fits beside the weights."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hardware_kit import gpu, model, pool
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.steptime import make_step_table
from sim.steptime.gang import Gang
from sim.steptime.memory import (
    ServerLimits,
    kv_block_bytes,
    kv_blocks,
    kv_room_bytes,
    most_sequences,
    smallest_tp,
)
from sim.steptime.params import state_bytes

LIMITS = ServerLimits(
    max_num_seqs=256, max_num_batched_tokens=8192, block_size=16, gpu_memory_utilization=0.9
)

# GiB that vLLM logged for KV: (gpu, tp, GiB per GPU), Llama 3 / 3.1 8B in bf16 at utilization 0.9
LOGGED = [
    ("h100", 1, 53.29),  # vLLM pull request 10511, a 79.22 GiB device
    ("h100", 2, 58.97),  # the same: 71.29 usable − 7.48 weights − 3.58 outside torch − 1.26 activations
    ("a100_80", 1, 54.93),  # public vLLM 0.6 to 0.8 logs, 79.14 GiB device
]


@pytest.mark.parametrize(("on", "tp", "logged_gib"), LOGGED)
def test_room_for_kv_is_what_vllm_logs(on: str, tp: int, logged_gib: float) -> None:
    blocks = kv_blocks("pools.main", Gang(gpu(on), model("llama_3_1_8b"), tp=tp), LIMITS)
    per_gpu = blocks * 16 * 131_072 / tp / 2**30
    assert per_gpu == pytest.approx(logged_gib, rel=0.03)


def test_kv_precision_and_tensor_parallelism_stretch_the_cache() -> None:
    llama = Gang(gpu("h100"), model("llama_3_1_8b"))
    one = kv_blocks("p", llama, LIMITS)
    assert kv_blocks("p", llama._replace(kv_precision="fp8"), LIMITS) == pytest.approx(2 * one, abs=1)
    assert kv_blocks("p", llama._replace(tp=2), LIMITS) > 2 * one  # the weights are halved too
    assert kv_blocks("p", llama._replace(precision="fp8"), LIMITS) > one


def test_mla_blocks_do_not_multiply_with_tp() -> None:
    deepseek = Gang(gpu("b200"), model("deepseek_v3"), "fp8", "bf16", 8)
    room_gib = kv_blocks("p", deepseek, LIMITS) * 16 * 70_272 / 2**30  # a full copy on each rank
    assert 60 < room_gib < 178.36 * 0.9 - 671 / 8 / 1.0737


@pytest.mark.parametrize(
    ("on", "of", "precision", "needs"),
    [
        ("h100", "llama_3_1_70b", "bf16", 2),
        ("a100_40", "llama_3_1_70b", "bf16", 8),
        ("h200", "deepseek_v3", "fp8", 8),
    ],
)
def test_a_model_that_does_not_fit_says_by_how_much_and_what_would(
    on: str, of: str, precision: str, needs: int
) -> None:
    with pytest.raises(InputError) as caught:
        make_step_table(pool(on, of, precision=precision))
    (line,) = caught.value.problems
    short = re.search(r"does not fit .* by (\d+\.\d) GiB", line)
    assert short
    assert line.startswith("pools.main: ")
    assert f"the smallest tp that fits is {needs}" in line
    assert make_step_table(pool(on, of, precision=precision, tp=needs)).n_kv_blocks >= 1
    with pytest.raises(InputError):
        make_step_table(pool(on, of, precision=precision, tp=needs // 2))


def test_the_missing_gib_are_exactly_what_is_missing() -> None:
    """A GPU with that much more memory fits, one with a tenth of a GiB less does not."""
    with pytest.raises(InputError) as caught:
        make_step_table(pool("h100", "llama_3_1_70b"))
    short_gib = float(re.search(r"by (\d+\.\d) GiB", str(caught.value))[1])  # type: ignore[index]
    card = gpu("h100")
    assert card.device_memory_gib is not None
    for extra, fits in ((short_gib + 0.1, True), (short_gib - 0.1, False)):
        wider = dataclasses.replace(card, device_memory_gib=card.device_memory_gib + extra / 0.9)
        gang = Gang(wider, model("llama_3_1_70b"))
        if fits:
            assert kv_blocks("p", gang, LIMITS) >= 1
        else:
            with pytest.raises(InputError):
                kv_blocks("p", gang, LIMITS)


def test_nothing_fits_inside_a_node() -> None:
    assert smallest_tp(Gang(gpu("l4"), model("deepseek_v3"), "fp8"), LIMITS) is None
    with pytest.raises(InputError, match="no tp up to 8 fits"):
        make_step_table(pool("l4", "deepseek_v3", precision="fp8"))


def test_an_explicit_block_count_wins() -> None:
    assert make_step_table(pool(num_kv_blocks=123)).n_kv_blocks == 123


def test_an_embedding_model_fits_a_small_gpu() -> None:
    table = make_step_table(pool("l4", "embedding_300m"))
    assert table.n_kv_blocks * 16 >= 2048
    assert table.work_ps[8] > 0


WINDOWED = dataclasses.replace(model("llama_3_1_8b"), sliding_window=128, window_layers=16)
HYBRID = dataclasses.replace(
    model("llama_3_1_8b"),
    attention_layers=4,
    recurrent_layers=20,
    mlp_layers=8,
    mamba_heads=128,
    mamba_head_dim=64,
    ssm_state=128,
    mamba_groups=8,
    conv_kernel=4,
)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=256), st.sampled_from([16, 64, 100]))
@settings(max_examples=60, deadline=None)
def test_any_sequences_within_the_block_count_fit_beside_windowed_layers(
    lengths: list[int], block: int
) -> None:
    """Bytes counted layer by layer, with at most the blocks a window touches in half of the layers."""
    limits = LIMITS._replace(block_size=block)
    gang = Gang(gpu("h100"), WINDOWED)
    blocks = kv_blocks("p", gang, limits)
    held = np.array([-(-n // block) for n in lengths])
    held = held * blocks // max(blocks, held.sum())  # shrink to what the pool admits
    in_windows = np.minimum(held, -(-128 // block) + 1)
    layer = kv_block_bytes(gang, block) / 32
    assert held.sum() <= blocks
    assert (16 * held.sum() + 16 * in_windows.sum()) * layer <= kv_room_bytes(gang, limits)


def test_windows_nearly_double_the_cache_of_a_model_that_has_them_in_half_its_layers() -> None:
    plain = kv_blocks("p", Gang(gpu("h100"), model("llama_3_1_8b")), LIMITS)
    windowed = kv_blocks("p", Gang(gpu("h100"), WINDOWED), LIMITS)
    assert 1.8 * plain < windowed < 2 * plain
    everywhere = dataclasses.replace(WINDOWED, window_layers=32)
    assert kv_blocks("p", Gang(gpu("h100"), everywhere), LIMITS) == 256 * 131_072 // 16  # never the limit
    wide = dataclasses.replace(WINDOWED, sliding_window=100_000)  # 256 whole windows would not fit
    assert kv_blocks("p", Gang(gpu("h100"), wide), LIMITS) == plain


def test_recurrent_states_take_room_for_every_sequence() -> None:
    gang = Gang(gpu("h100"), HYBRID)
    one = 20 * (128 * 64 * 128 * 4 + (128 * 64 + 2 * 8 * 128) * 3 * 2)
    assert state_bytes(HYBRID) == one
    few = kv_room_bytes(gang, LIMITS._replace(max_num_seqs=1))
    many = kv_room_bytes(gang, LIMITS._replace(max_num_seqs=101))
    logits = 2 * 4 * 128_256 * 100
    assert few - many == pytest.approx(100 * one + logits)
    many_limits = LIMITS._replace(max_num_seqs=4096)
    with pytest.raises(InputError, match=r"states of 4096 sequences \(max_num_seqs\)") as caught:
        kv_blocks("p", gang, many_limits)
    fewer = int(re.search(r"; or runtime\.max_num_seqs=(\d+)$", str(caught.value))[1])  # type: ignore[index]
    assert fewer == most_sequences(gang, many_limits)
    assert kv_blocks("p", gang, LIMITS._replace(max_num_seqs=fewer)) >= 1
    assert most_sequences(Gang(gpu("h100"), model("llama_3_1_8b")), LIMITS) == 0
