"""One word of the command line, `key=value`, in hydra's grammar of overrides.

Most are a key and one plain word or number. Those are read here, as hydra reads them; everything else is hydra's to
read, which takes longer to import than to do anything else with a scenario.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sim.errors import InputError

ID = r"[A-Za-z_][A-Za-z0-9_-]*"
PATH = rf"{ID}(?:\.(?:{ID}|0|[1-9][0-9]*))*"
PLAIN_KEY = re.compile(rf"({PATH})(?:@({PATH}))?")
INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
FILE_AND_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*:[A-Za-z_][A-Za-z0-9_]*")
NOT_TEXT = {"true": True, "false": False, "null": None}
NUMBERS = ("inf", "nan")


class Override(NamedTuple):
    """What one word says."""

    line: str  # as hydra's grammar has it
    key: str  # or the group
    package: str | None
    element: str  # all before the `=`
    value: Any  # None where there is none, or several
    is_delete: bool
    is_sweep: bool


def read_override(line: str) -> Override | None:
    """The override that a line is; None where it is none in hydra's grammar."""
    return plain_override(line) or by_hydra(line)


def plain_override(line: str) -> Override | None:
    """The override that a line is, where it is a key and plain words or numbers."""
    element, equals, text = line.partition("=")
    match = PLAIN_KEY.fullmatch(element)
    if match is None or not equals:
        return None
    values = plain_values(text)
    if values is None:
        return None
    value = values[0] if len(values) == 1 else None
    return Override(line, match[1], match[2], element, value, False, len(values) > 1)


def plain_values(text: str) -> list[Any] | None:
    """The values between commas; None where one of them is not plain."""
    if FILE_AND_NAME.fullmatch(text):
        return [text]
    if text.lower() in NOT_TEXT:
        return [NOT_TEXT[text.lower()]]
    found: list[Any] = []
    for word in text.split(","):
        if INT.fullmatch(word):
            found.append(int(word))
        elif FLOAT.fullmatch(word):
            found.append(float(word))
        elif WORD.fullmatch(word) and word.lower() not in (*NOT_TEXT, *NUMBERS):
            found.append(word)
        else:
            return None
    return found


def by_hydra(line: str) -> Override | None:
    """`read_override`, by hydra's own parser."""
    from sim.scenario.hydra_words import parsed

    found = parsed(line)
    if found is None:
        return None
    is_delete, is_sweep = found.is_delete(), found.is_sweep_override()
    value = None if is_delete or is_sweep else found.value()
    return Override(
        line, found.key_or_group, found.package, found.get_key_element(), value, is_delete, is_sweep
    )


def swept(override: Override) -> list[str]:
    """`autoscaler=a,b` as [`autoscaler=a`, `autoscaler=b`]; raises InputError."""
    values = plain_values(override.line.partition("=")[2]) if plain_override(override.line) else None
    if values is not None:
        words: list[str] | None = [str(value) for value in values]
    else:
        from sim.scenario.hydra_words import several

        words = several(override.line)
    if words is None:
        raise InputError(f"{override.line}: cannot be taken apart into single values")
    if len(set(words)) < len(words):
        raise InputError(f"{override.line}: names a value twice")
    return [f"{override.element}={word}" for word in words]
