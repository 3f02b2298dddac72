"""The decorators of all rules of the simulated world.

The same source runs as plain Python (NUMBA_DISABLE_JIT=1), as CPU code and as CUDA device code. `error_model="numpy"`
makes division behave as it does on a device; fastmath stays off, so that every engine rounds alike.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

#: Under the CUDA simulator inlining hints are refused by the runtime, and no machine code is made anyway.
_INLINE = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "1"

#: No reference counts (nothing is allocated) and no entry from Python: rules are called by rules. Both would cost more
#: than the rules themselves, in time to compile and to run. `entry_point` makes what Python calls.
_BARE = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


#: Rules as they are written, each with what numba is to be told of it; None once numba has made its dispatchers.
_waiting: dict[Callable[..., Any], dict[str, Any]] | None = {}
_made: dict[Callable[..., Any], Any] = {}


def jit(function: Callable[..., Any]) -> Any:
    """Compile a rule of the model, inlined into its caller (each array argument of a real call costs)."""
    return _rule(function, forceinline=_INLINE)


def jit_call(function: Callable[..., Any]) -> Any:
    """Compile a rule that stays a call of its own: rare paths, so that the loop keeps its registers.

    `forceinline=False` must be given: a rule that an inlined one calls first would otherwise be inlined like it.
    """
    function.is_call = True  # type: ignore[attr-defined]  # for sim.compile.linking and, on a device, sim.compile.cuda
    return _rule(function, forceinline=False)


def _rule(function: Callable[..., Any], **options: Any) -> Any:
    """The rule as it is written, until something is to be compiled: machine code that was kept runs without numba."""
    if _waiting is None:
        return _dispatcher(function, options)
    _waiting[function] = options
    return function


def _dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    import numba

    _made[function] = numba.njit(error_model="numpy", **options, **_BARE)(function)
    return _made[function]


def need_compiler() -> None:
    """Import numba, and let every name of a rule, in whatever module, stand for numba's dispatcher from now on.

    Whatever compiles rules, for the processor or a device, calls this first.
    """
    global _waiting
    if _waiting is None:
        return
    waiting, _waiting = _waiting, None
    from numba.extending import overload

    from sim.compile.linking import compiled_bit_length

    bits = compiled_bit_length()
    overload(bit_length, inline="always")(lambda value: lambda value: bits(value))
    for function, options in waiting.items():
        _dispatcher(function, options)
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for name, value in list(names.items()):
            if isinstance(value, FunctionType) and value in _made:
                names[name] = _made[value]
    for function in waiting:
        for cell in function.__closure__ or ():
            if isinstance(cell.cell_contents, FunctionType) and cell.cell_contents in _made:
                cell.cell_contents = _made[cell.cell_contents]


def is_off() -> bool:
    """Whether rules run as plain Python (NUMBA_DISABLE_JIT=1)."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def bit_length(value: Any) -> int:
    """How many bits a non-negative int64 has: 0 for 0. One instruction on a processor, one call in Python."""
    return int(value).bit_length()


def plain(rule: Any) -> Callable[..., Any]:
    """The Python function that a rule was written as: how host code calls a rule that calls no other."""
    return getattr(rule, "py_func", rule)  # type: ignore[no-any-return]


def entry_point(rule: Any) -> Callable[..., Any]:
    """A compiled rule made callable from Python: calling the rule itself from there would end the process.

    Takes integers, int64 arrays, and worlds and rows of `sim.schema`; each kind of arguments is compiled when first met.
    """
    need_compiler()
    rule = _made.get(rule, rule)
    if not hasattr(rule, "py_func"):
        return rule  # type: ignore[no-any-return]
    import numba

    from sim.compile.linking import linked_once
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
