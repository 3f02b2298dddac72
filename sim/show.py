"""Pages of text for the command line: a scenario's keys, the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.scenario.links import Link
    from sim.scenario.pool import Pool

from sim.errors import printable

WIDTH_SOURCE = 60
WIDTH_VALUE = 44
OF_NODES = re.compile(r"cluster\.node_groups\.\d+\.gpu\.(?!name$)")  # conf/gpu has them


def as_table(name: str, overrides: Sequence[str], everything: bool = False) -> str:
    """Every key with its value, unit and source; keys left at null are in it with `everything` alone."""
    from sim.scenario.compose import load_scenario, said_where
    from sim.scenario.describe import describe
    from sim.scenario.resolved import config_hash
    from sim.steptime.slices import with_slices

    scenario = with_slices(load_scenario(name, overrides))
    rows = describe(scenario, said_where(name, overrides))
    if not everything:
        rows = [row for row in rows if row.value not in (None, [], "") and not OF_NODES.match(row.key)]
    cells = [("key", "value", "unit", "source")]
    cells += [(row.key, value_text(row.value), row.unit, cut(row.source, WIDTH_SOURCE)) for row in rows]
    starts = "".join(cold_start_text(pool, scenario.links) for pool in scenario.pools)
    return (
        columns(cells) + step_time_text(scenario.pools) + starts + f"\nconfig hash {config_hash(scenario)}\n"
    )


def step_time_text(pools: Sequence[Pool]) -> str:
    """What each pool's step times rest on."""
    from sim.steptime import make_step_table, pool_basis

    return "\n" + "".join(
        f"step times of {pool.name}: {pool_basis(pool).text}\n  {make_step_table(pool).source}\n"
        for pool in pools
    )


def cold_start_text(pool: Pool, links: Sequence[Link] = ()) -> str:
    """A pool's cold start, stage by stage: bytes, bandwidth, seconds and what decides them; empty where it has none. A
    transfer over one of the links may be slower.
    """
    import numpy as np

    from sim.pack.coldstart import stage_times, subject_of, typical_s

    times = stage_times(pool)
    if not times:
        return ""
    ranks = f" on {pool.gpus_per_replica} GPUs" if pool.gpus_per_replica > 1 else ""
    weights = f"{subject_of(pool).weight_bytes / 1e9:.4g} GB of weights in {pool.precision}{ranks}"
    cells = [("stage", "after", "bytes", "at", "median", "99 % within", "because of")]
    for stage in times:
        median, most = np.percentile(stage.seconds, [50, 99])
        n_bytes = "" if stage.n_bytes is None else f"{stage.n_bytes / 1e9:.4g} GB"
        gb_s = "" if stage.gb_s is None else f"{stage.gb_s:.3g} GB/s"
        after = ", ".join(stage.after) or "the start"
        shared = [
            f"{link.name} carries {link.bandwidth_gb_s:g} GB/s for all"
            for link in links
            if link.name in stage.over
        ]
        cells.append(
            (
                stage.name,
                after,
                n_bytes,
                gb_s,
                f"{median:.3g} s",
                f"{most:.3g} s",
                "; ".join([stage.why, *shared]),
            )
        )
    title = f"\ncold start of {pool.name}: {typical_s(times):.3g} s where every stage takes its median; {weights}\n"
    return title + columns(cells)


def as_json(name: str, overrides: Sequence[str], everything: bool = True) -> str:
    """The resolved scenario as JSON, with its hash."""
    from sim.scenario.compose import load_scenario
    from sim.scenario.resolved import config_hash, resolved

    scenario = load_scenario(name, overrides)
    data = {"config_hash": config_hash(scenario), "config": resolved(scenario)}
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"


NO_GROUPS = {
    "scenarios": "whole stories, to run or compare",
    "studies": "what is varied of a story, to plan or sweep",
}


def as_list(group: str | None = None) -> str:
    """The catalogue: each group's names with one line each."""
    from sim.scenario.catalogue import GROUPS, catalogue

    out = StringIO()
    for name, entries in catalogue(group).items():
        out.write(f"{name}: {(GROUPS | NO_GROUPS)[name]}\n")
        width = max(map(len, entries), default=0)
        out.writelines(f"  {entry:{width}}  {line}\n" for entry, line in entries.items())
        out.write("\n")
    return out.getvalue().rstrip("\n") + "\n"


def as_model(path: str, name: str | None, out: str | None) -> tuple[str, str]:
    """(what to print, notes) of a model imported from a config.json: its YAML, or the path it was written to."""
    from sim.errors import printable
    from sim.huggingface.importing import chosen_as, import_model, place_of

    found = import_model(path, name)
    notes = [f"{found.model.name}: {note}" for note in found.notes]
    if out is None:
        return found.yaml, "".join(f"{printable(note)}\n" for note in notes)
    from sim.records.files import write_new

    place = place_of(out, found.option)
    write_new(place, found.yaml, "import-model: -o")
    notes.append(f"choose it as model={chosen_as(place, found.option)}")
    return f"{place}\n", "".join(f"{printable(note)}\n" for note in notes)


def value_text(value: Any) -> str:
    """A value as YAML would have it, cut to its column."""
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}".replace(",", "_")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return cut("[" + ", ".join(map(value_text, value)) + "]", WIDTH_VALUE)
    return cut(str(value), WIDTH_VALUE)


def cut(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= width else text[: width - 1] + "…"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines) + "\n"
