"""Every key of a scenario with everything that it must not hold, through the command line."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from sim.scenario.compose import load_scenario
from sim.scenario.describe import describe

from .drive import Answer, faults, fleetsim, told
from .oracle import may_hold

CHUNKS = 8
EACH = 2  # values of a key in the short run; the long one takes all

#: what is written → what it means (or MISSPELT)
VALUES: dict[str, Any] = {
    "abc": "abc",
    "''": "",
    "true": True,
    "null": None,
    "-1": -1,
    "0": 0,
    "-0.5": -0.5,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "1e300": 1e300,
    "-1e300": -1e300,
    "1e8": 1e8,
    "1e13": 1e13,
    "1" + "0" * 400: 10**400,
    "'5 s'": "5 s",
    "5kg": "5kg",
    "{}": {},
    "[]": [],
    "{a: 1}": {"a": 1},
    "[1, [2, {b: 3}]]": [1, [2, {"b": 3}]],
    "'\x1b[31mred\x1b[0m'": "\x1b[31mred\x1b[0m",
    "'a\u202eb\x9b'": "a\u202eb\x9b",
    "'<script>alert(1)</script>'": "<script>alert(1)</script>",
    "'[/bold]'": "[/bold]",
    "'" + "x" * 3000 + "'": "x" * 3000,
}
MISSPELT = "misspelt"
NEVER_IN_TEXT = ("\x1b", "\u202e")

#: scenarios that have between them every kind of thing there is; a new kind joins here
DISTS = (
    "7",
    "{kind: exponential, mean: 100}",
    "{kind: uniform, low: 10, high: 200}",
    "{kind: lognormal, median: 100, p99: 900, min: 1, max: 2000}",
    "{kind: lognormal, mu: 4.5, sigma: 0.5}",
    "{kind: lognormal_mixture, w: [1, 2], mu: [4, 5], sigma: [0.5, 1]}",
    "{kind: gamma, shape: 2, scale: 50}",
    "{kind: weibull, shape: 1.5, scale: 80}",
    "{kind: geometric, p: 0.01}",
    "{kind: quantiles, q: [0, 50, 100], v: [10, 50, 400]}",
)
ARRIVALS = (
    "{kind: gamma, rate_per_s: 3, cv: 2}",
    "{kind: weibull, rate_per_s: 3, shape: 0.7}",
    "{kind: mmpp, rate_per_s: 3, rates: [1, 4], sojourn_s: [60, 20], jumps: [[0, 1], [1, 0]]}",
    "{kind: on_off, rate_per_s: 3, on_s: 30, off_s: 60}",
    "{kind: clients, rate_per_s: 3, n_clients: 10, client_rate: 1, cv: 1.5}",
    "{kind: batch, requests: 10, at_s: 5, every_s: 60}",
    "{kind: concurrency, max: 4, requests: 100}",
    "{kind: superposition, components: [{kind: poisson, rate_per_s: 1}, {kind: batch, requests: 3}]}",
    "{kind: poisson, rate_per_s: 3, modulations: [{kind: markov, rates: [1, 2], sojourn_s: [60, 60]},"
    " {kind: drift, log_sigma: 0.5}]}",
)
ROUTERS = ("random", "session_affinity", "consistent_hash", "weighted_score")
CONTEXTS: tuple[tuple[str, ...], ...] = (
    (),
    *(("traffic.prompt_tokens=" + dist,) for dist in DISTS),
    *(("traffic.arrivals=" + process,) for process in ARRIVALS),
    *((f"router={name}",) for name in ROUTERS),
    ("router=prefix_aware", "runtime=vllm_prefix_cache"),
    ("autoscaler=hpa", "pool.max_replicas=4"),
    ("autoscaler=queue", "pool.max_replicas=4"),
    ("autoscaler=user", "autoscaler.law=law.py:desired"),
    (
        "traffic.spikes=[{at_s: 10, height: 3, length_s: 5}]",
        "faults=[{at_s: 9, replicas: 1}]",
        "patience=chat_user",
        "retry=budgeted",
        "traffic.retry.hedge_after_s=1",
        "traffic.deadline_s=400",
    ),
    (
        "station@gateway.stations.t=tokeniser",
        "traffic.before=[{station: t, base_ms: 1}]",
        "traffic.popularity={catalogue: 100}",
        "gateway.response_cache={entries: 10, lifetime_s: 60}",
        "traffic.cheap_hours=['22:00', '23:00']",
        "traffic.curves.start_hour=22",
    ),
    ("traffic=agent_sessions", "duration_s=600"),
    (
        "tenants={a: {weight: 2}}",
        "traffic.tenant=a",
        "traffic.limits={requests_per_s: 5, tokens_per_s: 9000}",
    ),
    (
        "pool.steptime={kind: coefficients, d0_ms: 5, d1_ms: 0.1, d2_ms: 0.001, p0_ms: 1, p1_ms: 0.1, p2_ms: 0}",
    ),
    (
        "pool.steptime={kind: grid, batch_size: [1, 8], base_ms: [5, 6], slope_ms: [0, 0.001], p0_ms: 1, p1_ms: 0.1,"
        " p2_ms: 0}",
    ),
    ("traffic.trace={file: no.csv, format: csv, columns: {arrival: t, prompt_tokens: p, output_tokens: o}}",),
    (
        "pool.region=east",
        "traffic.location=south",
        "pool_choice.round_trips=[{location: south, region: east, rtt_s: 0.1}]",
        "traffic.max_rtt_s=1",
        "router.kind=least_kv",
    ),
    (
        "cluster=mixed_h100_a100",
        "cluster.node_groups.0.no_capacity.windows=[{from_s: 5, to_s: 20}]",
        "pool.node_groups=[h100]",
        "cluster.random_faults=[{node_group: a100, nodes: 2, gap: 60, outage: 5, notice_s: 30}]",
    ),
    ("cluster=mig_a100_pool", "gpu=a100_80", "pool.slice=3g.40gb", "cluster.node_groups.0.initial_nodes=2"),
    ("coldstart=object_store", "model=deepseek_v3", "gpu=h200", "pool=tp8", "pool.precision=fp8"),
)


@cache
def keys() -> tuple[tuple[tuple[str, ...], str, bool], ...]:
    """(context, key, whether it holds a list) of every key that the contexts have, each in the first that has it."""
    found: dict[str, tuple[tuple[str, ...], str, bool]] = {}
    for context in CONTEXTS:
        for row in describe(load_scenario("first_run", context)):
            found.setdefault(row.key, (context, row.key, isinstance(row.value, list)))
            if any(
                row.key.startswith(word.partition("=")[0] + ".") for word in context[:1]
            ):  # another kind of it
                found.setdefault(
                    f"{row.key} in {context[0]}", (context, row.key, isinstance(row.value, list))
                )
    return tuple(found.values())


def cases(every: bool) -> Iterator[tuple[tuple[str, ...], str, bool, str]]:
    """(context, key, whether it holds a list, what is written) of each case."""
    for context, key, is_list in keys():
        texts = [*VALUES, MISSPELT]
        turn = zlib.crc32(f"{context}{key}".encode()) % len(texts)
        turned = texts[turn:] + texts[:turn]
        for text in turned if every else turned[:: len(texts) // EACH][:EACH]:
            yield context, key, is_list, text


def asked(context: tuple[str, ...], key: str, text: str) -> Answer:
    """What `show` says of the scenario with this key."""
    override = f"{key}x=1" if text == MISSPELT else f"{key}={text}"
    return fleetsim("show", "first_run", *context, override)


def found_in(chunk: int, every: bool) -> tuple[int, list[str]]:
    """(how many cases, what is wrong) of one part of them."""
    n, found = 0, []
    for i, (context, key, is_list, text) in enumerate(cases(every)):
        if i % CHUNKS != chunk:
            continue
        n += 1
        answer = asked(context, key, text)
        found += faults(answer)
        may = False if text == MISSPELT else may_hold(key, VALUES[text], is_list)
        if answer.code == 0 and may is False:
            found.append(f"accepted: {' '.join(answer.words[2:])[:200]}")
    return n, found


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_key_takes_what_it_must_not_hold(chunk: int) -> None:
    n, found = found_in(chunk, every=False)
    assert not found, told(found)
    assert n * CHUNKS >= 1500


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_key_takes_any_of_what_it_must_not_hold(chunk: int) -> None:
    n, found = found_in(chunk, every=True)
    assert not found, told(found)
    assert n * CHUNKS >= 6000
