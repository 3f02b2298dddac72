"""What every test may use: where recorded data lies when a checkout has it beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(path: str) -> Path:
    """The file or folder of the recorded data, or a skip that says which one is missing."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"recorded data {path} is not beside this checkout")
    return found
