"""Where text that came from files meets a terminal, a picture or a page: nothing in it acts there."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

from sim.errors import printable
from sim.streams import silence

IN_SCRIPTS = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
}  # JSON says them so too, and no tag ends or begins


@functools.cache
def _console_class() -> type:
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        """Rich's console; what is printed is text, and a reader that has gone is no reason to stop."""

        def on_broken_pipe(self) -> None:
            """Be quiet from now on."""
            self.quiet = True
            silence(self.file)

        def _render_buffer(self, buffer: Iterable[Segment]) -> str:
            return super()._render_buffer(
                piece if piece.control else piece._replace(text=_safe(piece.text)) for piece in buffer
            )

    return SafeConsole


def _safe(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def make_console(stderr: bool = False) -> Any:
    """Rich's console on stdout or stderr: brackets and colons in text are text, and control characters are shown."""
    return _console_class()(stderr=stderr, markup=False, emoji=False)


class ScriptJson(json.JSONEncoder):
    """JSON that can stand in a page's script: no text in it ends the script, begins a comment or turns a line round."""

    def encode(self, value: Any) -> str:
        """The value as JSON text."""
        text = super().encode(cleaned(value))
        return "".join(IN_SCRIPTS.get(c, c) for c in text)


def cleaned(value: Any) -> Any:
    """The data with every text in it, keys too, fit to be drawn."""
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    return printable(value) if isinstance(value, str) else value
