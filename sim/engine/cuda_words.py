"""How the rules see a run on the device: Params and State whose array is a bare address.

An array of numba's is seven words, wraps negative indices around, and lets the compiler keep the address of every
table in registers all through the event loop. None of that is needed here. On the device `p.m` and `st.m` are one
address each; an index is used as it is; and the address goes through an empty instruction once in every basic block,
so that what was computed from it cannot outlive the block. docs/kernels.md has the figures.

Only `sim.engine.cuda` and this file know numba.cuda; it is imported when the first kernel is.
"""

from __future__ import annotations

import functools
import operator
import weakref
from importlib import import_module
from typing import Any

from sim.model.layout import Params, State


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
    for build, row in ((params_row, Params), (state_row, State)):
        _add_row(cuda, build, row._fields, words)


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


def _add_row(cuda: Any, build: Any, fields: tuple[str, ...], words: Any) -> None:
    """The device's twin of a NamedTuple of rows and starts, and how `build` makes it."""
    ir, ext, types = import_module("llvmlite.ir"), cuda.extending, cuda.types
    cgutils, templates = cuda.cgutils, import_module("numba.cuda.typing.templates")
    n_array = sum(name in ("m", "trace") for name in fields)
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
            for i, name in enumerate(fields[n_array:]):
                setattr(made, name, builder.extract_value(args[1], i))
            return made._getvalue()

        return templates.signature(row, arrays, starts), lower

    if n_array == 2:
        ext.overload(build)(lambda m, trace, at: lambda m, trace, at: make((m, trace), at))
    else:
        ext.overload(build)(lambda m, at: lambda m, at: make((m, m), at))


def _hide(builder: Any, address: Any) -> Any:
    """The same address, from where the compiler cannot see where it came from."""
    ir = import_module("llvmlite.ir")
    word = ir.IntType(64)
    plain = builder.ptrtoint(address, word)
    copy = builder.asm(ir.FunctionType(word, [word]), "mov.u64 $0, $1;", "=l,l", [plain], True)
    return builder.inttoptr(copy, address.type)
