"""The product is the plain model, to the picosecond: stamps, outcomes, every gap, and the work of every replica."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from .compare import case_differences, repeat, seed_case, seed_differences
from .random_cases import Case, cases

ROOT = Path(__file__).parents[2]
BLOCKS = 6
SEEDS = range(600)
MORE_SEEDS = range(600, 5200)
PLAIN_SEEDS = range(150)


def assert_no_difference(seeds: range) -> None:
    """Every seed agrees; the failing ones are listed with the line that repeats them."""
    failed = {seed: lines for seed in seeds if (lines := seed_differences(seed))}
    told = [f"{repeat(seed)}\n  " + "\n  ".join(lines[:5]) for seed, lines in failed.items()]
    assert not failed, f"{len(failed)} of {len(seeds)} seeds differ; repeat with\n" + "\n".join(told[:10])


@pytest.mark.parametrize("block", range(BLOCKS))
def test_compiled_code_is_the_plain_model(block: int) -> None:
    assert_no_difference(SEEDS[block::BLOCKS])


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_compiled_code_is_the_plain_model_on_thousands_of_cases(block: int) -> None:
    assert_no_difference(MORE_SEEDS[block::BLOCKS])


@settings(max_examples=100, deadline=None)
@given(cases())
def test_compiled_code_is_the_plain_model_wherever_hypothesis_looks(given_case: Case) -> None:
    assert case_differences(given_case) == []


@pytest.mark.parametrize("seed", range(30))
def test_room_for_requests_in_flight_grows_without_a_trace(seed: int) -> None:
    for n_slot in (1, 3, 4096):
        assert case_differences(seed_case(seed), n_slot) == []


def test_the_same_code_without_a_compiler_is_the_plain_model() -> None:
    words = f"{PLAIN_SEEDS.start}:{PLAIN_SEEDS.stop}"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.oracle.compare", words]
    told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, (
        f"repeat with NUMBA_DISABLE_JIT=1 python -m tests.oracle.compare SEED\n{told.stdout}{told.stderr}"
    )
    assert f"{len(PLAIN_SEEDS)} seeds, 0 with a difference" in told.stdout
