"""Bad input: every mistake at once, one line each, with its key, what is allowed, and the nearest name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.scenario.build import from_dict
from sim.scenario.compose import compose, load_scenario

VALUES = [
    ("runtime.max_num_seq=3", "runtime.max_num_seq: no such key", "did you mean 'max_num_seqs'"),
    ("runtime.gpu_memory_utilization=1.5", "runtime.gpu_memory_utilization: 1.5", "a number > 0 and < 1"),
    ("runtime.block_size='16 tokens'", "runtime.block_size: '16 tokens'", "in tokens"),
    ("runtime.max_num_seqs=2.5", "runtime.max_num_seqs: 2.5", "a whole number ≥ 1"),
    ("runtime.max_num_seqs=true", "runtime.max_num_seqs: true", "a whole number ≥ 1"),
    ("runtime.batching=contiuous", "runtime.batching: 'contiuous'", "did you mean 'continuous'"),
    ("runtime.max_num_batched_tokens=100", "runtime.max_num_batched_tokens: 100", "max_num_seqs (256)"),
    ("runtime.max_batch_delay_s=1", "runtime.max_batch_delay_s: 1.0", "dynamic"),
    ("duration_s=-1", "duration_s: -1", "≥ 1e-06 and ≤ 3888000, in s"),
    ("duration_s=3888001", "duration_s: 3888001", "≤ 3888000, in s"),
    ("duration_s=1h", "duration_s: '1h'", "a number ≥ 1e-06"),
    ("duration_s=12:30:00", "duration_s: '12:30:00'", "a number ≥ 1e-06"),
    ("duration_s=nan", "duration_s: nan", "a finite number"),
    ("duration_s=inf", "duration_s: inf", "a finite number"),
    ("duration_s=1e400", "duration_s: inf", "a finite number"),
    ("duration_min=60", "duration_min: no such key", "did you mean 'duration_s'"),
    ("drain_s=3888000", "drain_s: 3888000.0", "45 days"),
    ("warmup_s=600", "warmup_s: 600.0", "less than duration_s (600 s)"),
    ("seed=-1", "seed: -1", "≥ 0 and ≤ 9223372036854775807"),
    ("seed=9223372036854775808", "seed: 9223372036854775808", "≤ 9223372036854775807"),
    ("seed=1.0", "seed: 1.0", "a whole number"),
    ("seed=012", "seed: '012'", "a whole number"),
    ("question=no_text_is_a_number", "", ""),
    ("question=3", "question: 3", "text"),
    ("gpu.memory_gb=-80", "gpu.memory_gb: -80", "a number ≥ 0.5 and ≤ 100000, in GB"),
    ("gpu.memory_gib=80", "gpu.memory_gib: no such key", "did you mean 'memory_gb'"),
    ("gpu=h10", "gpu: 'h10' is not one of", "did you mean 'h100'"),
    ("gpuu=h100", "gpuu: no such key", "did you mean 'gpu'"),
    ("gpu@pools.a=h100", "gpu@pools.a:", "gpu@pools.NAME.gpu"),
    ("router@pools.a.router=random", "router@pools.a.router:", "write router=…"),
    (
        "traffic.arrivals.rate_per_s=-3",
        "traffic.arrivals.rate_per_s: -3",
        "a number ≥ 0 and ≤ 1000000, in 1/s",
    ),
    (
        "traffic.arrivals={kind:poison,rate_per_s:1}",
        "traffic.arrivals.kind: 'poison'",
        "did you mean 'poisson'",
    ),
    ("traffic.spikes=[{at_s:1,height:2}]", "traffic.spikes[0].length_s: is missing", "in s"),
    ("traffic.model=qwen", "traffic.model: 'qwen'", "llama_3_1_8b"),
    ("pool.min_replicas=3", "pool.min_replicas: 3", "≤ max_replicas (2)"),
    ("pool.initial_replicas=7", "pool.initial_replicas: 7", "≤ max_replicas (2)"),
    ("pool.tp=0", "pool.tp: 0", "≥ 1 and ≤ 128"),
    ("autoscaler.replicas=9", "autoscaler.replicas: 9", "≤ max_replicas (2)"),
    ("autoscaler.kind=hpaa", "autoscaler.kind: 'hpaa'", "did you mean 'hpa'"),
    ("autoscaler.law=policy", "autoscaler.law: 'policy'", "file.py:function"),
    ("autoscaler={name:x}", "autoscaler.kind: is missing", "fixed, hpa, queue, user"),
    ("autoscaler={kind:hpa,target:3,min_replicas:0}", "pool.min_replicas: 0", "it cannot leave zero"),
    (
        "autoscaler={kind:queue,target_backlog_per_replica:3,metric:waiting,min_replicas:0}",
        "autoscaler.metric: 'waiting'",
        "backlog or arrival_rate while min_replicas is 0",
    ),
    ("router.kind=round_robbin", "router.kind: 'round_robbin'", "did you mean 'round_robin'"),
    ("router=consistent_hsh", "router: 'consistent_hsh'", "did you mean 'consistent_hash'"),
    ("router={kind:consistent_hash,load_factor:0.9}", "router.load_factor: 0.9", "a number ≥ 1"),
    ("router={kind:consistent_hash,load_facto:2}", "router.load_facto: no such key", "load_factor"),
    ("router={kind:random,load_factor:2}", "router.load_factor: no such key", "allowed: kind, source"),
    ("router={kind:weighted_score,weights:{running:1}}", "router.weights.running: no such key", "kv_use"),
    ("router={kind:weighted_score,snapshot_s:-1}", "router.snapshot_s: -1", "≥ 0 and ≤ 3888000, in s"),
    (
        "router={kind:weighted_score,weights:{outstanding:0}}",
        "router.weights: outstanding, waiting and kv_use are all 0",
        "",
    ),
    ("router={kind:session_affinity,load_min:-1}", "router.load_min: -1", "a whole number ≥ 0"),
    (
        "coldstart.stages=[{name:engine,duration:1},{name:image,duration:1}]",
        "coldstart.stages:",
        "in the order",
    ),
    (
        "coldstart.stages=[{name:engine,duration:-1}]",
        "coldstart.stages[0].duration: can be negative",
        "min: 0",
    ),
    ("coldstart.stages=[{name:boot,duration:1}]", "coldstart.stages[0].name: 'boot'", "slice, provision"),
    ("slo=['ttft.p99 < 1']", "slo: 'ttft.p99 < 1'", "needs a unit"),
    ("engine.name=gpu", "engine.name: 'gpu'", "auto, cpu, simpy, cuda"),
    ("pools.a=3", "pools.a: 3 is not a mapping", ""),
    ("pools.a.runtime.max_num_seqs=0", "pools.a.runtime.max_num_seqs: 0", "a whole number ≥ 1"),
    ("classes.chat.priority=x", "classes.chat.priority: 'x'", "a whole number"),
    (
        "output.sample_interval_s=0",
        "output.sample_interval_s: 0",
        "a number ≥ 0.001 and ≤ 3888000 or null, in s",
    ),
    ("autoscaler=hpa,fixed", "autoscaler=hpa,fixed: several values", "fleetsim compare"),
    ("duration_s", "duration_s: is not an override", "key=value"),
    ("a.b=[[", "a.b=[[: is not an override", ""),
    ("duration_s=${oc.env:HOME}", "duration_s=${oc.env:HOME}: interpolation is not allowed", ""),
    ("gpu._target_=os.system", "gpu._target_=os.system: keys that start with _", ""),
    ("hydra.run.dir=/tmp", "hydra: no such key", ""),
    ("scenario=other", "scenario: no such key", ""),
    ("question=" + "x" * 30_000, "an override has at most", ""),
    ("look_at=" + "[" * 40 + "]" * 40, "levels of brackets", ""),
]


@pytest.mark.parametrize(("override", "said", "allowed"), VALUES, ids=[v[0][:50] for v in VALUES])
def test_one_line_names_the_key_and_what_is_allowed(override: str, said: str, allowed: str) -> None:
    if not said:
        assert load_scenario("first_run", [override]).question == override.split("=")[1]
        return
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", [override])
    assert len(caught.value.problems) == 1
    line = caught.value.problems[0]
    assert said in line
    assert allowed in line
    assert "\n" not in line


def test_all_mistakes_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(
            "first_run", ["seed=-1", "gpu.memory_gb=x", "pools.a.tp=0", "runtime.bloc_size=3", "slo=[x]"]
        )
    keys = [line.partition(":")[0] for line in caught.value.problems]
    assert sorted(keys) == ["gpu.memory_gb", "pools.a.tp", "runtime.bloc_size", "seed", "slo"]


def test_a_mistake_at_the_top_is_told_once_however_many_pools_inherit_it() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", ["pools.a.tp=1", "pools.b.tp=1", "runtime.max_num_seqs=0"])
    assert [line.partition(":")[0] for line in caught.value.problems] == ["runtime.max_num_seqs"]


def test_every_bad_override_is_named() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", ["gpu=h10", "foo", "x.y=1"])
    assert len(caught.value.problems) == 3


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    ("traffic",),
    ("gpu", "memory_gb"),
    ("autoscaler",),
    ("autoscaler", "kind"),
    ("pools",),
    ("classes",),
    ("slo",),
    ("coldstart", "stages"),
    ("traffic", "spikes"),
    ("traffic", "prompt_tokens"),
    ("model", "layers"),
    ("pool",),
    ("engine",),
    ("look_at",),
]


PLAIN = compose("first_run")


@settings(max_examples=150)
@given(st.sampled_from(PLACES), anything)
def test_whatever_stands_there_it_is_valid_or_bad_input(place: tuple[str, ...], value: Any) -> None:
    raw = copy.deepcopy(PLAIN)
    spot = raw
    for key in place[:-1]:
        spot = spot[key]
    spot[place[-1]] = value
    assert all("\n" not in line for line in mistakes(raw))


def mistakes(raw: dict[str, Any]) -> list[str]:
    """What is wrong with it; any exception but bad input is a failure."""
    try:
        from_dict(raw)
    except InputError as error:
        return error.problems
    return []


def test_a_place_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"^traffic.spikes.7.height=3: cannot be set"):
        load_scenario("spiky_hour", ["traffic.spikes.7.height=3"])
