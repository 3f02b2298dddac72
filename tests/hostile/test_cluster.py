"""A cluster that makes no sense is refused in one line that names the key and what would do."""

from __future__ import annotations

import pytest

from .drive import faults, fleetsim, told

DGX = "cluster=one_dgx_h100"
MIG = ("cluster=mig_a100_pool", "gpu=a100_80")
GROUP = "cluster.node_groups.0"
BY_USE = "cluster.autoscaler.scale_down_utilization_threshold={}"
WINDOWS = f"{GROUP}.no_capacity.windows"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        # what kind of GPU, and how many of them
        (
            ["cluster=edge_l4"],
            "gpu.name: 'H100 SXM 80 GB' is not valid; allowed: a GPU that the cluster has: L4 24 GB",
        ),
        (
            [DGX, "pool.tp=16"],
            "pool.tp: 16 is not valid; allowed: tp·dp up to 8, the GPUs of a node (8 in dgx)",
        ),
        ([DGX, "pool.dp=4", "pool.tp=4"], "pool.dp: 4 is not valid; allowed: tp·dp up to 8"),
        (["cluster=edge_l4", "gpu=l4", "pool.tp=2"], "tp·dp up to 1, the GPUs of a node (1 in edge)"),
        ([DGX, f"{GROUP}.gpu=h10"], f"{GROUP}.gpu: 'h10' is not valid; allowed: an option of gpu: a100_40,"),
        ([DGX, f"{GROUP}.gpu=h10"], "did you mean 'h100'?"),
        ([DGX, f"{GROUP}.gpu=no.yaml"], f"{GROUP}.gpu: no.yaml"),
        ([DGX, f"{GROUP}.gpus=17"], "cluster.node_groups[0].gpus: 17 is not valid"),
        # gangs of several nodes, and nodes that are not to be
        (
            [DGX, "pool.tp=8", "pool.pp=2"],
            "pool.pp: 2 is not valid; allowed: at most 1: a replica of main takes 8 GPUs of one node for each stage,",
        ),
        (
            ["cluster=three_zones", "pool.tp=8", "pool.pp=4"],
            "pool.pp: 4 is not valid; allowed: at most 3",
        ),
        (
            ["cluster=three_zones", "pool.tp=4", "pool.pp=4", "cluster.autoscaler=null"],
            "pool.pp: 4 is not valid; allowed: at most 2",
        ),
        (
            [DGX, f"{GROUP}.min_nodes=0", f"{GROUP}.max_nodes=0"],
            f"{GROUP}.max_nodes: 0 is not valid; allowed: 1 or more in one of dgx: pool main has no other nodes",
        ),
        (
            [DGX, f"{GROUP}.min_nodes=0", "cluster.autoscaler=null"],
            f"{GROUP}.initial_nodes: 0 is not valid; allowed: 1 or more in one of dgx",
        ),
        (
            [*MIG, "pool.slice=3g.40gb", f"{GROUP}.min_nodes=0", f"{GROUP}.max_nodes=0"],
            f"{GROUP}.max_nodes: 0 is not valid; allowed: 1 or more in one of a100_mig",
        ),
        (
            [DGX, "faults=[{at_s: 9, zone: zone_a, nodes: 2}]"],
            "faults.0.nodes: 2 is not valid; allowed: at most 1, all that dgx can have, or null for all",
        ),
        (
            ["cluster=three_zones", "cluster.random_faults=[{zone: zone_b, nodes: 4, gap: 60}]"],
            "cluster.random_faults.0.nodes: 4 is not valid; allowed: at most 3, all that h100_b can have",
        ),
        # slices
        (["pool.slice=1g.10gb"], "pool.slice: '1g.10gb' is not valid; allowed: null without a cluster"),
        ([DGX, "pool.slice=1g.10gb"], "allowed: null, or mig: dynamic in dgx, whose GPUs are whole"),
        (
            [*MIG],
            "pool.slice: null is not valid; allowed: a profile, or smallest_that_fits: MIG is on in a100_mig",
        ),
        ([*MIG, "pool.slice=3g.40gb", "pool.tp=2"], "pool.tp: 2 is not valid; allowed: 1 with slice 3g.40gb"),
        ([*MIG, "pool.slice=3g.40gb", "pool.pp=2"], "pool.pp: 2 is not valid; allowed: 1 with slice 3g.40gb"),
        ([*MIG, "pool.slice=7g.90gb"], "did you mean '7g.80gb'?"),
        (
            [*MIG, "pool.slice=1g.10gb"],
            "pools.main.slice: 1g.10gb is too small for Llama 3.1 8B in bf16 by 8.3 GiB",
        ),
        (
            [*MIG, "pool.slice=1g.10gb"],
            "the smallest that would do is 1g.20gb (with KV for 131,072 tokens 3g.40gb)",
        ),
        ([*MIG, "pool.slice=7g.80gb", "model=llama_3_1_70b"], "no instance of A100 SXM 80 GB would do"),
        (
            [*MIG, "pool.slice=smallest_that_fits", "model=llama_3_1_70b"],
            "smallest_that_fits: none is large enough",
        ),
        (
            [*MIG, "pool.slice=1g.20gb", f"{GROUP}.mig=all-balanced"],
            "what GPUs of a100_mig are cut into: 1g.10gb,",
        ),
        ([*MIG, "pool.slice=3g.40gb", f"{GROUP}.mig=all-balancd"], "did you mean 'all-balanced'?"),
        ([*MIG, "pool.slice=3g.40gb", f"{GROUP}.mig=all-3g.20gb"], "did you mean 'all-3g.40gb'?"),
        ([*MIG, "pool.slice=3g.40gb", f"{GROUP}.mig=[3g.40gb, 2g.2gb]"], "did you mean '2g.20gb'?"),
        (
            [*MIG, "pool.slice=3g.40gb", f"{GROUP}.mig=[3g.40gb, 3g.40gb, 1g.10gb]"],
            "allowed: what fits on one A100 SXM 80 GB: nearest are [3g.40gb, 3g.40gb],",
        ),
        ([*MIG, "pool.slice=4g.40gb", f"{GROUP}.mig=[4g.40gb, 4g.40gb]"], "nearest are [4g.40gb, 3g.40gb]"),
        (
            ["cluster=edge_l4", "gpu=l4", "pool.slice=1g.5gb", f"{GROUP}.mig=dynamic"],
            "allowed: whole: conf/mig has no profiles of L4 24 GB",
        ),
        # nodes that are lost
        (["faults=[{at_s: 9, zone: a}]"], "faults.0.zone: 'a' is not valid; allowed: a zone: there is none"),
        (
            ["cluster=three_zones", "faults=[{at_s: 9, zone: zone_d}]"],
            "allowed: a zone: zone_a, zone_b, zone_c",
        ),
        (
            ["cluster=three_zones", "faults=[{at_s: 9, node_group: h100_d}]"],
            "a node group: h100_a, h100_b, h100_c",
        ),
        (
            ["cluster=three_zones", "faults=[{at_s: 9, nodes: 1}]"],
            "with node_group or zone, of which nodes are lost",
        ),
        (["cluster=three_zones", "faults=[{at_s: 9, outage_s: 1}]"], "faults.0.outage_s: 1.0 is not valid"),
        (
            ["cluster=three_zones", "faults=[{at_s: 9, zone: zone_a, pool: main}]"],
            "null where nodes are lost",
        ),
        (
            ["cluster=three_zones", "faults=[{at_s: 9, zone: zone_a, node_group: h100_b}]"],
            "allowed: a zone in which node group h100_b has nodes",
        ),
        (
            ["cluster.random_faults=[{gap: 60}]"],
            "cluster.random_faults.0: strikes nothing: the cluster has no node groups",
        ),
        ([DGX, "cluster.random_faults=[{gap: -1}]"], "cluster.random_faults.0.gap: can be negative (-1 s)"),
        ([DGX, "cluster.random_faults=[{gap: 0}]"], "cluster.random_faults.0.gap: has a mean of 0 s"),
        (
            [DGX, "cluster.random_faults=[{zone: z, gap: 60}]"],
            "cluster.random_faults.0.zone: 'z' is not valid",
        ),
        ([DGX, "cluster.random_faults=[{zone: zone_a}]"], "cluster.random_faults[0].gap: is missing"),
        # node groups by name
        (
            [DGX, "pool.node_groups=[dgz]"],
            "pool.node_groups[0]: 'dgz' is not valid; allowed: a node group: dgx",
        ),
        ([DGX, "pool.node_groups=[dgz]"], "did you mean 'dgx'?"),
        (["pool.node_groups=[dgx]"], "allowed: a node group: there is none"),
        (["cluster=mixed_h100_a100", "pool.node_groups=[a100]"], "a GPU that its node groups has: A100"),
        (["cluster=three_zones", f"{GROUP}.name=h100_b"], "cluster.node_groups.1.name: 'h100_b'"),
        # how many nodes
        ([DGX, f"{GROUP}.min_nodes=3"], f"{GROUP}.min_nodes: 3 is not valid; allowed: ≤ max_nodes (1)"),
        (
            [DGX, f"{GROUP}.initial_nodes=2"],
            f"{GROUP}.initial_nodes: 2 is not valid; allowed: from min_nodes (1)",
        ),
        ([DGX, f"{GROUP}.initial_nodes=0"], f"{GROUP}.initial_nodes: 0 is not valid"),
        (
            ["cluster=three_zones", f"{GROUP}.max_nodes=9999"],
            "cluster.node_groups: '10005 nodes' is not valid",
        ),
        ([DGX, f"{GROUP}.max_nodes=10001"], "cluster.node_groups[0].max_nodes: 10001 is not valid"),
        (
            [DGX, f"{GROUP}.usd_per_node_hour=9000"],
            f"{GROUP}.usd_per_node_hour: 9000.0 is not valid; allowed: at most",
        ),
        # times
        (
            [DGX, f"{WINDOWS}=[{{from_s: 9, to_s: 9}}]"],
            f"{WINDOWS}.0.to_s: 9.0 is not valid; allowed: more than",
        ),
        ([DGX, f"{WINDOWS}=[{{from_s: 9, to_s: 3}}]"], f"{WINDOWS}.0.to_s: 3.0 is not valid"),
        ([DGX, f"{WINDOWS}=[{{from_s: 1, to_s: 9}}, {{from_s: 8, to_s: 10}}]"], f"{WINDOWS}.1.from_s: 8.0"),
        ([DGX, f"{WINDOWS}=[{{from_s: 1e6, to_s: 1.1e6}}]"], "when the run is over"),
        ([DGX, f"{GROUP}.provision.driver=-1"], f"{GROUP}.provision.driver: can be negative (-1 s)"),
        ([DGX, f"{GROUP}.provision.booting={{kind: uniform, low: -3, high: 9}}"], "can be negative (-3 s)"),
        ([DGX, f"{GROUP}.provision.booting=1e9"], "no run is longer than 45 days"),
        ([DGX, f"{GROUP}.no_capacity.probability=1.1"], "no_capacity.probability: 1.1 is not valid"),
        ([DGX, "cluster.autoscaler.scan_period_s=0"], "cluster.autoscaler.scan_period_s: 0 is not valid"),
        (
            [DGX, f"{GROUP}.mig_whole=true"],
            "mig_whole: true is not valid; allowed: false where mig of dgx is not dynamic",
        ),
        # who cuts GPUs anew, and who lets nodes go
        (
            [*MIG, f"{GROUP}.mig=all-1g.10gb", f"{GROUP}.mig_repartition=true", "pool.slice=1g.10gb"],
            f"{GROUP}.mig_repartition: true is not valid; allowed: false where mig of a100_mig is not dynamic",
        ),
        (
            ["cluster.consolidation={policy: when_empty}"],
            "cluster.consolidation: 'when_empty' is not valid; allowed: null where the cluster has no node groups",
        ),
        (
            [DGX, "cluster.autoscaler=null", "cluster.consolidation={policy: when_empty}"],
            "cluster.consolidation: 'when_empty' is not valid; allowed: null where cluster.autoscaler is null",
        ),
        (
            [DGX, BY_USE.format(0.5), "cluster.consolidation={policy: when_empty}"],
            BY_USE.format(0.5).replace("=", ": ")
            + " is not valid; allowed: null with a cluster.consolidation",
        ),
        ([DGX, BY_USE.format(50)], BY_USE.format(50).replace("=", ": ") + " is not valid"),
        ([DGX, "cluster.consolidation={policy: whenempty}"], "did you mean 'when_empty'?"),
        ([DGX, "cluster.consolidation={budget: 110%}"], "allowed: a count as 1, or a percentage as 25%"),
        # words
        ([DGX, "cluster.placement=bestfit"], "did you mean 'best_fit'?"),
        (["cluster.law=a.py:place"], "allowed: nothing where the cluster has no node groups"),
        ([DGX, "cluster.law=a.txt"], "cluster.law: 'a.txt' is not valid; allowed: file.py:function"),
        ([DGX, "cluster.placement=weighted"], "cluster.scores: nothing counts"),
        ([DGX, "cluster.scores.fgd=2"], "nothing where cluster.placement is best_fit"),
        ([DGX, "cluster.placement=weighted", "cluster.scores={fdg: 2}"], "did you mean 'fgd'?"),
        (
            [DGX, "cluster.capacity_shape=[{utilization: 9, score: 0}, {utilization: 9, score: 1}]"],
            "cluster.capacity_shape.1.utilization: 9 is not valid; allowed: more than that of the point before",
        ),
        ([DGX, "cluster.capacity_shape=[{utilization: 9, score: 11}]"], "score: 11 is not valid"),
        ([DGX, "cluster.autoscaler.expander=least-waste"], "did you mean 'least_waste'?"),
        ([DGX, f"{GROUP}.market=spott"], "did you mean 'spot'?"),
        ([DGX, f"{GROUP}.max_node=2"], "did you mean 'max_nodes'?"),
        (["cluster=dgx"], "cluster: 'dgx' is not one of edge_l4,"),
        (["cluster=7"], "cluster: 7 is not a mapping of keys and values"),
        (["cluster.node_groups=7"], "cluster.node_groups: 7 is not valid; allowed: a list"),
        (["cluster.node_groups=[7]"], "cluster.node_groups[0]: 7 is not valid; allowed: a mapping"),
        (["cluster.node_groups=[{name: a}]"], "cluster.node_groups[0].gpu: is missing"),
        (["cluster.node_groups=[{gpu: h100}]"], "cluster.node_groups[0].name: is missing"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(words: list[str], line: str) -> None:
    answer = fleetsim("show", "first_run", *words)
    assert answer.code == 2
    found = faults(answer)
    assert not found, told(found)
    assert line in answer.err, answer.err
