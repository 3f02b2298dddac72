"""Pages of text for the command line: a scenario's keys, the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.scenario.cluster import Cluster, NodeGroup
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
    has_nodes = scenario.cluster.is_limited
    groups = scenario.cluster.node_groups
    starts = "".join(cold_start_text(pool, scenario.links, has_nodes, groups) for pool in scenario.pools)
    slices = "".join(slice_text(pool, scenario.cluster.node_groups) for pool in scenario.pools)
    nodes = slices + cluster_text(scenario.cluster)
    return (
        columns(cells)
        + step_time_text(scenario.pools)
        + nodes
        + energy_text(scenario.pools, has_nodes)
        + starts
        + f"\nconfig hash {config_hash(scenario)}\n"
    )


def step_time_text(pools: Sequence[Pool]) -> str:
    """What each pool's step times rest on."""
    from sim.steptime import make_step_table, pool_basis

    return "\n" + "".join(
        f"step times of {pool.name}: {pool_basis(pool).text}\n  {make_step_table(pool).source}\n"
        for pool in pools
    )


def energy_text(pools: Sequence[Pool], has_nodes: bool) -> str:
    """What each kind of GPU is taken to draw, and where it stands; on a cluster nodes say the latter."""
    from sim.scenario.power import host_w, idle_w, max_w

    lines: dict[str, None] = {}
    for pool in pools:
        gpu, power, site = pool.gpu, pool.gpu.power, pool.site
        around = "" if has_nodes else f", {host_w(power, gpu.tdp_w):g} W around it"
        lines[
            f"watts of {gpu.name}: {idle_w(power, gpu.tdp_w):g} idle to {max_w(power, gpu.tdp_w):g}{around}\n"
            f"  {power.confidence}\n"
        ] = None
        if not has_nodes:
            lines[f"  around it: {power.host_confidence}\n"] = None
            lines[
                f"site {site.name}: PUE {site.pue:g} ({site.pue_confidence or 'given'}),"
                f" {site.g_co2e_per_kwh:g} g CO2e per kWh ({site.confidence or 'given'})\n"
            ] = None
    return "".join(lines)


def slice_text(pool: Pool, groups: Sequence[NodeGroup]) -> str:
    """What an instance of MIG, or a place of a shared GPU, gives a pool's replicas, beside the whole GPU; empty where they
    have whole GPUs.
    """
    from dataclasses import replace

    import numpy as np

    from sim.errors import InputError
    from sim.fill.knots import knot_tokens
    from sim.scenario.check_cluster import groups_of
    from sim.scenario.sharing import is_shared
    from sim.scenario.slices import parts_of
    from sim.steptime import make_step_table
    from sim.steptime.slices import profile_of

    if pool.slice is None:
        return ""
    if is_shared(pool.slice):
        return "".join(share_text(pool, group) for group in groups_of(pool, groups))
    kind, profile = profile_of(pool)
    parts, most = parts_of(kind, profile), pool.runtime.max_num_seqs
    cells: list[tuple[str, ...]] = [
        ("", "memory", "KV tokens", "step of 1", f"step of {most}", "1,024 prompt tokens")
    ]
    for name, one in ((profile.profile, pool), ("whole GPU", replace(pool, slice=None))):
        memory = profile.usable_memory_gib if one.slice else pool.gpu.device_memory_gib
        try:
            table = make_step_table(one)
        except InputError:
            continue
        times = (
            table.base_ps[1],
            table.base_ps[most],
            table.base_ps[0] + np.interp(1024, knot_tokens(), table.work_ps),
        )
        tokens = table.n_kv_blocks * pool.runtime.block_size
        cells.append(
            (name, f"{memory:g} GiB" if memory else "", f"{tokens:,}", *(f"{t / 1e9:.4g} ms" for t in times))
        )
    compute = "multiprocessors" if profile.sm_count and kind.gpu_sm_count else "compute slices"
    return (
        f"\nslice of {pool.name}: {profile.profile} of {pool.gpu.name} has {parts.compute:.3g} of its {compute},"
        f" {parts.memory:.3g} of its bandwidth and of its price, {parts.copy:.3g} of PCIe, no NVLink (modelled: step times"
        f" by these parts of the peaks; memory {profile.memory_confidence})\n" + columns(cells)
    )


