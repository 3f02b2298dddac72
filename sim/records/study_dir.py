"""A study's folder: the plan, a hive-partitioned data set of runs, histograms, and a mark for every shard that is done.

A shard is done when its mark is there: it is written last, and names every file of the shard with its size and hash. All
files are written beside their place and moved there, so that whatever happens at whatever instant, what was marked stays.
Nothing in them says when or where they were made: the same plan leaves the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from sim.errors import InputError, problem
from sim.records.config import from_json, to_json
from sim.records.files import TMP_PREFIX, remove_orphans, told_clearly, whole_file
from sim.records.parquet import write_table

STUDY_FILE = "study.json"
STOPPED_FILE = "stopped.json"
COMPARED_FILE = "compared.json"
RUNS, HISTOGRAMS, DONE, FAILED = "runs", "histograms", "done", "failed"
FOLDERS = (RUNS, HISTOGRAMS, DONE, FAILED)


class StudyDir:
    """Writes and checks the folder of a study."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make the folder, clear away what killed processes left, and write the plan; returns the plan that was there.

        Raises InputError where the folder is something else or cannot be written.
        """
        before = self.record()
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        if before is None and not all(name in FOLDERS or name.startswith(TMP_PREFIX) for name in names):
            raise InputError(problem("output.dir", str(self.path), "a new folder, or one of a study"))
        with told_clearly(self.path):
            for name in FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            for folder in [self.path, *(p for p in self.path.rglob("*") if p.is_dir())]:
                remove_orphans(folder)
        text = to_json(record) + "\n"
        if before is None or to_json(before) + "\n" != text:
            for name in (STOPPED_FILE, COMPARED_FILE):
                (self.path / name).unlink(missing_ok=True)
            with whole_file(self.path / STUDY_FILE) as tmp:
                tmp.write_text(text, encoding="utf-8")
        return before

    def record(self) -> dict[str, Any] | None:
        """The plan that the folder was made for; None without one that can be read."""
        return self._kept(STUDY_FILE)

    def stop(self, record: Mapping[str, Any]) -> None:
        """Keep after how many seeds the study was over, and what was decided by then."""
        self._keep(STOPPED_FILE, record)

    def _keep(self, name: str, record: Mapping[str, Any]) -> None:
        text = to_json(record) + "\n"
        path = self.path / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with whole_file(path) as tmp:
                tmp.write_text(text, encoding="utf-8")

    def stopped(self) -> dict[str, Any] | None:
        """What `stop` kept; None where the study has not stopped by itself."""
        return self._kept(STOPPED_FILE)

    def compare(self, record: Mapping[str, Any]) -> None:
        """Keep which points are held against which, and what is known of their arrivals."""
        self._keep(COMPARED_FILE, record)

    def compared(self) -> dict[str, Any] | None:
        """What `compare` kept; None where the study is not whole, or too large for it."""
        return self._kept(COMPARED_FILE)

    def _kept(self, name: str) -> dict[str, Any] | None:
        try:
            found = from_json((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def mark(self, shard_id: str) -> dict[str, Any] | None:
        """The mark of a shard that is done; None where there is none that can be read."""
        try:
            found = json.loads((self.path / DONE / f"{shard_id}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else None

    def why_not_done(self, shard_id: str) -> str | None:
        """Why a shard has to be run: it has no mark, or a file of it is not what the mark says. None when it is done."""
        if not (self.path / DONE / f"{shard_id}.json").exists():
            return "not finished"
        mark = self.mark(shard_id)
        if mark is None:
            return f"{DONE}/{shard_id}.json cannot be read"
        for name, about in mark["files"].items():
            path = self.path / name
            if not path.is_file():
                return f"{name} is gone"
            if path.stat().st_size != about["bytes"] or file_hash(path) != about["hash"]:
                return f"{name} is damaged"
        return None

    def commit(
        self, shard_id: str, runs: pa.Table, histograms: pa.Table | None, partition: Sequence[str]
    ) -> dict[str, Any]:
        """Write a finished shard: its files first, then its mark; returns the mark."""
        files: dict[str, Any] = {}
        for folder, part in partitioned(runs, partition):
            files |= self._write(f"{RUNS}/{folder}{shard_id}.parquet", part)
        if histograms is not None:
            files |= self._write(f"{HISTOGRAMS}/{shard_id}.parquet", histograms)
        mark = {"runs": runs.num_rows, "files": files}
        with whole_file(self.path / DONE / f"{shard_id}.json") as tmp:
            tmp.write_text(json.dumps(mark, sort_keys=True) + "\n", encoding="utf-8")
        (self.path / FAILED / f"{shard_id}.json").unlink(missing_ok=True)
        return mark

    def _write(self, name: str, table: pa.Table) -> dict[str, Any]:
        with whole_file(self.path / name) as tmp:
            write_table(table, tmp)
            about = {"bytes": tmp.stat().st_size, "hash": file_hash(tmp)}
        return {name: about}

    def fail(self, shard_id: str, reason: str, attempts: int) -> None:
        """Put a shard that failed again and again aside, with the reason."""
        with whole_file(self.path / FAILED / f"{shard_id}.json") as tmp:
            tmp.write_text(to_json({"reason": reason, "attempts": attempts}) + "\n", encoding="utf-8")

    def failure(self, shard_id: str) -> str | None:
        """Why a shard was put aside; None where it was not."""
        try:
            return str(
                json.loads((self.path / FAILED / f"{shard_id}.json").read_text(encoding="utf-8"))["reason"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remove_others(self, shard_ids: Iterable[str]) -> int:
        """Remove what belongs to none of these shards: of an earlier plan, or of one that was killed before its mark.

        What another process is writing stays: two may run the same study at once. Returns how many shards went.
        """
        kept = set(shard_ids)
        gone = set()
        for name in FOLDERS:
            for path in list((self.path / name).rglob("*")):
                if path.is_dir():
                    remove_orphans(path)
                if path.name.startswith(TMP_PREFIX):
                    continue
                if path.is_file() and path.stem not in kept and path.suffix in (".json", ".parquet"):
                    if name == DONE:
                        gone.add(path.stem)
                    path.unlink(missing_ok=True)
        return len(gone)


def partitioned(table: pa.Table, keys: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """A table's parts by the values of some text columns, each with its folder `key=value/`, in order of the folders."""
    if not keys:
        yield "", table
        return
    key = keys[0]
    column = table[key].cast(pa.string())
    rest = table.drop_columns([key])
    for value in sorted(pc.unique(column).to_pylist()):
        part = rest.filter(pc.equal(column, value))
        for folder, inner in partitioned(part, keys[1:]):
            yield f"{quote(key, safe='')}={quote(value, safe='')}/{folder}", inner


def file_hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
