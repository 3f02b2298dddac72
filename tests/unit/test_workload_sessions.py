"""Sessions in closed loop: the calls that are made beforehand, and when they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sim
from sim.errors import InputError
from sim.pack.scenario import plan
from sim.units import NEVER, PS_PER_S
from sim.workload.requests import Requests, make_requests

TALK = (
    "traffic={arrivals: {kind: poisson, rate_per_s: 0.5}, prompt_tokens: {kind: uniform, low: 10, high: 50}, "
    "output_tokens: {kind: uniform, low: 5, high: 90}, system_prompt_tokens: 100, "
    "sessions: {turns: {kind: geometric, p: 0.3}, think_s: {kind: exponential, mean: 20}}}"
)
AGENT = (
    "traffic.sessions={turns: 1, calls_per_turn: {kind: geometric, p: 0.25}, tool_s: 3, tool_tokens: 700, "
    "call_tokens: 33}"
)


def requests_of(*overrides: str, prefixes: bool = True) -> Requests:
    """The requests of ten minutes of talk."""
    cached = ["runtime=vllm_prefix_cache"] if prefixes else []
    return make_requests(sim.load("first_run", [TALK, *cached, *overrides]), 1)


def sessions_of(made: Requests) -> list[list[int]]:
    """The requests of each session in order, by following who follows whom."""
    assert made.turns is not None
    found = []
    for i in np.flatnonzero(made.arrival_ps != NEVER):
        chain = [int(i)]
        while (after := int(made.turns.after[chain[-1]])) >= 0:
            chain.append(after)
        found.append(chain)
    return found


def test_a_prompt_holds_all_that_was_said_before() -> None:
    made = requests_of()
    assert made.turns is not None
    assert made.session_id is not None
    chains = sessions_of(made)
    assert sorted(i for chain in chains for i in chain) == list(range(len(made.arrival_ps)))
    assert max(map(len, chains)) > 5
    for chain in chains:
        prompt, output = made.prompt_tokens[chain].astype(int), made.output_tokens[chain].astype(int)
        new = np.diff(prompt) - output[:-1]
        assert 110 <= prompt[0] <= 150
        assert np.all((new >= 10) & (new <= 50))
        assert len(set(made.session_id[chain])) == 1
        assert np.array_equal(made.turns.tokens[chain], np.cumsum(prompt + output))
    assert np.mean([len(chain) for chain in chains]) == pytest.approx(1 / 0.3, rel=0.2)


def test_what_is_shared_is_the_system_prompt_and_what_was_said() -> None:
    made = requests_of()
    assert made.chains is not None
    assert requests_of(prefixes=False).chains is None
    for chain in sessions_of(made):
        leaf = set(made.chains.leaf[chain])
        assert len(leaf) == 1
        segment = leaf.pop()
        assert made.chains.start[segment] == 100
        assert made.chains.start[made.chains.parent[segment]] == 0
    assert np.array_equal(made.chains.shared_tokens, made.prompt_tokens.astype(int) + made.output_tokens)
    alone = requests_of("traffic.sessions=null")
    assert alone.turns is None
    assert alone.chains is not None
    assert set(alone.chains.shared_tokens) == {100}
    assert alone.prompt_tokens.min() >= 110


def test_agents_call_tools_between_their_answers() -> None:
    made = requests_of(AGENT, "traffic.sessions.jitter_s=0")
    assert made.turns is not None
    lengths = []
    for chain in sessions_of(made):
        assert np.all(made.output_tokens[chain[:-1]] == 33)
        assert np.all(made.turns.pause_ps[chain[:-1]] == 3 * PS_PER_S)
        assert np.all(np.diff(made.prompt_tokens[chain]) == 33 + 700)
        lengths.append(len(chain))
    assert np.mean(lengths) == pytest.approx(4, rel=0.2)


def test_sessions_end_where_their_context_does() -> None:
    free, bound = requests_of(AGENT), requests_of(AGENT, "traffic.sessions.context_tokens=2500")
    assert (free.prompt_tokens + free.output_tokens).max() > 2500
    kept = sessions_of(bound)
    assert (bound.prompt_tokens + bound.output_tokens).max() <= 2500
    for chain, whole in zip(kept, sessions_of(free), strict=True):
        assert np.array_equal(bound.prompt_tokens[chain], free.prompt_tokens[whole[: len(chain)]])
        rest = whole[len(chain) :]
        assert not rest or free.prompt_tokens[rest[0]] + free.output_tokens[rest[0]] > 2500


def test_one_class_never_changes_anothers_sessions() -> None:
    """Two classes in one table: each has the sessions that it has alone."""
    classes = "classes={talk: {}, code: {sessions: null, arrivals: {kind: poisson, rate_per_s: 3}}}"
    alone, both = requests_of(), requests_of(classes)
    again = requests_of(classes.replace("rate_per_s: 3", "rate_per_s: 5"))
    assert both.turns is not None
    assert alone.turns is not None
    assert not np.any(both.turns.after[both.class_id == 1] >= 0)

    def told(made: Requests) -> list[list[tuple[int, ...]]]:
        assert made.turns is not None
        columns = (made.prompt_tokens, made.output_tokens, made.turns.pause_ps)
        return [
            [tuple(int(column[i]) for column in columns) for i in chain]
            for chain in sessions_of(made)
            if made.class_id[chain[0]] == 0
        ]

    assert told(both) == told(again)
    assert [len(chain) for chain in told(both)] == [
        len(chain) for chain in told(requests_of("classes={talk: {}}"))
    ]


def test_what_could_never_come_is_left_out() -> None:
    long, short = requests_of(), requests_of("duration_s=60")
    assert len(short.arrival_ps) < len(long.arrival_ps) / 5
    assert short.turns is not None
    for chain in sessions_of(short):
        soonest = short.arrival_ps[chain[0]] + np.cumsum(short.turns.pause_ps[chain])[:-1]
        assert np.all(soonest < 60 * PS_PER_S)


def test_the_next_turn_waits_for_the_answer() -> None:
    """On a slow fleet the same sessions ask less: the loop is closed."""
    run = sim.run("first_run", [TALK, "runtime.request_overhead_ms=0"])
    rows = run.result.requests
    made = plan(sim.load("first_run", [TALK])).params
    from sim.fill.params import turns_of

    turns = turns_of(made)
    assert turns is not None
    place = {int(i): n for n, i in enumerate(rows["request_id"])}
    followers = 0
    for i, n in place.items():
        after = place.get(int(turns.after[i]))
        if after is not None:
            followers += 1
            assert rows["arrival_ps"][after] == rows["last_token_ps"][n] + turns.pause_ps[i]
    assert followers > 300
    assert run.requests.column("session").to_pylist() == rows["session_id"].tolist()
    slow = sim.run(
        "first_run", [TALK, "gpu=l4", "runtime.max_num_seqs=1", "pool.max_replicas=1", "pool.min_replicas=1"]
    )
    assert slow.summary["offered"] < 0.8 * run.summary["offered"]


def test_who_is_not_answered_goes_unless_persistent() -> None:
    refuse = "traffic.max_ttft_s=0"
    gone, stays = (
        sim.run("first_run", [TALK, refuse, f"traffic.sessions.persistent={flag}"])
        for flag in ("false", "true")
    )
    assert gone.summary["completed"] == stays.summary["completed"] == 0
    assert gone.summary["reasons"] == {"predicted_ttft": gone.summary["offered"]}
    assert gone.result.requests["request_id"].max() < len(gone.result.requests["request_id"])
    assert stays.summary["offered"] > 2 * gone.summary["offered"]


def test_a_session_has_so_many_tokens() -> None:
    run = sim.run("first_run", [TALK, "traffic.caps.session_tokens=600"])
    rows, spent = run.result.requests, plan(sim.load("first_run", [TALK])).params
    from sim.fill.params import turns_of

    turns = turns_of(spent)
    assert turns is not None
    over = turns.tokens[rows["request_id"]] > 600
    assert over.any()
    assert np.array_equal(over, rows["outcome"] == 2)
    assert set(run.summary["reasons"]) == {"over_limit"}


# (turns and calls a session on average, median pause of a user, of a tool, s; the share of prompt tokens that came before
# in the session or its system prompt), of ShareGPT and Mooncake, and of 458 recorded sessions of coding agents
FIGURES = {
    "chat_sessions": (3.54, 3.54, 128.6, None, None),
    "agent_sessions": (10.14, 65.8, 143.7, 9.0, 0.9625),
}


@pytest.mark.parametrize("preset", FIGURES)
def test_presets_are_as_their_sources_say(preset: str) -> None:
    turns, calls, think_s, tool_s, known = FIGURES[preset]
    overrides = [f"traffic={preset}", "traffic.sessions.context_tokens=null", "duration_s=2000000"]
    made = make_requests(sim.load("first_run", [*overrides, "traffic.arrivals.rate_per_s=0.001"]), 1)
    assert made.turns is not None
    chains = sessions_of(made)
    assert len(chains) > 1500
    assert np.mean([len(chain) for chain in chains]) == pytest.approx(calls, rel=0.1)
    pause_s = made.turns.pause_ps[made.turns.after >= 0] / PS_PER_S
    if tool_s is None or known is None:
        assert np.median(pause_s) == pytest.approx(think_s, rel=0.05)
        return
    # a tool answers in seconds, a user in minutes: the mixture's quantiles are those of both, by their numbers
    share = (turns - 1) / (calls - 1)
    assert np.mean(pause_s <= tool_s) == pytest.approx((1 - share) * 0.5 + share * 0.055, abs=0.06)
    seen = sum(
        made.prompt_tokens[chain[:-1]].sum() + made.output_tokens[chain[:-1]].sum() for chain in chains
    )
    seen += 15026 * len(chains)  # the first call finds the system prompt
    assert seen / made.prompt_tokens.sum(dtype=np.int64) == pytest.approx(known, abs=0.035)


WRONG: list[tuple[list[str], str]] = [
    (
        [TALK, "traffic.sessions.think_s=-1"],
        "traffic.sessions.think_s: -1.0 is not valid; allowed: a number ≥ 0",
    ),
    (
        [TALK, "traffic.sessions.think_s={kind: uniform, low: -1, high: 1}"],
        "traffic.sessions.think_s: can be negative; give it `min: 0`",
    ),
    (
        [TALK, "traffic.sessions.turns=0"],
        "traffic.sessions.turns: 0.0 is not valid; allowed: a whole number ≥ 1",
    ),
    (
        [TALK, "traffic.sessions.turns=2.5"],
        "traffic.sessions.turns: 2.5 is not valid; allowed: a whole number",
    ),
    ([TALK, "traffic.sessions.tool_s=4"], "traffic.sessions.tool_s: has no use while calls_per_turn is 1"),
    ([TALK, "traffic.sessions.turns=1"], "traffic.sessions.turns: 1 is not valid; allowed: more than 1"),
    (
        [TALK, "traffic.caps={input_tokens: 500, long_input: truncate}"],
        "traffic.caps.long_input: 'truncate' is not valid; allowed: reject with sessions",
    ),
    (
        [TALK, "traffic.sessions.context_tokens=100"],
        "traffic.sessions.context_tokens: 100 is not valid; allowed: more than system_prompt_tokens (100)",
    ),
    (
        ["traffic.caps.session_tokens=5"],
        "traffic.caps.session_tokens: 5 is not valid; allowed: null while the class has no sessions",
    ),
    (["router=prefix_aware"], "router.kind: prefix_aware finds no prefix cache"),
    (
        ["patience={total_s: 5, stall_s: 6}"],
        "patience.stall_s: 6.0 is not valid; allowed: less than total_s (5 s)",
    ),
]


@pytest.mark.parametrize("turns", ["1000000", "{kind: geometric, p: 0.0000001}"])
def test_sessions_without_an_end_are_refused_before_memory_is_full(turns: str) -> None:
    with pytest.raises(InputError, match=r"traffic 'chat': sessions would have about .* at most 50,000,000"):
        make_requests(sim.load("first_run", [f"traffic.sessions={{turns: {turns}}}"]), 1)


@pytest.mark.parametrize(("overrides", "line"), WRONG)
def test_mistakes_are_one_clear_line(overrides: list[str], line: str) -> None:
    with pytest.raises(InputError) as error:
        sim.load("first_run", overrides)
    lines: Any = str(error.value).splitlines()
    assert len(lines) == 1
    assert line in lines[0]


def test_users_and_agents_come_back_a_moment_later_each_of_their_own() -> None:
    exact, late = (requests_of(AGENT, f"traffic.sessions.jitter_s={j}").turns for j in (0, 0.1))
    assert exact is not None
    assert late is not None
    more = (late.pause_ps - exact.pause_ps)[exact.after >= 0]
    assert more.min() >= 0
    assert more.mean() == pytest.approx(0.1 * PS_PER_S, rel=0.2)
    assert len(set(more.tolist())) > 0.99 * len(more)
    assert np.array_equal(late.after, exact.after)
