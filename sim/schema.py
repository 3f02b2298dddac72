"""Tables of int64 words, declared once: a class a row, a documented field a line.

A run is two flat int64 arrays, Params.m (what the run never changes) and State.m (everything it does). Each begins with
numbers of the run itself, then holds where its tables start, then the tables. From the declarations follow offsets and
sizes, the views by which rules read and write fields (here for plain Python, in `sim.compile.rows` for machine code),
and the columns by which the host reads whole tables.

    class Replica(Row):
        n_run = Field("sequences in the running batch")
        slot_ps = Wide("Σ n_run · time")

`state.replica[r].n_run += 1` reads and writes State.m in place. A name that the row does not declare is an error.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

#: Suffix of a field's name → its unit; other fields are counts, codes or numbers of other rows.
UNITS = {
    "_ps": "ps",
    "_milli": "1/1000",
    "_q16": "2^-16 ps",
    "_q20": "2^-20",
    "_q30": "2^-30",
    "_q40": "bytes in 2^40 ps",
    "_tokens": "tokens",
    "_blocks": "blocks",
}


class Field:
    """One int64 of a row. `begin` is its value when a run begins."""

    n_words = 1
    kind = "int"

    def __init__(self, about: str, unit: str = "", begin: int = 0) -> None:
        self.about, self.begin, self._unit = about, begin, unit
        self.name, self.offset = "", 0

    @property
    def unit(self) -> str:
        """The unit that was given, or that the end of the name says; empty for counts and codes."""
        return self._unit or next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, row: Any, owner: type | None = None) -> Any:
        return self if row is None else row.m[row.at + self.offset]

    def __set__(self, row: Any, value: Any) -> None:
        row.m[row.at + self.offset] = value


class Array(Field):
    """n int64s of a row, read as `row.name[i]`."""

    kind = "array"

    def __init__(self, about: str, n: int, unit: str = "", begin: int = 0) -> None:
        super().__init__(about, unit, begin)
        self.n_words = n

    def __get__(self, row: Any, owner: type | None = None) -> Any:
        return self if row is None else row.m[row.at + self.offset :]

    def __set__(self, row: Any, value: Any) -> None:
        raise AttributeError(f"{type(row).__name__}.{self.name} is an array: set its elements")


class Wide(Array):
    """A sum of up to 124 bits in two int64s, low and high: see `add_wide` of sim.model.base.histogram."""

    def __init__(self, about: str, unit: str = "") -> None:
        super().__init__(about, 2, unit)


class _Slotted(type):
    """Classes whose objects have no attributes but those declared: a wrong name is an AttributeError."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **rest: Any) -> Any:
        namespace.setdefault("__slots__", ())
        return super().__new__(mcs, name, bases, namespace, **rest)


