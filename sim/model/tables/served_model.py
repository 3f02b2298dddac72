"""A served model: one router and one gateway queue in front of the pools that serve it."""

from __future__ import annotations

from sim.schema import Field, Row

PLACE_BITS = 17
PLACES_MAX = (1 << PLACE_BITS) - 1
SESSIONS_MAX = (1 << 27) - 1


class ServedModelParams(Row):
    """A served model's router and its gateway queue."""

    router = Field("which of the KINDS of sim.model.router.choose")
    first_replica = Field("number of its first replica")
    n_replica = Field("its replica places")
    load_at = Field("where its load tree starts in `load`")
    leaves = Field("leaves of its load tree, a power of two")
    hold_max = Field("requests that the gateway may hold for it")
    first_pool = Field("number of its first pool")
    n_pool = Field("its pools")
    settings_at = Field("where its router's settings start in Params.m")
    memory_at = Field("where its router's memory starts in `router_memory`")
    spill_milli = Field("a pool has room up to so many requests per ready replica")
    has_load_tree = Field("1 = the load tree is kept")
    outstanding_max = Field("requests that a replica may hold, NEVER = no limit: the gateway holds more")
    hold_order = Field("HOLD_FIFO, HOLD_PRIORITY or HOLD_FAIR")


class ServedModelState(Row):
    """What the gateway knows of a served model."""

    held = Field("requests that the gateway holds for it")
    arrivals = Field("attempts that reached the gateway")
    retries = Field("of these, all but the first of each request")
    n_ready = Field("its ready replicas")
    cursor = Field("round_robin: the replica chosen last", begin=-1)
    n_done = Field("completions, counted where attempts are kept apart")
    done_ps = Field("when the last of them was")
    done_gap_ps = Field("the smoothed time between two of them")
    closed_ps = Field("how long it had no ready replica, up to closed_since_ps")
    closed_since_ps = Field("since when it has had none")
    n_split = Field("deployments of its pools that say which share of the requests each version gets")
    snapshot = Field("weighted_score: number of the last snapshot + 1")


class Route(Row):
    """What a router is asked: where an attempt at a request goes, and the ready replicas that it may choose from, in order
    of index: `state.ready[first]` and those behind it.
    """

    served_model = Field("the served model")
    request = Field("number of the request")
    attempt = Field("number of the attempt, from 0")
    now_ps = Field("when it is asked")
    first = Field("where the list of replicas starts in `ready`")
    n = Field("how many there are, at least one")


class TenantQueue(Row):
    """Requests that the gateway holds for a served model: all of them, or under fair sharing a tenant's."""

    head = Field("its first slot, −1 = none")
    tail = Field("its last slot, −1 = none")
    n = Field("requests in it")
    virtual_tokens = Field("weighted tokens that its tenant was served", unit="tokens/1000")
    blocked_at = Field("number of the release that found it blocked")


class HedgeList(Row):
    """Attempts of classes with one hedge delay whose clients may send a second attempt, in order of time."""

    head = Field("1 + its first slot, 0 = it is empty")
    tail = Field("1 + its last slot")
