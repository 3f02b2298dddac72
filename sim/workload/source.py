"""The bytes of a trace file: opened whatever it is packed in, and what kind of file it is by its content."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from sim.errors import InputError, problem
from sim.workload.foreign import known_bytes, known_json

HEAD_BYTES = 1 << 16
GZIP, PARQUET, BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
#: What reading a damaged file may raise; Arrow's own errors are ValueErrors and OSErrors, zlib's is an Exception.
BROKEN_FILE = (OSError, ValueError, EOFError, gzip.zlib.error, RecursionError, MemoryError)  # type: ignore[attr-defined]


class Source:
    """A trace file: `kind` is parquet, csv, jsonl (an object a line or a list of them), weka or sharegpt."""

    def __init__(self, file: str) -> None:
        """Look at the first bytes; raise InputError where it is no file, or one that is no trace."""
        self.file = file
        self.path = Path(file)
        self.documents: list[Any] | None = None  # what JSON files hold that are no JSON lines
        self.paths: list[Path] = []  # of a folder
        if _is_folder(self.path):
            self._look_into_folder()
            return
        if not _is_file(self.path):
            raise InputError(problem("trace.file", file, "a file that exists"))
        with self.path.open("rb") as stream:
            self.is_packed = stream.read(2) == GZIP
        with self.open() as stream:
            self.head = stream.read(HEAD_BYTES)
        self.refuse(known_bytes(self.head))
        self.kind = self._kind()

    def open(self) -> IO[bytes]:
        """The file's bytes, unpacked."""
        return gzip.open(self.path) if self.is_packed else self.path.open("rb")  # type: ignore[return-value]

    def refuse(self, what: str | None) -> None:
        """Raise InputError where a file is something that is known and no trace."""
        if what is not None:
            raise InputError(f"trace.file: {self.file} is {what}")

    def _kind(self) -> str:
        if self.head.startswith(PARQUET):
            return "parquet"
        text = self.head.removeprefix(BOM).lstrip()
        if not text.startswith((b"{", b"[")):
            return "jsonl" if self.path.suffix.lower() in (".jsonl", ".ndjson") else "csv"
        first = _parsed(text.splitlines()[0])
        if isinstance(first, dict) and known_json(first) is None and not is_document(first):
            return "jsonl"
        whole = self._whole()
        self.refuse(known_json(whole if whole is not None else first))
        if whole is None:
            return "jsonl"  # broken somewhere: its lines say where
        self.documents = whole if isinstance(whole, list) else [whole]
        entries = [entry for entry in self.documents if isinstance(entry, dict)]
        if any(is_conversation(entry) for entry in entries[:100]):
            return "sharegpt"
        return "weka" if any(is_document(entry) for entry in entries[:100]) else "jsonl"

    def _whole(self) -> Any:
        """The whole file as one JSON value; None where it is none."""
        with self.open() as stream:
            return _parsed(stream.read().removeprefix(BOM))

    def _look_into_folder(self) -> None:
        """A folder of sessions, a JSON file each, in the order of their names."""
        self.paths = sorted(self.path.glob("*.json"))
        if not self.paths:
            raise InputError(
                problem("trace.file", self.file, "a file, or a folder of sessions as JSON files")
            )
        self.kind, self.is_packed, self.head = "weka", False, b""

    def sessions(self) -> Iterator[Any]:
        """The sessions of a file or of a folder, one file after the other: together they may not fit into memory."""
        entries = (
            (f"entry {i} of {self.file}", found) for i, found in enumerate(self.documents or [], start=1)
        )
        files = ((str(path), _parsed(path.read_bytes())) for path in self.paths)
        for name, found in chain(entries, files):
            if not is_document(found):
                raise InputError(f"trace.file: {name} is no session; allowed: {SESSION_ALLOWED}")
            yield found


SESSION_ALLOWED = "objects with `requests`, as in kv-cache-tester's traces"


def is_document(value: object) -> bool:
    """Whether a JSON value is a session with its requests."""
    return isinstance(value, dict) and isinstance(value.get("requests"), list)


def is_conversation(value: dict[str, Any]) -> bool:
    """Whether a JSON object is a conversation in texts."""
    return any(isinstance(value.get(name), list) for name in ("conversations", "conversation", "messages"))


def _parsed(text: bytes) -> Any:
    """A JSON value; None where the text is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
