"""The tables over a hundred seeds in docs/cluster.md, docs/cold-starts.md, docs/deployments.md and docs/jobs.md:
`python scripts/cluster_tables.py` runs their scenarios and writes them again between their markers (some minutes);
`python scripts/cluster_tables.py zone_loss` writes one. A slow test fails where a page has other ones.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.stats import binom  # noqa: E402

from sim.api import run  # noqa: E402
from sim.report.text import seconds  # noqa: E402

PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("cluster", "cold-starts", "deployments", "jobs"))
MARKED = re.compile(r"<!-- seeds: (?P<name>\w+) -->\n.*?<!-- end of seeds -->", re.DOTALL)
SEEDS = range(1, 101)
DOUBT = 0.05

Summary = Mapping[str, Any]


class Column(NamedTuple):
    """What is read of each seed's summary (None counts as never), and how it is written."""

    head: str
    read: Callable[[Summary], float | None]
    written: Callable[[float], str]


class Table(NamedTuple):
    """A scenario under several words, one line each."""

    scenario: str
    first: str  # the head of the labels
    lines: Mapping[str, Sequence[str]]  # label → words
    columns: Sequence[Column]
    words: Sequence[str] = ()  # of every line


# ---- how a number is written ----------------------------------------------------------------------
def share(value: float) -> str:
    """As 98.7 %, and never 100 % for less."""
    return f"{math.floor(1000 * value + 1e-9) / 10:g} %"


def usd(value: float) -> str:
    """USD with cents."""
    return f"{value:.2f}"


def count(value: float) -> str:
    """A whole number."""
    return f"{value:,.0f}"


def tenths(value: float) -> str:
    """A number with one decimal."""
    return f"{value:.1f}"


def never(value: float) -> str:
    """Seconds; what has not ended within the run has no end."""
    return "not within the run" if math.isinf(value) else seconds(value)


def median_and_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of the seeds, and the two of them between which the median of all seeds lies with 95 % or more.

    That median is above the k-th of n values unless k or more of them are below it: a binomial chance, whatever the
    distribution (David and Nagaraja, Order Statistics, 7.1).
    """
    ordered, n = np.sort(values), len(values)
    below = max(0, int(binom.ppf(DOUBT / 2, n, 0.5)) - 1)
    middle = ordered[(n - 1) // 2 : n // 2 + 1]
    median = float(middle.mean()) if np.isfinite(middle).all() else float(middle[-1])
    return median, float(ordered[below]), float(ordered[n - 1 - below])


def cell(values: Sequence[float], written: Callable[[float], str]) -> str:
    """The median, and the interval where its ends read otherwise."""
    median, low, high = (written(value) for value in median_and_interval(values))
    return median if low == high == median else f"{median} ({low} … {high})"


# ---- what is read ----------------------------------------------------------------------
def latency(name: str, statistic: str) -> Callable[[Summary], float | None]:
    """A latency of all requests."""
    return lambda found: found[name][f"{statistic}_s"]


def level(name: str) -> Callable[[Summary], float | None]:
    """A number of the fleet."""
    return lambda found: found[name]


def start_of(pool: str, stage: str | None = None) -> Callable[[Summary], float | None]:
    """The median of a pool's cold starts, or of one of their stages."""

    def read(found: Summary) -> float | None:
        starts = found["pools"][pool]["cold_start"]
        return starts["median_s"] if stage is None else starts["stages"][stage]

    return read


def of_groups(name: str) -> Callable[[Summary], float]:
    """The sum over the node groups."""
    return lambda found: sum(group[name] for group in found["node_groups"].values())


def trained(found: Summary) -> float:
    """GPU hours that jobs held for work that was not lost."""
    return sum(job["run_gpu_s"] - job["run_lost_gpu_s"] for job in found["jobs"].values()) / 3600


def lost_work(found: Summary) -> float:
    """GPU hours of jobs for work that was lost."""
    return sum(job["run_lost_gpu_s"] for job in found["jobs"].values()) / 3600


def of_pools(name: str) -> Callable[[Summary], float]:
    """The sum over what pools wait for and lose on the cluster."""
    return lambda found: sum(waits[name] for waits in found["slice_waits"].values())


