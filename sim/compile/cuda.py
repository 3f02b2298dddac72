"""How the rules see a run on the device.

Worlds, tables and rows are those of `sim.compile.rows`, with two differences. The address of an array goes through an
empty instruction once in every basic block, so that what was computed from it cannot outlive the block: the compiler
would keep the address of every table in registers all through the event loop. And where a table starts is the same in
every run of a batch: a kernel gets it as a parameter, and a rule that is called reads it from shared memory, where the
kernel has put it. docs/kernels.md has the figures.

Rules marked `jit_call` become real calls; by itself the compiler would inline them.

Only `sim.engine.cuda` and this file know numba.cuda; it is imported when the first kernel is.
"""

from __future__ import annotations

import functools
import weakref
from importlib import import_module
from typing import Any

from llvmlite import ir

from sim.compile.linking import parts_of, split, whole
from sim.compile.rows import INT64, Rows, Target, all_rows, arrays_of
from sim.schema import Table, World

#: Names of calls that are compiled to nothing: `sim.engine.ptx` counts what the loop takes without them.
LEFT_OUT: set[str] = set()


@functools.cache
def install(cuda: Any, builders: tuple[tuple[Any, type[World]], ...]) -> None:
    """Teach numba.cuda to compile functions that make worlds of a run's arrays and of where its tables start, and what
    the rules do with worlds.
    """
    templates = import_module("numba.cuda.typing.templates")
    rows = Rows(Target(cuda.types, cuda.extending, templates, 1, _Hidden(), _start, _carried))
    rows.add_constructors(all_rows())
    for build, world in builders:
        _add_builder(cuda, rows, build, world)
    _keep_calls(rows)
    _link_once()


class _Hidden:
    """The address of an array, hidden once in every basic block: the compiler cannot tell what it was computed from."""

    def __init__(self) -> None:
        self.known: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()

    def __call__(self, builder: Any, address: Any, array: str) -> Any:
        known = self.known.setdefault(builder.block, {})  # a rule has one Params and one State
        if array not in known:
            plain = builder.ptrtoint(address, INT64)
            copy = builder.asm(ir.FunctionType(INT64, [INT64]), "mov.u64 $0, $1;", "=l,l", [plain], True)
            known[array] = builder.inttoptr(copy, address.type)
        return known[array]


def _start(builder: Any, value: Any, world: type[World], table: Table) -> Any:
    """Where a table starts: the kernel's argument, or in the run's own header where runs of a batch differ."""
    if table.at:
        return builder.load(builder.gep(builder.extract_value(value, 0), [INT64(table.start)], inbounds=True))
    return builder.extract_value(value, len(arrays_of(world)) + world.fixed().index(table.name))


def _carried(world: type[World]) -> int:
    """A world's value carries the starts of its tables; a call leaves them out, and finds them in shared memory."""
    return len(world.fixed())


def _shared_starts(module: Any, world: type[World]) -> Any:
    """Where the starts of a world's tables lie in shared memory."""
    name = f"{world.__name__}_starts"
    if name not in module.globals:
        kind = ir.ArrayType(INT64, len(world.fixed()))
        ir.GlobalVariable(module, kind, name, addrspace=3).align = 8
    return module.globals[name]


def _element(builder: Any, array: Any, i: int) -> Any:
    place = ir.IntType(32)
    return builder.gep(array, [place(0), place(i)], inbounds=True)


def _add_builder(cuda: Any, rows: Rows, build: Any, world: type[World]) -> None:
    """How a kernel makes a world: it keeps the arrays' addresses, and puts the starts into shared memory."""
    kind, n_array = rows.world(world), len(arrays_of(world))

    @cuda.extending.intrinsic
    def make(context, arrays, starts):  # type: ignore[no-untyped-def]
        def lower(target, builder, signature, args):  # type: ignore[no-untyped-def]
            made = ir.Constant(target.get_value_type(kind), ir.Undefined)
            for i in range(n_array):
                array = target.make_array(arrays[i])(target, builder, builder.extract_value(args[0], i))
                made = builder.insert_value(made, builder.addrspacecast(array.data, rows.pointer), i)
            kept = _shared_starts(builder.module, world)
            kept.initializer = ir.Constant(kept.value_type, ir.Undefined)
            for i in range(len(world.fixed())):
                start = builder.extract_value(args[1], i)
                made = builder.insert_value(made, start, n_array + i)
                builder.store(start, _element(builder, kept, i))
            return made

        return import_module("numba.cuda.typing.templates").signature(kind, arrays, starts), lower

    if n_array == 2:
        cuda.extending.overload(build)(lambda m, trace, at: lambda m, trace, at: make((m, trace), at))
    else:
        cuda.extending.overload(build)(lambda m, at: lambda m, at: make((m, m), at))


