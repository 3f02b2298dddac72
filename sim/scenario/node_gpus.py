"""A node group says its GPU by the name of an option, as `h100`, or in full: here a name becomes the option's keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.errors import InputError, nearest, problem
from sim.scenario.catalogue import is_file, option_file, option_files
from sim.scenario.inherit import is_list
from sim.scenario.options import option_body


def with_gpus(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario's data with the GPU of each node group in full; what is no option's name stays as it is."""
    cluster = raw.get("cluster")
    if not isinstance(cluster, Mapping) or not is_list(cluster.get("node_groups")):
        return dict(raw)
    return {
        **raw,
        "cluster": {**cluster, "node_groups": [with_gpu(group) for group in cluster["node_groups"]]},
    }


def with_gpu(group: Any) -> Any:
    """One node group."""
    name = group.get("gpu") if isinstance(group, Mapping) else None
    if not isinstance(name, str) or why_no_gpu("gpu", name) is not None:
        return group
    return {**group, "gpu": option_body(option_file("gpu", name), "gpu")}


def why_no_gpu(key: str, name: str) -> str | None:
    """A line where the name is no GPU's; None where it is."""
    if is_file(name):
        try:
            option_body(option_file("gpu", name), "gpu")
        except InputError as error:
            return f"{key}: {error.problems[0]}"
        return None
    options = option_files("gpu")
    if name in options:
        return None
    return problem(key, name, f"an option of gpu: {', '.join(options)}", nearest(name, options))


def gpu_problems(raw: Mapping[str, Any]) -> Iterator[str]:
    """A line for each node group whose GPU has a name that there is not."""
    cluster = raw.get("cluster")
    groups = cluster.get("node_groups") if isinstance(cluster, Mapping) else None
    for place, group in enumerate(groups if is_list(groups) else ()):
        name = group.get("gpu") if isinstance(group, Mapping) else None
        if isinstance(name, str) and (line := why_no_gpu(f"cluster.node_groups.{place}.gpu", name)):
            yield line
