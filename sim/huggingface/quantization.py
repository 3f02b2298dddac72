"""In which format a checkpoint's weights lie, read off its quantization_config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.huggingface.config_json import Config

PLAIN = {  # quant_method → format, where nothing else decides
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "mxfp4": "mxfp4",
    "awq": "int4",
    "auto-round": "int4",
    "intel/auto-round": "int4",
}


def weight_format(config: Config) -> str:
    """`fp8`, `fp8_weights`, `int8`, `int4`, `nvfp4`, `mxfp4`; empty: not quantised; `?…`: not known, with its name."""
    said = config.mapping("quantization_config")
    if not said:
        return ""
    method = str(said.get("quant_method", "")).lower()
    if method == "gptq" or method == "bitsandbytes":
        return "int8" if said.get("bits") == 8 or said.get("load_in_8bit") is True else "int4"
    if method in PLAIN:
        return PLAIN[method]
    if method == "modelopt" or "quant_algo" in said:
        return of_algorithm(str(said.get("quant_algo", "")).lower())
    if method in ("compressed-tensors", "compressed_tensors"):
        return of_groups(said)
    return f"?{method or 'unnamed'}"[:40]


def of_algorithm(name: str) -> str:
    """NVIDIA ModelOpt's `quant_algo`."""
    for known in ("nvfp4", "mxfp4", "fp8", "int4", "int8"):
        if known in name:
            return known
    return f"?{name or 'modelopt'}"[:40]


def of_groups(said: Mapping[str, Any]) -> str:
    """compressed-tensors: the narrowest weights of any group, and whether activations are quantised with them."""
    kinds = [kind_of_group(weights, inputs) for weights, inputs in groups(said)]
    order = ("mxfp4", "nvfp4", "int4", "fp8_weights", "fp8", "int8")
    return next((kind for kind in order if kind in kinds), "?compressed-tensors")


def groups(said: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Each group's weights and input activations."""
    found = said.get("config_groups")
    for group in found.values() if isinstance(found, dict) else ():
        if isinstance(group, dict) and isinstance(group.get("weights"), dict):
            yield group["weights"], group.get("input_activations")


def kind_of_group(weights: Mapping[str, Any], inputs: Any) -> str:
    """One group's format."""
    bits, kind = weights.get("num_bits"), weights.get("type")
    if kind == "float" and bits == 4:
        return "mxfp4" if weights.get("group_size") == 32 else "nvfp4"
    if kind == "float" and bits == 8:
        return "fp8" if inputs else "fp8_weights"
    if kind == "int" and bits in (4, 8):
        return f"int{bits}"
    return ""
