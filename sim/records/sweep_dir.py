"""A sweep's folder: its plan first, a shard for every couple of seconds of finished runs, one table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sim.errors import InputError, problem
from sim.records.config import read_json, to_json, versions
from sim.records.files import remove_orphans, told_clearly, whole_file
from sim.records.parquet import read_table, write_table
from sim.records.schema import schema
from sim.records.summary import column
from sim.scenario.resolved import config_hash, resolved

PLAN_FILE = "plan.json"
SWEEP_FILE = "sweep.parquet"
SHARDS = "shards"


def sweep_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One row per run, a column for every key that any of them has, its unit in the field's metadata."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [column(name, [row.get(name) for row in rows]) for name in names]
    arrays = [pa.array([row.get(c.name) for row in rows], type=c.type) for c in columns]
    return pa.Table.from_arrays(arrays, schema=schema(columns, {}))


class SweepDir:
    """Writes a sweep's folder; every file in it is whole, whenever the sweep is interrupted."""

    def __init__(
        self, path: Path, variants: Mapping[str, Any], seeds: Sequence[int], said: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.n_shard = 0
        with told_clearly(path):
            (path / SHARDS).mkdir(parents=True)
            remove_orphans(path.parent)
        plan = {
            "variants": {
                name: {"config_hash": config_hash(s), "config": resolved(s)} for name, s in variants.items()
            },
            "seeds": list(seeds),
            "versions": versions(),
            "said": list(said),
        }
        with whole_file(path / PLAN_FILE) as tmp:
            tmp.write_text(to_json(plan) + "\n", encoding="utf-8")

    def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write finished runs as a shard of their own."""
        if rows:
            self.n_shard += 1
            with whole_file(self.path / SHARDS / f"shard-{self.n_shard:06d}.parquet") as tmp:
                write_table(sweep_table(rows), tmp)

    def close(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write all rows as one table; the shards have done their work then."""
        with whole_file(self.path / SWEEP_FILE) as tmp:
            write_table(sweep_table(rows), tmp)
        for shard in (self.path / SHARDS).glob("shard-*.parquet"):
            shard.unlink()
        (self.path / SHARDS).rmdir()
        return self.path


def read_sweep(path: Path) -> pa.Table:
    """The rows of a sweep that is over, or of the shards that one which was interrupted has left. Raises InputError where
    there are none, or a file is not whole.
    """
    whole = path / SWEEP_FILE
    files = [whole] if whole.is_file() else sorted((path / SHARDS).glob("shard-*.parquet"))
    if not files:
        raise InputError(problem("result", str(path), "the folder of a sweep of which some run is done"))
    try:
        return pa.concat_tables([read_table(file) for file in files], promote_options="permissive")
    except (OSError, pa.ArrowInvalid) as error:
        line = problem("result", str(path), "the folder of a sweep whose files are whole")
        raise InputError(f"{line}; reading says: {str(error).splitlines()[0]}") from None


def read_plan(path: Path) -> dict[str, Any]:
    """The plan of a sweep: its variants with their configurations, its seeds. Raises InputError where it is none."""
    try:
        plan = read_json(path / PLAN_FILE)
    except (OSError, ValueError):
        plan = None
    if not _is_plan(plan):
        raise InputError(problem("result", str(path), f"the folder of a sweep, which holds {PLAN_FILE}"))
    assert isinstance(plan, dict)
    return plan


def _is_plan(plan: Any) -> bool:
    """Whether this is what a sweep's plan holds."""
    if not isinstance(plan, dict) or not isinstance(plan.get("seeds"), list):
        return False
    variants = plan.get("variants")
    if not isinstance(variants, dict) or not variants:
        return False
    return all(
        isinstance(entry, dict) and isinstance(entry.get("config"), dict) for entry in variants.values()
    )
