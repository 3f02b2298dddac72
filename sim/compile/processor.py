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


@functools.cache
def rows() -> Rows:
    """The types, registered on first use; every row class must have been declared by then."""
    from numba import extending
    from numba.core import types
    from numba.core.typing import templates

    made = Rows(Target(types, extending, templates, 0, _same, _start))
    made.add_constructors(all_rows())
    return made


def addresses(thing: Any) -> tuple[int, ...]:
    """Where a world's arrays, or a row, lie in memory; an integer as it is."""
    if isinstance(thing, World):
        return tuple(getattr(thing, name).ctypes.data for name in arrays_of(type(thing)))
    if isinstance(thing, Row):
        return (thing.m.ctypes.data + 8 * thing.at,)
    return (thing,)


def entered(rule: Any, kinds: tuple[type | None, ...]) -> Any:
    """A rule as a compiled function that Python calls with worlds and rows where `kinds` says so.

    Machine code gets addresses, each an int64, and makes worlds and rows of them.
    """
    import numba

    made = numba.njit(error_model="numpy", nogil=True)(flat(rule, kinds))
    if not any(kinds):
        return made

    def call(*args: Any) -> Any:
        return made(*(word for arg in args for word in addresses(arg)))

    return call


def flat(rule: Any, kinds: tuple[type | None, ...]) -> Any:
    """A function of addresses and integers that calls a rule with worlds and rows."""
    names, given, scope = [], [], {"rule": rule}
    for i, kind in enumerate(kinds):
        mine = [f"a{i}_{j}" for j in range(len(arrays_of(kind)) if kind and issubclass(kind, World) else 1)]
        names += mine
        if kind is None:
            given += mine
        else:
            scope[f"at{i}"] = at_address(kind, len(mine))
            given.append(f"at{i}({', '.join(mine)})")
    source = f"def entry({', '.join(names)}):\n    return rule({', '.join(given)})\n"
    exec(source, scope)
    return scope["entry"]


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
