"""What a replica goes through between being wanted and being ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.scenario.dist import Constant, Dist
from sim.scenario.types import CONFIG, Count, Flag, Name, NonNegative, Number, Positive, Share, Text
from sim.stages import FIRST_STEPS, START_STAGES, STEPS

if TYPE_CHECKING:
    StageName = str
else:
    StageName = Literal[tuple(STEPS)]
#: In this order where they are listed; the others stand where they are put.
STAGES: tuple[StageName, ...] = FIRST_STEPS
#: Where each is seen in time series and pictures: one of STAGES.
SHOWN_AS: dict[StageName, StageName] = {
    step: FIRST_STEPS[START_STAGES.index(stage)] for step, stage in STEPS.items()
}
BANDWIDTH_MIN_GB_S = 0.001  # 8 Mbit/s: a slow line to a house
BANDWIDTH_MAX_GB_S = 1000.0  # above NVLink-C2C (450 each way) and eight 400 Gbit/s network cards (400)

Waits = Annotated[tuple[StageName, ...], Field(max_length=16)]
ImageGb = Annotated[Positive, Field(le=10_000)]  # the largest serving images have some 30 GB
SPREAD_ONE = Constant(value=1)


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Kept:
    """What the first start on a node leaves there for later ones: compiled kernels, or a server that sleeps.

    It has `times` · weights + `plus_gb` in the node's cache, GB decimal. A start that finds it takes, in the place of the
    stage, `setup_s` and its bytes over the least of `gb_s`, which the replica's ranks share, and `rank_gb_s` of each rank.
    """

    times: NonNegative = 0.0
    plus_gb: NonNegative = 0.0
    setup_s: NonNegative = 0.0
    gb_s: Positive | None = None  # null: no limit
    rank_gb_s: Positive | None = None
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Peers:
    """Nodes whose cache has what a stage brings serve it to others, over the network cards of both.

    A fetch moves at `gb_s` at most (null: as much as the cards carry); a node serves `uploads_max` at once. Where no node
    can serve, the bytes come from what the stage goes over, unless `seeds` starts fetch them there already (null: no
    limit): then a start waits until a node has them.
    """

    gb_s: Positive | None = None
    uploads_max: Count = 1
    seeds: Count | None = None
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Fixed:
    """A stage of which the time was measured: `duration` is a distribution of seconds, whatever the model."""

    kind: Literal["fixed"] = "fixed"
    name: StageName
    duration: Dist
    kept: Kept | None = None  # a node with a cache keeps what it makes
    after: Waits | None = None  # what it waits for; null: the stage before it
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Transfer:
    """Bytes over a bandwidth: seconds = setup_s + spread · max(bytes / shared, bytes of a rank / its own rate).

    bytes = `times` · (weights or image) + `plus_gb`. `shared` = `use` · `bandwidth_gb_s`, what the replica's ranks
    have together (`over: pcie`: each rank has `use` of its GPU's pcie_gb_s for itself); a rank's own rate is the least
    of `readers` · `reader_gb_s` and `rank_gb_s`. With `ranks: share` each of tp·pp ranks moves its own part, all at the
    same time; with `whole` every one goes through everything, which is read once; with `copies` every one reads
    everything for itself over what they share. GB are decimal.
    """

    kind: Literal["transfer"] = "transfer"
    name: StageName
    of: Literal["weights", "image", "unpacked_image", "other"] = "weights"
    times: NonNegative = 1.0
    plus_gb: NonNegative = 0.0
    over: Text = ""  # what the bytes move over; shared where the scenario has a link of that name
    also_over: Annotated[
        tuple[Text, ...], Field(max_length=8)
    ] = ()  # further links of the scenario on their way
    bandwidth_gb_s: Number | None = None
    use: Share = 1.0
    readers: Count = 1
    reader_gb_s: Number | None = None
    rank_gb_s: Number | None = None
    ranks: Literal["share", "whole", "copies"] = "share"
    setup_s: NonNegative = 0.0
    cached: Flag = False  # a node with a cache keeps what it brings …
    cached_gb_s: Positive | None = None  # … from which later starts read it at this rate; null: in no time
    through: Literal["nic", "disk", "nothing"] = (
        "nic"  # of its node, where its group says what that carries; over pcie: nothing
    )
    peers: Peers | None = None  # other nodes that have it may serve it
    kept: Kept | None = None  # in the place of `cached`: what it keeps is of another size, or read otherwise
    spread: Dist = SPREAD_ONE
    after: Waits | None = None
    source: Text = ""
    confidence: Text = ""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Compute:
    """Work of the engine before it serves: seconds = spread · (base_s + layers · (layer_s + graphs · graph_layer_s)
    + the captured batches' matrix products).

    `graphs` is the number of CUDA graphs: `graph_sets` of one for each captured batch size. Each captured sequence
    passes once through the model, at `matmul_use` of the GPU's bf16 peak.
    """

    kind: Literal["compute"] = "compute"
    name: StageName
    base_s: NonNegative = 0.0
    layer_s: NonNegative = 0.0
    graph_layer_s: NonNegative = 0.0
    graph_sets: Annotated[Count, Field(le=16)] = 1
    graph_sizes: tuple[Count, ...] | None = None  # null: vLLM's, from the runtime's max_num_seqs
    matmul_use: Share = 0.65
    spread: Dist = SPREAD_ONE
    kept: Kept | None = None
    after: Waits | None = None
    source: Text = ""
    confidence: Text = ""


Stage = Annotated[Fixed | Transfer | Compute, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ColdStart:
    """The stages of a start; one that is not listed takes no time.

    Each begins when those that it names in `after` have ended, or else when the one before it has.
    """

    name: Name
    image_gb: ImageGb | None = None  # compressed, as it is pulled
    image_unpacked_gb: ImageGb | None = None
    stages: Annotated[tuple[Stage, ...], Field(max_length=16)] = ()
    source: Text = ""
    note: Text = ""


def path_of(stage: Transfer) -> tuple[str, ...]:
    """The names of what a transfer's bytes go over."""
    return (*((stage.over,) if stage.over else ()), *stage.also_over)


def waits_for(stages: tuple[Any, ...], place: int) -> tuple[str, ...]:
    """The names of what the stage at a place of the list waits for."""
    own = stages[place].after
    if own is not None:
        return tuple(own)
    return (stages[place - 1].name,) if place > 0 else ()


def circle(stages: tuple[Any, ...]) -> list[str]:
    """The names of stages that wait for each other, each followed by one that it waits for; empty where none do."""
    left = {stages[i].name: i for i in range(len(stages))}
    for place in in_order(stages):
        del left[stages[place].name]
    walk: list[str] = []
    name = next(iter(left), None)
    while name is not None and name not in walk:
        walk.append(name)
        name = next((waited for waited in waits_for(stages, left[name]) if waited in left), None)
    return [] if name is None else [*walk[walk.index(name) :], name]


def in_order(stages: tuple[Any, ...]) -> list[int]:
    """Places of the list so that each stage comes after all it waits for, otherwise as listed; those in or behind a
    circle are left out, and so are those that wait for a stage that is not there."""
    done: dict[str, int] = {}
    while True:
        ready = (
            i
            for i, stage in enumerate(stages)
            if stage.name not in done and all(name in done for name in waits_for(stages, i))
        )
        place = next(ready, None)
        if place is None:
            return list(done.values())
        done[stages[place].name] = place
