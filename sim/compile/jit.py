"""The decorators of all rules of the simulated world.

The same source runs as plain Python (NUMBA_DISABLE_JIT=1), as CPU code and as CUDA device code. `error_model="numpy"`
makes division behave as it does on a device; fastmath stays off, so that every engine rounds alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numba

from sim.compile.linking import compiled_bit_length, linked_once

#: Under the CUDA simulator inlining hints are refused by the runtime, and no machine code is made anyway.
_INLINE = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "1"

#: No reference counts (nothing is allocated) and no entry from Python: rules are called by rules. Both would cost more
#: than the rules themselves, in time to compile and to run. `entry_point` makes what Python calls.
_BARE = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def jit(function: Callable[..., Any]) -> Any:
    """Compile a rule of the model, inlined into its caller (each array argument of a real call costs)."""
    return numba.njit(error_model="numpy", forceinline=_INLINE, **_BARE)(function)


def jit_call(function: Callable[..., Any]) -> Any:
    """Compile a rule that stays a call of its own: rare paths, so that the loop keeps its registers.

    `forceinline=False` must be given: a rule that an inlined one calls first would otherwise be inlined like it.
    """
    function.is_call = True  # type: ignore[attr-defined]  # for sim.compile.linking and, on a device, sim.compile.cuda
    return numba.njit(error_model="numpy", forceinline=False, **_BARE)(function)


def bit_length(value: Any) -> int:
    """How many bits a non-negative int64 has: 0 for 0. One instruction on a processor, one call in Python."""
    return int(value).bit_length()


_bits = compiled_bit_length()


@numba.extending.overload(bit_length, inline="always")
def _bit_length(value):  # type: ignore[no-untyped-def]
    return lambda value: _bits(value)


def plain(rule: Any) -> Callable[..., Any]:
    """The Python function that a rule was written as: how host code calls a rule that calls no other."""
    return getattr(rule, "py_func", rule)  # type: ignore[no-any-return]


def entry_point(rule: Any) -> Callable[..., Any]:
    """A compiled rule made callable from Python: calling the rule itself from there would end the process.

    Takes integers, int64 arrays, and worlds and rows of `sim.schema`; each kind of arguments is compiled when first met.
    """
    if not hasattr(rule, "py_func"):
        return rule  # type: ignore[no-any-return]
    from sim.compile.processor import rows

    rows()  # its types are known from now on

    def call(*args):  # type: ignore[no-untyped-def]
        return rule(*args)

    made = numba.njit(error_model="numpy")(call)

    def enter(*args):  # type: ignore[no-untyped-def]
        with (
            linked_once()
        ):  # the loop's rules, if it was compiled in this process, can be linked in no other way
            return made(*args)

    return enter
