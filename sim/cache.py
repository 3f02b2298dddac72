"""What this machine keeps between runs, and can make again: a folder of files that appear whole or not at all.

Nothing here is a result. A folder that cannot be written, a file that is missing or damaged: the caller makes the thing
again, and nothing is said.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

DIGEST = 32  # bytes of a SHA-256, before what a file holds


def home() -> Path:
    """The folder of everything that is kept: FLEETSIM_CACHE_DIR, or the user's cache folder."""
    own = os.environ.get("FLEETSIM_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(own or os.path.join(base, "fleetsim"))


def is_writable() -> bool:
    """Whether something can be kept."""
    folder = home()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def read(path: Path) -> bytes | None:
    """What was kept under this path; None where nothing is, or something else than was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[DIGEST:]
    return body if hashlib.sha256(body).digest() == data[:DIGEST] else None


def keep(path: Path, body: bytes) -> None:
    """Keep something under a path, in one step, as far as the folder can be written."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with open(number, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


def keep_at_most(folder: Path, n: int) -> None:
    """Remove the oldest files of a folder until at most `n` are left."""
    with suppress(OSError):
        files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for path in files[: max(0, len(files) - n)]:
            path.unlink()


def keep_byte_code() -> None:
    """Keep byte code here from now on, where none is kept beside the sources.

    Without it a command compiles up to a thousand files, its own and its libraries', before it does anything.
    """
    beside = importlib.util.cache_from_source(__file__)
    if sys.pycache_prefix is None and not os.path.exists(beside) and is_writable():
        sys.pycache_prefix, sys.dont_write_bytecode = str(home() / "bytecode"), False


def version_stamp(package: str) -> str:
    """What changes with a package's version, without importing it: the file that says its version."""
    spec = importlib.util.find_spec(package.partition(".")[0])
    if spec is None or spec.origin is None:
        return package
    path = Path(spec.origin)
    if "." in package:
        path = path.with_name(f"{package.partition('.')[2]}.py")
    try:
        about = path.stat()
    except OSError:
        return f"{path}"
    return f"{path} {about.st_size} {about.st_mtime_ns}"
