"""The one decorator of everything that runs inside the simulated world.

The same source runs as plain Python (NUMBA_DISABLE_JIT=1), as CPU code and as CUDA device code. `error_model="numpy"`
makes division behave as it does on a device; fastmath stays off, so that every engine rounds alike.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numba

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
    function.is_call = True  # type: ignore[attr-defined]  # so that a device's compiler can tell (sim.engine.cuda_words)
    return numba.njit(error_model="numpy", forceinline=False, **_BARE)(function)


def plain(rule: Any) -> Callable[..., Any]:
    """The Python function that a rule was written as: how host code calls a rule that calls no other."""
    return getattr(rule, "py_func", rule)  # type: ignore[no-any-return]


def door(rule: Any) -> Callable[..., Any]:
    """A rule made callable from Python, compiled: a rule itself has no way in and must not be called from there."""
    if not hasattr(rule, "py_func"):
        return rule  # type: ignore[no-any-return]

    def call(*args):  # type: ignore[no-untyped-def]
        return rule(*args)

    return numba.njit(error_model="numpy")(call)  # type: ignore[no-any-return]


@contextlib.contextmanager
def offsets() -> Iterator[None]:
    """While this lasts, numba compiles rules without two things that cost more than the rules: a test and a habit.

    `a[i]` is compiled without its test for a negative i: rules count from the start of an array, and the test costs a
    third of the loop's time. And a rule is linked with all that it calls once, in the door, not again at every level of
    calls on the way, which took minutes. numba has no option for either; its lock keeps other threads from compiling
    meanwhile.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.np import arrayobj

    def as_it_is(context, builder, idxty, idx, size):  # type: ignore[no-untyped-def]
        return context.cast(builder, idx, idxty, numba.types.intp)

    with global_compiler_lock, _linked_once():
        before = arrayobj.fix_integer_index
        arrayobj.fix_integer_index = as_it_is
        try:
            yield
        finally:
            arrayobj.fix_integer_index = before


@contextlib.contextmanager
def _linked_once() -> Iterator[None]:
    """While this lasts, a rule is optimised once, with the rules that are inlined into it, and made machine code only in
    the door that calls it, and it is one function whatever constants it is called with (numba's internals: by itself
    it would link and compile again at every level of calls, and make a function for each constant)."""
    from numba import _dynfunc, types
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.cpu import CPUContext
    from numba.core.dispatcher import Dispatcher

    optimize = CPUCodeLibrary._optimize_final_module
    finalize, link = CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library
    executable, template = CPUContext.get_executable, Dispatcher.get_call_template

    def function(library, name):  # type: ignore[no-untyped-def]
        try:
            return library._final_module.get_function(name)
        except NameError:
            return None

    def get_executable(self, library, fndesc, env):  # type: ignore[no-untyped-def]
        rule = function(library, fndesc.mangled_name)
        if rule is None or function(library, fndesc.llvm_cpython_wrapper_name) is not None:
            return executable(self, library, fndesc, env)  # a door, or one read from the cache
        library.is_rule = True
        library.is_inlined = b"alwaysinline" in b" ".join(rule.attributes)
        name = fndesc.qualname.split(".")[-1]
        return _dynfunc.make_function(fndesc.lookup_module(), name, "a rule", 0, env, (library,))

    def of_types(self, args, kws):  # type: ignore[no-untyped-def]
        words = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template(self, tuple(types.unliteral(kind) for kind in args), words)

    def optimize_door(self):  # type: ignore[no-untyped-def]
        rules = {
            rule.name
            for library in self._linking_libraries
            if getattr(library, "is_rule", False)
            for rule in library._final_module.functions
        }
        if rules and not getattr(self, "is_rule", False):
            for rule in self._final_module.functions:
                if rule.name in rules and not rule.is_declaration:
                    rule.linkage = "internal"
                    if b"alwaysinline" not in b" ".join(rule.attributes):
                        rule.add_function_attribute("noinline")
        optimize(self)

    def finalize_door(self):  # type: ignore[no-untyped-def]
        if not getattr(self, "is_rule", False):
            finalize(self)
            return
        for library in dict.fromkeys(self._linking_libraries):
            if getattr(library, "is_inlined", True):
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._optimize_final_module()
        self._finalized = True

    def add_all(self, library):  # type: ignore[no-untyped-def]
        link(self, library)
        if getattr(library, "is_rule", False):
            for callee in library._linking_libraries:
                if callee not in self._linking_libraries:
                    link(self, callee)

    CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library = finalize_door, add_all
    CPUCodeLibrary._optimize_final_module = optimize_door
    CPUContext.get_executable, Dispatcher.get_call_template = get_executable, of_types  # type: ignore[method-assign]
    try:
        yield
    finally:
        Dispatcher.get_call_template = template  # type: ignore[method-assign]
        CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library = finalize, link
        CPUContext.get_executable = executable
        CPUCodeLibrary._optimize_final_module = optimize
