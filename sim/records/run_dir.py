"""A run's folder: what it holds, how it is written, found and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa

from sim.errors import InputError, nearest, problem
from sim.records.cluster_schema import EVENTS, JOBS, LINKS, NODES, QUEUES, STARTS
from sim.records.config import config_hash, config_record, read_json, to_json
from sim.records.events import events_table
from sim.records.files import whole_folder
from sim.records.jobs import jobs_table
from sim.records.links import links_table
from sim.records.nodes import nodes_table
from sim.records.parquet import read_table, write_table
from sim.records.queues import queues_table
from sim.records.requests import requests_table
from sim.records.schema import REQUESTS, STATIONS, TIMESERIES, Column, schema
from sim.records.starts import starts_table
from sim.records.stations import stations_table
from sim.records.summary import summary_table
from sim.records.timeseries import timeseries_table
from sim.records.version import SCHEMA_VERSION

REQUESTS_FILE = "requests.parquet"
TIMESERIES_FILE = "timeseries.parquet"
STATIONS_FILE = "stations.parquet"
NODES_FILE = "nodes.parquet"
EVENTS_FILE = "events.parquet"
JOBS_FILE = "jobs.parquet"
QUEUES_FILE = "queues.parquet"
STARTS_FILE = "starts.parquet"
LINKS_FILE = "links.parquet"
#: Files of the tables behind the first three, which a run leaves where they have rows.
OPTIONAL = (STATIONS_FILE, NODES_FILE, EVENTS_FILE, JOBS_FILE, QUEUES_FILE, STARTS_FILE, LINKS_FILE)
SUMMARY_FILE = "summary.parquet"
SUMMARY_JSON = "summary.json"
CONFIG_JSON = "config.json"


class RunTables(NamedTuple):
    """What a run leaves as Arrow tables; `requests` has no rows when records were off, `stations` without any, `nodes` and
    `events` without a cluster, `jobs` without batch jobs, `queues` without any, `starts` without nodes and links, `links`
    without any.
    """

    requests: pa.Table
    timeseries: pa.Table
    summary: pa.Table  # one row
    stations: pa.Table
    nodes: pa.Table = schema(NODES).empty_table()
    events: pa.Table = schema(EVENTS).empty_table()
    jobs: pa.Table = schema(JOBS).empty_table()
    queues: pa.Table = schema(QUEUES).empty_table()
    starts: pa.Table = schema(STARTS).empty_table()
    links: pa.Table = schema(LINKS).empty_table()


class RunFiles(NamedTuple):
    """A run folder, read."""

    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    tables: RunTables


def run_tables(scenario: Any, result: Any, summary: Mapping[str, Any]) -> RunTables:
    """The tables of a run, their footers saying which scenario, seed, configuration and digest made them."""
    footer = _footer(scenario, summary)
    return RunTables(
        requests=requests_table(scenario, result, footer),
        timeseries=timeseries_table(scenario, result, footer),
        summary=summary_table([summary], footer),
        stations=stations_table(scenario, result, footer),
        nodes=nodes_table(scenario, result, footer),
        events=events_table(scenario, result, footer),
        jobs=jobs_table(scenario, result, footer),
        queues=queues_table(scenario, result, footer),
        starts=starts_table(scenario, result, footer),
        links=links_table(scenario, result, footer),
    )


def run_path(root: Path | str, scenario: Any, now: datetime) -> Path:
    """`root/<scenario>-<YYYYmmdd-HHMMSS>-<first 6 of the configuration's hash>`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(scenario.name)).strip(".") or "run"
    return Path(root) / f"{name[:80]}-{now:%Y%m%d-%H%M%S}-{config_hash(scenario)[:6]}"


