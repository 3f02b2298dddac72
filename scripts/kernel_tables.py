"""Make the compact kernel tables of conf/kernels from those that the package aisimulate carries.

FOLDER holds `<system>/<operation>/.../<version>/<table>.parquet`: `aisimulate_core/systems/data` of an unpacked wheel
of aisimulate (0.13.0.dev202610270000000085, Apache-2.0). Of each table the newest version of vLLM, and of NCCL, is
taken. What is kept, and how it is cleaned, is told in conf/kernels/README.md. The same folder gives the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "aisimulate 0.13.0.dev202610270000000085"
COPYRIGHT = "Copyright (c) 2026 NVIDIA CORPORATION & AFFILIATES. All rights reserved."


class Gpu(NamedTuple):
    """A GPU whose kernels were measured, by its vendor's data sheet and architecture papers; one direction, dense."""

    folder: str  # in the package
    name: str
    l2_mb: float  # level-2 cache: what fits in it is not read from memory
    memory_gb_s: float
    bf16_tflops: float
    fp8_tflops: float
    fp4_tflops: float
    link_gb_s: float  # NVLink, or PCIe where there is none


GPUS = {
    "a100_sxm": Gpu("a100_sxm", "A100 SXM4 80 GB", 40, 2039, 312, 0, 0, 300),
    "b200_sxm": Gpu("b200_sxm", "B200 SXM", 126, 8000, 2250, 4500, 9000, 900),
    "h100_sxm": Gpu("h100_sxm", "H100 SXM 80 GB", 50, 3350, 989, 1979, 0, 450),
    "h200_sxm": Gpu("h200_sxm", "H200 SXM", 50, 4800, 989, 1979, 0, 450),
    "l40s": Gpu("l40s", "L40S", 96, 864, 362, 733, 0, 32),
    "rtx_pro_6000": Gpu(
        "rtx_pro_6000_server", "RTX PRO 6000 Blackwell Server Edition", 128, 1597, 480, 960, 1920, 64
    ),
}
TOKENS = (
    *(1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024),
    *(1536, 2048, 3072, 4096, 8192, 16384),
)
WIDTHS = (
    *(128, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384),
    *(51200, 65536),
)
WEIGHT_BYTES = {
    "bf16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0,
    "nvfp4": 0.5625,
}  # nvfp4: a scale for every 16 numbers
KV_BYTES = {"bf16": 2.0, "fp8": 1.0}
KV_HEADS = (1, 2, 4, 8)
QUERIES = (1.0, 4.0, 8.0)  # query heads of a KV head
DIMS_AND_WINDOWS = ((64, 0), (64, 128), (128, 0), (128, 128), (256, 0), (256, 1024))  # window 0: none
BATCHES = tuple(2**i for i in range(12))
CONTEXTS = (16, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)
MLA_HEADS = (1, 2, 4, 8, 16, 32, 64, 128)
MLA_NUMBERS = 576  # of one token's compressed KV in one layer of DeepSeek-V3
NAMES = {"bfloat16": "bf16"}
OTHER_ENGINES = {"trtllm", "sglang"}
LEAST_COVER = 0.5  # a table with fewer of its points measured is left out
LEAST_WIDTHS = 4


class Kept(NamedTuple):
    """One block of a compact table, before it is written."""

    head: tuple[str, ...]
    keys: tuple[str, ...]
    axes: tuple[np.ndarray, ...]
    us: np.ndarray


def newest(folder: Path, gpu: Gpu, operation: str, table: str) -> Path | None:
    """The file of the newest version."""
    found = [
        path
        for path in (folder / gpu.folder / operation).glob(f"**/{table}.parquet")
        if not OTHER_ENGINES & set(path.parts)
    ]
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.name)], default=None)


def columns(path: Path, names: Iterable[str], **only: object) -> list[np.ndarray]:
    """Columns of the rows that have the given values; a column that the file lacks is full of zeros."""
    table = pq.read_table(path)
    for name, value in only.items():
        if name in table.column_names:
            table = table.filter(pc.equal(table[name], value))
    return [
        table[name].to_numpy().astype(float) if name in table.column_names else np.zeros(table.num_rows)
        for name in names
    ]


def values_of(path: Path, name: str) -> list[str]:
    """The values of one column."""
    return sorted(pq.read_table(path, columns=[name])[name].unique().to_pylist())


