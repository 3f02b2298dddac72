"""Every conformance test runs against the compiled laws and against their plain Python."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from conformance.controllers import compiled, plain

LAWS = {"compiled": compiled(), "plain": plain()}


@pytest.fixture(params=sorted(LAWS))
def law(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The laws' functions and constants under their own names."""
    return LAWS[request.param]
