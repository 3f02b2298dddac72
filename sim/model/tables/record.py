"""What a run leaves behind of requests: rows, counts, sums."""

from __future__ import annotations

from sim.model.tables.codes import N_ENDED, N_METRIC, N_MORE, N_REASON
from sim.schema import Array, Field, Row


class RequestRecord(Row):
    """What is kept of a request; −1 where something did not happen. Each field is a column of requests.parquet with the
    unit and the meaning given here (`sim.records.schema` lists those that have another name there or are worked out).
    """

    routed_ps = Field("when a replica was chosen for it", begin=-1)
    scheduled_ps = Field("when the request first took part in a step", begin=-1)
    first_ps = Field("when the first token came", begin=-1)
    last_ps = Field("when the last token came: the completion", begin=-1)
    replica = Field("the replica that answered", begin=-1)
    preemptions = Field("times its last attempt's KV cache was taken away")
    gap_max_ps = Field("longest gap between consecutive tokens", begin=-1)
    outcome = Field("INSIDE, COMPLETED, REJECTED, TIMED_OUT or FAILED")
    reason = Field("why it was not completed")


class AttemptRecord(Row):
    """More of a request, where clients try again or replicas cache prefixes."""

    attempts = Field("attempts made", begin=-1)
    taken_ps = Field("when the last attempt reached the gateway", begin=-1)
    wasted_tokens = Field(
        "tokens computed for attempts that answered nobody, up to the last step before their client left"
    )
    cached_tokens = Field(
        "of the prompt, found in the replica's prefix cache when its last attempt was first scheduled"
    )


class ClassCounts(Row):
    """Counts of a class: of measured requests where nothing else is said. Sums are pairs (low, high). Each count is in a
    result's counts under its name, where the formulas of sim/measures find it.
    """

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