def on_grid(axes: tuple[np.ndarray, ...], where: list[np.ndarray], us: np.ndarray) -> np.ndarray:
    """The least time measured at every combination of the axes; NaN where there is none."""
    index, inside = [], np.ones(len(us), dtype=bool)
    for axis, x in zip(axes, where, strict=True):
        spot = np.minimum(np.searchsorted(axis, x), len(axis) - 1)
        inside &= axis[spot] == x
        index.append(spot)
    grid = np.full([len(axis) for axis in axes], np.inf)
    np.minimum.at(grid, tuple(spot[inside] for spot in index), us[inside])
    return np.where(np.isinf(grid), np.nan, grid)


def present(points: Iterable[int], x: np.ndarray) -> np.ndarray:
    """Those of the points that were measured."""
    return np.array([p for p in points if p in set(x.tolist())], dtype=float)


def is_covered(us: np.ndarray) -> bool:
    """Whether enough of a table was measured."""
    return us.size > 0 and float(np.mean(~np.isnan(us))) >= LEAST_COVER


def filled(us: np.ndarray, axes: tuple[np.ndarray, ...], powers: dict[int, float]) -> np.ndarray:
    """Holes filled along the axes in turn: the nearest time, times the ratio of the points to the axis' power."""
    for number, power in powers.items():
        lines = np.moveaxis(us, number, -1)
        points = axes[number]
        for index in np.ndindex(lines.shape[:-1]):
            line = lines[index]  # a view
            there = np.flatnonzero(~np.isnan(line))
            for hole in np.flatnonzero(np.isnan(line)) if len(there) else ():
                near = there[np.argmin(np.abs(there - hole))]
                line[hole] = line[near] * (points[hole] / points[near]) ** power
    return us


def from_memory(
    us: np.ndarray, axes: tuple[np.ndarray, ...], powers: dict[int, float], read: np.ndarray, l2_mb: float
) -> np.ndarray:
    """Holes filled, and no time shorter than the memory takes for the bytes `read`.

    A measurement repeats one kernel, so operands that fit the level-2 cache stay in it; in a model every layer has
    its own. The pace of memory is the best of the measured reads that are half as large again as the cache.
    """
    pace = np.where((read >= 1.5 * l2_mb * 1e6) & ~np.isnan(us), read / us, 0.0).max()
    us = filled(us, axes, powers)
    return np.maximum(us, read / pace) if pace else us


def never_faster(us: np.ndarray) -> np.ndarray:
    """No time longer than that of more work along any axis: what takes longer is an outlier, or could be padded."""
    for axis in range(us.ndim):
        us = np.flip(np.minimum.accumulate(np.flip(us, axis), axis=axis), axis)
    return us


def rising(us: np.ndarray) -> np.ndarray:
    """The times along the last axis as a curve that never falls: where they fall, the median of what disagrees.

    All-reduce changes its algorithm with the message, so that some sizes run slower than the next on every machine;
    taking the next one's time would hide that. A lone outlier is outvoted.
    """
    for index in np.ndindex(us.shape[:-1]):
        pools: list[list[float]] = []
        for value in us[index]:
            pools.append([value])
            while len(pools) > 1 and middle(pools[-1]) < middle(pools[-2]):
                pools[-2:] = [pools[-2] + pools[-1]]
        us[index] = [middle(pool) for pool in pools for _ in pool]
    return us


def middle(values: list[float]) -> float:
    """The median of the logarithms."""
    return float(np.exp(np.median(np.log(values))))


def matmul_blocks(path: Path, gpu: Gpu) -> Iterator[Kept]:
    """Dense products, a block for each precision."""
    for measured in values_of(path, "gemm_dtype"):
        name = NAMES.get(measured, measured)
        n, k, m, ms = columns(path, ("n", "k", "m", "latency"), gemm_dtype=measured)
        axes = (present(WIDTHS, n), present(WIDTHS, k), present(TOKENS, m))
        if min(len(axes[0]), len(axes[1])) < LEAST_WIDTHS:
            continue  # a few small shapes tell nothing of a model
        us = on_grid(axes, [n, k, m], ms * 1e3)
        read = axes[0][:, None, None] * axes[1][:, None] * WEIGHT_BYTES[name] + np.zeros(us.shape)
        us = from_memory(us, axes, {1: 1.0, 0: 1.0, 2: 1.0}, read, gpu.l2_mb)
        yield Kept(("matmul", name), ("n", "k"), axes, never_faster(us))


