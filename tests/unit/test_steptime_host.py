"""The engine's CPU beside the GPU: scheduling that overlaps or adds, API servers that bound a step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hardware_kit import gpu, model
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario.compose import load_scenario
from sim.scenario.hardware import Law
from sim.scenario.pool import Pool
from sim.steptime.gang import Gang
from sim.steptime.host import Host, without_host
from sim.steptime.law import law_curve
from sim.steptime.make import pool_curve
from sim.steptime.table import Curve

N = 300
BIG, SMALL = Gang(gpu("h100"), model("llama_3_1_8b")), Gang(gpu("h200"), model("llama_3_2_1b"))
US = 1e-6
times = st.floats(0, 20_000)


def curve(gang: Gang, host: Host, **factors: float) -> Curve:
    """A gang's curve with these times of its CPU and no others."""
    return law_curve(gang, replace(without_host(Law()), **factors), N, host)  # type: ignore[arg-type]


@given(st.sampled_from([BIG, SMALL]), times, st.floats(0, 200), times, st.floats(0, 200))
@settings(max_examples=40, deadline=None)
def test_scheduling_beside_the_gpu_takes_the_longer_of_the_two_and_without_it_their_sum(
    gang: Gang, step_us: float, sequence_us: float, schedule_us: float, schedule_sequence_us: float
) -> None:
    own = {"step_us": step_us, "sequence_us": sequence_us}
    both = own | {"schedule_us": schedule_us, "schedule_sequence_us": schedule_sequence_us}
    n = np.arange(1, N + 1)
    gpu_s = curve(gang, Host()).base_s[1:]
    schedule_s = (schedule_us + schedule_sequence_us * n) * US
    adds_s = (step_us + sequence_us * n) * US
    beside, after = (curve(gang, Host(on), **both).base_s[1:] for on in (True, False))
    assert beside == pytest.approx(np.maximum(gpu_s, schedule_s) + adds_s)
    assert after == pytest.approx(gpu_s + schedule_s + adds_s)


@given(times, st.integers(1, 16), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_no_step_ends_before_its_tokens_are_handed_out_by_all_api_servers(
    stream_us: float, servers: int, dp: int
) -> None:
    gang = BIG._replace(dp=dp)
    free = curve(gang, Host(api_servers=servers)).base_s[1:]
    bound_s = np.arange(1, N + 1) * stream_us * US / servers
    found = curve(gang, Host(api_servers=servers), stream_us=stream_us).base_s[1:]
    assert found == pytest.approx(np.maximum(free, bound_s))


def only_pool(*overrides: str) -> Pool:
    """The pool of a scenario with one."""
    (pool,) = load_scenario("first_run", list(overrides)).pools
    return pool


def test_a_runtime_says_whether_it_schedules_beside_the_gpu_and_how_many_servers_it_has() -> None:
    usual = pool_curve(only_pool(), 256).base_s
    waits = pool_curve(only_pool("runtime.async_scheduling=false"), 256).base_s
    n = np.arange(257)
    n[0] = 0
    assert waits - usual == pytest.approx((1000 + 7 * n) * US)
    slow = ("runtime.stream_us=400", "runtime.max_num_seqs=256")
    one, four = (pool_curve(only_pool(*slow, f"runtime.api_server_count={k}"), 256).base_s for k in (1, 4))
    assert one[256] == pytest.approx(256 * 400 * US)
    assert four[256] == pytest.approx(max(usual[256], 256 * 100 * US))


def test_a_server_is_started_for_each_data_parallel_group() -> None:
    deepseek = ("model=deepseek_v3", "gpu=h200", "pool.precision=fp8", "pool.dp=8", "pool.tp=1", "pool.ep=8")
    slow = (*deepseek, "runtime.stream_us=5000")
    as_told, one = only_pool(*slow), only_pool(*slow, "runtime.api_server_count=1")
    assert pool_curve(as_told, 64).base_s[64] < pool_curve(one, 64).base_s[64]
    assert pool_curve(one, 64).base_s[64] == pytest.approx(64 * 5000 * US)


@pytest.mark.parametrize("preset", ["vllm_0_6", "vllm_0_8", "tgi"])
def test_presets_that_schedule_between_steps_get_faster_when_they_no_longer_do(preset: str) -> None:
    pool = only_pool(f"runtime={preset}")
    beside = replace(pool, runtime=replace(pool.runtime, async_scheduling=True))
    before, after = pool_curve(pool, 256).base_s, pool_curve(beside, 256).base_s
    assert np.all(after < before)


@pytest.mark.parametrize("preset", ["vllm_2023", "ollama", "llama_cpp"])
def test_where_one_thread_does_everything_nothing_is_counted_twice(preset: str) -> None:
    pool = only_pool(f"runtime={preset}")
    beside = replace(pool, runtime=replace(pool.runtime, async_scheduling=True))
    assert np.array_equal(pool_curve(pool, 256).base_s, pool_curve(beside, 256).base_s)


@pytest.mark.parametrize("preset", ["vllm", "vllm_api_server", "vllm_api_server_large", "tensorrt_llm"])
@pytest.mark.parametrize(
    "on",
    [
        ("model=llama_3_1_8b", "gpu=h100"),
        ("model=qwen3_30b_a3b", "gpu=h100"),
        ("model=llama_3_1_70b", "gpu=b200", "pool.tp=2"),
    ],
)
def test_scheduling_and_streaming_move_no_preset_that_was_fitted_without_them(
    preset: str, on: tuple[str, ...]
) -> None:
    pool = only_pool(f"runtime={preset}", *on)
    free = {"schedule_us": 0.0, "schedule_sequence_us": 0.0, "stream_us": 0.0}
    without = replace(pool, runtime=replace(pool.runtime, **free))
    size = pool.runtime.max_num_seqs
    assert np.array_equal(pool_curve(pool, size).base_s, pool_curve(without, size).base_s)
