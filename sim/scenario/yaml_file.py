"""A YAML file read as data and nothing else: it runs no code, reads no environment, refers to nothing.

Anchors, aliases, tags, interpolation and special keys are refused, as are numbers that are not finite and
the plain words that YAML 1.1 reads as something else than what they look like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from sim.errors import InputError

BYTES_MAX = 256 * 1024
DEPTH_MAX = 24
NODES_MAX = 50_000

BASE_60 = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
LEADING_ZERO = re.compile(r"^[-+]?0[0-9_]+$")
FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
PACKAGE = re.compile(r"^\s*#\s*@package:?\s*(\S*)")
TAG = "tag:yaml.org,2002:"


class DataLoader(yaml.SafeLoader):
    """PyYAML's safe loader that stops at the first thing that is more than data."""

    depth = 0
    n_nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node, after the refusals; raises RefusedError."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise RefusedError(event, f"*{event.anchor}: aliases are not allowed, write the value out")
        if event.anchor is not None:
            raise RefusedError(event, f"&{event.anchor}: anchors are not allowed, write the value out")
        if event.tag is not None:
            raise RefusedError(event, f"{event.tag}: tags are not allowed")
        self.n_nodes += 1
        self.depth += 1
        if self.depth > DEPTH_MAX or self.n_nodes > NODES_MAX:
            raise RefusedError(
                event, f"too big: at most {DEPTH_MAX} levels and {NODES_MAX} values are allowed"
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


DataLoader.yaml_implicit_resolvers = {
    key: [(tag, regexp) for tag, regexp in resolvers if tag not in (f"{TAG}timestamp", f"{TAG}float")]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
DataLoader.add_implicit_resolver(f"{TAG}float", FLOAT, list("-+0123456789."))


class RefusedError(Exception):
    """Something in the text that a data file may not have."""

    def __init__(self, event: yaml.Event, what: str) -> None:
        super().__init__(what)
        self.line = event.start_mark.line + 1


def read_yaml(path: Path, shown: str | None = None, packages: Collection[str] = ()) -> dict[str, Any]:
    """The mapping in the file; raises InputError with every mistake and its line. An empty file is empty.

    `packages` are what an `@package` line may name: hydra would put the file elsewhere, and here it has one place.
    """
    shown = shown or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(data) > BYTES_MAX:
        raise InputError(f"{shown}: is larger than {BYTES_MAX // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: is not UTF-8 text (byte {error.start})") from None
    if packages:
        check_package(text, shown, packages)
    return parse_yaml(text, shown)


def check_package(text: str, shown: str, packages: Collection[str]) -> None:
    """Raise InputError for an `@package` line that names another place than the one that the file has."""
    for number, line in enumerate(text.splitlines(), 1):
        match = PACKAGE.match(line)
        if match and match[1] not in packages:
            allowed = " or ".join(packages)
            raise InputError(
                f"{shown}:{number}: @package {match[1]} is not valid; allowed: {allowed}, or no such line"
            )


def parse_yaml(text: str, shown: str) -> dict[str, Any]:
    """The mapping in `text`; `shown` stands before each mistake, with its line."""
    node = composed(text, shown)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{shown}:1: must be a mapping of keys and values")
    reader = Reader()
    value = reader.value(node, "")
    if reader.problems:
        raise InputError(f"{shown}:{line}: {what}" for line, what in reader.problems)
    return value


def composed(text: str, shown: str) -> yaml.Node | None:
    """The text as nodes; raises InputError on syntax errors and on what is refused."""
    try:
        return DataLoader(text).get_single_node()
    except RefusedError as refused:
        raise InputError(f"{shown}:{refused.line}: {refused}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InputError(f"{shown}:{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{shown}: not valid YAML: {str(error).splitlines()[0]}") from None


class Reader:
    """Turns nodes into plain values and keeps a list of what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []

    def refuse(self, node: yaml.Node, what: str) -> None:
        """Remember one mistake and its line."""
        self.problems.append((node.start_mark.line + 1, what))

    def value(self, node: yaml.Node, key: str) -> Any:
        """The value of any node that stands under `key`."""
        if isinstance(node, yaml.MappingNode):
            return dict(self.items(node, key))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{key}[{i}]") for i, item in enumerate(node.value)]
        return self.scalar(node, key)

    def items(self, node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, Any]]:
        """The mapping's entries under their full keys."""
        seen = set()
        for key_node, value_node in node.value:
            name = key_node.value
            key = f"{prefix}.{name}" if prefix else str(name)
            why = key_problem(key_node)
            if why or name in seen:
                self.refuse(key_node, f"{key}: {why or 'this key is there twice'}")
                continue
            seen.add(name)
            yield name, self.value(value_node, key)

    def scalar(self, node: yaml.Node, key: str) -> Any:
        """A plain value, or None with a remembered mistake."""
        why = scalar_problem(node)
        if why:
            self.refuse(node, f"{key}: {why}")
            return None
        if node.tag == f"{TAG}null":
            return None
        if node.tag == f"{TAG}bool":
            return node.value.lower() == "true"
        if node.tag == f"{TAG}int":
            return int(node.value.replace("_", ""), 0)
        if node.tag == f"{TAG}float":
            return number_of(node.value)
        return node.value


def key_problem(node: yaml.Node) -> str:
    """Why a node cannot be a key, or an empty string."""
    if not isinstance(node, yaml.ScalarNode):
        return "a key must be a plain name"
    if node.tag == f"{TAG}merge":
        return "merge keys are not allowed, write the values out"
    if node.value.startswith("_"):
        return "keys that start with _ are not allowed: a scenario is data and runs no code"
    return text_problem(node.value)


def text_problem(text: str) -> str:
    """Why a text cannot stand in a data file, or an empty string."""
    if "${" in text:
        return f"{text!r}: interpolation is not allowed: a scenario is data and reads no environment"
    return "'???' is not a value" if text == "???" else ""


def scalar_problem(node: yaml.Node) -> str:
    """Why a scalar cannot be used as it stands, or an empty string."""
    text = node.value
    if node.style is not None:  # quoted or a block: it is text
        return text_problem(text)
    if BASE_60.match(text):
        return f"YAML reads {text} as a number in base 60: write seconds, or quote it"
    if LEADING_ZERO.match(text):
        return f"YAML reads {text} as an octal number: drop the leading zero, or quote it"
    if node.tag == f"{TAG}bool" and text.lower() not in ("true", "false"):
        meant = "true" if text.lower() in ("yes", "on") else "false"
        return f"YAML reads {text} as {meant}: write {meant}, or quote it if it is a word"
    if node.tag == f"{TAG}float" and not math.isfinite(number_of(text)):
        return f"{text} is not a finite number"
    if node.tag == f"{TAG}int" and len(text) > 40:
        return "is too large to be a number"
    return text_problem(text)


def number_of(text: str) -> float:
    """A YAML float, whose infinity and NaN are written with a dot."""
    plain = text.replace("_", "").lower()
    return float(plain.replace(".", "") if plain.endswith(("inf", "nan")) else plain)
