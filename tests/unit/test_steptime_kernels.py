"""Measured kernel times: the tables are read as they stand, more work is never faster, nothing beats the hardware."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import shared_data
from hardware_kit import CONF, gpu
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.steptime.kernels import KernelTables, NoTable, kernels_for, table_files
from sim.steptime.kernels_file import Block, read_kernel_file

sys.path.insert(0, str(CONF.parent / "scripts"))
from kernel_tables import GPUS, KV_BYTES, WEIGHT_BYTES, Gpu

NAMES = sorted(path.stem for path in (CONF / "kernels").glob("*.csv"))
ROOT = CONF.parent


def tables(name: str) -> KernelTables:
    found = kernels_for(name)
    assert found is not None
    return found


def test_there_are_tables_for_six_gpus() -> None:
    assert NAMES == ["a100_sxm", "b200_sxm", "h100_sxm", "h200_sxm", "l40s", "rtx_pro_6000"]
    assert set(NAMES) <= set(table_files())
    assert sum((CONF / "kernels" / f"{name}.csv").stat().st_size for name in NAMES) < 1.5e6


@pytest.mark.parametrize("path", sorted((CONF / "gpu").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_gpu_names_a_table_that_there_is(path: Path) -> None:
    assert gpu(path.stem).kernels in {None, *NAMES}


def test_the_table_is_of_the_gpu_that_names_it() -> None:
    for option in ("a100_80", "l40s", "h100", "h200", "b200", "rtx_pro_6000"):
        name = gpu(option).kernels
        assert name is not None
        assert tables(name).about["gpu"].split()[0] == gpu(option).name.split()[0]
    assert gpu("a100_40").kernels is None  # less bandwidth than the one that was measured
    assert kernels_for(None) is None


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"gpu.kernels: 'h100_sxn' is not valid.*did you mean 'h100_sxm'"):
        kernels_for("h100_sxn")
    with pytest.raises(InputError, match="is not valid"):
        kernels_for("../gpu/h100")


HEAD = "# gpu: G\n# source: S\n"
BLOCK = "= allreduce,nccl\ngpus,1,2\n2,5,6\n4,7,8\n"


def test_a_table_of_ones_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "conf" / "kernels" / "mine.csv"
    own.parent.mkdir(parents=True)
    own.write_text(HEAD + BLOCK)
    monkeypatch.chdir(tmp_path)
    assert tables("mine").allreduce_s(4, 2, "nccl") == pytest.approx(8e-6)
    assert tables("mine").source == "kernels measured on G (S)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BLOCK, "needs the lines '# gpu: ...' and '# source: ...'"),
        (HEAD, "at least one block"),
        (HEAD + "= allreduce,nccl\n", "allreduce,nccl: no rows"),
        (HEAD + "= allreduce,nccl\ngpus,2,1\n2,5,6\n", "do not increase"),
        (HEAD + "= allreduce,nccl\ngpus,1,2\n2,5,0\n", "every value must be above 0"),
        (HEAD + "= allreduce,nccl\ngpus,1,2\n2,5,nan\n", "every value must be above 0"),
        (HEAD + "= allreduce,nccl\ngpus,1,2\n2,5\n", "2 values for 3 columns"),
        (HEAD + "= allreduce,nccl\ngpus,1,2\n2,5,x\n", "cannot be read as a kernel table"),
        (HEAD + "= allreduce,nccl\ngpus,1,2\n4,5,6\n2,5,6\n", "not every combination of gpus, in order"),
        (HEAD + "= allreduse,nccl\ngpus,1,2\n2,5,6\n", "allreduse,nccl: no such kind of table"),
        (HEAD + "= matmul,bf16\nn,1,2\n2,5,6\n", "matmul,bf16: no such kind of table"),
        (HEAD + "= decode,bf16,128\nkv,q,s,1\n1,1,1,6\n", "decode,bf16,128: no such kind of table"),
        ("\udcff", "cannot be read as a kernel table"),
    ],
)
def test_a_broken_table_is_refused_in_one_line(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "conf" / "kernels" / "mine.csv"
    own.parent.mkdir(parents=True)
    own.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        kernels_for("mine")
    assert len(refused.value.problems) == 1
    assert "\n" not in refused.value.problems[0]


@pytest.mark.parametrize("name", NAMES)
def test_points_of_the_tables_come_back(name: str) -> None:
    kernels = tables(name)
    blocks = read_kernel_file(CONF / "kernels" / f"{name}.csv").blocks
    for head, (axes, seconds) in blocks.items():
        where = np.meshgrid(*axes, indexing="ij")
        match head:
            case ("matmul", precision):
                found = kernels.matmul_s(precision, where[2], where[0], where[1])
                assert np.allclose(found, seconds, rtol=1e-9, atol=0)
            case ("decode" | "context" as kind, kv, dim, window):
                for index in np.ndindex(seconds.shape[:2]):
                    kv_heads = int(axes[0][index[0]])
                    shape = (int(axes[1][index[1]]) * kv_heads, kv_heads, int(dim), int(window))
                    if kind == "decode":
                        found = kernels.decode_attention_s(
                            where[2][index], where[3][index], *shape, kv_precision=kv
                        )
                    else:
                        found = kernels.context_attention_s(where[2][index], 0, *shape, kv_precision=kv)
                    assert np.allclose(found, seconds[index], rtol=1e-9, atol=0)
            case ("mla_decode", precision, kv):
                found = kernels.mla_decode_s(where[1][0], where[2][0], int(axes[0][0]), precision, kv)
                assert np.allclose(found, seconds[0], rtol=1e-9, atol=0)
            case ("mla_context", precision, kv):
                found = kernels.mla_context_s(axes[1], 0, int(axes[0][-1]), precision, kv)
                assert np.allclose(found, seconds[-1], rtol=1e-9, atol=0)
            case ("allreduce", backend):
                for gpus, line in zip(axes[0], seconds, strict=True):
                    assert np.allclose(
                        kernels.allreduce_s(int(gpus), axes[1], backend), line, rtol=1e-9, atol=0
                    )
            case _:
                raise AssertionError(head)


@pytest.mark.parametrize("name", NAMES)
def test_no_point_is_faster_than_one_of_less_work(name: str) -> None:
    for head, (axes, seconds) in read_kernel_file(CONF / "kernels" / f"{name}.csv").blocks.items():
        assert seconds.min() > 0, head
        for axis in range(len(axes)):
            if head[0] != "allreduce" or axis == 1:
                assert np.all(np.diff(seconds, axis=axis) >= 0), (head, axis)


def number(most: int) -> st.SearchStrategy[int]:
    """Whole numbers, evenly by their logarithm."""
    return st.floats(0, np.log(most)).map(lambda x: round(np.exp(x)))


def more(number: int, factor: float) -> int:
    """The number, or up to four times as many."""
    return max(number, round(number * factor))


@given(
    name=st.sampled_from(NAMES),
    shape=st.tuples(number(100_000), number(200_000), number(200_000)),
    factors=st.tuples(*[st.floats(1, 4)] * 3),
    pick=st.integers(0, 9),
)
@settings(max_examples=200, deadline=None)
def test_more_of_a_product_takes_no_less(
    name: str, shape: tuple[int, int, int], factors: tuple[float, float, float], pick: int
) -> None:
    kernels = tables(name)
    variants = kernels.variants("matmul")
    (precision,) = variants[pick % len(variants)]
    less_s = kernels.matmul_s(precision, *shape)
    more_s = kernels.matmul_s(precision, *map(more, shape, factors))
    assert more_s >= less_s * (1 - 1e-12)


@given(
    name=st.sampled_from(NAMES),
    spot=st.tuples(number(5000), number(200_000)),
    factors=st.tuples(st.floats(1, 4), st.floats(1, 4)),
    heads=st.tuples(st.integers(1, 48), st.integers(1, 16)),
    dim=st.sampled_from([64, 80, 96, 128, 192, 256, 512]),
    window=st.sampled_from([0, 128, 1024, 4096]),
)
@settings(max_examples=200, deadline=None)
def test_more_attention_takes_no_less(
    name: str,
    spot: tuple[int, int],
    factors: tuple[float, float],
    heads: tuple[int, int],
    dim: int,
    window: int,
) -> None:
    kernels, (kv_heads, queries) = tables(name), heads
    shape = (kv_heads * queries, kv_heads, dim, window)
    for of in (kernels.decode_attention_s, kernels.context_attention_s):
        less_s, more_s = of(*spot, *shape), of(*map(more, spot, factors), *shape)
        assert more_s >= less_s * (1 - 1e-12), of
        assert of(*spot, (kv_heads + 1) * queries, kv_heads + 1, dim, window) >= less_s * (1 - 1e-12), of


def pairs(tokens: np.ndarray, window: int) -> np.ndarray:
    """Pairs that a causal prompt attends."""
    inside = np.minimum(tokens, window or np.inf)
    return tokens * inside - inside**2 / 2


def shares(head: tuple[str, ...], block: Block, card: Gpu) -> dict[str, np.ndarray]:
    """Of the data sheet's peaks, by what a kernel at least reads, computes or sends."""
    x, seconds = np.meshgrid(*block.axes, indexing="ij"), block.seconds
    flops, read, sent = (np.zeros(seconds.shape) for _ in range(3))
    peak = card.bf16_tflops
    match head:
        case ("matmul", precision):
            flops, read = 2 * x[0] * x[1] * x[2], x[0] * x[1] * WEIGHT_BYTES[precision]
            peak = {"bf16": card.bf16_tflops, "nvfp4": card.fp4_tflops}.get(precision, card.fp8_tflops)
        case ("decode", kv, dim, window):
            attended = x[0] * x[2] * np.minimum(x[3], int(window) or np.inf) * int(dim)
            flops, read = 4 * attended * x[1], 2 * attended * KV_BYTES[kv]
        case ("context", _, dim, window):
            flops = 4 * x[0] * x[1] * pairs(x[2], int(window)) * int(dim)
        case ("mla_decode", _, kv):
            flops, read = 2 * x[0] * x[1] * x[2] * (2 * 512 + 64), x[1] * x[2] * 576 * KV_BYTES[kv]
            peak = card.bf16_tflops if kv == "bf16" else card.fp8_tflops
        case ("mla_context", *_):
            flops = 2 * x[0] * pairs(x[1], 0) * (192 + 128)
        case ("allreduce", _):
            sent = 2 * (x[0] - 1) / x[0] * x[1]
    return {
        "compute": flops / (peak * 1e12) / seconds,
        "memory": read / (card.memory_gb_s * 1e9) / seconds,
        "link": sent / (card.link_gb_s * 1e9) / seconds,
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_kernel_beats_the_data_sheet(name: str) -> None:
    for head, block in read_kernel_file(CONF / "kernels" / f"{name}.csv").blocks.items():
        for what, share in shares(head, block, GPUS[name]).items():
            assert share.max() <= 1.0, (head, what, block.axes, np.unravel_index(share.argmax(), share.shape))


@given(
    name=st.sampled_from(NAMES),
    sizes=st.tuples(number(100_000), number(200_000), number(200_000)),
    spot=st.tuples(number(5000), number(200_000)),
    heads=st.tuples(st.integers(1, 48), st.integers(1, 16)),
    dim=st.sampled_from([64, 80, 96, 128, 192, 256, 512]),
)
@settings(max_examples=200, deadline=None)
def test_nothing_between_or_beyond_the_points_beats_the_data_sheet(
    name: str, sizes: tuple[int, int, int], spot: tuple[int, int], heads: tuple[int, int], dim: int
) -> None:
    kernels, card, (m, n, k) = tables(name), GPUS[name], sizes
    for (precision,) in kernels.variants("matmul"):
        peak = {"bf16": card.bf16_tflops, "nvfp4": card.fp4_tflops}.get(precision, card.fp8_tflops)
        least_s = max(
            2 * m * n * k / (peak * 1e12), n * k * WEIGHT_BYTES[precision] / (card.memory_gb_s * 1e9)
        )
        assert kernels.matmul_s(precision, m, n, k) >= least_s, precision
    (kv_heads, queries), (sequences, context) = heads, spot
    shape = (kv_heads * queries, kv_heads, dim)
    read = 2 * sequences * context * kv_heads * dim * KV_BYTES["bf16"]
    assert kernels.decode_attention_s(sequences, context, *shape) >= read / (card.memory_gb_s * 1e9)
    flops = 4 * kv_heads * queries * dim * (sequences * context + sequences**2 / 2)
    assert kernels.context_attention_s(sequences, context, *shape) >= flops / (card.bf16_tflops * 1e12)


@pytest.mark.parametrize("path", sorted((CONF / "gpu").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_data_sheets_of_the_script_are_the_catalogues(path: Path) -> None:
    card = gpu(path.stem)
    if card.kernels is not None:
        sheet = GPUS[card.kernels]
        assert sheet.memory_gb_s == pytest.approx(card.memory_bw_gb_s, rel=0.02)
        assert sheet.bf16_tflops == pytest.approx(card.dense_bf16_tflops, rel=0.02)
        assert sheet.fp8_tflops == pytest.approx(card.dense_fp8_tflops or 0, rel=0.02)
        assert sheet.link_gb_s == pytest.approx(card.nvlink_gb_s or card.pcie_gb_s, rel=0.02)


@given(
    name=st.sampled_from(NAMES),
    gpus=st.integers(2, 8),
    size=number(10**10),
    factor=st.floats(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_more_bytes_take_no_less(name: str, gpus: int, size: int, factor: float) -> None:
    kernels = tables(name)
    assert kernels.allreduce_s(gpus, more(size, factor)) >= kernels.allreduce_s(gpus, size) * (1 - 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_lines_go_through_their_contexts(name: str) -> None:
    kernels, n = tables(name), np.array([1, 3, 8, 64, 300, 1024])
    base_s, slope_s = kernels.decode_attention_line(n, 32, 8, 128)
    assert np.all(base_s >= 0)
    assert np.all(slope_s > 0)
    for context in (256, 4096):
        exact_s = kernels.decode_attention_s(n, context, 32, 8, 128)
        lies = base_s > 0
        assert np.allclose((base_s + slope_s * n * context)[lies], exact_s[lies], rtol=1e-9)
    _, within_s = kernels.decode_attention_line(n, 32, 8, 128, window=128)
    assert np.all(within_s == 0)


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(NoTable, match="a100_sxm: no table of matmul for fp8; there are: bf16"):
        tables("a100_sxm").matmul_s("fp8", 1, 4096, 4096)
    with pytest.raises(NoTable, match="no table of matmul for int4"):
        tables("b200_sxm").matmul_s("int4", 1, 4096, 4096)
    with pytest.raises(NoTable, match="up to 8 GPUs, not on 16"):
        tables("h100_sxm").allreduce_s(16, 1e6)
    with pytest.raises(NoTable, match="no table of mla_decode"):
        tables("a100_sxm").mla_decode_s(1, 100, 16)
    assert not tables("a100_sxm").has_matmul("fp8")
    assert tables("h100_sxm").has_matmul("fp16")


@pytest.mark.parametrize("name", ["a100_sxm", *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES[1:])])
def test_a_table_is_made_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    folder = shared_data("latency/kernels")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "kernel_tables.py", folder, "--to", tmp_path, "--gpu", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.csv").read_bytes() == (CONF / "kernels" / f"{name}.csv").read_bytes()


def test_the_script_says_where_the_tables_come_from() -> None:
    script = ROOT / "scripts" / "kernel_tables.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "aisimulate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_page_shows_the_shares_of_the_tables() -> None:
    script = ROOT / "scripts" / "kernel_shares.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 * (2 + len(NAMES)) + 1
    assert done.stdout in (ROOT / "docs" / "step-time.md").read_text(encoding="utf-8")


def test_the_page_says_how_far_the_line_is_off() -> None:
    n, errors = np.array([1, 8, 32, 64, 256, 1024]), []
    for kernels, shape in product(map(tables, NAMES), [(32, 8, 128), (16, 2, 128), (8, 1, 128)]):
        base_s, slope_s = kernels.decode_attention_line(n, *shape)
        for c in (512, 1024, 2048):
            exact_s = kernels.decode_attention_s(n, c, *shape)
            errors.append(np.abs((base_s + slope_s * n * c) / exact_s - 1))
    mean, high, worst = np.mean(errors), np.percentile(errors, 90), np.max(errors)
    said = (ROOT / "docs" / "step-time.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"that line is {mean:.0%} off on average".replace("%", " %") in said
    assert f"{high:.0%} at the ninetieth percentile and {worst:.0%} at worst".replace("%", " %") in said


@pytest.mark.parametrize(
    ("name", "precision", "said"),
    [
        ("h100_sxm", "fp8", 0.64),
        ("b200_sxm", "fp8", 0.78),
        ("b200_sxm", "nvfp4", 0.57),
        ("l40s", "fp8", 0.56),
    ],
)
def test_small_weights_gain_less_than_their_bytes(name: str, precision: str, said: float) -> None:
    """As the page says; (n, k) of a layer of Llama 3.1 8B, 16 tokens."""
    n, k = np.array([(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)]).T
    kernels = tables(name)
    share = kernels.matmul_s(precision, 16, n, k).sum() / kernels.matmul_s("bf16", 16, n, k).sum()
    assert round(float(share), 2) == said
    assert share > WEIGHT_BYTES[precision] / WEIGHT_BYTES["bf16"]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_was_measured(name: str) -> None:
    page = (ROOT / "docs" / "step-time.md").read_text(encoding="utf-8")
    _, file, engine, products, attention, mla, day = (
        cell.strip()
        for cell in next(line for line in page.splitlines() if f"| {name} |" in line).split("|")[1:-1]
    )
    kernels = tables(name)
    assert file == name
    assert kernels.about["matmul"].startswith(f"vLLM {engine}, ")
    assert ("not told" in day) == ("not told" in kernels.about["matmul"])
    assert "not told" in day or day in kernels.about["matmul"]
    assert products.split(", ") == [precision for (precision,) in kernels.variants("matmul")]
    dims = sorted({int(variant[1]) for variant in kernels.variants("decode")})
    kv = sorted({variant[0] for variant in kernels.variants("decode")})
    assert attention.removeprefix("head dimension ") == f"{', '.join(map(str, dims))} ({', '.join(kv)})"
    blocks = kernels.variants("mla_decode")
    assert blocks == kernels.variants("mla_context")
    assert (
        set(blocks) == set(product(*(part.split(", ") for part in mla.split("; "))))
        if mla != "–"
        else not blocks
    )
