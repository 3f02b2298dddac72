"""Measured times of GPU kernels: matrix products, attention and all-reduce, by GPU.

The tables are conf/kernels/*.csv. conf/kernels/README.md says who measured them, when and with which engine,
docs/step-time.md what they cover. Every function takes numpy arrays or numbers, which broadcast, and gives seconds on
one GPU. None of them gets faster with more work.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from sim.errors import InputError, nearest, problem
from sim.scenario.catalogue import conf_dir, own_conf_dir
from sim.steptime.kernels_file import Block, KernelFile, read_kernel_file
from sim.steptime.kernels_grid import LogGrid

Number = float | np.ndarray
LINE_CONTEXTS = (256, 4096)  # tokens a sequence; a line through the times at these two stands for all
PAIR_LENGTHS = (4096, 16384)  # prompt lengths between which the cost of a pair is taken
PRECISIONS = {"bfloat16": "bf16", "fp16": "bf16"}  # names of the same speed
KV_PRECISIONS = {"bfloat16": "bf16", "fp16": "bf16", "int8": "fp8"}
BEYOND = {  # past the last point, by axis
    "matmul": (1.0, 1.0, 1.0),  # n, k, tokens
    "decode": (0.0, 0.0, 1.0, 1.0),  # KV heads, queries of a KV head, sequences, context
    "context": (1.0, 1.0, 2.0),  # KV heads, queries of a KV head, prompt tokens
    "mla_decode": (1.0, 1.0, 1.0),  # heads, sequences, context
    "mla_context": (1.0, 2.0),  # heads, prompt tokens
    "allreduce": (0.0, 1.0),  # GPUs, bytes
}
WORDS = {
    "matmul": 2,
    "decode": 4,
    "context": 4,
    "mla_decode": 3,
    "mla_context": 3,
    "allreduce": 2,
}  # of a block's head


class NoTable(LookupError):  # noqa: N818 - it says what there is not
    """The tables of this GPU hold no such measurement; the message says what they hold."""


class KernelTables:
    """The kernel times of one GPU."""

    def __init__(self, name: str, file: KernelFile) -> None:
        if not {"gpu", "source"} <= set(file.about) or not file.blocks:
            raise ValueError("it needs the lines '# gpu: ...' and '# source: ...' and at least one block")
        self.name = name
        self.about = file.about  # gpu, source, licence, retrieved, and a line for each kind of table
        self._grids = {head: _grid(head, block) for head, block in file.blocks.items()}

    @property
    def source(self) -> str:
        """One line: what was measured, with which engine."""
        return f"kernels measured on {self.about['gpu']} ({self.about['source']})"

    def variants(self, kind: str) -> list[tuple[str, ...]]:
        """What there is of a kind ('matmul', 'decode', 'context', 'mla_decode', 'mla_context', 'allreduce')."""
        return sorted(head[1:] for head in self._grids if head[0] == kind)

    def axes(self, kind: str, *variant: str) -> tuple[np.ndarray, ...]:
        """The points of a table; raises NoTable."""
        return self._grid(kind, *variant).axes

    def has_matmul(self, precision: str) -> bool:
        """Whether products of this precision were measured on this GPU."""
        return ("matmul", PRECISIONS.get(precision, precision)) in self._grids

    def matmul_s(self, precision: str, m: Number, n: Number, k: Number) -> np.ndarray:
        """Seconds of an (m, k) by (k, n) product of `m` tokens with an (n, k) weight.

        precision: bf16 (also fp16), fp8 (one scale a tensor), fp8_block (128 × 128 blocks), nvfp4: weights and
        activations both. Raises NoTable where it was not measured: nothing stands in for it silently. n and k below
        128 take as long as 128; past the last point of any of the three the time goes on proportionally.
        """
        return self._grid("matmul", PRECISIONS.get(precision, precision)).at(n, k, m)

    def decode_attention_s(
        self,
        n_seqs: Number,
        context: Number,
        heads: int,
        kv_heads: int,
        head_dim: int,
        window: int = 0,
        kv_precision: str = "bf16",
    ) -> np.ndarray:
        """Seconds of one layer's attention, `n_seqs` sequences that each attend `context` tokens.

        heads, kv_heads: on this GPU. Heads count little, since memory sets the time: more than 8 a KV head take as
        long as 8. More KV heads than measured count as more sequences, for both are read side by side, and so does
        a head dimension between the measured ones. A window that was not measured attends min(context, window) at
        the speed of the whole context. Raises NoTable for a kv_precision that was not measured.
        """
        grid, dim, within = self._attention("decode", kv_precision, head_dim, window)
        attended = np.minimum(context, window) if window and not within else context
        most = grid.axes[0][-1]
        alike = np.asarray(n_seqs, dtype=float) * (head_dim / dim) * max(1.0, kv_heads / most)
        return grid.at(min(kv_heads, most), max(1.0, heads / kv_heads), alike, attended)

    def decode_attention_line(
        self,
        n_seqs: np.ndarray,
        heads: int,
        kv_heads: int,
        head_dim: int,
        window: int = 0,
        kv_precision: str = "bf16",
        contexts: tuple[int, int] = LINE_CONTEXTS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One layer's attention as (base_s, slope_s) of shape n_seqs: base + slope·(KV tokens of all sequences).

        The line goes through the times at the two contexts. Where that makes the base negative it is 0.
        """
        low, high = (
            self.decode_attention_s(n_seqs, c, heads, kv_heads, head_dim, window, kv_precision)
            for c in contexts
        )
        return _line(n_seqs, low, high, contexts)

    def context_attention_s(
        self,
        new_tokens: Number,
        context: Number,
        heads: int,
        kv_heads: int,
        head_dim: int,
        window: int = 0,
        kv_precision: str = "bf16",
    ) -> np.ndarray:
        """Seconds of one layer's attention for one prompt's chunk of `new_tokens` after `context` tokens.

        Measured are whole prompts; each pair of a new token and an earlier one adds `context_attention_pair_s`. A
        window that was not measured takes off the pairs that it leaves out.
        """
        whole, dim, within = self._attention("context", kv_precision, head_dim, window)
        new, before = np.asarray(new_tokens, dtype=float), np.asarray(context, dtype=float)
        spot = _context_spot(whole, heads, kv_heads)
        pair_s = self.context_attention_pair_s(heads, kv_heads, head_dim, kv_precision) * dim / head_dim
        if not window:
            seconds = whole.at(*spot, new) + pair_s * new * before
        else:
            first = np.minimum(new, window)
            early = pair_s * first * np.minimum(before, window) / 2  # pairs of the window's first tokens
            late = (
                whole.at(*spot, new) if within else whole.at(*spot, first) + pair_s * (new - first) * window
            )
            seconds = late + early
        return seconds * head_dim / dim

    def context_attention_pair_s(
        self, heads: int, kv_heads: int, head_dim: int, kv_precision: str = "bf16"
    ) -> float:
        """Seconds of one layer for one token attending one token, in long prompts (4,096 to 16,384 tokens)."""
        grid, dim, _ = self._attention("context", kv_precision, head_dim, 0)
        return float(_pair_s(grid, _context_spot(grid, heads, kv_heads)) * head_dim / dim)

    def mla_decode_s(
        self, n_seqs: Number, context: Number, heads: int, precision: str = "bf16", kv_precision: str = "bf16"
    ) -> np.ndarray:
        """Seconds of one layer's whole MLA block of DeepSeek-V3: its projections and its attention.

        heads: on this GPU. precision: of the projections (bf16, fp8_block, nvfp4). Raises NoTable.
        """
        return self._mla("mla_decode", precision, kv_precision).at(heads, n_seqs, context)

    def mla_decode_line(
        self,
        n_seqs: np.ndarray,
        heads: int,
        precision: str = "bf16",
        kv_precision: str = "bf16",
        contexts: tuple[int, int] = LINE_CONTEXTS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same as (base_s, slope_s) of shape n_seqs, as `decode_attention_line` gives it."""
        low, high = (self.mla_decode_s(n_seqs, c, heads, precision, kv_precision) for c in contexts)
        return _line(n_seqs, low, high, contexts)

    def mla_context_s(
        self,
        new_tokens: Number,
        context: Number,
        heads: int,
        precision: str = "bf16",
        kv_precision: str = "bf16",
    ) -> np.ndarray:
        """Seconds of one layer's whole MLA block for a prompt's chunk of `new_tokens` after `context` tokens."""
        grid = self._mla("mla_context", precision, kv_precision)
        new = np.asarray(new_tokens, dtype=float)
        return grid.at(heads, new) + _pair_s(grid, (heads,)) * new * np.asarray(context, dtype=float)

    def mla_context_pair_s(self, heads: int, precision: str = "bf16", kv_precision: str = "bf16") -> float:
        """Seconds of one layer for one token attending one token under MLA, in long prompts."""
        return float(_pair_s(self._mla("mla_context", precision, kv_precision), (heads,)))

    def allreduce_s(self, n_gpus: int, n_bytes: Number, backend: str = "vllm_graph") -> np.ndarray:
        """Seconds of one all-reduce of `n_bytes` on each of `n_gpus` GPUs of one node; one GPU takes none.

        backend: vllm_graph (vLLM's own kernel inside a CUDA graph) or nccl. Raises NoTable for more GPUs than
        measured.
        """
        sizes = np.asarray(n_bytes, dtype=float)
        if n_gpus <= 1:
            return np.zeros(sizes.shape)
        grid = self._grid("allreduce", backend)
        most = int(grid.axes[0][-1])
        if n_gpus > most:
            raise NoTable(f"{self.name}: all-reduce was measured on up to {most} GPUs, not on {n_gpus}")
        return grid.at(n_gpus, sizes)

    def _grid(self, *head: str) -> LogGrid:
        """A table; raises NoTable."""
        if head not in self._grids:
            there = ", ".join(" ".join(variant) for variant in self.variants(head[0])) or "none"
            raise NoTable(f"{self.name}: no table of {head[0]} for {' '.join(head[1:])}; there are: {there}")
        return self._grids[head]

    def _attention(
        self, kind: str, kv_precision: str, head_dim: int, window: int
    ) -> tuple[LogGrid, int, bool]:
        """A table, its head dimension, and whether it was measured with this window; raises NoTable.

        Without one of this window the whole context's is taken, without one of this head dimension the nearest in
        ratio.
        """
        kv = KV_PRECISIONS.get(kv_precision, kv_precision)
        if (kind, kv, str(head_dim), str(window)) in self._grids:
            return self._grids[kind, kv, str(head_dim), str(window)], head_dim, window > 0
        dims = [int(variant[1]) for variant in self.variants(kind) if variant[0] == kv and variant[2] == "0"]
        if not dims:
            return self._grid(kind, kv), head_dim, False
        dim = min(dims, key=lambda d: (abs(np.log(d / head_dim)), -d))
        return self._grid(kind, kv, str(dim), "0"), dim, False

    def _mla(self, kind: str, precision: str, kv_precision: str) -> LogGrid:
        """A table of MLA blocks; raises NoTable."""
        return self._grid(
            kind, PRECISIONS.get(precision, precision), KV_PRECISIONS.get(kv_precision, kv_precision)
        )


def _grid(head: tuple[str, ...], block: Block) -> LogGrid:
    """A block ready to be read; a window does not grow with the context, nor its prompts' cost by the square.

    Raises ValueError for a kind that there is not.
    """
    beyond = BEYOND.get(head[0], ())
    if len(beyond) != len(block.axes) or len(head) != WORDS[head[0]]:
        raise ValueError(f"{','.join(head)}: no such kind of table; there are: {', '.join(BEYOND)}")
    if head[0] in ("decode", "context") and head[3] != "0":
        beyond = (*beyond[:-1], beyond[-1] - 1.0)
    return LogGrid(block.axes, np.log(block.seconds), beyond)


def _line(
    n_seqs: np.ndarray, low_s: np.ndarray, high_s: np.ndarray, contexts: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """base_s and slope_s a KV token of the line through two contexts; a window can make the slope 0."""
    n = np.asarray(n_seqs, dtype=float)
    slope_s = (high_s - low_s) / (n * (contexts[1] - contexts[0]))
    return np.maximum(0.0, low_s - slope_s * n * contexts[0]), slope_s


def _context_spot(grid: LogGrid, heads: int, kv_heads: int) -> tuple[float, float]:
    """Where a shape lies in a table of prompts: more KV heads than measured count as more queries each."""
    kv = min(float(kv_heads), grid.axes[0][-1])
    return kv, max(1.0, heads / kv)


def _pair_s(grid: LogGrid, spot: tuple[float, ...]) -> np.ndarray:
    """Seconds of one attended pair between two long prompts; a causal prompt of T tokens has T²/2 pairs."""
    low, high = PAIR_LENGTHS
    return 2.0 * (grid.at(*spot, high) - grid.at(*spot, low)) / (high**2 - low**2)


def table_files() -> dict[str, Path]:
    """Name → file of every table; a packaged one comes before one of the same name in ./conf/kernels."""
    folders = [own_conf_dir(), conf_dir()]
    return {path.stem: path for folder in folders if folder for path in sorted(folder.glob("kernels/*.csv"))}


def kernels_for(name: str | None) -> KernelTables | None:
    """The tables that a GPU's `kernels` names, read once a process; None where it names none.

    Raises InputError when there is no table of that name, or the file is not of the form.
    """
    if not name:
        return None
    files = table_files()
    if name not in files:
        raise InputError(problem("gpu.kernels", name, ", ".join(files), nearest(name, files)))
    return _read(name, files[name])


@cache
def _read(name: str, path: Path) -> KernelTables:
    """The file's tables."""
    try:
        return KernelTables(name, read_kernel_file(path))
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"gpu.kernels: {path} cannot be read as a kernel table: {error}") from None
