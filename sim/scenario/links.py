"""Links that cold starts share: an object store, a registry, the uplink of a rack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from sim.errors import nearest, problem
from sim.scenario.coldstart import Transfer, path_of
from sim.scenario.types import CONFIG, Text

if TYPE_CHECKING:
    from sim.scenario.scenario import Scenario

LINK_MIN_GB_S = 0.001
LINK_MAX_GB_S = 100_000.0  # a thousand network cards of 800 Gbit/s


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Link:
    """What all transfers `over` a link of this name carry together, in GB/s (decimal). Without it they do not meet."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    bandwidth_gb_s: Annotated[float, Field(ge=LINK_MIN_GB_S, le=LINK_MAX_GB_S)]
    source: Text = ""
    confidence: Text = ""


Links = Annotated[tuple[Link, ...], Field(max_length=60)]


def link_problems(scenario: Scenario) -> Iterator[str]:
    """A link has a name of its own and something goes over it; transfers name links that there are."""
    names = [link.name for link in scenario.links]
    transfers = [
        (f"pools.{pool.name}.coldstart.stages.{place}.also_over", stage)
        for pool in scenario.pools
        for place, stage in enumerate(pool.coldstart.stages)
        if isinstance(stage, Transfer)
    ]
    used = sorted({name for _, stage in transfers for name in path_of(stage)} - {"pcie"})
    for place, name in enumerate(names):
        key = f"links.{place}.name"
        if name == "pcie":
            yield problem(key, name, "another name: each GPU has its PCIe link for itself")
        elif name in names[:place]:
            yield problem(key, name, "a name that no link before it has")
        elif name not in used:
            allowed = f"what a transfer of a cold start goes over: {', '.join(used) or 'there is none'}"
            yield problem(key, name, allowed, nearest(name, used))
    for key, stage in transfers:
        for name in stage.also_over:
            if name not in names:
                yield problem(
                    key, name, f"links: {', '.join(names) or 'there are none'}", nearest(name, names)
                )
        if len(set(path_of(stage))) < len(path_of(stage)):
            yield problem(key, list(stage.also_over), "each link once, `over` included")
