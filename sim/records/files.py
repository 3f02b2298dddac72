"""Files and folders that appear whole or not at all, and one clear line when they cannot."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.errors import InputError, problem

TMP_PREFIX = ".tmp-"
KEY = "output.dir"  # what a person would change
MAX_SAME_NAME = 1000  # run folders of one name in one second


@contextmanager
def whole_file(path: Path, key: str = KEY) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes its place when the block ends well.

    Raises InputError when the folder cannot be written or the disk is full; nothing is left behind.
    """
    with told_clearly(path, key):
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_name(f"{TMP_PREFIX}{os.getpid()}-{path.name}")
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


@contextmanager
def whole_folder(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A temporary folder beside `path` to fill, which is renamed when the block ends well.

    Yields (folder, placed): `placed` gets the final path, which has a number added when `path` is taken.
    Raises InputError like `whole_file`; the temporary folder never stays.
    """
    placed: list[Path] = []
    with told_clearly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix=TMP_PREFIX, dir=path.parent))
        try:
            yield tmp, placed
            _open_to_readers(tmp)
            _sync_all(tmp)
            placed.append(_rename_to_free(tmp, path))
            sync(path.parent)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


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
