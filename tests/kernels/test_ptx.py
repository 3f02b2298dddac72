"""Every kernel compiles for every GPU generation, without a GPU, and rounds as a CPU does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sim.engine import ptx

SCRIPT = Path(__file__).parents[2] / "scripts" / "kernels.py"
BUDGET = 80  # registers of a thread, of what a kernel calls too (docs/kernels.md)
SPILLED = {"8.0": 44, "10.0": 16}  # bytes that the event loop itself spills at that; elsewhere nothing
STACK = 2200  # bytes that the deepest chain of calls keeps there
INSTRUCTIONS = (
    175_000  # of the event loop and all that it calls; with every rule inlined a smaller model had 233,000
)
#: Compiling them takes a minute or two for each: all are among the long runs.
targets = pytest.mark.parametrize("target", [pytest.param(t, marks=pytest.mark.slow) for t in ptx.TARGETS])


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Target → kernel → PTX, filled by `ptx_of`."""
    return {}


def ptx_of(target: str, compiled: dict[str, dict[str, str]], folder: Path) -> dict[str, str]:
    """The kernels for a compute capability, compiled once in a process of their own."""
    if (reason := ptx.why_not()) is not None:
        pytest.skip(reason)
    if target not in compiled:
        words = [sys.executable, str(SCRIPT), "--write", str(folder), "--target", target]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        compiled[target] = {kernel: (folder / f"{kernel}.ptx").read_text() for kernel in ptx.KERNELS}
    return compiled[target]


# ---- rounding ------------------------------------------------------------------------------------------------------
def fused(source: str) -> list[str]:
    """Where floating-point products and sums are, or could become, one rounding: an fma, or a product without its own
    rounding mode that a sum takes up, which the assembler may contract.
    """
    found = re.findall(r"\bfma\.\S*f(?:32|64)\b.*", source)
    products = set(re.findall(r"\bmul\.f(?:32|64)\s+(%\w+)", source))
    for target, values in re.findall(r"\b(?:mov|selp|neg)\.[bf](?:32|64)\s+(%\w+),([^;]*)", source) * 2:
        if products & set(re.findall(r"%\w+", values)):
            products.add(target)
    for line, values in re.findall(r"(\b(?:add|sub)\.f(?:32|64)\s+%\w+,([^;]*))", source):
        if products & set(re.findall(r"%\w+", values)):
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("fma.rn.f64 %fd3, %fd1, %fd2, %fd0;", 1),
        ("mul.f64 %fd3, %fd1, %fd2;\n add.f64 %fd4, %fd3, %fd0;", 1),
        ("mul.f64 %fd3, %fd1, %fd2;\n mov.f64 %fd5, %fd3;\n sub.f64 %fd4, %fd0, %fd5;", 1),
        ("mul.rn.f64 %fd3, %fd1, %fd2;\n add.rn.f64 %fd4, %fd3, %fd0;", 0),
        ("mul.f64 %fd3, %fd1, %fd2;\n add.f64 %fd4, %fd1, %fd2;\n div.rn.f64 %fd5, %fd3, %fd4;", 0),
    ],
)
def test_what_could_be_fused_is_found(source: str, count: int) -> None:
    assert len(fused(source)) == count


@targets
def test_no_kernel_rounds_a_product_and_a_sum_at_once(
    target: str, compiled: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    for kernel, source in ptx_of(target, compiled, tmp_path).items():
        assert fused(source) == [], kernel


# ---- what is compiled ----------------------------------------------------------------------------------------------
@targets
def test_every_kernel_is_an_entry_for_the_right_gpu(
    target: str, compiled: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    for kernel, source in ptx_of(target, compiled, tmp_path).items():
        assert re.search(rf"^\.target sm_{target.replace('.', '')}\b", source, re.M), kernel
        assert len(re.findall(rf"\.visible \.entry \w*{kernel}_kernel\w*\(", source)) == 1, kernel


@targets
def test_the_event_loop_holds_no_floating_point_and_reaches_out_for_nothing(
    target: str, compiled: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    sources = ptx_of(target, compiled, tmp_path)
    assert not re.search(r"\.f(32|64)\b", sources["advance"])
    for kernel, source in sources.items():
        assert not re.search(r"^\.extern \.func", source, re.M), kernel


@targets
def test_the_assembler_takes_every_kernel_and_the_event_loop_keeps_its_budget(
    target: str, compiled: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    sources = ptx_of(target, compiled, tmp_path)
    ptxas = ptx.find_ptxas()
    if ptxas is None:
        pytest.skip("no ptxas on PATH nor in the wheel nvidia-cuda-nvcc")
    usage = {kernel: ptx.assemble(source, target, ptxas) for kernel, source in sources.items()}
    assert max(use.registers for use in usage.values()) <= BUDGET
    assert usage["advance"].spill_store_bytes <= SPILLED.get(target, 0)
    assert [usage[kernel].spill_store_bytes for kernel in usage if kernel != "advance"] == [0] * (
        len(usage) - 1
    )
    assert usage["advance"].stack_bytes <= STACK
    assert usage["advance"].instructions <= INSTRUCTIONS


def test_kernels_are_linked_as_they_are_counted() -> None:
    if (reason := ptx.why_not()) is not None:
        pytest.skip(reason)
    told = (
        "from sim.engine.cuda import kernels\n"
        "print([[kernel.targetoptions[name] for name in ('max_registers', 'lto')] for kernel in kernels()])"
    )
    words = [sys.executable, "-c", told]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=SCRIPT.parents[1])
    assert done.stdout.strip() == str([[BUDGET, False]] * len(ptx.KERNELS))


CALLS = """
.visible .entry kernel(
	.param .u64 p
)
{
	call.uni (retval0),
	first,
	(
	param0
	);
	call.uni
	second,
	(
	param0
	);
}
.func  (.param .b64 retval0) first(
	.param .b64 p
)
{
	call.uni second, (param0);
}
.weak .func second()
{
	ret;
}
"""


def test_who_calls_whom_is_read_from_ptx() -> None:
    assert ptx.calls_of(CALLS) == {"kernel": {"first", "second"}, "first": {"second"}, "second": set()}
