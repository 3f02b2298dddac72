"""Bad input, said in one line that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """What the user gave cannot be used; `problems` holds one clear line for each mistake found."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def nearest(name: str, names: Iterable[str], least: float = 0.5) -> str | None:
    """The valid name that `name` was most likely meant to be, or None when nothing is close (`least`: 1 is equal)."""
    close = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=least)
    return close[0] if close else None


def problem(key: str, value: object, allowed: str, nearest_name: str | None = None) -> str:
    """One line that names the key, the value, what is allowed and the nearest valid name."""
    hint = f"; did you mean {nearest_name!r}?" if nearest_name else ""
    return f"{key}: {as_written(value)} is not valid; allowed: {allowed}{hint}"


def as_written(value: object) -> str:
    """A value as a scenario file has it: null and true, where Python says None and True."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)


def printable(text: str) -> str:
    """The text on one line: what moves a cursor, colours a terminal or turns a line round stands there as its escape
    sequence. The one place where text from files and words becomes fit for a terminal or a picture.
    """
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(c: str) -> str:
    return c if c.isprintable() else c.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """A page of text, each of its lines as `printable` has it; tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
