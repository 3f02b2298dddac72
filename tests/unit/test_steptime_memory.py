"""What fits beside the weights."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hardware_kit import gpu, model, pool

from sim.errors import InputError
from sim.steptime import make_step_table
from sim.steptime.memory import ServerLimits, kv_blocks, smallest_tp
from sim.steptime.roofline import Gang

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
    assert table.prefill_ps_per_token > 0
