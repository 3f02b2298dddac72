"""Print the shares of the data sheets' peaks that the measured kernels of conf/kernels reach, as rows of Markdown.

The rows stand in docs/step-time.md. `python scripts/kernel_shares.py`; scripts/kernel_tables makes the tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from kernel_tables import GPUS, WEIGHT_BYTES, Gpu

from sim.steptime.kernels import KernelTables, NoTable, kernels_for

# n, k of the four products of a layer of Llama 3.1 8B: queries, keys and values; output; gate and up; down
LAYER = ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336))
WEIGHTS = sum(n * k for n, k in LAYER)
#: n, k of products of many widths
WIDTHS = tuple(
    (n, k)
    for n in (768, 1536, 2048, 4096, 6144, 8192, 14336, 28672)
    for k in (512, 1024, 2048, 4096, 8192, 14336)
)
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
PRECISIONS = ("bf16", "fp8", "fp8_block", "nvfp4")
COLUMNS = (
    "GPU",
    "weights",
    "matmul",
    "KV, bf16",
    "KV, fp8",
    "prompt pairs",
    "all-reduce 128 KB",
    "link, 16 MiB",
)


def peak(gpu: Gpu, precision: str) -> float:
    """FLOP/s."""
    return {"bf16": gpu.bf16_tflops, "nvfp4": gpu.fp4_tflops}.get(precision, gpu.fp8_tflops) * 1e12


def layer_s(tables: KernelTables, precision: str, tokens: int) -> float:
    """Seconds of a layer's products."""
    return sum(float(tables.matmul_s(precision, tokens, n, k)) for n, k in LAYER)


def weight_share(tables: KernelTables, gpu: Gpu, precision: str, tokens: int = 16) -> float:
    """Of the memory bandwidth, by a step that reads weights rather than computes."""
    return WEIGHTS * WEIGHT_BYTES[precision] / (gpu.memory_gb_s * 1e9) / layer_s(tables, precision, tokens)


def matmul_share(tables: KernelTables, gpu: Gpu, precision: str, tokens: int = 2048) -> float:
    """Of the peak FLOP/s of the precision, by a step that computes."""
    return 2 * WEIGHTS * tokens / peak(gpu, precision) / layer_s(tables, precision, tokens)


def kv_share(tables: KernelTables, gpu: Gpu, kv_precision: str, sequences: int = 64) -> float:
    """Of the memory bandwidth, by one more KV token of 64 sequences (the slope)."""
    slope_s = tables.decode_attention_line(
        np.array([sequences]), HEADS, KV_HEADS, HEAD_DIM, kv_precision=kv_precision
    )[1][0]
    token_bytes = 2 * KV_HEADS * HEAD_DIM * (2 if kv_precision == "bf16" else 1)
    return token_bytes / (gpu.memory_gb_s * 1e9) / float(slope_s)


def pair_share(tables: KernelTables, gpu: Gpu) -> float:
    """Of the peak FLOP/s in bf16, by the attention of long prompts."""
    return (
        4
        * HEAD_DIM
        * HEADS
        / (gpu.bf16_tflops * 1e12)
        / tables.context_attention_pair_s(HEADS, KV_HEADS, HEAD_DIM)
    )


def link_share(tables: KernelTables, gpu: Gpu, gpus: int, size: int = 2**24) -> float:
    """Of the link's bandwidth in one direction, by a ring's share of a large all-reduce."""
    return 2 * (gpus - 1) / gpus * size / (gpu.link_gb_s * 1e9) / float(tables.allreduce_s(gpus, size))


def affine_fit(tables: KernelTables, gpu: Gpu, precision: str) -> tuple[float, float, float, float]:
    """(start µs, weight share, matmul share, mean error of the first two) over products of many widths.

    A product of 8 tokens takes start + bytes / (share · bandwidth), least squares of the relative error; one of 2,048
    takes start + FLOPs / (share · peak), the median over the products.
    """
    n, k = (np.array(column, dtype=float) for column in zip(*WIDTHS, strict=True))
    small, large = (
        np.array([float(tables.matmul_s(precision, t, a, b)) for a, b in WIDTHS]) for t in (8, 2048)
    )
    columns = np.stack([np.ones_like(n), n * k * WEIGHT_BYTES[precision] / (gpu.memory_gb_s * 1e9)], axis=1)
    start_s, slowdown = np.linalg.lstsq(columns / small[:, None], np.ones_like(n), rcond=None)[0]
    error = np.abs(columns @ np.array([start_s, slowdown]) / small - 1).mean()
    computing_s = np.maximum(large - start_s, 1e-9)
    matmul = np.median(2 * 2048 * n * k / peak(gpu, precision) / computing_s)
    return float(start_s) * 1e6, 1 / float(slowdown), float(matmul), float(error)


def product_row(name: str) -> str:
    """One GPU's line of the second table."""
    tables, gpu = kernels_for(name), GPUS[name]
    assert tables is not None
    cells = [gpu.name.partition(" Blackwell")[0]]
    for precision in PRECISIONS[:2]:
        if tables.has_matmul(precision):
            start, weight, matmul, error = affine_fit(tables, gpu, precision)
            cells.append(f"{start:.1f} µs, {weight:.2f}, {matmul:.2f} ({100 * error:.0f} %)")
        else:
            cells.append("–")
    return f"| {' | '.join(cells)} |"


def row(name: str) -> str:
    """One GPU's line."""
    tables, gpu = kernels_for(name), GPUS[name]
    assert tables is not None
    there = [p for p in PRECISIONS if tables.has_matmul(p)]
    cells = [
        gpu.name.partition(" Blackwell")[0],
        ", ".join(f"{p} {weight_share(tables, gpu, p):.2f}" for p in there),
        ", ".join(f"{p} {matmul_share(tables, gpu, p):.2f}" for p in there),
    ]
    for kv in ("bf16", "fp8"):
        try:
            cells.append(f"{kv_share(tables, gpu, kv):.2f}")
        except NoTable:
            cells.append("–")
    cells.append(f"{pair_share(tables, gpu):.2f}")
    cells.append(" / ".join(f"{float(tables.allreduce_s(n, 2**17)) * 1e6:.0f}" for n in (2, 4, 8)) + " µs")
    cells.append(" / ".join(f"{link_share(tables, gpu, n):.2f}" for n in (2, 4, 8)))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for name in GPUS:
        print(row(name))
    print("\n| GPU | bf16: start, weights, matmul (error) | fp8 |\n|---|---|---|")
    for name in GPUS:
        print(product_row(name))


if __name__ == "__main__":
    main()
