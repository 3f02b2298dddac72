"""How the rules see a run on the device: Params and State whose array is a bare address.

An array of numba's is seven words, wraps negative indices around, and lets the compiler keep the address of every
table in registers all through the event loop. None of that is needed here. On the device `p.m` and `st.m` are one
address each; an index is used as it is; and the address goes through an empty instruction once in every basic block,
so that what was computed from it cannot outlive the block. docs/kernels.md has the figures.

Rules marked `jit_call` are made real calls, which by itself the compiler would inline.

Only `sim.engine.cuda` and this file know numba.cuda; it is imported when the first kernel is.
"""

from __future__ import annotations

import functools
import operator
import weakref
from importlib import import_module
from typing import Any

from sim.model.layout import Params, State

#: Names of calls that are compiled to nothing: `sim.engine.ptx` counts what the loop takes without them.
LEFT_OUT: set[str] = set()


def params_row(m, trace, at):  # type: ignore[no-untyped-def]
    """One run's parameters, from its row, the trace from its first request on, and where the tables start."""
    return Params(m, trace, *at)


def state_row(m, at):  # type: ignore[no-untyped-def]
    """One run's state, from its row and where the tables start."""
    return State(m, *at)


@functools.cache
def install(cuda: Any) -> None:
    """Teach numba.cuda to compile `params_row`, `state_row` and what the rules do with them."""
    words = _add_words(cuda)
    rows: dict[Any, tuple[str, ...]] = {}
    for build, row in ((params_row, Params), (state_row, State)):
        rows[_add_row(cuda, build, row._fields, words)] = row._fields
    _keep_calls(rows)


