"""Whom each request's time is blamed on, by walking every step of the plain model with a pen.

It shares no code with the product: the life of each request is cut at every instant at which anything changes, and
each piece goes to one cause; a step's time is shared out by computing the step again without the others.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from .naive import Run
from .naive_replica import POOL_DEFAULTS, prompts_ps
from .random_cases import Case

Span = tuple[int, int]  # from, until, ps
FOREVER = 10**30
TTFT = (
    "retry",
    "gateway",
    "cpu",
    "network",
    "cold_start",
    "queue",
    "prefill",
    "interference",
    "neighbour",
    "preemption",
)
STREAM = ("stream_interference", "stream_neighbour", "stream_preemption", "stream_decode")


def blame(case: Case, told: Run, starts: list[tuple[int, int]]) -> list[dict[str, int]]:
    """The parts of each request: of its ttft where it had a first token, of the rest where it had its last."""
    pools = [{**POOL_DEFAULTS, **pool} for pool in case["pools"] for _ in pool["ready_at"]]
    begun = {replica: time_ps for time_ps, replica in starts}
    ready = ready_spans(case)
    parts: list[Counter[str]] = [Counter() for _ in told.requests]
    homes = [number for number, pool in enumerate(case["pools"]) for _ in pool["ready_at"]]
    for i, (asked, answer) in enumerate(zip(case["requests"], told.requests, strict=True)):
        if answer["first_token_ps"] < 0:
            continue
        group = case["classes"][asked[3]].get("group", 0)
        serving = [span for r, span in enumerate(ready) if pools[r]["group"] == group]
        held = (asked[0], answer["routed_ps"])
        for piece in pieces(held, serving):
            is_open = any(covers(span, piece) for span in serving)
            parts[i]["gateway" if is_open else "cold_start"] += piece[1] - piece[0]
        home = homes[answer["replica"]]
        coming = [(begun[r], ready[r][0]) for r in begun if homes[r] == home]
        queued = (answer["routed_ps"], answer["scheduled_ps"])
        for piece in pieces(queued, coming):
            is_cold = any(covers(span, piece) for span in coming)
            parts[i]["cold_start" if is_cold else "queue"] += piece[1] - piece[0]
    for r, row in enumerate(told.replicas):
        walk(case, told, pools[r], row, parts)
    return [
        {
            **{name: got[name] for name in TTFT if answer["first_token_ps"] >= 0},
            **{name: got[name] for name in STREAM if answer["last_token_ps"] >= 0},
        }
        for got, answer in zip(parts, told.requests, strict=True)
    ]


def ready_spans(case: Case) -> list[Span]:
    """From when until when each replica takes requests."""
    drains = {replica: time_ps for time_ps, replica, what in case["interventions"] if what == "drain"}
    ready_at = [FOREVER if at is None else at for pool in case["pools"] for at in pool["ready_at"]]
    return [(at, drains.get(replica, FOREVER)) for replica, at in enumerate(ready_at)]


def pieces(whole: Span, spans: list[Span]) -> list[Span]:
    """A span, cut where any other begins or ends."""
    cuts = {at for span in spans for at in span if whole[0] < at < whole[1]}
    return list(pairwise(sorted({*whole, *cuts})))


def covers(span: Span, piece: Span) -> bool:
    """Whether a piece, cut at the span's ends, lies inside it."""
    return span[0] <= piece[0] and piece[1] <= span[1]


def walk(case: Case, told: Run, pool: dict[str, Any], row: dict[str, Any], parts: list[Counter[str]]) -> None:
    """Share out every step of one replica among all who were in its batch, or had been and came back."""
    emitted: Counter[int] = Counter()
    lost: dict[int, int] = {}  # tokens to catch up with
    evicted = list(row["evicted"])
    mine = {chunk[0] for step in row["log"] for chunk in step["chunks"]}
    last_end_ps = -1
    for step in row["log"]:
        begin_ps = step["start_ps"]
        while evicted and evicted[0][0] <= begin_ps:
            _, i, computed = evicted.pop(0)
            lost[i] = max(lost.get(i, 0), computed)
        decoding = [
            (i, computed)
            for i, computed, _ in step["chunks"]
            if emitted[i] and computed + 1 == case["requests"][i][1] + emitted[i]
        ]
        of_step = {i: (computed, chunk) for i, computed, chunk in step["chunks"]}
        for i in mine:
            answer = told.requests[i]
            done_ps = answer["last_token_ps"] if answer["last_token_ps"] >= 0 else FOREVER
            if answer["scheduled_ps"] <= begin_ps < done_ps:
                idle_ps = begin_ps - max(last_end_ps, answer["scheduled_ps"])
                assert i in lost or idle_ps == 0, "idle with a request in it"
                parts[i][("stream_" if emitted[i] else "") + "preemption"] += idle_ps
                times = (step["dt_ps"], step.get("alone_ps", step["dt_ps"]))
                share_out(pool, times, of_step.get(i), i in lost, emitted[i], decoding, parts[i])
        for i, (computed, chunk) in of_step.items():
            if i in lost and computed + chunk >= lost[i]:
                del lost[i]
            emitted[i] += computed + chunk == case["requests"][i][1] + emitted[i]
        last_end_ps = begin_ps + step["dt_ps"]


def share_out(
    pool: dict[str, Any],
    times: tuple[int, int],
    chunk: tuple[int, int] | None,
    is_lost: bool,
    emitted: int,
    decoding: list[tuple[int, int]],
    parts: Counter[str],
) -> None:
    """Share out one step for one request: its computed tokens and chunk in it, if any.

    `times` are how long it took, and how long it would have taken without neighbours on the GPU: the rest was theirs, for
    who has part in the step.
    """
    stage = "stream_" if emitted else ""
    dt_ps, own_ps = times
    if is_lost:
        parts[stage + "preemption"] += dt_ps
    elif chunk is None:
        parts[stage + "interference"] += dt_ps
    elif emitted:
        attended = sum(computed + 1 for _, computed in decoding)
        without_ps = pool["base_ps"][len(decoding)] + pool["slope_ps"][len(decoding)] * attended
        parts["stream_decode"] += without_ps
        parts["stream_interference"] += own_ps - without_ps
        parts["stream_neighbour"] += dt_ps - own_ps
    else:
        computed, tokens = chunk
        alone_ps = pool["base_ps"][0] + prompts_ps(pool, 0, tokens, tokens * (2 * computed + tokens))
        parts["prefill"] += min(alone_ps, own_ps)
        parts["interference"] += own_ps - min(alone_ps, own_ps)
        parts["neighbour"] += dt_ps - own_ps
