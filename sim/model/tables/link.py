"""Links that transfers share: what they carry, the transfers in progress, and what nodes keep of the bytes that came.

Behind the named links come three of each node, its ends, where some group says what they carry: the network card inwards,
the same outwards, and the disk.
"""

from __future__ import annotations

from sim.schema import Field, Row, Wide

NIC_IN, NIC_OUT, DISK = range(3)
N_END = 3
THROUGHS = ("nothing", "nic", "disk")  # what of its node a stage's bytes go through
THROUGH_NOTHING, THROUGH_NIC, THROUGH_DISK = range(3)
FROM_STORE = -1  # a source that is no node: what a stage goes over


class LinkParams(Row):
    """A link that has a name."""

    bandwidth_q40 = Field("what it carries")


class LinkState(Row):
    """What a link carries now, and has carried."""

    n = Field("transfers in progress over it")
    n_max = Field("most of them at one time")
    rate_q40 = Field("what they move together")
    is_full = Field("1 = it holds some of them back")
    moved_bytes = Wide("bytes of the transfers that have ended", unit="bytes")
    busy_ps = Wide("Σ time with a transfer in progress", unit="ps")
    full_ps = Wide("Σ time in which it held some back", unit="ps")
    is_slow = Field("1 = it carries only a part of what it could")
    factor_q20 = Field("how much of it, where it is slow; 0 = nothing")
    prev = Field("of a node's end in use: 1 + the one in use before it, 0 = none")
    next = Field("and 1 + the one behind it")
    left_q40 = Field("scratch: what is not given out yet")
    waiting = Field("scratch: transfers over it that have no rate yet")


class LinkSample(Row):
    """A link at one instant of the time series; sums are since the start."""

    time_ps = Field("when")
    link = Field("which link")
    n = Field("transfers in progress over it")
    rate_q40 = Field("what they move together")
    capacity_q40 = Field("what it carries now")
    moved_bytes = Wide("bytes of the transfers that have ended", unit="bytes")
    busy_ps = Wide("Σ time with a transfer in progress", unit="ps")
    full_ps = Wide("Σ time in which it held some back", unit="ps")


class Transfer(Row):
    """A step of a start that moves bytes over links, of one replica place. Its clock is the time that it would need alone
    over links without a limit: the speed says how fast that clock runs.
    """

    replica = Field("the replica that starts")
    is_moving = Field("1 = bytes are moving")
    end_ps = Field("when its last byte came, −1 = that has not happened", begin=-1)
    step = Field("the row of its step")
    node = Field("1 + the node that its bytes come to, 0 = no single one")
    links = Field("bit i: its bytes go over the i-th link")
    in_end = Field(
        "1 + the end of its node that they come through, as a row of `link`, 0 = none that has a limit"
    )
    out_end = Field("1 + the end of the node that serves them, 0 = none")
    moved_bytes = Field("how many", unit="bytes")
    own_ps = Field("how long they would take alone from where its stage fetches them")
    source = Field("where a fetch for a cache gets them now: 1 + a node, FROM_STORE, 0 = nowhere")
    source_bytes = Field("how many of them from there", unit="bytes")
    served_by = Field("1 + the node that has served it last, 0 = none has")
    is_queued = Field("1 = it waits until somebody can serve it")
    cap_q40 = Field("its rate alone, over links without a limit")
    rate_q40 = Field("its rate now, −1 = not shared out yet")
    speed_q30 = Field("how fast its clock runs, at most 1")
    left_ps = Field("what its clock has left, at the last change of rates")
    due_ps = Field("when it ends if no rate changes")
    prev = Field("the transfer in progress before it, by cap, then by number; −1 = none; or in the queue")
    next = Field("the one behind it; of one that waits for another's bytes: the next that does")
    hit_ps = Field("how long its step takes where the node has what it brings")
    fetches = Field("1 + what it fetches for the cache of its node (a row of `cached`), 0 = nothing")
    is_joined = Field("1 = it waits for the bytes that another one fetches to the same node")
    how = Field("how its step got what it brings: BY_TIME …")
    bound = Field("1 + which of its ways holds it back now: a link, or behind those an end; 0 = none does")


class Artifact(Row):
    """Something that nodes keep once it has come: the weights of a model, the layers of an image."""

    size_bytes = Field("what it takes of a cache", unit="bytes")


class ArtifactState(Row):
    """What has become of its transfers to nodes that have a cache."""

    fetches = Field("transfers that have moved it")
    hits = Field("starts that found it on their node")
    joins = Field("starts that waited for the transfer of another one")
    evictions = Field("how often it had to make room")
    saved_bytes = Wide("bytes that hits and joins did not move", unit="bytes")
    from_peers = Field("fetches of which the last byte came from another node")
    peer_bytes = Wide("bytes that other nodes served", unit="bytes")
    n_store = Field("fetches to caches that get it from where their stages do, now")
    first_queued = Field("1 + the first fetch that waits until somebody can serve it, 0 = none")
    last_queued = Field("1 + the last one")


class Cached(Row):
    """An artifact on a node."""

    is_there = Field("1 = the node has it")
    used_ps = Field("when a start last used it")
    fetcher = Field("1 + the transfer that brings it, 0 = none does")
    first_joined = Field("1 + the first transfer that waits for that one, 0 = none")