def share_text(pool: Pool, group: NodeGroup) -> str:
    """What a place of a group's shared GPUs gives a pool's replicas: memory, and steps beside as many busy neighbours."""
    import numpy as np

    from sim.fill.knots import knot_tokens
    from sim.scenario.check_sharing import memory_gib
    from sim.steptime import make_step_table

    sharing, table = group.sharing, make_step_table(pool)
    assert sharing is not None
    most, part = pool.runtime.max_num_seqs, pool.runtime.gpu_memory_utilization
    prompt_ps = table.base_ps[0] + np.interp(1024, knot_tokens(), table.work_ps)
    cells: list[tuple[str, ...]] = [
        ("busy neighbours", "step of 1", f"step of {most}", "1,024 prompt tokens", "because of")
    ]
    for others in range(group.places):
        decode, prompt, why = sharing.factors(1 + others, pool.active_thread_percentage or 100)
        times = (table.base_ps[1] * decode, table.base_ps[most] * decode, prompt_ps * prompt)
        cells.append((str(others), *(f"{t / 1e9:.4g} ms" for t in times), why))
    threads = pool.active_thread_percentage
    of_threads = "" if threads is None else f", {threads} % of the multiprocessors (active_thread_percentage)"
    gib = memory_gib(group.gpu)
    return (
        f"\nshare of {pool.name}: one of {group.places} places of {group.gpu.name} in {group.name} by {sharing.name};"
        f" {part * gib:.4g} of its {gib:.4g} GiB (gpu_memory_utilization) with KV for"
        f" {table.n_kv_blocks * pool.runtime.block_size:,} tokens{of_threads}; 1/{group.places} of its price"
        f" ({sharing.way.confidence})\n" + columns(cells)
    )


def cluster_text(cluster: Cluster) -> str:
    """The node groups of a cluster, and what is assumed of them; empty without any."""
    if not cluster.is_limited:
        return ""
    cells: list[tuple[str, ...]] = [
        ("nodes", "GPUs", "zone", "market", "at the start", "at most", "price", "arrive in", "GPUs are")
    ]
    cells += [group_cells(group) for group in cluster.node_groups]
    said: dict[str, None] = {}
    for group in cluster.node_groups:
        price = "what its GPUs cost alone" if group.usd_per_node_hour is None else group.price_confidence
        said[f"  price of {group.name}: {price or 'given'}"] = None
        said[f"  provision: {group.provision.confidence or 'given'}"] = None
        around = "given" if group.base_w is not None else group.gpu.power.host_confidence
        said[f"  watts of {group.name} beside its GPUs: {group.host_w * group.gpus:g}: {around}"] = None
        site = group.site
        said[
            f"  site {site.name}: PUE {site.pue:g}, {site.g_co2e_per_kwh:g} g CO2e per kWh: {site.confidence}"
        ] = None
        if group.sharing is not None:
            said[f"  sharing of {group.name}: {group.sharing.way.confidence}"] = None
    return "\n" + columns(cells) + "".join(f"{line}\n" for line in said)


def group_cells(group: NodeGroup) -> tuple[str, ...]:
    """A row about a node group."""
    from sim.scenario.cluster import DYNAMIC, WHOLE
    from sim.scenario.geometry import cut_into
    from sim.scenario.ranges import mean

    cut = {WHOLE: "whole", DYNAMIC: "cut as replicas need"}.get(str(group.mig))
    if group.sharing is not None:
        cut = f"shared by {group.places} replicas each, {group.sharing.name}"
    if cut is None:
        cut = "cut into " + ", ".join(profile.profile for _, profile in cut_into(group))
    stages = (group.provision.provisioning, group.provision.booting, group.provision.driver)
    return (
        group.name,
        f"{group.gpus} × {group.gpu.name}",
        group.zone,
        group.market.replace("_", " "),
        str(group.nodes_at_start),
        str(group.max_nodes),
        f"{group.usd_per_hour:g} USD/h",
        f"{sum(map(mean, stages)):.3g} s on average",
        cut,
    )


def cold_start_text(
    pool: Pool, links: Sequence[Link] = (), has_nodes: bool = False, groups: Sequence[NodeGroup] = ()
) -> str:
    """A pool's cold start, stage by stage: bytes, bandwidth, seconds and what decides them; empty where it has none. A
    transfer over one of the links may be slower.
    """
    import numpy as np

    from sim.pack.coldstart import stage_times, subject_of, typical_s
    from sim.pack.start_words import again_text, ends_text, peers_text

    times = stage_times(pool, has_nodes)
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
                "; ".join(
                    [stage.why, *shared, *ends_text(stage, groups), *again_text(stage), *peers_text(stage)]
                ),
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
