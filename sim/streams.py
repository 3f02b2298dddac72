"""What the command line stands on: streams whose readers leave, and signals that ask it to end."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

ENDS = ("SIGTERM", "SIGHUP")  # signals that are to leave what an interrupt leaves


class EndedError(KeyboardInterrupt):
    """Somebody asks the process to end: everything is left as after an interrupt at the terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code, self.name = 128 + number, signal.Signals(number).name


@contextmanager
def ends_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise EndedError here, where the caller has not set them and this is the main thread."""

    def end(number: int, _frame: Any) -> NoReturn:
        raise EndedError(number)

    before = {}
    for number in (getattr(signal, name) for name in ENDS if hasattr(signal, name)):
        try:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
        except ValueError:  # another thread's signals are not ours
            break
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_writable() -> None:
    """Streams that are closed go nowhere, and a letter that a stream has no code for is no reason to stop."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            is_utf = (stream.encoding or "").lower().replace("-", "").startswith("utf")
            stream.reconfigure(errors="backslashreplace" if is_utf else "replace")


def write(stream: Any, text: str) -> None:
    """Write text; a reader that has gone has read enough."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        silence(stream)


def silence(stream: Any) -> None:
    """Let what is still written to a stream go nowhere: its reader is gone, or its disk is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError, AttributeError):
        return  # no stream of the system's
    finally:
        os.close(nowhere)