def attention_cases(path: Path) -> Iterator[tuple[tuple[str, str, str], list[np.ndarray]]]:
    """(KV precision, head dimension, window) and its columns, for those that are kept."""
    names = ("num_key_value_heads", "num_heads", "batch_size", "step", "isl", "latency")
    windows = "window_size" in pq.read_schema(path).names
    for measured, (dim, window) in product(values_of(path, "kv_cache_dtype"), DIMS_AND_WINDOWS):
        if window and not windows:
            continue
        found = columns(path, names, kv_cache_dtype=measured, head_dim=dim, window_size=window)
        found[1] = found[1] / np.maximum(found[0], 1)  # query heads of a KV head
        yield (NAMES.get(measured, measured), str(dim), str(window)), found


def decode_blocks(path: Path, gpu: Gpu) -> Iterator[Kept]:
    """Attention of one decode step; a block for each KV precision, head dimension and window."""
    for case, (kv, queries, batch, step, _, ms) in attention_cases(path):
        window = float(case[2]) or np.inf
        contexts = [c for c in CONTEXTS if c <= 2 * window]
        axes = (
            present(KV_HEADS, kv),
            np.array(QUERIES),
            present(BATCHES, batch),
            present(contexts, step + 1),
        )
        us = on_grid(axes, [kv, queries, batch, step + 1], ms * 1e3)
        if not is_covered(us):
            continue
        token_bytes = 2 * float(case[1]) * KV_BYTES[case[0]]
        attended = np.minimum(axes[3], window)
        read = token_bytes * axes[0][:, None, None, None] * axes[2][:, None] * attended + np.zeros(us.shape)
        us = from_memory(us, axes, {3: 1.0, 2: 1.0, 1: 0.0, 0: 1.0}, read, gpu.l2_mb)
        yield Kept(("decode", *case), ("kv_heads", "queries", "sequences"), axes, never_faster(us))


def context_blocks(path: Path, _: Gpu) -> Iterator[Kept]:
    """Attention of one whole prompt; a block for each KV precision, head dimension and window."""
    for case, (kv, queries, batch, _step, prompt, ms) in attention_cases(path):
        kv, queries, prompt, ms = (x[batch == 1] for x in (kv, queries, prompt, ms))
        axes = (present(KV_HEADS, kv), np.array(QUERIES), np.unique(prompt))
        us = on_grid(axes, [kv, queries, prompt], ms * 1e3)
        if is_covered(us):
            us = filled(us, axes, {2: 1.0 if float(case[2]) else 2.0, 1: 1.0, 0: 1.0})
            yield Kept(("context", *case), ("kv_heads", "queries"), axes, never_faster(us))


def mla_cases(path: Path) -> Iterator[tuple[tuple[str, str], list[np.ndarray]]]:
    """(precision of the projections, KV precision) and its columns."""
    names = ("num_heads", "batch_size", "step", "isl", "latency")
    for measured, kv in product(values_of(path, "gemm_type"), values_of(path, "kv_cache_dtype")):
        found = columns(path, names, gemm_type=measured, kv_cache_dtype=kv)
        yield (NAMES.get(measured, measured), NAMES.get(kv, kv)), found


def mla_decode_blocks(path: Path, gpu: Gpu) -> Iterator[Kept]:
    """Whole MLA blocks of DeepSeek-V3 in a decode step."""
    for case, (heads, batch, step, _, ms) in mla_cases(path):
        axes = (present(MLA_HEADS, heads), present(BATCHES, batch), present(CONTEXTS, step))
        us = on_grid(axes, [heads, batch, step], ms * 1e3)
        if is_covered(us):
            read = MLA_NUMBERS * KV_BYTES[case[1]] * axes[1][:, None] * axes[2] + np.zeros(us.shape)
            us = from_memory(us, axes, {2: 1.0, 1: 1.0, 0: 1.0}, read, gpu.l2_mb)
            yield Kept(("mla_decode", *case), ("heads", "sequences"), axes, never_faster(us))


def mla_context_blocks(path: Path, _: Gpu) -> Iterator[Kept]:
    """Whole MLA blocks of DeepSeek-V3 for one whole prompt."""
    for case, (heads, batch, _step, prompt, ms) in mla_cases(path):
        heads, prompt, ms = (x[batch == 1] for x in (heads, prompt, ms))
        axes = (present(MLA_HEADS, heads), np.unique(prompt))
        us = on_grid(axes, [heads, prompt], ms * 1e3)
        if is_covered(us):
            us = filled(us, axes, {1: 2.0, 0: 1.0})
            yield Kept(("mla_context", *case), ("heads",), axes, never_faster(us))


