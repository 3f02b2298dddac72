"""Sweeps: the same runs however they are spread, whole files whenever they stop, honest intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from sim import cli
from sim.analysis.replicate import estimate, replicate
from sim.errors import InputError
from sim.records.summary import flat_summary
from sim.records.sweep_dir import SWEEP_FILE, read_sweep
from sim.report.sweep_terminal import _cells
from sim.sweeps import run as sweep_module
from sim.sweeps.jobs import make_jobs
from sim.sweeps.workers import chunk_size

SHORT = ["duration_s=60", "drain_s=60"]
TWO = {"one": [*SHORT, "pool.min_replicas=1"], "two": [*SHORT, "pool.min_replicas=2"]}


def digests(sweep: Any) -> list[tuple[str, int, str]]:
    return [(row["variant"], row["seed"], row["digest"]) for row in sweep.rows]


def test_threads_change_nothing_and_a_run_alone_is_the_same() -> None:
    alone = digests(sim.sweep("first_run", range(1, 9), TWO, threads=1))
    assert digests(sim.sweep("first_run", range(1, 9), TWO, threads=3)) == alone
    run = sim.run("first_run", [*TWO["two"], "seed=5"])
    assert ("two", 5, run.digest) in alone
    assert len({digest for _, _, digest in alone}) == 16


@pytest.mark.parametrize(
    ("story", "overrides"),
    [
        ("first_run", ["warmup_s=10"]),
        ("first_run", ["traffic.arrivals.rate_per_s=60", "pool.max_replicas=1", "pool.min_replicas=1"]),
        ("first_run", ["traffic.arrivals.rate_per_s=0.0001", "slo=[]"]),  # no request comes
        (
            "batch_and_chat",
            ['slo=["chat.ttft.p99 < 1 s", "usd_per_hour < 20"]', "classes.batch.arrivals.at_s=20"],
        ),
        ("noisy_tenant", []),
        ("two_models", []),
        ("agents_at_nine", ["router=prefix_aware", "traffic.spikes=[]"]),
        ("slow_tokeniser", []),
    ],
)
def test_a_row_is_the_flat_summary_of_the_run_alone(story: str, overrides: list[str]) -> None:
    (row,) = sim.sweep(story, [5], {"it": [*SHORT, *overrides]}).rows
    run = sim.run(story, [*SHORT, *overrides, "seed=5"])
    wanted = {"variant": "it", "seed": 5, "digest": run.digest, **flat_summary(run.summary)}
    assert [(key, type(x), repr(x)) for key, x in row.items()] == [
        (key, type(x), repr(x)) for key, x in wanted.items()
    ]


def test_a_variant_with_a_prefix_cache_knows_what_prompts_share(tmp_path: Path) -> None:
    """Also after one without, whose requests were made without asking."""
    rows = [
        {"timestamp": 1000 * i, "input_length": 1024, "output_length": 5, "hash_ids": [0, i]}
        for i in range(50)
    ]
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    usual = [*SHORT, f"traffic.trace={{file: {trace}}}"]
    variants = {name: [*usual, f"runtime={name}"] for name in ("vllm", "vllm_prefix_cache")}
    after, alone = (
        sim.sweep("first_run", [1], dict(chosen)) for chosen in (variants.items(), [*variants.items()][1:])
    )
    assert after.rows[1]["digest"] == alone.rows[0]["digest"]
    assert after.rows[1]["prefix_hit_ratio"] > 0.2


@pytest.mark.parametrize(
    ("n_variants", "n_seeds", "threads", "size"),
    [(1, 1000, 2, 32), (6, 1000, 2, 30), (100, 1000, 2, 32), (6, 1, 2, 1), (6, 10, 1, 12), (5, 4, 1, 5)],
)
def test_a_thread_takes_whole_seeds_at_once(n_variants: int, n_seeds: int, threads: int, size: int) -> None:
    story = sim.load("first_run")
    jobs = make_jobs({str(i): story for i in range(n_variants)}, range(n_seeds))
    assert chunk_size(jobs, threads) == size


def test_variants_of_a_seed_see_the_same_requests() -> None:
    rows = sim.sweep("first_run", [3], TWO).rows
    assert rows[0]["offered"] == rows[1]["offered"]
    assert rows[0]["digest"] != rows[1]["digest"]


def test_a_sweep_is_kept_with_its_plan(tmp_path: Path) -> None:
    done = sim.sweep("first_run", range(1, 4), TWO, out=tmp_path)
    assert done.path is not None
    table = read_sweep(done.path)
    assert table.num_rows == 6
    assert table.column("digest").to_pylist() == [row["digest"] for row in done.rows]
    plan = json.loads((done.path / "plan.json").read_text())
    assert list(plan["variants"]) == ["one", "two"]
    assert sorted(path.name for path in done.path.iterdir()) == ["plan.json", SWEEP_FILE]


def test_an_interrupted_sweep_leaves_whole_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "SHARD_S", 0.0)
    seen = []

    def stop_soon(done: float, *_: object) -> None:
        seen.append(done)
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.sweep("first_run", range(1, 13), TWO, out=tmp_path, threads=1, progress=stop_soon)
    (folder,) = tmp_path.iterdir()
    assert not (folder / SWEEP_FILE).exists()
    kept = read_sweep(folder)
    assert kept.num_rows == len(seen)  # everything that was reported is there
    full = {(v, s): d for v, s, d in digests(sim.sweep("first_run", range(1, 13), TWO))}
    for row in kept.to_pylist():
        assert full[row["variant"], row["seed"]] == row["digest"]


def test_seeds_are_checked() -> None:
    with pytest.raises(InputError, match="seed"):
        make_jobs({"a": sim.load("first_run")}, [1, 1])
    for bad in ("seed=5..1", "seed=a..b", "seed=1..", "seed=-1..4"):
        with pytest.raises(InputError, match=r"seed=FIRST\.\.LAST"):
            cli.seeds_and_rest([bad])
    for twice in (["seed=1..3", "seed=4"], ["seed=4", "seed=1..3"]):
        with pytest.raises(InputError, match=r"seed=4: seed=1\.\.3 says the seeds already"):
            cli.seeds_and_rest(twice)
    assert cli.seeds_and_rest(["seed=2..4", "x=1"]) == (range(2, 5), ["x=1"])


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        found = estimate(list(rng.normal(10, 2, 8)))
        assert found.mean is not None
        assert found.half is not None
        held += abs(found.mean - 10) <= found.half
    assert held / 2000 == pytest.approx(0.95, abs=0.02)


def test_equal_values_have_an_interval_of_nothing() -> None:
    assert estimate([15.96] * 20).half == 0
    assert estimate([0.1] * 3).half == 0


def test_differences_of_fractions_are_points() -> None:
    rows = [
        {"variant": v, "seed": i, "slo_attainment": s + i / 100}
        for v, s in (("a", 0.7), ("b", 0.9))
        for i in (1, 2)
    ]
    found = replicate(rows, ["a", "b"])
    assert _cells(found.measures[0], found.rows[0], 0, True) == ["71.5 %", "65.1 … 77.9 %"]
    assert _cells(found.measures[0], found.rows[1], 0, False)[2:] == ["+20.0 pt", "every seed", "unclear"]


def test_differences_are_paired_by_seed() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 100, 20)
    rows = [{"variant": "a", "seed": i, "ttft_p99_s": 500 + x} for i, x in enumerate(noise)]
    rows += [{"variant": "b", "seed": i, "ttft_p99_s": 501 + x} for i, x in enumerate(noise)]
    found = replicate(rows, ["a", "b"])
    difference = found.rows[1].differences[0]
    assert difference is not None
    assert difference.mean == pytest.approx(1)
    assert difference.half == pytest.approx(0, abs=1e-9)
    assert found.rows[0].values[0].half > 20  # type: ignore[operator]


def test_an_infinite_measure_is_said_and_not_averaged() -> None:
    found = estimate([1.0, float("inf"), 2.0])
    assert found.mean == float("inf")
    assert found.n_infinite == 1
