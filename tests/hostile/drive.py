"""The command line driven in this process, and what is wrong with how it answered."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sim import cli

LINE_MAX = 6000  # characters of a line: a list of names may be long, a dumped object is longer
ACTS = {
    chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
} - {
    "\n",
    "\t",
}


class Answer(NamedTuple):
    """What a command left behind."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str


def fleetsim(*words: str) -> Answer:
    """Run a command in this process; whatever it raises is told as a traceback would be."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(list(words))
        except BaseException as error:
            code = -1
            err.write(f"Traceback: {type(error).__name__}: {error}")
    return Answer(words, code, out.getvalue(), err.getvalue())


def faults(answer: Answer, codes: Iterable[int] = (0, 2)) -> list[str]:
    """What is wrong with an answer to malformed input, in words; nothing where all is as it should be."""
    text = answer.out + answer.err
    lines = answer.err.splitlines()
    wrong = {
        "a traceback": "Traceback" in text,
        "it says it is a bug": "this is a bug" in text,
        f"exit code {answer.code}": answer.code not in codes,
        "a control character": not ACTS.isdisjoint(text),
        "refused without a word": answer.code == 2 and not lines,
        "a line without its sender": any(not line.startswith("fleetsim: ") for line in lines),
        "a very long line": any(len(line) > LINE_MAX for line in lines),
        "something on stdout though refused": answer.code == 2 and bool(answer.out),
    }
    return [f"{what}: {shown(answer)}" for what, is_so in wrong.items() if is_so]


def shown(answer: Answer) -> str:
    """An answer for a person who has to mend it."""
    words = " ".join(word if len(word) < 90 else word[:90] + "…" for word in answer.words)
    return f"[{words}] → {answer.code} {answer.err[:300]!r}"


def told(found: Sequence[str]) -> str:
    """Faults for an assertion's message."""
    return "\n".join([f"{len(found)} faults", *found[:40]])


def written(path: Path, text: str | bytes) -> str:
    """A file with this in it, and its name."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)
