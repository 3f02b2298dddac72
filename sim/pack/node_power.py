"""What a pool on a cluster draws around its GPUs: as the nodes that it may run on, in the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.scenario.cluster import NodeGroup
from sim.scenario.pool import Pool
from sim.scenario.site import Site


def with_node_power(pool: Pool, groups: Sequence[NodeGroup]) -> Pool:
    """The pool with its nodes' watts beside their GPUs, and with their site; groups weigh alike, as in its price."""
    host_w = sum(group.host_w for group in groups) / len(groups)
    gpu = replace(pool.gpu, power=replace(pool.gpu.power, host_w=host_w))
    return replace(pool, gpu=gpu, site=mean_site([group.site for group in groups]))


def mean_site(sites: Sequence[Site]) -> Site:
    """One site that stands for several: the mean of their grams for a kWh of machines, and of their PUE."""
    if all(site == sites[0] for site in sites):
        return sites[0]
    pue = sum(site.pue for site in sites) / len(sites)
    grams = sum(site.pue * site.g_co2e_per_kwh for site in sites) / len(sites)
    hours = by_hour(sites, pue)
    return replace(
        sites[0], name="mean of several", pue=pue, g_co2e_per_kwh=grams / pue, g_co2e_by_hour=hours
    )


def by_hour(sites: Sequence[Site], pue: float) -> tuple[float, ...]:
    """The same of each hour, up to the longest of the series; nothing where no site has one."""
    n = max(len(site.g_co2e_by_hour) for site in sites)
    hours = [(site.g_co2e_by_hour or (site.g_co2e_per_kwh,), site.pue) for site in sites]
    return tuple(
        sum(own * grams[i % len(grams)] for grams, own in hours) / len(sites) / pue for i in range(n)
    )
