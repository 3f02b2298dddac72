"""The normal distribution's quantiles while scipy.special is being imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_a_thread_that_draws_while_another_imports_scipy_waits_for_it() -> None:
    """Packing runs in threads: where one has begun to import scipy.special the others find it half made."""
    program = """
        import sys, threading
        import numpy as np
        from sim.workload import normal

        normal._lost_s[0] = normal.IMPORT_S  # the next call imports
        middle = np.full(3, 0.5)
        importing = threading.Thread(target=normal.ndtri, args=(middle,))
        importing.start()
        while "scipy.special" not in sys.modules:
            pass
        assert importing.is_alive()
        assert not normal.ndtri(middle).any()
        assert (normal.ndtr(np.zeros(3)) == 0.5).all()
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
