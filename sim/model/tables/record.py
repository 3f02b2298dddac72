"""What a run leaves behind of requests: rows, counts, sums."""

from __future__ import annotations

from sim.model.tables.codes import N_ENDED, N_METRIC, N_MORE, N_REASON
from sim.schema import Array, Field, Row


class RequestRecord(Row):
    """What is kept of a request; times are −1 where something did not happen."""

    routed_ps = Field("when a replica got it", begin=-1)
    scheduled_ps = Field("when a step first computed some of it", begin=-1)
    first_ps = Field("when its first token came", begin=-1)
    last_ps = Field("when its answer was complete", begin=-1)
    replica = Field("the replica that answered", begin=-1)
    preemptions = Field("how often it was preempted")
    gap_max_ps = Field("its longest gap between tokens", begin=-1)
    outcome = Field("INSIDE, COMPLETED, REJECTED, TIMED_OUT or FAILED")
    reason = Field("why it was not completed")


class AttemptRecord(Row):
    """More of a request, where clients try again or replicas cache prefixes."""

    attempts = Field("attempts at it", begin=-1)
    taken_ps = Field("when the gateway took the last of them", begin=-1)
    wasted_tokens = Field("tokens computed for attempts that did not answer it")
    cached_tokens = Field("prompt tokens found in a prefix cache")


class ClassCounts(Row):
    """Counts of a class: of measured requests where nothing else is said. Sums are pairs (low, high)."""

    offered = Field("requests that arrived")
    completed = Field("… and were answered")
    rejected = Field("… refused")
    timed_out = Field("… given up")
    failed = Field("… lost")
    met = Field("answered within every objective")
    done = Field("answered within the measured window, whenever they arrived")
    done_met = Field("of these, within every objective")
    tokens_in = Field("prompt tokens whose first token came within the window", unit="tokens")
    tokens_out = Field("tokens of answers that came within the window", unit="tokens")
    all_offered = Field("arrived, outside the measured window as well")
    all_completed = Field("answered, likewise")
    all_rejected = Field("refused, likewise")
    all_failed = Field("lost, likewise")
    inside_missed = Field("still inside at the end, an objective already out of reach")
    asked_tokens = Field("prompt tokens when first scheduled, in pools with a prefix cache")
    cached_tokens = Field("of these, found in it")
    sums = Array("sum of each metric: low, high, low, …", 2 * N_METRIC, unit="ps")
    all_timed_out = Field("given up, outside the measured window as well")
    attempts = Field("attempts")
    retries = Field("of these, after a wait")
    hedges = Field("of these, sent beside another one")
    wasted_tokens = Field("tokens computed for attempts that did not answer")
    from_cache = Field("requests that the response cache answered")
    ended = Array("attempts by how they ended: outcome − 1", N_ENDED)
    by_reason = Array("requests by reason", N_REASON)
    more_sums = Array("sum of each metric that is kept where attempts are: low, high", 2 * N_MORE, unit="ps")
