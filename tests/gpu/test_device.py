"""On a real GPU: the CPU's bytes."""

from __future__ import annotations

import pytest

from sim.engine import cuda
from tests.parity.cuda_sim import alike, differences, launch
from tests.parity.fleets import fleet

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(cuda.why_not() is not None, reason=cuda.why_not() or "")]


def test_fleets_of_many_shapes_end_as_on_the_cpu() -> None:
    made = [fleet(seed) for seed in range(30)]
    assert differences(made, launch(made)) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_runs_of_one_shape_end_as_on_the_cpu(seed: int) -> None:
    made = alike(seed, 100)
    assert differences(made, launch(made)) == {}