def rollout_s(found: Summary) -> float | None:
    """How long the only deployment took."""
    (one,) = found["deployments"].values()
    return None if one["ended_s"] is None else one["ended_s"] - one["started_s"]


SERVED = Column("served", level("served_fraction"), share)
MET = Column("SLO met", level("slo_attainment"), share)
TTFT_P50 = Column("ttft p50", latency("ttft", "p50"), seconds)
TTFT_P99 = Column("ttft p99", latency("ttft", "p99"), seconds)
SERVED_P99 = Column("ttft p99 of the served", latency("ttft", "p99_served"), seconds)
USD_H = Column("USD/h", level("usd_per_hour"), usd)
FAILED = Column("failed", level("failed"), count)

NO_QUEUES = ("cluster.queues=[]", "pool.queue=null", "cluster.jobs.0.queue=null")
PEERS = "coldstart.stages.1.peers={seeds: 1}"
MOVED = Column("replicas moved", of_pools("run_evicted"), count)

HOLD = "gateway.queue_capacity=100000"
OTHERS = tuple(f"cluster.node_groups.{place}.max_nodes=2" for place in (1, 2))
FALLBACK = "cluster.node_groups.1.max_nodes=4"
STAYING = ("cluster.node_groups.1.min_nodes=4", "cluster.node_groups.0.initial_nodes=0")

TABLES = {
    "caches": Table(
        "spiky_hour",
        "the node keeps",
        {
            "nothing": ("cluster.node_groups.0.cache_gb=0",),
            "image and weights": (),
        },
        (Column("a start, median", start_of("main"), seconds), MET, TTFT_P99),
        ("cluster=one_dgx_h100", "coldstart=object_store"),
    ),
    "mig_packing": Table(
        "mig_packing",
        "seven models on",
        {
            "one GPU in seven parts": (),
            "seven whole GPUs": ("pool.slice=null",),
            "eight GPUs in parts, seven of 56 taken": (
                "cluster.node_groups.0.gpus=8",
                "cluster.node_groups.0.usd_per_node_hour=40.56",
            ),
        },
        (
            USD_H,
            Column("tpot p50", latency("tpot", "p50"), seconds),
            Column("e2e p99", latency("e2e", "p99"), seconds),
        ),
    ),
    "gpu_drought": Table(
        "gpu_drought",
        "what is done",
        {
            "turn away what two replicas cannot take": (),
            "hold it, for people who leave": (HOLD,),
            "hold it, for programs that wait": (HOLD, "patience=none"),
            "spill over to another zone": ("cluster.node_groups.1.max_nodes=4",),
            "four reserved nodes": ("cluster.node_groups.2.max_nodes=4",),
        },
        (SERVED, MET, SERVED_P99, USD_H),
    ),
    "spot_wave": Table(
        "spot_wave",
        "nodes",
        {
            "three spot and one, no notice": ("cluster.random_faults.0.notice_s=0",),
            "the same, told 30 s before": (),
            "the same, told 120 s before": ("cluster.random_faults.0.notice_s=120",),
            "told 30 s before, up to four on demand": (FALLBACK,),
            "four on demand": (FALLBACK, *STAYING),
        },
        (FAILED, SERVED, MET, USD_H),
    ),
    "after_the_rush": Table(
        "after_the_rush",
        "which nodes go",
        {
            "empty ones, after ten minutes": (),
            "those of which less than 60 % is in use, after ten minutes": (
                "cluster.autoscaler.scale_down_utilization_threshold=0.6",
            ),
            "empty ones at once": ("cluster.consolidation={policy: when_empty}",),
            "those that others can stand in for, one at a time": (
                "cluster.consolidation={policy: when_empty_or_underutilized, budget: 1}",
            ),
            "the same, after five minutes without a change": (
                "cluster.consolidation={policy: when_empty_or_underutilized, budget: 1, consolidate_after_s: 300}",
            ),
        },
        (MOVED, FAILED, MET, TTFT_P99, USD_H),
    ),
    "zone_loss": Table(
        "zone_loss",
        "replicas",
        {
            "six, and no nodes elsewhere": OTHERS,
            "six, and a node more in each zone": (),
            "nine: the load and one zone": ("pool.min_replicas=9",),
        },
        (FAILED, SERVED, MET, SERVED_P99, USD_H),
    ),
    "monday_morning": Table(
        "monday_morning",
        "who gets the GPUs",
        {
            "who came first": NO_QUEUES,
            "each its own, and lends nothing": ("cluster.queues.1.quotas.0.borrowing_limit=0",),
            "what is lent comes back when it is free": (
                "cluster.queues.0.preemption.reclaim_within_cohort=never",
            ),
            "what is lent is taken back": (),
            "who matters more, without quotas": (*NO_QUEUES, "pool.priority_class=1"),
        },
        (
            SERVED,
            MET,
            SERVED_P99,
            Column("GPU hours trained", trained, tenths),
            Column("of work that was lost", lost_work, tenths),
        ),
    ),
    "weights_from_one_store": Table(
        "weights_from_one_store",
        "the store carries",
        {f"{gb_s} GB/s": (f"links.0.bandwidth_gb_s={gb_s}",) for gb_s in (25, 50, 100)}
        | {
            "25 GB/s, to 32 nodes that keep what they read": ("cluster=h100_hall",),
            "25 GB/s, to 32 nodes that serve each other": ("cluster=h100_hall", PEERS),
            "a start alone": ("links=[]",),
        },
        (Column("weights of a start, median", start_of("main", "weights"), seconds), TTFT_P50, USD_H),
    ),
    "cold_start_by_model": Table(
        "cold_start_by_model",
        "store and card",
        {
            "25 GB/s, a card of 5 GB/s for each replica": (),
            "25 GB/s, cards of 50 GB/s with 128 readers": (
                "coldstart.stages.1.bandwidth_gb_s=50",
                "coldstart.stages.1.readers=128",
            ),
            "2 GB/s, for all three": ("links.0.bandwidth_gb_s=2",),
        },
        tuple(
            Column(f"{name}: {head}", start_of(pool, stage), seconds)
            for name, pool in (("8B", "small"), ("70B", "medium"), ("671B", "large"))
            for head, stage in (("weights", "weights"), ("start", None))
        ),
    ),
    "rolling_upgrade_under_load": Table(
        "rolling_upgrade_under_load",
        "eight GPUs, and",
        {
            "seven replicas, one more at a time": (),
            "eight replicas, one more at a time": ("pool.min_replicas=8",),
            "eight replicas, one fewer at a time": (
                "pool.min_replicas=8",
                "deployments.0.max_surge=0",
                "deployments.0.max_unavailable=1",
            ),
        },
        (Column("new version everywhere after", rollout_s, never), MET, TTFT_P99, FAILED),
    ),
}


