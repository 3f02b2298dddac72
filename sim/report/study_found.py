"""What a sweep or a study came to, gathered for its page and its picture: points, seeds, means, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.compare import MEASURES
from sim.analysis.control import Control
from sim.analysis.replicate import Replicated, Replication, replicate
from sim.analysis.studied import judged_measures, pairing_of, studied
from sim.analysis.varied import Varied, baselines, is_traffic, text_of, varied_of_configs, varied_of_study
from sim.measures.shown import Compared
from sim.report.assumed import Assumption
from sim.report.heads import Head, among, command, day_text, gpus_of, policies_of

SHOWN_POINTS = 120  # with means and intervals of their own; of more, the best are shown
POLICY_KEYS, GPU_KEYS = ("autoscaler",), ("gpu",)


class Basis(NamedTuple):
    """What a study's scenario is, composed again by whoever writes the page: none of it is in the study's folder."""

    config: Mapping[str, Any]  # as config.json has it, without what is varied
    assumptions: Sequence[Assumption]


class Found(NamedTuple):
    """All that is shown of a sweep or a study."""

    kind: str  # "sweep" or "study"
    name: str
    question: str
    head: Head
    varied: Varied  # the points that are shown
    axes: dict[str, list[Any]]  # key → its different values over all points
    found: Replication
    n_point: int
    n_run: int
    n_missing: int  # runs of the plan that are not done
    seeds: str
    facts: list[tuple[str, str]]  # of how it was made
    command: str | None
    assumptions: Sequence[Assumption]
    control: Control | None = None  # of a study that asks for one: what it did to the means

    def row(self, name: str) -> Replicated:
        """What the seeds say of a point."""
        return next(row for row in self.found.rows if row.name == name)

    @property
    def measures(self) -> tuple[Compared, ...]:
        """The measures that its points have."""
        return self.found.measures


def study_found(results: Any, basis: Basis | None, day: Any = None) -> Found:
    """What a study came to; `results` as `records.study_open` reads them. Raises InputError where nothing is done yet."""
    study = results.study
    keys = [str(entry["key"]) for entry in study["keys"]]
    runs = results.columns(["variant", *keys, "slo_ok", *(one.key for one in judged_measures(study)[0])])
    every = varied_of_study(runs, keys)
    wanted = study.get("baseline") or {}
    pairing = pairing_of(results, every)
    points = shown_points(runs, pairing.traffic, pairing.bases)
    came_to = studied(results, runs, every.names, pairing, points)
    seeds = seeds_text(np.unique(runs.column("seed").to_numpy()).tolist())
    said = study.get("said")
    n_plan = results.n_shard - results.n_done
    facts = [
        ("scenario", str(study["scenario"])),
        ("overrides", " ".join(map(str, study["overrides"]))),
        ("only where", "; ".join(map(str, study["constraints"]))),
        ("sampler", _sampler_text(study["sampler"])),
        ("baseline", ", ".join(f"{key} = {text_of(value)}" for key, value in wanted.items())),
    ]
    return Found(
        kind="study",
        name=str(study["name"]),
        question=str(study["question"] or study["name"]),
        head=_head(str(study["scenario"]), list(map(str, study["overrides"])), seeds, every, basis, day),
        varied=every.chosen(points),
        axes={key: every.distinct(key) for key in every.keys},
        found=came_to.found,
        control=came_to.control,
        n_point=len(every.names),
        n_run=runs.num_rows,
        n_missing=n_plan,
        seeds=seeds,
        facts=facts,
        command=command("fleetsim", "sweep", *map(str, said)) if said else None,
        assumptions=basis.assumptions if basis is not None else (),
    )


def shown_points(runs: Any, traffic: Sequence[Any], held: Sequence[int | None]) -> list[int]:
    """The points that are shown: all, or of many for each traffic its baseline, and then those whose seeds keep every limit
    most often and that are the cheapest. `traffic` and `held` have the traffic and the baseline of each point.
    """
    n_point = len(traffic)
    if n_point <= SHOWN_POINTS:
        return list(range(n_point))
    _, at = np.unique(runs.column("point").to_numpy(), return_inverse=True)
    n = np.bincount(at)
    ok = runs.column("slo_ok").fill_null(True).to_numpy(zero_copy_only=False).astype(float)
    kept = np.bincount(at, weights=ok) / n
    usd = np.bincount(at, weights=runs.column("usd_per_hour").fill_null(0.0).to_numpy()) / n
    cells: dict[Any, list[int]] = {}
    for point in np.lexsort((usd, -kept)).tolist():
        cells.setdefault(traffic[point], []).append(point)
    wanted = {0: None}
    for rank in range(max(map(len, cells.values()))):
        for points in cells.values():
            if rank < len(points) and len(wanted) < SHOWN_POINTS - 1:
                base = held[points[rank]]
                wanted |= {points[rank]: None} | ({base: None} if base is not None else {})
    return sorted(wanted)


def _sampler_text(sampler: Mapping[str, Any]) -> str:
    if sampler.get("kind") == "grid":
        return "every point"
    kind = str(sampler.get("kind", "")).replace("_", " ")
    return f"{kind}, {sampler.get('points')} points, seed {sampler.get('seed')}"


def sweep_found(
    plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], basis: Basis | None, day: Any = None
) -> Found:
    """What a sweep came to: `plan` as plan.json has it, a row for each run that is done."""
    configs = {str(name): entry["config"] for name, entry in plan["variants"].items()}
    varied = varied_of_configs(configs)
    known = {row["variant"] for row in rows}
    varied = varied.chosen([i for i, name in enumerate(varied.names) if name in known])
    traffic = dict(zip(varied.names, map(repr, varied.traffic()), strict=True))
    bases = [None if base is None else varied.names[base] for base in baselines(varied, {})]
    held = dict(zip(varied.names, bases, strict=True))
    found = replicate(rows, varied.names, MEASURES, traffic, held)
    seeds = seeds_text(sorted({int(row["seed"]) for row in rows}))
    first = next(iter(configs.values()))
    config = {"config": first}
    said = plan.get("said")
    head = _head(str(first["name"]), None, seeds, varied, Basis(config, ()), day)
    everybody = [{"config": one} for one in configs.values()]
    return Found(
        kind="sweep",
        name=str(first["name"]),
        question=str(first.get("question") or first["name"]),
        head=head._replace(gpu=among(map(gpus_of, everybody)), policy=among(map(policies_of, everybody))),
        varied=varied,
        axes={key: varied.distinct(key) for key in varied.keys},
        found=found,
        n_point=len(varied.names),
        n_run=len(rows),
        n_missing=len(plan["variants"]) * len(plan["seeds"]) - len(rows),
        seeds=seeds,
        facts=[("scenario", str(first["name"]))],
        command=command("fleetsim", *map(str, said)) if said else None,
        assumptions=basis.assumptions if basis is not None else (),
    )


def _head(
    scenario: str, overrides: Sequence[str] | None, seeds: str, varied: Varied, basis: Basis | None, day: Any
) -> Head:
    """The head of a study: what its scenario has, unless that is what it varies."""
    config = basis.config if basis is not None else {}

    def values(keys: Sequence[str], else_: str) -> str:
        found = [text_of(value) for key in keys if key in varied.values for value in varied.distinct(key)]
        return among(found) or else_

    return Head(
        scenario=scenario,
        differs=overrides,
        seed=seeds,
        gpu=values(GPU_KEYS, gpus_of(config)),
        policy=values(POLICY_KEYS, policies_of(config)),
        date=day_text(day),
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """1 … 30 as a range, others as a list."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ", ".join(map(str, seeds[:8])) + (f", … {len(seeds)} seeds" if len(seeds) > 8 else "")


def cells_of(found: Found) -> dict[str, list[str]]:
    """What a kind of traffic is called → the points that see it."""
    keys = [key for key in found.varied.keys if is_traffic(key)]
    labels = found.varied.labels(keys) if keys else [""] * len(found.varied.names)
    cells: dict[str, list[str]] = {}
    for label, name in zip(labels, found.varied.names, strict=True):
        cells.setdefault(label, []).append(name)
    return cells


def short_names(found: Found) -> dict[str, str]:
    """Points by what is varied beside the traffic."""
    keys = [key for key in found.varied.keys if not is_traffic(key)]
    labels = found.varied.labels(keys)
    return {name: label or name for name, label in zip(found.varied.names, labels, strict=True)}