class Row(metaclass=_Slotted):
    """A row of a table: where it is, and its fields by name."""

    __slots__ = ("at", "m")
    FIELDS: ClassVar[dict[str, Field]] = {}
    SIZE: ClassVar[int] = 0

    def __init__(self, of: Any, at: int) -> None:
        self.m: np.ndarray = of.m if type(type(of)) is _Slotted else of
        self.at = at

    def __init_subclass__(cls, lines: int = 0, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.FIELDS = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}
        offset = 0
        for field in cls.FIELDS.values():
            field.offset = offset
            offset += field.n_words
        cls.SIZE = max(offset, 8 * lines)

    @property
    def words(self) -> np.ndarray:
        """The row's int64s, and what lies behind it."""
        return self.m[self.at :]

    @classmethod
    def blank(cls) -> np.ndarray:
        """A row as a run begins with it, (SIZE,)."""
        words = np.zeros(cls.SIZE, dtype=np.int64)
        for field in cls.FIELDS.values():
            words[field.offset : field.offset + field.n_words] = field.begin
        return words

    @classmethod
    @functools.cache
    def dtype(cls) -> np.dtype:
        """The row as a NumPy record: a field a name; arrays and wide sums are (n,) of int64."""
        names, formats, offsets = [], [], []
        for name, field in cls.FIELDS.items():
            names.append(name)
            formats.append("<i8" if field.kind == "int" else f"({field.n_words},)<i8")
            offsets.append(8 * field.offset)
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 8 * cls.SIZE})

    @classmethod
    def rows(cls, words: np.ndarray) -> np.ndarray:
        """Words that hold whole rows as records, (row,): `rows["busy_ps"]` is a column, a view."""
        whole = words[: len(words) // cls.SIZE * cls.SIZE]
        return whole.view(cls.dtype()) if len(whole) else np.zeros(0, dtype=cls.dtype())


class Table:
    """Where a table of rows starts: `world.name[i]` is its i-th row. `at` names the field that says where, in a world
    whose tables do not all start at places of the header; `of` is the array that it lies in.

    `rows` names the fields of Params whose product is how many rows it has, where that is all there is to it. A table of
    Params with a `key` has a row for each of the things that a scenario has under it, in the order of the field `by`.
    """

    def __init__(
        self,
        row: type[Row] | None,
        about: str,
        at: str = "",
        of: str = "m",
        rows: tuple[str, ...] = (),
        key: str = "",
        by: str = "",
    ) -> None:
        self.row, self.about, self.at, self.of = row, about, at, of
        self.rows, self.key, self.by = rows, key, by
        self.name, self.start = "", 0

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def n_rows(self, params: Any) -> int:
        """How many rows it has, by what it declares."""
        return math.prod(int(getattr(params, name)) for name in self.rows)

    def start_of(self, world: Any) -> int:
        """Where in its array the table starts."""
        return int(world.m[self.start])

    def __get__(self, world: Any, owner: type | None = None) -> Any:
        if world is None:
            return self
        known = world.views.get(self.name)
        if known is None:
            words = getattr(world, self.of)
            start = self.start_of(world)
            known = words[start:] if self.row is None else TableView(self.row, words, start)
            world.views[self.name] = known
        return known

    def __set__(self, world: Any, value: Any) -> None:
        raise AttributeError(f"{type(world).__name__}.{self.name} is a table: set the fields of its rows")


class Words(Table):
    """A table of plain int64s: `world.name[i]` is the i-th of them, `world.name[i:]` those from there on."""

    def __init__(self, about: str, at: str = "", of: str = "m", rows: tuple[str, ...] = ()) -> None:
        super().__init__(None, about, at, of, rows)


class TableView:
    """A table in plain Python: `view[i]` is its i-th row."""

    __slots__ = ("m", "row", "start")

    def __init__(self, row: type[Row], m: np.ndarray, start: int) -> None:
        self.row, self.m, self.start = row, m, start

    def __getitem__(self, i: int) -> Any:
        return self.row(self.m, self.start + i * self.row.SIZE)


class World(metaclass=_Slotted):
    """An array that begins with fields of its own, says where its tables start, and holds them.

    Tables without `at` start at the words behind the fields, in the order of their declaration.
    """

    FIELDS: ClassVar[dict[str, Field]] = {}
    TABLES: ClassVar[dict[str, Table]] = {}
    SIZE: ClassVar[int] = 0  # words of the header: fields, then starts
    __slots__ = ("m", "trace", "views")
    at = 0

    def __init__(self, m: np.ndarray) -> None:
        self.m = m
        self.views: dict[str, Any] = {}

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.FIELDS = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}
        cls.TABLES = {name: table for name, table in vars(cls).items() if isinstance(table, Table)}
        offset = 0
        for field in cls.FIELDS.values():
            field.offset = offset
            offset += field.n_words
        for table in cls.TABLES.values():
            table.start = cls.FIELDS[table.at].offset if table.at else offset
            offset += 0 if table.at else 1
        cls.SIZE = offset

    @classmethod
    @functools.cache
    def fixed(cls) -> list[str]:
        """Names of the tables whose starts lie behind the fields, in order."""
        return [name for name, table in cls.TABLES.items() if not table.at]

    def rows(self, name: str, n: int) -> np.ndarray:
        """The first n rows of a table as records, a view; of a table of words, these."""
        table = type(self).TABLES[name]
        size = 1 if table.row is None else table.row.SIZE
        words = getattr(self, table.of)[table.start_of(self) :][: n * size]
        return words if table.row is None else table.row.rows(words)

    def extent(self, name: str) -> np.ndarray:
        """A table with a place in the header, up to where the next one starts, (word,): whole if the two are neighbours."""
        names = type(self).fixed()
        after = names[names.index(name) + 1]
        tables = type(self).TABLES
        return self.m[tables[name].start_of(self) : tables[after].start_of(self)]

    def starts(self) -> Iterator[tuple[str, int]]:
        """Name and start of each table with a place in the header."""
        return ((name, type(self).TABLES[name].start_of(self)) for name in self.fixed())
