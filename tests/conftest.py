"""What every test may use: where recorded data lies when a checkout has it beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, so that a test fails for who broke it; `scripts/test --all` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("new")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(path: str) -> Path:
    """The file or folder of the recorded data, or a skip that says which one is missing."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"recorded data {path} is not beside this checkout")
    return found
