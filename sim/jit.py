"""The one decorator of everything that runs inside the simulated world.

The same source runs as plain Python (NUMBA_DISABLE_JIT=1), as CPU code and as CUDA device code. `error_model="numpy"`
makes division behave as it does on a device; fastmath stays off, so that every engine rounds alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numba

#: Under the CUDA simulator inlining hints are refused by the runtime, and no machine code is made anyway.
_INLINE = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "1"


def jit(function: Callable[..., Any]) -> Any:
    """Compile a rule of the model, inlined into its caller (each array argument of a real call costs)."""
    return numba.njit(error_model="numpy", forceinline=_INLINE, _nrt=False)(function)


def jit_call(function: Callable[..., Any]) -> Any:
    """Compile a rule that stays a call of its own: rare paths, so that the loop keeps its registers."""
    return numba.njit(error_model="numpy", _nrt=False)(function)
