"""Compile the CUDA kernels without a GPU and print what one thread of each takes. docs/kernels.md explains the columns.

One process a compute capability, two at a time: numba keeps what it compiled for the first it is asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim.engine import ptx
from sim.engine.cuda import REGISTERS

COLUMNS = ("registers", "spill_store_bytes", "spill_load_bytes", "stack_bytes", "instructions", "ptx_bytes")


def compile_all(target: str, folder: Path, kernels: list[str], plain: bool) -> None:
    """Write FOLDER/<kernel>.ptx for one compute capability, in this process."""
    for kernel in kernels:
        (folder / f"{kernel}.ptx").write_text(ptx.compile_ptx(kernel, target, plain))


def row_of(kernel: str, target: str, source: str, max_registers: int | None) -> dict[str, Any]:
    """A line of the table; the assembler's columns are None where there is no assembler."""
    ptxas = ptx.find_ptxas()
    usage = ptx.assemble(source, target, ptxas, max_registers)._asdict() if ptxas else {}
    row = {"kernel": kernel, "target": target, "ptx_bytes": len(source)} | usage
    return {"kernel": kernel, "target": target} | {name: row.get(name) for name in COLUMNS}


def rows_for(target: str, kernels: list[str], max_registers: int | None, plain: bool) -> list[dict[str, Any]]:
    """Every kernel for one compute capability, compiled in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--write", folder, "--target", target, "--kernel", *kernels]
        words += ["--plain"] * plain
        begun = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"scripts/kernels: {target}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        spent_s = time.perf_counter() - begun
        rows = [row_of(k, target, Path(folder, f"{k}.ptx").read_text(), max_registers) for k in kernels]
    return [row | {"compile_s_all": round(spent_s, 1)} for row in rows]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    heads = ["kernel", "target", "registers", "spill st", "spill ld", "stack", "instructions", "ptx bytes"]
    cells = [
        [row["kernel"], row["target"], *("-" if row[c] is None else str(row[c]) for c in COLUMNS)]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [
        [line[i].rjust(widths[i]) if i > 1 else line[i].ljust(widths[i]) for i in range(len(heads))]
        for line in [heads, *cells]
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def main() -> int:
    """Compile, assemble, print."""
    parser = argparse.ArgumentParser(prog="scripts/kernels", description=__doc__)
    parser.add_argument(
        "--target", nargs="+", default=list(ptx.TARGETS), help="compute capabilities, such as 9.0"
    )
    parser.add_argument("--kernel", nargs="+", default=list(ptx.KERNELS), choices=ptx.KERNELS)
    parser.add_argument(
        "--max-registers",
        type=int,
        default=REGISTERS,
        help="another limit for the assembler, to see what would be spilled",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="leave out the rules of attempts, prefix caches and choosy routers",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="only write the PTX for one target there"
    )
    asked = parser.parse_args()
    if (reason := ptx.why_not()) is not None:
        sys.exit(f"scripts/kernels: nothing can be compiled here: {reason}")
    if asked.write is not None:
        compile_all(asked.target[0], asked.write, asked.kernel, asked.plain)
        return 0
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda target: rows_for(target, asked.kernel, asked.max_registers, asked.plain), asked.target
        )
        try:
            rows = [row for part in found for row in part]
        except RuntimeError as error:
            sys.exit(f"scripts/kernels: {error}")
    print(json.dumps(rows, indent=1) if asked.json else table(rows))
    if ptx.find_ptxas() is None:
        print(
            "no ptxas on PATH nor in the wheel nvidia-cuda-nvcc: registers, spills and stack are not known",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