def _keep_calls(rows: Rows) -> None:
    """Make rules marked `jit_call` calls on the device too: the compiler would inline nearly all of them."""
    dispatcher = import_module("numba.cuda.dispatcher").CUDADispatcher
    compile_device, template = dispatcher.compile_device, dispatcher.get_call_template
    unliteral = import_module("numba.cuda.types").unliteral

    def compiled(self, args, return_type=None):  # type: ignore[no-untyped-def]
        is_new = args not in self.overloads
        made = compile_device(self, args, return_type)
        if is_new and getattr(self.py_func, "is_call", False):
            call = _far_call(rows, made)
            del made.target_context._defns[made.entry_point]
            made.target_context._defns[made.entry_point].append(call, call.signature)
        return made

    def of_types(self, args, kws):  # type: ignore[no-untyped-def]
        words = {name: unliteral(kind) for name, kind in kws.items()}
        return template(self, tuple(unliteral(kind) for kind in args), words)

    dispatcher.compile_device, dispatcher.get_call_template = compiled, of_types


def _link_once() -> None:
    """Hand each compiled rule to NVVM once: numba.cuda hands it over once for every chain of calls that reaches it, and the
    chains are many times more than the rules.
    """
    library = import_module("numba.cuda.codegen").CUDACodeLibrary

    def modules(self):  # type: ignore[no-untyped-def]
        reached, left = {self: None}, [self]
        while left:
            new = [other for other in getattr(left.pop(), "_linking_libraries", ()) if other not in reached]
            reached.update(dict.fromkeys(new))
            left += new
        return [one._module for one in reached if hasattr(one, "_module")]  # linked files have none

    library.modules = property(modules)


def _n_passed(rows: Rows, kind: Any, value: Any) -> int:
    """How many parts of an argument are passed: of a world its addresses alone."""
    return len(arrays_of(kind.declared)) if isinstance(kind, rows.World) else len(parts_of(value))


def _far_call(rows: Rows, made: Any) -> Any:
    """Add to a compiled rule the function by which it is called; returns how a caller calls it.

    It takes addresses and integers in registers and returns what the rule does.
    """
    about, context, module = made.fndesc, made.target_context, made.library._module
    value = {kind: context.get_value_type(kind) for kind in (*about.argtypes, about.restype)}
    is_void = about.restype == import_module("numba.cuda.types").none
    n_part = {kind: _n_passed(rows, kind, value[kind]) for kind in about.argtypes}
    flat = [part for kind in about.argtypes for part in parts_of(value[kind])[: n_part[kind]]]
    returned = ir.VoidType() if is_void else value[about.restype]
    name = about.llvm_func_name + "_call"

    def declare(module):  # type: ignore[no-untyped-def]
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(returned, flat), name)

    far = declare(module)
    far.attributes.add("noinline")
    builder = ir.IRBuilder(far.append_basic_block("entry"))
    words = list(far.args)
    args = []
    for kind in about.argtypes:
        given = [words.pop(0) for _ in range(n_part[kind])]
        if isinstance(kind, rows.World):
            starts = _shared_starts(module, kind.declared)
            given += [builder.load(_element(builder, starts, i)) for i in range(_carried(kind.declared))]
        args.append(whole(builder, value[kind], given))
    rule = made.library.get_function(about.llvm_func_name)
    rule.attributes.add("alwaysinline")
    _, result = about.call_conv.call_function(builder, rule, about.restype, about.argtypes, args)
    if is_void:
        builder.ret_void()
    else:
        builder.ret(result)

    def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
        if about.qualname.split(".")[-1] in LEFT_OUT:
            return context.get_dummy_value() if is_void else ir.Constant(returned, 0)
        given = [
            part
            for kind, arg in zip(about.argtypes, args, strict=True)
            for part in split(builder, arg)[: n_part[kind]]
        ]
        result = builder.call(declare(builder.module), given)
        return context.get_dummy_value() if is_void else result

    call.signature = about.argtypes  # type: ignore[attr-defined]
    call.libs = (made.library,)  # type: ignore[attr-defined]
    return call
