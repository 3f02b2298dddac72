"""Files and folders that appear whole or not at all, and one clear line when they cannot."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sim.errors import InputError, problem

TMP_PREFIX = ".tmp-"
KEY = "output.dir"  # what a person would change
OWNED = re.compile(r"^\.tmp-(?P<host>[A-Za-z0-9_.]+)-(?P<pid>[0-9]+)-")
NAMELESS_AFTER_S = 86_400.0  # what earlier versions left has no owner in its name
MAX_SAME_NAME = 1000  # run folders of one name in one second


@contextmanager
def whole_file(path: Path, key: str = KEY) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes its place when the block ends well.

    Raises InputError when the folder cannot be written or the disk is full; nothing is left behind.
    """
    if is_device(path):
        raise InputError(
            problem(key, str(path), "a file, new or to be replaced; this is a folder or a device")
        )
    with told_clearly(path, key):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_orphans(path.parent)
        tmp = path.with_name(f"{own_prefix()}{path.name}")
        try:
            yield tmp
            sync(tmp)
            os.replace(tmp, path)
            sync(path.parent)
        finally:
            tmp.unlink(missing_ok=True)


def write_new(path: Path, text: str, key: str) -> None:
    """Writes a text file, whole, where none of other content is; raises InputError, which starts with `key`."""
    try:
        if path.exists() and (not path.is_file() or path.read_bytes() != text.encode()):
            raise InputError(problem(key, str(path), "a file that does not exist yet, or another name"))
        with whole_file(path, key) as tmp:
            tmp.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{key}: {path}: cannot be written: {error.strerror or error}") from None


def keep_text(path: Path, pieces: Iterable[str], key: str) -> None:
    """Writes a text whole, in the place of what may be there; compressed where the name ends in .gz, the same text to
    the same bytes. Raises InputError, which starts with `key`.
    """
    if path.is_dir():
        raise InputError(problem(key, str(path), "a file to write; this is a folder"))
    if is_device(path):
        with told_clearly(path, key), path.open("wb") as raw:
            _put(raw, pieces, is_packed=False)
        return
    target = path.resolve() if path.is_symlink() else path
    with whole_file(target, key) as tmp, tmp.open("wb") as raw:
        _put(raw, pieces, path.suffix == ".gz")


def is_device(path: Path) -> bool:
    """Whether a path is written to and never replaced: /dev/stdout, /dev/null, a named pipe."""
    return (path.is_absolute() and path.parts[1:2] == ("dev",)) or (path.exists() and not path.is_file())


def _put(raw: BinaryIO, pieces: Iterable[str], is_packed: bool) -> None:
    """Writes texts, compressed or not."""
    out = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if is_packed else raw
    with io.TextIOWrapper(out, encoding="utf-8", newline="\n") as file:  # type: ignore[type-var]
        for piece in pieces:
            file.write(piece)


@contextmanager
def whole_folder(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A temporary folder beside `path` to fill, which is renamed when the block ends well.

    Yields (folder, placed): `placed` gets the final path, which has a number added when `path` is taken.
    Raises InputError like `whole_file`; the temporary folder never stays.
    """
    placed: list[Path] = []
    with told_clearly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_orphans(path.parent)
        tmp = Path(tempfile.mkdtemp(prefix=own_prefix(), dir=path.parent))
        try:
            yield tmp, placed
            _open_to_readers(tmp)
            _sync_all(tmp)
            placed.append(_rename_to_free(tmp, path))
            sync(path.parent)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


def own_prefix() -> str:
    """What the temporary files of this process begin with: machine and process, so that others know whose they are."""
    return f"{TMP_PREFIX}{_host()}-{os.getpid()}-"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", socket.gethostname()) or "host"


def remove_orphans(folder: Path) -> None:
    """Removes what a process that was killed has left behind in a folder, and nothing that a living one may be writing.

    Another machine's are left alone: nobody here knows whether its process lives.
    """
    for path in folder.glob(f"{TMP_PREFIX}*"):
        match = OWNED.match(path.name)
        if match is not None:
            is_orphan = match["host"] == _host() and not _lives(int(match["pid"]))
        else:
            is_orphan = _age_s(path) > NAMELESS_AFTER_S
        if is_orphan and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif is_orphan:
            with suppress(OSError):  # not ours to remove: no reason not to write beside it
                path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def told_clearly(path: Path, key: str = KEY) -> Iterator[None]:
    """Turns an OSError of the block into an InputError of one line."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error).splitlines()[0]
        line = problem(key, str(path), "a folder with free space that you may write to")
        raise InputError(f"{line}; the system says: {why}") from error


def sync(path: Path) -> None:
    """Puts a file or a folder's list of names on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _open_to_readers(folder: Path) -> None:
    """mkdtemp makes private folders; a result gets the rights that a plain mkdir would give."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


def _rename_to_free(tmp: Path, path: Path) -> Path:
    """Renames to `path`, or to `path-2`, `path-3`, … where that is taken."""
    for number in range(1, MAX_SAME_NAME + 1):
        target = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if target.exists():
            continue
        try:
            os.rename(tmp, target)
        except (FileExistsError, NotADirectoryError):
            continue
        except OSError:
            if not target.exists():
                raise
            continue
        return target
    raise InputError(problem("output.dir", str(path), f"at most {MAX_SAME_NAME} results of one name"))
