"""How well `fleetsim calibrate` fits public step times: the error on points left out, a line a source.

The data is read from the folder given as the first argument. docs/step-time.md holds the table that this prints.
What sources publish is measured rows (splitwise-sim, Helix, Frontier), another tool's model (aiconfigurator) or a
formula (DistServe, DynoSim), which is sampled where its authors use it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim.steptime.calibrate import split
from sim.steptime.fits import points_of
from sim.steptime.forms import choose_decode, choose_prompts
from sim.steptime.rows import Row, read_rows

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LENGTHS = (128, 512, 1024, 2048)
STEPS = ("aiconfigurator/vllm_step_grid.csv", "splitwise-sim/perf_model.csv")
LAYERS = 32  # of Llama 2 7B


class Source(NamedTuple):
    """Rows of one deployment."""

    name: str
    rows: list[Row]


def sources(folder: Path) -> Iterator[Source]:
    """Every public step time below `latency`."""
    for file in STEPS:
        rows = read_rows(folder / file).rows
        for group in sorted({row.group for row in rows}):
            yield Source(f"{file.split('/')[0]}: {group[0]}", [row for row in rows if row.group == group])
    for path in sorted((folder / "helix").glob("*/*")):
        yield Source(f"Helix: {path.parent.name}", helix(path))
    for path in sorted((folder / "distserve").glob("*.json")):
        for model, by_tp in json.loads(path.read_text()).items():
            for tp, found in by_tp.items():
                yield Source(
                    f"DistServe: {path.stem.rpartition('.')[2]}", distserve((model, "", int(tp)), found)
                )
    yield Source("DynoSim: prompts", dynosim())
    for tp in ("1", "2", "4", "8"):
        yield Source(
            "Frontier: matrix products", frontier(folder / "frontier/h800_llama2_7b/linear_op.csv", tp)
        )


def helix(path: Path) -> list[Row]:
    """Times of a layer group by batch size (decode) and by tokens (prompts); rounded by their authors."""
    rows = []
    for name, is_prefill in (("prompt", True), ("decode", False)):
        with open(path / f"{name}_bs2time.csv", newline="") as stream:
            for size, time in csv.reader(stream):
                if float(time) > 0:
                    n, length = (1, float(size)) if is_prefill else (int(size), 1.0)
                    rows.append(Row(("", "", 1), is_prefill, n, length, float(time)))
    return rows


def distserve(group: tuple[str, str, int], found: dict[str, Any]) -> list[Row]:
    """a + b·tokens + c·Σ length², and a + b·kv + c·batch with other coefficients above a threshold."""
    rows = []
    for n in BATCHES:
        for length in LENGTHS:
            a, b, c = found["prefill"]
            if n <= 16:
                rows.append(Row(group, True, n, float(length), a + b * n * length + c * n * length**2))
            kind = (
                "decoding_largebs" if n >= found["decoding_large_small_bs_threshold"] else "decoding_smallbs"
            )
            a, b, c = found[kind]
            rows.append(Row(group, False, n, float(length), a + b * n * length + c * n))
    return rows


def dynosim() -> list[Row]:
    """4.209989e-7·T² + 0.01518344·T + 16.50142, T the uncached tokens of a step: one prompt each."""
    tokens = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
    return [
        Row(("", "", 1), True, 1, float(t), 4.209989e-7 * t * t + 1.518344e-2 * t + 16.50142) for t in tokens
    ]


def frontier(path: Path, tp: str) -> list[Row]:
    """The matrix products of all layers of Llama 2 7B on an H800 by tokens: no attention, no embedding."""
    with open(path, newline="") as stream:
        found = [row for row in csv.DictReader(stream) if row["num_tensor_parallel_workers"] == tp]
    rows = []
    for row in found:
        parts = [
            row[k] for k in row if k.startswith("time_stats.") and k.endswith(".median") and ".emb." not in k
        ]
        rows.append(
            Row(
                ("", "", int(tp)),
                True,
                1,
                float(row["num_tokens"]),
                LAYERS * sum(float(part or 0) for part in parts),
            )
        )
    return rows


def errors(source: Source) -> dict[str, tuple[str, int, float]]:
    """Mode → (form, points, mean error on points left out in percent)."""
    prefill, decode = split(source.rows)
    found = {}
    for mode, rows, choose in (("prompts", prefill, choose_prompts), ("decode", decode, choose_decode)):
        if len(rows) >= 4:
            chosen, points = choose(rows), points_of(rows)
            mean = 100 * float(np.average(np.abs(chosen.left_out), weights=points.n_rows))
            found[mode] = (chosen.fit.form, len(points.batch), mean)
    return found


def table(folder: Path) -> list[str]:
    """The lines of the documented table: a line for each source and mode, over its deployments."""
    groups: dict[tuple[str, str], list[tuple[str, int, float]]] = {}
    for source in sources(folder):
        for mode, found in errors(source).items():
            groups.setdefault((source.name, mode), []).append(found)
    lines = ["| source | mode | deployments | points | left out: mean | worst deployment | forms taken |"]
    lines.append("|---|---|---|---|---|---|---|")
    for (name, mode), parts in groups.items():
        forms = ", ".join(sorted({form for form, _, _ in parts}))
        off, n_points = [part[2] for part in parts], sum(part[1] for part in parts)
        counted = f"| {name} | {mode} | {len(parts)} | {n_points} "
        lines.append(f"{counted}| {np.mean(off):.1f} | {max(off):.1f} | {forms} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]) / "latency")))
