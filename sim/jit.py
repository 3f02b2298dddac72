"""The one decorator of everything that runs inside the simulated world.

The same source runs as plain Python (NUMBA_DISABLE_JIT=1), as CPU code and as CUDA device code. `error_model="numpy"`
makes division behave as it does on a device; fastmath stays off, so that every engine rounds alike.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numba

from sim.linking import compiled_bit_length, linked_once

#: Under the CUDA simulator inlining hints are refused by the runtime, and no machine code is made anyway.
_INLINE = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "1"

#: No reference counts (nothing is allocated) and no door from Python: rules are called by rules. Both would cost more
#: than the rules themselves, in time to compile and to run. `sim.engine.cpu` compiles the doors.
_BARE = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def jit(function: Callable[..., Any]) -> Any:
    """Compile a rule of the model, inlined into its caller (each array argument of a real call costs)."""
    return numba.njit(error_model="numpy", forceinline=_INLINE, **_BARE)(function)


def jit_call(function: Callable[..., Any]) -> Any:
    """Compile a rule that stays a call of its own: rare paths, so that the loop keeps its registers.

    It has to be said: a rule that is first called by an inlined one would inherit that from it.
    """
    function.is_call = True  # type: ignore[attr-defined]  # for sim.linking and, on a device, sim.engine.cuda_words
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


def door(rule: Any) -> Callable[..., Any]:
    """A rule made callable from Python, compiled: a rule itself has no way in and must not be called from there."""
    if not hasattr(rule, "py_func"):
        return rule  # type: ignore[no-any-return]

    def call(*args):  # type: ignore[no-untyped-def]
        return rule(*args)

    made = numba.njit(error_model="numpy")(call)

    def enter(*args):  # type: ignore[no-untyped-def]
        with linked_once(
            {}
        ):  # the loop's rules, if it was compiled in this process, can be linked in no other way
            return made(*args)

    return enter


@contextlib.contextmanager
def offsets(rows: Mapping[type, int]) -> Iterator[None]:
    """While this lasts, numba compiles rules without things that cost more than the rules.

    `a[i]` is compiled without its test for a negative i: rules count from the start of an array, and the test costs a
    third of the loop's time. How rules are linked and called is `sim.linking`'s. numba has no option for either; its
    lock keeps other threads from compiling meanwhile.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.np import arrayobj

    def as_it_is(context, builder, idxty, idx, size):  # type: ignore[no-untyped-def]
        return context.cast(builder, idx, idxty, numba.types.intp)

    with global_compiler_lock, linked_once(rows):
        before = arrayobj.fix_integer_index
        arrayobj.fix_integer_index = as_it_is
        try:
            yield
        finally:
            arrayobj.fix_integer_index = before