def allreduce_blocks(path: Path, backend: str) -> Iterator[Kept]:
    """All-reduce by number of GPUs and bytes on each."""
    only: dict[str, object] = {"backend": backend, "op_name": "all_reduce", "nccl_dtype": "half"}
    gpus, size, ms = columns(path, ("num_gpus", "message_size", "latency"), **only)
    axes = (np.unique(gpus), np.unique(size))
    us = filled(on_grid(axes, [gpus, size], ms * 1e3), axes, {1: 1.0})
    yield Kept(("allreduce", backend), ("gpus",), axes, rising(us))


def number(us: float) -> str:
    """Microseconds with four figures, never with an exponent."""
    return f"{float(f'{us:.4g}'):.10g}"


def text_of(block: Kept) -> str:
    """The block's lines; sim/steptime/kernels_file.py tells the form."""
    lines = [
        f"= {','.join(block.head)}",
        ",".join([*block.keys, *(f"{x:.0f}" for x in block.axes[-1])]),
    ]
    for index in np.ndindex(block.us.shape[:-1]):
        keys = [f"{axis[i]:.0f}" for axis, i in zip(block.axes, index, strict=False)]
        lines.append(",".join([*keys, *map(number, block.us[index])]))
    return "\n".join(lines) + "\n"


def collected(path: Path) -> str:
    """When the table was measured, as the package's own file beside it says where it does."""
    meta = path.parent / "collection_meta.yaml"
    part = meta.read_text(encoding="utf-8").partition(f"\n  {path.stem}:")[2] if meta.is_file() else ""
    days = re.findall(r"collected_at: '?(\d{4}-\d\d-\d\d)", re.split(r"\n  \w+_perf:", part)[0])
    return f"measured {max(days)}" if days else "the day of measurement is not told"


TABLES = {  # what a file says of it: operation and table in the package, and who reads it
    "matmul": ("gemm", "gemm_perf", matmul_blocks),
    "decode": ("attention", "generation_attention_perf", decode_blocks),
    "context": ("attention", "context_attention_perf", context_blocks),
    "mla_decode": ("mla", "mla_generation_module_perf", mla_decode_blocks),
    "mla_context": ("mla", "mla_context_module_perf", mla_context_blocks),
    "allreduce vllm_graph": ("comm", "custom_allreduce_perf", allreduce_blocks),
    "allreduce nccl": ("comm", "nccl_perf", allreduce_blocks),
}


def compact(folder: Path, name: str, retrieved: str) -> str:
    """The whole compact table of one GPU."""
    gpu = GPUS[name]
    blocks: list[Kept] = []
    told: list[str] = []
    for what, (operation, table, make) in TABLES.items():
        path = newest(folder, gpu, operation, table)
        if path is None:
            continue
        blocks += make(path, what.partition(" ")[2] if operation == "comm" else gpu)  # type: ignore[operator]
        engine = "NCCL" if what.endswith("nccl") else "vLLM"
        told.append(f"# {what}: {engine} {path.parent.name}, {collected(path)}")
    if not blocks:
        raise SystemExit(f"scripts/kernel_tables: {folder / gpu.folder} holds no kernel tables")
    head = [
        f"# gpu: {gpu.name}",
        f"# source: {PACKAGE}, systems/data/{gpu.folder}",
        f"# retrieved: {retrieved}",
        "# licence: SPDX-License-Identifier: Apache-2.0",
        f"# copyright: SPDX-FileCopyrightText: {COPYRIGHT}",
        "# changes: thinned, cleaned and rounded by scripts/kernel_tables; README.md beside this file tells how",
        *told,
    ]
    return "\n".join(head) + "\n" + "".join(map(text_of, blocks))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/kernel_tables", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="the package's systems/data")
    parser.add_argument("--to", type=Path, default=ROOT / "conf" / "kernels", help="where the tables go")
    parser.add_argument("--gpu", choices=GPUS, nargs="*", default=list(GPUS), help="only these")
    parser.add_argument("--retrieved", default="2026-11-28", help="the day the package was fetched")
    words = parser.parse_args()
    if words.folder is None or not words.folder.is_dir():
        print(
            f"scripts/kernel_tables: name the folder aisimulate_core/systems/data of the public package {PACKAGE} "
            "(Apache-2.0), as `pip download --no-deps` and unzip leave it",
            file=sys.stderr,
        )
        return 2
    words.to.mkdir(parents=True, exist_ok=True)
    for name in words.gpu:
        text = compact(words.folder, name, words.retrieved)
        (words.to / f"{name}.csv").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text) / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
