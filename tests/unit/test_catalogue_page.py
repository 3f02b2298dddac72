"""docs/catalogue.md says of every model and GPU what its file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware_kit import CONF, gpu, model

from sim.scenario.hardware import Gpu, Model
from sim.steptime.params import attention_layers, kv_bytes_per_token, moe_layers

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"


def layers_text(found: Model) -> str:
    """`48: 24 with experts, 36 with a window of 8192`."""
    parts = []
    if 0 < moe_layers(found) < found.layers:
        parts.append(f"{moe_layers(found)} with experts")
    if attention_layers(found) < found.layers:
        parts.append(f"{attention_layers(found)} with attention")
    if found.recurrent_layers:
        parts.append(f"{found.recurrent_layers} Mamba2")
    if found.window_layers:
        parts.append(f"{found.window_layers} with a window of {found.sliding_window}")
    return f"{found.layers}: {', '.join(parts)}" if parts else str(found.layers)


def model_row(option: str) -> str:
    """The line of a model in the page's table."""
    found = model(option)
    size = f"{found.params_b:.4g}" + (
        f" ({found.active_params_b:.3g})" if found.active_params_b < 0.95 * found.params_b else ""
    )
    experts = f"{found.experts_active} of {found.experts}" if found.experts else "–"
    kv = f"{kv_bytes_per_token(found, 'bf16') / 1024:.4g}"
    link = f"[config]({found.source})"
    return (
        f"| `{option}` | {size} | {layers_text(found)} | {experts} | {found.attention} | {kv} | "
        f"{found.max_model_len:,} | {link} |"
    )


def gpu_row(option: str) -> str:
    """The line of a GPU in the page's table."""
    found = gpu(option)
    peaks = " / ".join(
        "–" if x is None else f"{x:g}"
        for x in (found.dense_bf16_tflops, found.dense_fp8_tflops, found.dense_fp4_tflops)
    )
    price = f"{found.usd_per_hour:g}" + (" (assumed)" if found.price_confidence == "MISSING" else "")
    return (
        f"| `{option}` | {found.architecture} | {found.memory_gb:g} | {found.memory_bw_gb_s:g} | {peaks} | "
        f"{link_text(found)} | {found.tdp_w:g} | {price} |"
    )


def link_text(found: Gpu) -> str:
    """How fast the GPUs of a node talk, one direction."""
    return f"NVLink {found.nvlink_gb_s:g}" if found.nvlink_gb_s else f"PCIe {found.pcie_gb_s:g}"


ROWS = {
    **{f"model/{p.stem}": model_row(p.stem) for p in sorted((CONF / "model").glob("*.yaml"))},
    **{f"gpu/{p.stem}": gpu_row(p.stem) for p in sorted((CONF / "gpu").glob("*.yaml"))},
}


@pytest.mark.parametrize("option", sorted(ROWS))
def test_the_page_has_the_option_as_it_is(option: str) -> None:
    assert ROWS[option].replace(
        "NVLink", "Infinity Fabric" if "mi3" in option else "NVLink"
    ) in PAGE.read_text(encoding="utf-8")


def test_the_page_has_nothing_that_is_not_in_the_catalogue() -> None:
    named = {line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")}
    assert named == {option.split("/")[1] for option in ROWS}
