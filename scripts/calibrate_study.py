"""What a few points of a deployment buy: calibrated on k points, the error of the median gap on the deployment's others.

Deployments are those of the ML.ENERGY Benchmark v3 (vLLM 0.11.1 on H100 and B200) with at least six well-behaved
points, read from the folder given as the first argument. docs/step-time.md holds the table that this prints.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accuracy_cases import ML_ENERGY, ml_energy_case

from sim.calibration import law_of_pool, lengths_of, only_pool
from sim.errors import InputError
from sim.steptime.deployment import Correction, fit, off
from sim.steptime.points import Point, make_point
from sim.steptime.states import State, starved, state_of

LEAST_POINTS = 6


class Deployment(NamedTuple):
    """A model on its GPUs under one load, its well-behaved points by running sequences."""

    name: str
    is_moe: bool
    states: list[State]


def deployments(data: Path) -> Iterator[Deployment]:
    """Those of the collection with enough points that the catalogue knows."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with open(data / ML_ENERGY, newline="") as stream:
        for row in csv.DictReader(stream):
            groups[tuple(row[k] for k in ("task", "model", "gpu", "num_gpus", "precision"))].append(row)
    for key, rows in groups.items():
        cases = [(row, case) for row in rows if (case := ml_energy_case(row)) and case.is_well_behaved]
        if len(cases) < LEAST_POINTS:
            continue
        overrides = [o for o in cases[-1][1].overrides if not o.startswith("traffic.arrivals")]
        try:
            story, pool = only_pool("first_run", [*overrides, "duration_s=3600", "warmup_s=0"])
            law = law_of_pool(pool)
        except InputError as error:
            print(f"left out: {' '.join(key)}: {error}", file=sys.stderr)
            continue
        lengths = lengths_of(story)
        states = [state_of(point_of(row), law, lengths) for row, _ in cases]
        sound = sorted((s for s in states if not starved(s)), key=lambda s: s.n)
        if len(sound) >= LEAST_POINTS:
            yield Deployment(" ".join(key), "MoE" in cases[0][1].group, sound)


def point_of(row: dict[str, str]) -> Point:
    """A row as an operating point; its prompts are not published."""
    raw = {
        "running": float(row["avg_batch"]),
        "itl_p50": float(row["itl_p50_ms"]),
        "itl_p90": float(row["itl_p90_ms"]),
        "output_tokens_per_s": float(row["output_tokens_per_s"]),
        "output_tokens": float(row["avg_output_tokens"]),
    }
    return make_point(row["model"], raw)


def chosen(states: list[State], k: int) -> list[int]:
    """k points evenly spread by their place, the smallest and the largest among them."""
    return sorted({round(i) for i in np.linspace(0, len(states) - 1, k)})


def errors(states: list[State], picked: list[int]) -> tuple[float, float]:
    """Mean error on the points that were not picked, percent: (the modelled step time alone, calibrated)."""
    correction = fit([states[i] for i in picked])
    rest = [s for i, s in enumerate(states) if i not in picked]
    alone, calibrated = ([abs(off(s, c)) for s in rest] for c in (Correction(), correction))
    return float(np.mean(alone)), float(np.mean(calibrated))


def table(found: list[Deployment]) -> list[str]:
    """The lines of the documented table."""
    lines = [
        "| points | deployments | modelled alone: mean, p90 | calibrated: mean, p90 | dense | mixture of experts |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for label, picks in (
        ("2", lambda s: chosen(s, 2)),
        ("3", lambda s: chosen(s, 3)),
        ("5", lambda s: chosen(s, 5)),
        ("all up to 64, for those above", lambda s: [i for i, x in enumerate(s) if x.n <= 70]),
    ):
        rows = []
        for one in found:
            picked = picks(one.states)
            if len(picked) >= 2 and len(one.states) - len(picked) >= 2:
                rows.append((one.is_moe, *errors(one.states, picked)))
        alone, made = (np.array([r[i] for r in rows]) for i in (1, 2))
        moe = np.array([r[0] for r in rows])
        lines.append(
            f"| {label} | {len(rows)} | {alone.mean():.1f}, {np.quantile(alone, 0.9):.1f} | {made.mean():.1f}, "
            f"{np.quantile(made, 0.9):.1f} | {made[~moe].mean():.1f} | {made[moe].mean():.1f} |"
        )
    return lines


if __name__ == "__main__":
    known = list(deployments(Path(sys.argv[1])))
    print("\n".join(table(known)))
    for one in known:
        alone, made = errors(one.states, chosen(one.states, 3))
        print(f"{one.name}: {len(one.states)} points, modelled alone {alone:.1f} %, on 3 points {made:.1f} %")
