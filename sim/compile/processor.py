"""The processor's types of worlds, tables and rows, and the entry points of machine code: addresses in, an int64 out."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir

from sim.compile.rows import INT64, Rows, Target, all_rows, arrays_of
from sim.schema import Row, Table, World


def _same(builder: Any, address: Any, array: str) -> Any:
    return address


def _start(builder: Any, value: Any, world: type[World], table: Table) -> Any:
    """Read where a table starts from the header of its world, where it does not change during a call."""
    header = builder.extract_value(value, 0)
    start = builder.load(builder.gep(header, [INT64(table.start)], inbounds=True))
    start.set_metadata("invariant.load", builder.module.add_metadata([]))
    return start


def rows() -> Rows:
    """The types, of every row class that has been declared by now: modules that declare more may be imported later."""
    made = _types()
    made.add_constructors(row for row in all_rows() if row not in made.constructed)
    return made


@functools.cache
def _types() -> Rows:
    """The types, registered on first use, without the constructors of rows."""
    from numba import extending
    from numba.core import types
    from numba.core.typing import templates

    made = Rows(Target(types, extending, templates, 0, _same, _start))
    _take_from_python(made)
    return made


def _take_from_python(made: Rows) -> None:
    """Let compiled functions be called with worlds and rows: they get the addresses of their arrays."""
    from numba.core import types
    from numba.extending import NativeValue, typeof_impl, unbox

    @typeof_impl.register(World)
    def _world(value: Any, context: Any) -> Any:
        return made.world(type(value))

    @typeof_impl.register(Row)
    def _row(value: Any, context: Any) -> Any:
        return made.row(type(value), "free")

    def data(c: Any, thing: Any, name: str) -> Any:
        array = c.pyapi.object_getattr_string(thing, name)
        kind = types.Array(types.int64, 1, "C")
        found = c.context.make_array(kind)(c.context, c.builder, c.unbox(kind, array).value).data
        c.pyapi.decref(array)
        return found

    @unbox(made.World)
    def _of_world(kind: Any, thing: Any, c: Any) -> Any:
        value = ir.Constant(c.context.get_value_type(kind), ir.Undefined)
        for i, name in enumerate(arrays_of(kind.declared)):
            value = c.builder.insert_value(value, data(c, thing, name), i)
        return NativeValue(value)

    @unbox(made.Row)
    def _of_row(kind: Any, thing: Any, c: Any) -> Any:
        at = c.pyapi.object_getattr_string(thing, "at")
        place = c.unbox(types.int64, at).value
        c.pyapi.decref(at)
        return NativeValue(made._pair(c.builder, data(c, thing, "m"), place))


def at_address(declared: type, n_array: int) -> Any:
    """A function for compiled code: addresses, as int64s, → the world or the row that lies there."""
    from numba.core.typing import signature
    from numba.extending import intrinsic

    types = rows()
    kind = types.world(declared) if issubclass(declared, World) else types.row(declared, "free")  # type: ignore[arg-type]

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = ir.Constant(context.get_value_type(kind), ir.Undefined)
        for i, address in enumerate(args):
            made = builder.insert_value(made, builder.inttoptr(address, types.pointer), i)
        return made if issubclass(declared, World) else builder.insert_value(made, INT64(0), 1)

    if n_array == 2:

        @intrinsic
        def at_two(context, m, trace):  # type: ignore[no-untyped-def]
            return signature(kind, m, trace), lower

        return at_two

    @intrinsic
    def at_one(context, m):  # type: ignore[no-untyped-def]
        return signature(kind, m), lower

    return at_one
