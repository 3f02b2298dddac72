"""Constraints and conditions: `pool.min_replicas <= pool.max_replicas`, read as data and worked out for all points at once.

A rule is arithmetic, comparisons, `and`, `or`, `not`, `in`, `min`, `max` and `abs` over axes, numbers and quoted text. It
is walked as a tree of a few kinds of nodes; nothing in it is run as code.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import InputError, nearest
from sim.scenario.variant_names import short_keys

TEXT_MAX = 1000
NODES_MAX = 200
HOW = "comparisons and arithmetic over axes, as pool.min_replicas <= pool.max_replicas"
QUOTED = re.compile(r"`([^`]*)`")
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
WORDS = {"true": True, "false": False}
CALLED: dict[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum, "abs": np.abs}


@dataclass(frozen=True)
class Rule:
    """A checked rule: its text, its tree, and the axes that it names."""

    text: str
    tree: ast.expr
    keys: tuple[str, ...]
    names: Mapping[str, str]  # as written → key of the axis

    def holds(self, columns: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Whether it holds, (n,) bool, of points that have every axis it names; where one is missing, False.

        `columns` has the values of each axis, `there` which points have it. Raises InputError where values do not go
        together.
        """
        try:
            with np.errstate(all="ignore"):
                found = _value(self.tree, {name: columns[key] for name, key in self.names.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.text}: cannot be worked out: {error}") from None
        held = np.broadcast_to(np.asarray(found, dtype=bool), (n,)).copy()
        return held & self.applies(there, n)

    def applies(self, there: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Which points have every axis that it names, (n,) bool."""
        found = np.ones(n, dtype=bool)
        for key in self.keys:
            found &= there[key]
        return found


def read_rule(text: Any, keys: Sequence[str], place: str) -> Rule:
    """A rule over axes with these keys, called by them or by an ending that only one has; raises InputError."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place}: {text!r} is not valid; allowed: {HOW}")
    if len(text) > TEXT_MAX:
        raise InputError(f"{place}: a rule of {len(text)} characters; allowed: at most {TEXT_MAX}")
    quoted: dict[str, str] = {}

    def placeholder(match: re.Match[str]) -> str:
        name = f"_quoted_{len(quoted)}"
        quoted[name] = match[1]
        return name

    try:
        tree = ast.parse(QUOTED.sub(placeholder, text).strip(), mode="eval").body
        n_node = sum(1 for _ in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{place}: {text!r} is not valid; allowed: {HOW}") from None
    if n_node > NODES_MAX:
        raise InputError(f"{place}: {text[:60]!r}… has {n_node} parts; allowed: at most {NODES_MAX}")
    known = {**dict(zip(short_keys(list(keys)), keys, strict=True)), **{key: key for key in keys}}
    names: dict[str, str] = {}
    _check(tree, text, place, quoted, known, names)
    if not names:
        raise InputError(
            f"{place}: {text!r} is not valid; allowed: a rule that names an axis: {', '.join(keys)}"
        )
    return Rule(text, tree, tuple(dict.fromkeys(names.values())), names)


def _check(
    node: ast.AST,
    text: str,
    place: str,
    quoted: Mapping[str, str],
    known: Mapping[str, str],
    names: dict[str, str],
) -> None:
    """Raise InputError for the first part of a rule that is none of the allowed; note the axes it names."""
    name = _name(node)
    if name is not None:
        shown = quoted.get(name, name)
        if shown in WORDS and shown not in known:
            return
        if shown not in known:
            close = nearest(shown, known)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"{place}: {shown!r} in {text!r} is no axis; allowed: {', '.join(known)}{hint}")
        names[name] = known[shown]
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return
    is_known = (
        isinstance(node, ast.BoolOp)
        or (isinstance(node, ast.BinOp) and type(node.op) in BINARY)
        or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.UAdd))
        or (isinstance(node, ast.Compare) and all(type(op) in COMPARED or _is_in(op) for op in node.ops))
        or (isinstance(node, ast.Call) and not node.keywords and _called(node) in CALLED and node.args)
    )
    if not is_known:
        what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        raise InputError(f"{place}: {what!r} in {text!r} is not allowed in a rule; allowed: {HOW}")
    children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    if isinstance(node, ast.Call):
        children = list(node.args)
    if isinstance(node, ast.Compare):
        children = [node.left]
        for op, right in zip(node.ops, node.comparators, strict=True):
            if _is_in(op) and not isinstance(right, ast.Tuple | ast.List):
                raise InputError(f"{place}: {text!r}: `in` needs a list behind it, as x in (1, 2)")
            children += right.elts if _is_in(op) and isinstance(right, ast.Tuple | ast.List) else [right]
    for child in children:
        _check(child, text, place, quoted, known, names)


def _is_in(op: ast.cmpop) -> bool:
    return isinstance(op, ast.In | ast.NotIn)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _name(node: ast.AST) -> str | None:
    """`pool.min_replicas` or `spikes[0].height` as it is written, where the node is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value)
        return None if before is None else f"{before}.{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        before = _name(node.value)
        return (
            None
            if before is None or not isinstance(node.slice.value, int)
            else f"{before}[{node.slice.value}]"
        )
    return None


def _value(node: ast.AST, columns: Mapping[str, Any]) -> Any:
    name = _name(node)
    if name is not None:
        return columns[name] if name in columns else WORDS[name]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return _unary(node, _value(node.operand, columns))
    if isinstance(node, ast.BinOp):
        return BINARY[type(node.op)](*(_number(_value(side, columns)) for side in (node.left, node.right)))
    if isinstance(node, ast.BoolOp):
        parts = [np.asarray(_value(part, columns), dtype=bool) for part in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(np.broadcast_arrays(*parts))
    if isinstance(node, ast.Call):
        args = [_value(arg, columns) for arg in node.args]
        found = CALLED[_called(node)](*args[:2]) if len(args) > 1 or _called(node) == "abs" else args[0]
        for arg in args[2:]:
            found = CALLED[_called(node)](found, arg)
        return found
    assert isinstance(node, ast.Compare)
    return _compared(node, columns)


def _number(value: Any) -> Any:
    if np.asarray(value).dtype.kind not in "bif":
        raise TypeError("arithmetic needs numbers")
    return np.asarray(value, dtype=float)


def _unary(node: ast.UnaryOp, value: Any) -> Any:
    if isinstance(node.op, ast.Not):
        return np.logical_not(value)
    return -value if isinstance(node.op, ast.USub) else value


def _compared(node: ast.Compare, columns: Mapping[str, Any]) -> Any:
    held: Any = True
    left = _value(node.left, columns)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        if _is_in(op):
            assert isinstance(right_node, ast.Tuple | ast.List)
            found: Any = False
            for item in right_node.elts:
                found = np.logical_or(found, _equal(left, _value(item, columns)))
            one, right = (found if isinstance(op, ast.In) else np.logical_not(found)), None
        else:
            right = _value(right_node, columns)
            same = isinstance(op, ast.Eq | ast.NotEq)
            one = _equal(left, right) if same else COMPARED[type(op)](left, right)
            one = np.logical_not(one) if isinstance(op, ast.NotEq) else one
        held = np.logical_and(held, np.asarray(one, dtype=bool))
        left = right
    return held


def _equal(left: Any, right: Any) -> np.ndarray:
    """Equality one by one; a number and a text are never equal."""
    if all(np.asarray(side).dtype.kind in "bif" for side in (left, right)):
        return np.equal(left, right)
    return np.asarray(np.equal(np.asarray(left, dtype=object), np.asarray(right, dtype=object)), dtype=bool)