def _add_words(cuda: Any) -> Any:
    """An address of int64 words, read and written by index; a slice is a later address."""
    ir, ext, types = import_module("llvmlite.ir"), cuda.extending, cuda.types
    templates = import_module("numba.cuda.typing.templates")

    class Words(types.Type):  # type: ignore[misc, name-defined]
        pass

    words = Words("Words")

    @ext.register_model(Words)
    class _Model(ext.core_models.PrimitiveModel):  # type: ignore[misc, name-defined]
        def __init__(self, manager, kind):  # type: ignore[no-untyped-def]
            super().__init__(manager, kind, ir.IntType(64).as_pointer(1))

    @templates.infer_global(operator.getitem)
    class _Get(templates.AbstractTemplate):  # type: ignore[misc, name-defined]
        key = operator.getitem

        def generic(self, args, keywords):  # type: ignore[no-untyped-def]
            if args[0] is words and isinstance(args[1], types.Integer):
                return templates.signature(types.int64, words, types.int64)
            if args[0] is words and isinstance(args[1], types.SliceType):
                return templates.signature(words, words, args[1])
            return None

    @templates.infer_global(operator.setitem)
    class _Set(templates.AbstractTemplate):  # type: ignore[misc, name-defined]
        key = operator.setitem

        def generic(self, args, keywords):  # type: ignore[no-untyped-def]
            if args[0] is words and isinstance(args[1], types.Integer):
                return templates.signature(types.none, words, types.int64, types.int64)
            return None

    @ext.lower_builtin(operator.getitem, Words, types.Integer)
    def _load(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(builder.gep(args[0], [args[1]], inbounds=True))

    @ext.lower_builtin(operator.getitem, Words, types.SliceType)
    def _later(context, builder, signature, args):  # type: ignore[no-untyped-def]
        start = context.make_helper(builder, signature.args[1], args[1]).start
        return builder.gep(args[0], [start], inbounds=True)

    @ext.lower_builtin(operator.setitem, Words, types.Integer, types.Integer)
    def _store(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.store(args[2], builder.gep(args[0], [args[1]], inbounds=True))
        return context.get_dummy_value()

    return words


def _add_row(cuda: Any, build: Any, fields: tuple[str, ...], words: Any) -> Any:
    """The device's twin of a NamedTuple of rows and starts, and how `build` makes it."""
    ir, ext, types = import_module("llvmlite.ir"), cuda.extending, cuda.types
    cgutils, templates = cuda.cgutils, import_module("numba.cuda.typing.templates")
    n_array = _n_array(fields)
    kinds = [words] * n_array + [types.int64] * (len(fields) - n_array)
    hidden: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()

    class Row(types.Type):  # type: ignore[misc, name-defined]
        pass

    row = Row(build.__name__)

    @ext.register_model(Row)
    class _Model(ext.core_models.StructModel):  # type: ignore[misc, name-defined]
        def __init__(self, manager, kind):  # type: ignore[no-untyped-def]
            super().__init__(manager, kind, list(zip(fields, kinds, strict=True)))

    @templates.infer_getattr
    class _Attributes(templates.AttributeTemplate):  # type: ignore[misc, name-defined]
        key = Row

        def generic_resolve(self, kind, name):  # type: ignore[no-untyped-def]
            return kinds[fields.index(name)] if name in fields else None

    @ext.lower_getattr_generic(Row)
    def _get(context, builder, kind, value, name):  # type: ignore[no-untyped-def]
        at = fields.index(name)
        if at >= n_array:
            return builder.extract_value(value, at)
        known = hidden.setdefault(builder.block, {})  # a rule has one Params and one State
        if name not in known:
            known[name] = _hide(builder, builder.extract_value(value, at))
        return known[name]

    @ext.intrinsic
    def make(context, arrays, starts):  # type: ignore[no-untyped-def]
        def lower(target, builder, signature, args):  # type: ignore[no-untyped-def]
            made = cgutils.create_struct_proxy(row)(target, builder)
            for i, name in enumerate(fields[:n_array]):
                array = target.make_array(arrays[i])(target, builder, builder.extract_value(args[0], i))
                setattr(made, name, builder.addrspacecast(array.data, ir.IntType(64).as_pointer(1)))
            kept = _shared_starts(builder.module, row, fields)
            kept.initializer = ir.Constant(kept.value_type, ir.Undefined)
            for i, name in enumerate(fields[n_array:]):
                start = builder.extract_value(args[1], i)
                setattr(made, name, start)
                builder.store(start, _element(builder, kept, i))
            return made._getvalue()

        return templates.signature(row, arrays, starts), lower

    if n_array == 2:
        ext.overload(build)(lambda m, trace, at: lambda m, trace, at: make((m, trace), at))
    else:
        ext.overload(build)(lambda m, at: lambda m, at: make((m, m), at))
    return row


def _n_array(fields: tuple[str, ...]) -> int:
    """How many of a row's fields, all at its front, are arrays."""
    return sum(name in ("m", "trace") for name in fields)


def _shared_starts(module: Any, row: Any, fields: tuple[str, ...]) -> Any:
    """Where the starts of a row's tables lie in shared memory, for rules that are calls."""
    ir = import_module("llvmlite.ir")
    name = f"{row.name}_starts"
    if name not in module.globals:
        kind = ir.ArrayType(ir.IntType(64), len(fields) - _n_array(fields))
        ir.GlobalVariable(module, kind, name, addrspace=3).align = 8
    return module.globals[name]


def _element(builder: Any, array: Any, i: int) -> Any:
    word = import_module("llvmlite.ir").IntType(32)
    return builder.gep(array, [word(0), word(i)], inbounds=True)


def _keep_calls(rows: dict[Any, tuple[str, ...]]) -> None:
    """Make `sim.jit.jit_call` mean on the device what it says: the compiler would inline nearly all of them.

    Called is not the rule itself but a function around it that takes no starts of tables: thirty words in registers
    or on the stack would cost each call more than the rule. It reads those it needs from shared memory, where the
    kernel has put them.
    """
    dispatcher = import_module("numba.cuda.dispatcher").CUDADispatcher
    compile_device, template = dispatcher.compile_device, dispatcher.get_call_template
    unliteral = import_module("numba.cuda.types").unliteral

    def compiled(self, args, return_type=None):  # type: ignore[no-untyped-def]
        is_new = args not in self.overloads
        made = compile_device(self, args, return_type)
        if is_new and getattr(self.py_func, "is_call", False):
            call = _far_call(made, rows)
            del made.target_context._defns[made.entry_point]
            made.target_context._defns[made.entry_point].append(call, call.signature)
        return made

    def of_types(self, args, kws):  # type: ignore[no-untyped-def]
        words = {name: unliteral(kind) for name, kind in kws.items()}
        return template(self, tuple(unliteral(kind) for kind in args), words)

    dispatcher.compile_device, dispatcher.get_call_template = compiled, of_types


def _far_call(made: Any, rows: dict[Any, tuple[str, ...]]) -> Any:
    """Add to a compiled rule the function by which it is called; returns how a caller calls it."""
    ir = import_module("llvmlite.ir")
    about, context, module = made.fndesc, made.target_context, made.library._module
    value = {kind: context.get_value_type(kind) for kind in (*about.argtypes, about.restype)}
    is_void = about.restype == import_module("numba.cuda.types").none
    n_array = {row: _n_array(fields) for row, fields in rows.items()}
    flat: list[Any] = []
    for kind in about.argtypes:
        flat += value[kind].elements[: n_array[kind]] if kind in rows else [value[kind]]
    returned = ir.VoidType() if is_void else value[about.restype]
    name = about.llvm_func_name + "_call"

    def declare(module):  # type: ignore[no-untyped-def]
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(returned, flat), name)

    far = declare(module)
    far.attributes.add("noinline")
    builder = ir.IRBuilder(far.append_basic_block("entry"))
    words, args = list(far.args), []
    for kind in about.argtypes:
        if kind not in rows:
            args.append(words.pop(0))
            continue
        row = ir.Constant(value[kind], ir.Undefined)
        starts = _shared_starts(module, kind, rows[kind])
        for i in range(len(rows[kind])):
            of_array = i < n_array[kind]
            word = words.pop(0) if of_array else builder.load(_element(builder, starts, i - n_array[kind]))
            row = builder.insert_value(row, word, i)
        args.append(row)
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
        given: list[Any] = []
        for kind, arg in zip(about.argtypes, args, strict=True):
            places = range(n_array[kind]) if kind in rows else None
            given += [arg] if places is None else [builder.extract_value(arg, i) for i in places]
        result = builder.call(declare(builder.module), given)
        return context.get_dummy_value() if is_void else result

    call.signature = about.argtypes  # type: ignore[attr-defined]
    call.libs = (made.library,)  # type: ignore[attr-defined]
    return call


def _hide(builder: Any, address: Any) -> Any:
    """The same address, from where the compiler cannot see where it came from."""
    ir = import_module("llvmlite.ir")
    word = ir.IntType(64)
    plain = builder.ptrtoint(address, word)
    copy = builder.asm(ir.FunctionType(word, [word]), "mov.u64 $0, $1;", "=l,l", [plain], True)
    return builder.inttoptr(copy, address.type)
