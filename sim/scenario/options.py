"""Options as files: the user's own in ./conf, and those that are given by their path."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from sim.errors import InputError
from sim.scenario.catalogue import conf_dir, is_file, option_file, own_options, yaml_files
from sim.scenario.story import Choice, refuse_code
from sim.scenario.yaml_file import read_yaml


def kind_of(group: str, option: str) -> Any:
    """The `kind` that an option gives, if any."""
    return read_yaml(option_file(group, option)).get("kind")


def node_of(option: str) -> str:
    """The name that hydra knows an option by: a file's path is no name for it."""
    return f"file_{zlib.crc32(option.encode(errors='surrogateescape')):08x}" if is_file(option) else option


def own_nodes(choices: dict[Choice, str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The chosen options that are files or come from the user's ./conf, read as data; raises InputError."""
    nodes = {}
    for choice, option in choices.items():
        if is_file(option):
            nodes[choice.group, node_of(option)] = option_body(Path(option), choice.group)
            continue
        own = own_options(choice.group).get(option)
        if own is None:
            continue
        packaged = yaml_files(conf_dir() / choice.group).get(option)
        if packaged is None:
            nodes[choice.group, option] = option_body(own, choice.group)
        elif packaged.read_bytes() != own.read_bytes():
            raise InputError(
                f"{own}: the catalogue has a {choice.group} {option!r} already: give yours another name"
            )
    return nodes


def option_body(path: Path, group: str) -> dict[str, Any]:
    """What an option of the user's says."""
    body = read_yaml(path, packages=("_global_",) if group == "slo" else ("_group_", group))
    refuse_code(body, str(path))
    if "defaults" in body:
        raise InputError(f"{path}: defaults: an option builds on no other")
    return body
