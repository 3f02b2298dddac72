"""How machine code sees the tables of `sim.schema`: `state.replica[r].n_run` is one load at a constant offset.

A world is the address of its array (Params: and of its trace); a table, a row and a table of plain int64s are such an
address and an offset. All of it is numba's public interface for new types, used once for the processor and once for
CUDA. A name that a row does not declare is a typing error, which names the row and the field.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llvmlite import ir

from sim.schema import Row, Table, World

INT64 = ir.IntType(64)
MAIN = "m"
ARRAYS = {"Params": ("m", "trace")}  # of a world, m first; others have m alone


class Target(NamedTuple):
    """What the processor and CUDA name or do differently."""

    types: Any
    extending: Any
    templates: Any
    address_space: int
    address: Callable[[Any, Any, str], Any]  # (builder, address, its array) → what to use in this basic block
    start: Callable[[Any, Any, type[World], Table], Any]  # (builder, world's value, world, table) → its start
    carried: Callable[[type[World]], int] = lambda world: 0  # how many starts a world's value carries


class Rows:
    """The types of worlds, tables and rows on a target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.constructed: set[type[Row]] = set()
        self.pointer = INT64.as_pointer(target.address_space)
        self.address = self._address_type()
        self.World = self._new_type("World", world=True)
        self.Table = self._new_type("Table")
        self.Row = self._new_type("Row")
        self.Words = self._new_type("Words")
        self._add_attributes()
        self._add_items()

    # ---- types ----------------------------------------------------------------------
    def _address_type(self) -> Any:
        pointer, extending = self.pointer, self.target.extending

        class Address(self.target.types.Type):  # type: ignore[misc, name-defined]
            pass

        @extending.register_model(Address)
        class _Model(extending.models.PrimitiveModel):  # type: ignore[misc, name-defined]
            def __init__(self, manager: Any, kind: Any) -> None:
                super().__init__(manager, kind, pointer)

        return Address("Address")

    def _new_type(self, name: str, world: bool = False) -> Any:
        address, types, extending = self.address, self.target.types, self.target.extending
        carried = self.target.carried

        class Kind(types.Type):  # type: ignore[misc, name-defined]
            """`declared` is the class that declares the fields, `array` the array that it lies in."""

            def __init__(self, declared: type | None, array: str) -> None:
                self.declared, self.array = declared, array
                super().__init__(f"{name}({declared.__name__ if declared else ''},{array})")

        @extending.register_model(Kind)
        class _Model(extending.models.StructModel):  # type: ignore[misc, name-defined]
            def __init__(self, manager: Any, kind: Any) -> None:
                members = [("base", address), ("at", types.int64)]
                if world:
                    members = [(array, address) for array in arrays_of(kind.declared)]
                    members += [(f"start_{i}", types.int64) for i in range(carried(kind.declared))]
                super().__init__(manager, kind, members)

        return Kind

    def world(self, declared: type[World]) -> Any:
        """The type of a world."""
        return self.World(declared, declared.__name__)

    def row(self, declared: type[Row], array: str) -> Any:
        """The type of a row that lies in an array."""
        return self.Row(declared, array)

    # ---- attributes ----------------------------------------------------------------------
    def _attribute(self, kind: Any, name: str) -> Any:
        """The type of an attribute, None where it is not declared."""
        declared = kind.declared
        if name in declared.FIELDS:
            return (
                self.target.types.int64
                if declared.FIELDS[name].kind == "int"
                else self.Words(None, kind.array)
            )
        if not isinstance(kind, self.World):
            return self.Words(None, kind.array) if name == "words" else None
        if name in arrays_of(declared):
            return self.Words(None, array_name(declared, name))
        if name not in declared.TABLES:
            return None
        table = declared.TABLES[name]
        array = array_name(declared, table.of)
        return self.Words(None, array) if table.row is None else self.Table(table.row, array)

    def _add_attributes(self) -> None:
        rows, extending, types = self, self.target.extending, self.target.types

        for kind_class in (self.World, self.Row):

            @self.target.templates.infer_getattr
            class _Attributes(self.target.templates.AttributeTemplate):  # type: ignore[misc, name-defined]
                key = kind_class

                def generic_resolve(self, kind: Any, name: str) -> Any:
                    return rows._attribute(kind, name)

            @extending.lower_getattr_generic(kind_class)
            def _get(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
                field = kind.declared.FIELDS.get(name)
                if field is None:
                    return rows._table(builder, kind, value, name)
                base, at = rows._place(builder, kind, value, field.offset)
                if field.kind == "int":
                    return builder.load(rows._at(builder, kind.array, base, at))
                return rows._pair(builder, base, at)

            @extending.lower_setattr_generic(kind_class)
            def _set(context: Any, builder: Any, signature: Any, args: Any, name: str) -> None:
                kind, given = signature.args
                base, at = rows._place(builder, kind, args[0], kind.declared.FIELDS[name].offset)
                word = context.cast(builder, args[1], given, types.int64)
                builder.store(word, rows._at(builder, kind.array, base, at))

    def _place(self, builder: Any, kind: Any, value: Any, offset: int) -> tuple[Any, Any]:
        """Address and offset of a field."""
        base = builder.extract_value(value, 0)
        if isinstance(kind, self.World):
            return base, INT64(offset)
        at = builder.extract_value(value, 1)
        return base, builder.add(at, INT64(offset), flags=["nsw"]) if offset else at

    def _at(self, builder: Any, array: str, base: Any, at: Any) -> Any:
        return builder.gep(self.target.address(builder, base, array), [at], inbounds=True)

    def _pair(self, builder: Any, base: Any, at: Any) -> Any:
        """A value of a table, a row or a table of plain int64s: all are an address and an offset."""
        pair = ir.Constant(ir.LiteralStructType([self.pointer, INT64]), ir.Undefined)
        return builder.insert_value(builder.insert_value(pair, base, 0), at, 1)

    def _table(self, builder: Any, kind: Any, value: Any, name: str) -> Any:
        if isinstance(kind, self.Row):  # its words: the same address and offset
            return value
        names = arrays_of(kind.declared)
        if name in names:
            return self._pair(builder, builder.extract_value(value, names.index(name)), INT64(0))
        table = kind.declared.TABLES[name]
        start = self.target.start(builder, value, kind.declared, table)
        return self._pair(builder, builder.extract_value(value, names.index(table.of)), start)

    # ---- items ----------------------------------------------------------------------
    def _add_items(self) -> None:
        rows, extending, types, templates = (
            self,
            self.target.extending,
            self.target.types,
            self.target.templates,
        )

        @templates.infer_global(operator.getitem)
        class _Get(templates.AbstractTemplate):  # type: ignore[misc, name-defined]
            key = operator.getitem

            def generic(self, args: Any, keywords: Any) -> Any:
                of, index = args
                if isinstance(of, rows.Table) and isinstance(index, types.Integer):
                    return templates.signature(rows.Row(of.declared, of.array), of, types.int64)
                if isinstance(of, rows.Words) and isinstance(index, types.Integer):
                    return templates.signature(types.int64, of, types.int64)
                if isinstance(of, rows.Words) and isinstance(index, types.SliceType):
                    return templates.signature(of, of, index)
                return None

        @templates.infer_global(operator.setitem)
        class _Set(templates.AbstractTemplate):  # type: ignore[misc, name-defined]
            key = operator.setitem

            def generic(self, args: Any, keywords: Any) -> Any:
                if isinstance(args[0], rows.Words) and isinstance(args[1], types.Integer):
                    return templates.signature(types.none, args[0], types.int64, types.int64)
                return None

        def moved(builder: Any, value: Any, by: Any) -> tuple[Any, Any]:
            at = builder.add(builder.extract_value(value, 1), by, flags=["nsw"])
            return builder.extract_value(value, 0), at

        @extending.lower_builtin(operator.getitem, self.Table, types.Integer)
        def _row(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            size = INT64(signature.args[0].declared.SIZE)
            return rows._pair(builder, *moved(builder, args[0], builder.mul(args[1], size, flags=["nsw"])))

        @extending.lower_builtin(operator.getitem, self.Words, types.Integer)
        def _load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(rows._at(builder, signature.args[0].array, *moved(builder, args[0], args[1])))

        @extending.lower_builtin(operator.getitem, self.Words, types.SliceType)
        def _later(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            start = context.make_helper(builder, signature.args[1], args[1]).start
            return rows._pair(builder, *moved(builder, args[0], start))

        @extending.lower_builtin(operator.setitem, self.Words, types.Integer, types.Integer)
        def _store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(
                args[2], rows._at(builder, signature.args[0].array, *moved(builder, args[0], args[1]))
            )
            return context.get_dummy_value()

    # ---- rows by where they are ----------------------------------------------------------------------
    def add_constructors(self, declared: Iterable[type[Row]]) -> None:
        """Let rules write `BlockRange(state, at)`: the row that begins at an offset of a world's array, or of a slice."""
        for row in declared:
            self._add_constructor(row)
            self.constructed.add(row)

    def _add_constructor(self, declared: type[Row]) -> None:
        rows, extending, types = self, self.target.extending, self.target.types

        @extending.type_callable(declared)
        def _type(context: Any) -> Any:
            def typer(of: Any, at: Any) -> Any:
                is_known = isinstance(of, (rows.World, rows.Words)) and isinstance(at, types.Integer)
                return rows.Row(declared, of.array) if is_known else None

            return typer

        @extending.lower_builtin(declared, self.World, types.Integer)
        def _of_world(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at = context.cast(builder, args[1], signature.args[1], types.int64)
            return rows._pair(builder, builder.extract_value(args[0], 0), at)

        @extending.lower_builtin(declared, self.Words, types.Integer)
        def _of_words(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            by = context.cast(builder, args[1], signature.args[1], types.int64)
            at = builder.add(builder.extract_value(args[0], 1), by, flags=["nsw"])
            return rows._pair(builder, builder.extract_value(args[0], 0), at)


def arrays_of(world: type) -> tuple[str, ...]:
    """The arrays of a world, its own first."""
    return ARRAYS.get(world.__name__, (MAIN,))


def array_name(world: type, of: str) -> str:
    """How an array is called among all arrays: the main one as its world."""
    return world.__name__ if of == MAIN else of


def all_rows(row: type[Row] = Row) -> list[type[Row]]:
    """Every row class that has been declared."""
    return [found for child in row.__subclasses__() for found in (child, *all_rows(child))]
