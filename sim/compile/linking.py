"""How compiled rules become one piece of machine code: linked once, private to it, called with few arguments.

By itself numba links and compiles a rule again at every level of calls on the way to the entry point, which took
minutes, and keeps every rule callable from outside. Changing that takes methods of numba that are not public: this file
replaces them while rules are compiled for the processor, `sim.compile.cuda` does so for the device.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

#: FLEETSIM_PLAIN_NUMBA=1: no method of numba is replaced. Compiling takes longer and runs are slower; results are equal.
PLAIN = os.environ.get("FLEETSIM_PLAIN_NUMBA", "0") == "1"


def compiled_bit_length() -> Any:
    """`sim.compile.jit.bit_length` for compiled code, here and on a device: the processor counts leading zeros."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def bits(context, value):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            word = args[0].type
            return builder.sub(word(word.width), builder.ctlz(args[0], ir.IntType(1)(0)))

        return types.int64(types.int64), generate

    return bits


@contextlib.contextmanager
def linked_once() -> Iterator[None]:
    """While this lasts, a rule is optimised once, with the rules that are inlined into it, and made machine code only in
    the entry point that calls it, where nothing else can call it; and it is one function whatever constants it is
    called with.
    """
    if PLAIN:
        yield
        return
    from numba import _dynfunc, types
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.cpu import CPUContext
    from numba.core.dispatcher import Dispatcher

    finalize, link = CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library
    optimize, insert = CPUCodeLibrary._optimize_final_module, CPUContext.insert_user_function
    executable, template = CPUContext.get_executable, Dispatcher.get_call_template

    def function(library, name):  # type: ignore[no-untyped-def]
        try:
            return library._final_module.get_function(name)
        except NameError:
            return None

    def get_executable(self, library, fndesc, env):  # type: ignore[no-untyped-def]
        rule = function(library, fndesc.mangled_name)
        if rule is None or function(library, fndesc.llvm_cpython_wrapper_name) is not None:
            return executable(self, library, fndesc, env)  # an entry point, or one read from the cache
        library.is_rule = True
        library.is_inlined = b"alwaysinline" in b" ".join(rule.attributes)
        name = fndesc.qualname.split(".")[-1]
        return _dynfunc.make_function(fndesc.lookup_module(), name, "a rule", 0, env, (library,))

    def insert_rule(self, func, fndesc, libs=()):  # type: ignore[no-untyped-def]
        rule = getattr(fndesc.lookup_module(), fndesc.qualname.split(".")[-1], None)
        if getattr(getattr(rule, "py_func", None), "is_call", False) and getattr(libs[0], "is_rule", False):
            call = _far_call(self, fndesc, libs[0])
            self._defns[func].append(call, call.signature)
        else:
            insert(self, func, fndesc, libs)

    def of_types(self, args, kws):  # type: ignore[no-untyped-def]
        words = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template(self, tuple(types.unliteral(kind) for kind in args), words)

    def finalize_entry(self):  # type: ignore[no-untyped-def]
        if not getattr(self, "is_rule", False):
            finalize(self)
            return
        for library in dict.fromkeys(self._linking_libraries):
            if getattr(library, "is_inlined", True):
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._optimize_final_module()
        self._finalized = True

    def optimize_entry(self):  # type: ignore[no-untyped-def]
        if not getattr(self, "is_rule", False):
            _make_private(self)
        optimize(self)

    def add_all(self, library):  # type: ignore[no-untyped-def]
        link(self, library)
        if getattr(library, "is_rule", False):
            for callee in library._linking_libraries:
                if callee not in self._linking_libraries:
                    link(self, callee)

    with global_compiler_lock:  # other threads do not compile meanwhile
        CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library = finalize_entry, add_all
        CPUCodeLibrary._optimize_final_module, CPUContext.insert_user_function = optimize_entry, insert_rule
        CPUContext.get_executable, Dispatcher.get_call_template = get_executable, of_types  # type: ignore[method-assign]
        try:
            yield
        finally:
            Dispatcher.get_call_template = template  # type: ignore[method-assign]
            CPUCodeLibrary.finalize, CPUCodeLibrary.add_linking_library = finalize, link
            CPUCodeLibrary._optimize_final_module, CPUContext.insert_user_function = optimize, insert
            CPUContext.get_executable = executable


def _make_private(library: Any) -> None:
    """Tell the compiler that only this entry point calls its rules, so that it leaves out unused ones."""
    rules = {
        rule.name
        for linked in library._linking_libraries
        if getattr(linked, "is_rule", False)
        for rule in linked._final_module.functions
    }
    for rule in library._final_module.functions:
        if rule.name in rules and not rule.is_declaration:
            rule.linkage = "internal"
            if b"alwaysinline" not in b" ".join(rule.attributes):
                rule.add_function_attribute("noinline")


def _far_call(context: Any, about: Any, library: Any) -> Any:
    """Add to a rule the function by which it is called; returns how a caller calls it.

    A caller calls a function around the rule, which returns what the rule does. By numba's own convention a rule would
    return through memory, beside a status that the caller tests.
    """
    from llvmlite import ir
    from numba import types

    value = {kind: context.get_value_type(kind) for kind in (*about.argtypes, about.restype)}
    is_void = about.restype == types.none
    flat = [part for kind in about.argtypes for part in parts_of(value[kind])]
    returned = ir.VoidType() if is_void else value[about.restype]
    name = about.llvm_func_name + "_far"

    def declare(module):  # type: ignore[no-untyped-def]
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(returned, flat), name)

    module = library.create_ir_module(name)
    far = declare(module)
    far.attributes.add("noinline")
    builder = ir.IRBuilder(far.append_basic_block("entry"))
    words = list(far.args)
    args = [whole(builder, value[kind], words) for kind in about.argtypes]
    rule = context.declare_function(module, about)
    _, result = context.call_conv.call_function(builder, rule, about.restype, about.argtypes, args)
    if is_void:
        builder.ret_void()
    else:
        builder.ret(result)
    library.add_ir_module(module)
    library._final_module.get_function(about.llvm_func_name).add_function_attribute("alwaysinline")

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        given = [part for arg in args for part in split(builder, arg)]
        result = builder.call(declare(builder.module), given)
        return context.get_dummy_value() if is_void else result

    call.signature = about.argtypes  # type: ignore[attr-defined]
    call.libs = (library,)  # type: ignore[attr-defined]
    return call


def parts_of(kind: Any) -> list[Any]:
    """The LLVM types that an argument is passed as: those of its members where it is a struct."""
    return list(getattr(kind, "elements", [kind]))


def split(builder: Any, value: Any) -> list[Any]:
    """A value as it is passed."""
    if not hasattr(value.type, "elements"):
        return [value]
    return [builder.extract_value(value, i) for i in range(len(value.type.elements))]


def whole(builder: Any, kind: Any, words: list[Any]) -> Any:
    """A value again, from what was passed: taken from the front of `words`."""
    from llvmlite import ir

    if not hasattr(kind, "elements"):
        return words.pop(0)
    value = ir.Constant(kind, ir.Undefined)
    for i in range(len(kind.elements)):
        value = builder.insert_value(value, words.pop(0), i)
    return value