def write_run(
    path: Path,
    scenario: Any,
    tables: RunTables,
    summary: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a run's folder whole and returns where it is: `path`, with a number added when taken.

    `about` goes into config.json and is outside the digest. Raises InputError when it cannot be written.
    """
    with whole_folder(path) as (folder, placed):
        if tables.requests.num_rows or not _records_off(scenario):
            write_table(tables.requests, folder / REQUESTS_FILE)
        write_table(tables.timeseries, folder / TIMESERIES_FILE)
        for table, name in zip(tables[3:], OPTIONAL, strict=True):
            if table.num_rows:
                write_table(table, folder / name)
        write_table(tables.summary, folder / SUMMARY_FILE)
        (folder / SUMMARY_JSON).write_text(to_json(summary) + "\n", encoding="utf-8")
        record = config_record(scenario, about)
        (folder / CONFIG_JSON).write_text(to_json(record) + "\n", encoding="utf-8")
    return placed[0]


def read_run(path: Path | str) -> RunFiles:
    """Reads a run folder. Raises InputError when it is none, or of another schema version."""
    folder = Path(path)
    if not (folder / SUMMARY_JSON).is_file() or not (folder / CONFIG_JSON).is_file():
        raise InputError(problem("run", str(path), f"a run's folder, which holds {SUMMARY_JSON}"))
    try:
        return _read_whole(folder)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds too
        line = problem("run", str(path), "a run's folder whose files are whole")
        raise InputError(f"{line}; reading says: {str(error).splitlines()[0]}") from error


#: what every summary has and everybody relies on: a key, and what it holds
SUMMARY_HAS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("scenario", "question", "digest"), (str,)),
    **dict.fromkeys(("duration_s", "warmup_s", "end_s", "offered"), (int, float)),
    **dict.fromkeys(("served_fraction", "slo_attainment", "usd_per_hour"), (int, float, type(None))),
    **dict.fromkeys(("ttft", "classes", "pools"), (dict,)),
}
#: what a summary of an earlier version need not have
SUMMARY_MAY_HAVE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("reasons", "tenants", "stations", "links", "traces", "unsent"), (dict,)),
    **dict.fromkeys(("node_groups", "slice_waits", "jobs", "deployments"), (dict,)),
    **dict.fromkeys(("look_at", "usd_lines", "verdicts"), (list,)),
}


def _checked(
    value: Any,
    name: str,
    has: Mapping[str, tuple[type, ...]],
    may_have: Mapping[str, tuple[type, ...]] = MappingProxyType({}),
) -> dict[str, Any]:
    """The value; ValueError where it is no mapping with these keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no object")
    for key, kinds in {**has, **may_have}.items():
        if not isinstance(value[key], kinds) if key in value else key in has:
            raise ValueError(f"{name} has no {key}, or not what a run leaves there")
    return value


def _read_whole(folder: Path) -> RunFiles:
    config = _checked(read_json(folder / CONFIG_JSON), CONFIG_JSON, {"schema_version": (object,)})
    found = config["schema_version"]
    if found != SCHEMA_VERSION:
        raise InputError(problem("run.schema_version", found, f"{SCHEMA_VERSION}, which this version reads"))
    _checked(config, CONFIG_JSON, {"config": (dict,), "versions": (dict,), "about": (dict,)})
    summary = _checked(read_json(folder / SUMMARY_JSON), SUMMARY_JSON, SUMMARY_HAS, SUMMARY_MAY_HAVE)
    keeps_records = (config["config"].get("output") or {}).get("records", True)
    tables = RunTables(
        requests=_read_table(folder / REQUESTS_FILE, REQUESTS, may_lack=not keeps_records),
        timeseries=_read_table(folder / TIMESERIES_FILE, TIMESERIES, may_lack=False),
        summary=read_table(folder / SUMMARY_FILE),
        stations=_read_table(folder / STATIONS_FILE, STATIONS),
        nodes=_read_table(folder / NODES_FILE, NODES),
        events=_read_table(folder / EVENTS_FILE, EVENTS),
        jobs=_read_table(folder / JOBS_FILE, JOBS),
        queues=_read_table(folder / QUEUES_FILE, QUEUES),
        starts=_read_table(folder / STARTS_FILE, STARTS),
        links=_read_table(folder / LINKS_FILE, LINKS),
    )
    return RunFiles(folder, config, summary, tables)


def find_run(text: str, root: Path | str = "results") -> Path:
    """The run folder meant by a path, a folder's name under `root`, a scenario's name, or "latest".

    A scenario's name means its newest run. Raises InputError with the nearest name when there is none.
    """
    for candidate in (Path(text), Path(root) / text):
        if (candidate / SUMMARY_JSON).is_file():
            return candidate
    runs = sorted(path.parent for path in Path(root).glob(f"*/{SUMMARY_JSON}"))
    wanted = [path for path in runs if text in ("latest", _scenario_of(path))]
    if wanted:
        return max(wanted, key=lambda path: (path.joinpath(SUMMARY_JSON).stat().st_mtime_ns, path.name))
    names = [path.name for path in runs] + [_scenario_of(path) for path in runs]
    allowed = f"a run's folder, its name under {root}/, a scenario that was run, or latest"
    raise InputError(problem("run", text, allowed, nearest(text, names)))


def _scenario_of(path: Path) -> str:
    return re.sub(r"-\d{8}-\d{6}-[0-9a-f]{6}(-\d+)?$", "", path.name)


def _records_off(scenario: Any) -> bool:
    return not getattr(getattr(scenario, "output", None), "records", True)


def _read_table(path: Path, columns: list[Column], may_lack: bool = True) -> pa.Table:
    """A table of a run, which it need not have left where `may_lack` is true; ValueError where it is another table."""
    if may_lack and not path.is_file():
        return schema(columns).empty_table()
    if not path.is_file():
        raise ValueError(f"{path.name} is not there")
    table = read_table(path)
    lacking = [column.name for column in columns if column.name not in table.column_names]
    if lacking:
        raise ValueError(f"{path.name} has no column {lacking[0]}")
    return table


def _footer(scenario: Any, summary: Mapping[str, Any]) -> dict[str, str]:
    """What a Parquet footer says; nothing in it depends on the engine, the host or the clock."""
    return {
        "fleetsim_scenario": str(scenario.name),
        "fleetsim_seed": str(scenario.seed),
        "fleetsim_config_hash": config_hash(scenario),
        "fleetsim_digest": str(summary.get("digest", "")),
    }