# ---- the pages ----------------------------------------------------------------------
def found_in(table: Table, label: str, seeds: Sequence[int]) -> list[list[float]]:
    """(column, seed) numbers of a line."""
    words = ["output.records=false", *table.words, *table.lines[label]]
    summaries = [run(table.scenario, [*words, f"seed={seed}"]).summary for seed in seeds]
    read = [[column.read(found) for found in summaries] for column in table.columns]
    return [[math.inf if value is None else value for value in values] for values in read]


def written(name: str, seeds: Sequence[int] = SEEDS) -> str:
    """A table as it stands on its page."""
    table = TABLES[name]
    heads = (table.first, *(column.head for column in table.columns))
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for label in table.lines:
        values = found_in(table, label, seeds)
        cells = (cell(one, column.written) for one, column in zip(values, table.columns, strict=True))
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown() -> dict[str, str]:
    """Each table as its page has it."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    return {
        found["name"]: "\n".join(found[0].splitlines()[1:-1])
        for text in texts
        for found in MARKED.finditer(text)
    }


def main() -> None:
    """Write the named tables again, or all."""
    names = sys.argv[1:] or list(TABLES)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")

        def fresh(found: re.Match[str]) -> str:
            if found["name"] not in names:
                return found[0]
            print(found["name"], flush=True)
            return f"<!-- seeds: {found['name']} -->\n{written(found['name'])}\n<!-- end of seeds -->"

        page.write_text(MARKED.sub(fresh, text), encoding="utf-8")


if __name__ == "__main__":
    main()
