"""Rules between the parts of a traffic class, its tenant and the other classes."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import nearest, problem
from sim.scenario.arrivals import Concurrency
from sim.scenario.dist import Constant, Dist
from sim.scenario.limits import Limits
from sim.scenario.ranges import lowest
from sim.scenario.retry import ConstantBackoff, Retry
from sim.scenario.said import Said
from sim.scenario.scenario import Scenario
from sim.scenario.traffic import TrafficClass
from sim.units import HORIZON_MAX_S

SHARE_ERROR = 1e-6  # of the sum of shares: three times 0.333333 is one
ONE_PROCESS = ("arrivals", "curves", "spikes", "trace")
RATES = (
    ("requests_per_s", "burst", "request_burst", "requests"),
    ("tokens_per_s", "token_burst", "tokens_burst", "tokens"),
)


def traffic_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every broken rule of the classes and tenants as one line."""
    for entry in scenario.classes:
        yield from patience_problems(entry, said)
        yield from retry_problems(entry, scenario, said)
        yield from limit_problems(entry.limits, said.class_key(entry.name, "limits"))
        yield from token_problems(entry, said)
        yield from session_problems(entry, said)
        yield from loop_problems(entry, scenario, said)
        yield from recorded_problems(entry, said)
    yield from share_problems(scenario, said)
    yield from tenant_problems(scenario, said)


def constant_of(dist: Dist | None) -> float | None:
    """The number, where a distribution is one."""
    return dist.value if isinstance(dist, Constant) else None


def patience_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """Patience is longer than nothing, and that for the first token ends before that for the whole."""
    patience = entry.patience
    for name in ("first_token_s", "total_s"):
        dist: Dist | None = getattr(patience, name)
        key = said.class_key(entry.name, "patience", name)
        value = constant_of(dist)
        if value is not None and value <= 0:
            yield problem(key, value, "a number > 0, in s, or null for patience without end")
        elif dist is not None and lowest(dist) < 0:
            yield f"{key}: can be negative ({lowest(dist):g} s); give it `min: 0`"
    first, total = constant_of(patience.first_token_s), constant_of(patience.total_s)
    if first is not None and total is not None and first >= total > 0:
        key = said.class_key(entry.name, "patience", "first_token_s")
        yield problem(key, first, f"less than total_s ({total:g} s), or null: it would never run out first")
    if patience.stall_s is not None and total is not None and patience.stall_s >= total > 0:
        key = said.class_key(entry.name, "patience", "stall_s")
        yield problem(
            key, patience.stall_s, f"less than total_s ({total:g} s), or null: no stall could be so long"
        )


def retry_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """A retry rule starts, and each of its parts has something to do."""
    retry = entry.retry

    def key(*parts: str) -> str:
        return said.class_key(entry.name, "retry", *parts)

    if retry.attempts == 1:
        unused = [name for name in ("backoff", "budget", "hedge_after_s") if getattr(retry, name) is not None]
        unused += ["jitter"] if retry.jitter != "none" else []
        if unused:
            yield problem(key("attempts"), 1, f"≥ 2 with {', '.join(unused)}: one attempt is never retried")
        return
    if len(set(retry.on)) < len(retry.on):
        yield problem(key("on"), list(retry.on), "each end once")
    yield from start_problems(entry, key("on"), key("backoff"))
    if retry.jitter != "none" and retry.backoff is None:
        yield problem(key("jitter"), retry.jitter, "none without a backoff: there is no wait to spread")
    if retry.budget is not None and retry.budget.burst < 1:
        allowed = "≥ 1: a retry takes one out, so none would ever be made"
        yield problem(key("budget", "burst"), retry.budget.burst, allowed)
    yield from backoff_problems(retry, scenario, key("backoff", "base_s"), key("backoff", "cap_s"))
    yield from hedge_problems(entry, key("hedge_after_s"))


def start_problems(entry: TrafficClass, on: str, backoff: str) -> Iterator[str]:
    """There is an end that a retry can follow, and not at the instant of a refusal."""
    retry, patience = entry.retry, entry.patience
    endless = patience.first_token_s is None and patience.total_s is None
    if not retry.on and retry.hedge_after_s is None:
        allowed = "at least one of timed_out, rejected, failed: no retry would ever start"
        yield problem(on, [], allowed)
    elif not retry.on and (retry.backoff is not None or retry.budget is not None):
        yield problem(on, [], "an end that is retried, while there is a backoff or a budget")
    if retry.on and set(retry.on) == {"timed_out"} and endless:
        yield problem(on, ["timed_out"], "rejected or failed too while nobody gives up; or set a patience")
    waits = retry.backoff is not None and retry.backoff.base_s > 0
    if "rejected" in retry.on and not waits:
        yield f"{backoff}: is missing; who is rejected and asks again at the same instant is rejected again"


def backoff_problems(retry: Retry, scenario: Scenario, base: str, cap: str) -> Iterator[str]:
    """Waits grow, up to a cap that is no shorter, and the first is over before the run is."""
    backoff = retry.backoff
    if backoff is None:
        return
    end_s = scenario.duration_s + scenario.drain_s
    if backoff.base_s >= end_s:
        allowed = f"less than duration_s + drain_s ({end_s:g} s): the run ends before the second attempt"
        yield problem(base, backoff.base_s, allowed)
    if isinstance(backoff, ConstantBackoff):
        return
    if backoff.base_s == 0:
        yield problem(base, backoff.base_s, "> 0 with kind exponential: nothing does not grow")
    if backoff.cap_s is not None and backoff.cap_s < backoff.base_s:
        yield problem(cap, backoff.cap_s, f"≥ base_s ({backoff.base_s:g} s)")


def hedge_problems(entry: TrafficClass, key: str) -> Iterator[str]:
    """A hedge starts before its client has given up."""
    hedge_s = entry.retry.hedge_after_s
    limits = {name: constant_of(getattr(entry.patience, name)) for name in ("first_token_s", "total_s")}
    for name, limit_s in limits.items():
        if hedge_s is not None and limit_s is not None and hedge_s >= limit_s > 0:
            yield problem(key, hedge_s, f"less than patience.{name} ({limit_s:g} s): no hedge would start")


def limit_problems(limits: Limits, key: str) -> Iterator[str]:
    """A bucket has a rate, and fills within the longest run there can be."""
    for rate, burst, size, what in RATES:
        per_s = getattr(limits, rate)
        if per_s is None and getattr(limits, burst) is not None:
            yield problem(f"{key}.{burst}", getattr(limits, burst), f"null while there is no {rate}")
        elif per_s is not None and getattr(limits, size) / per_s > HORIZON_MAX_S:
            allowed = f"≤ {per_s * HORIZON_MAX_S:.0f} {what}: at {rate} {per_s:g} more take 45 days to fill"
            yield problem(f"{key}.{burst}", getattr(limits, size), allowed)


def token_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """Some request is short enough for its class, and a rule for long ones has a length."""
    caps, limits = entry.caps, entry.limits

    def key(*parts: str) -> str:
        return said.class_key(entry.name, *parts)

    if caps.input_tokens is None and caps.long_input == "truncate":
        yield problem(key("caps", "long_input"), "truncate", "reject while there is no caps.input_tokens")
    if caps.output_tokens is None and caps.long_output == "reject":
        yield problem(key("caps", "long_output"), "reject", "clamp while there is no caps.output_tokens")
    if entry.trace is not None:
        return
    shortest = max(1, round(lowest(entry.prompt_tokens))), max(0, round(lowest(entry.output_tokens)))
    least = shortest[0] + (min(shortest[1], caps.output_tokens) if caps.output_tokens else shortest[1])
    if limits.tokens_per_s is not None and limits.tokens_burst < min(least, caps.input_tokens or least):
        allowed = f"≥ {least}, the tokens of the shortest request: none would ever pass"
        yield problem(key("limits", "token_burst"), limits.tokens_burst, allowed)


def session_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """Sessions are made, not recorded; pauses are no shorter than nothing, and tools are described where they are used."""

    def key(*parts: str) -> str:
        return said.class_key(entry.name, *parts)

    sessions = entry.sessions
    if entry.trace is not None:
        for name in ("sessions", "system_prompt_tokens"):
            if getattr(entry, name):
                yield f"{key(name)}: cannot go with a trace, whose requests have their own times and lengths"
    if sessions is None:
        if entry.caps.session_tokens is not None:
            yield problem(
                key("caps", "session_tokens"),
                entry.caps.session_tokens,
                "null while the class has no sessions",
            )
        return
    for name in ("think_s", "tool_s"):
        if lowest(getattr(sessions, name)) < 0:
            value = constant_of(getattr(sessions, name))
            if value is None:
                yield f"{key('sessions', name)}: can be negative; give it `min: 0`"
            else:
                yield problem(key("sessions", name), value, "a number ≥ 0 or a distribution, in s")
    if constant_of(sessions.calls_per_turn) == 1:
        for name in ("tool_s", "tool_tokens"):
            if constant_of(getattr(sessions, name)) != 0:
                yield f"{key('sessions', name)}: has no use while calls_per_turn is 1: no tool is called"
        if sessions.call_tokens is not None:
            yield f"{key('sessions', 'call_tokens')}: has no use while calls_per_turn is 1: no tool is called"
    if entry.caps.long_input == "truncate":
        allowed = "reject with sessions: what is new stands at a prompt's end; context_tokens ends what gets too long"
        yield problem(key("caps", "long_input"), "truncate", allowed)
    if sessions.context_tokens is not None and sessions.context_tokens <= entry.system_prompt_tokens:
        allowed = f"more than system_prompt_tokens ({entry.system_prompt_tokens}), or null"
        yield problem(key("sessions", "context_tokens"), sessions.context_tokens, allowed)
    for name in ("turns", "calls_per_turn"):
        value = constant_of(getattr(sessions, name))
        if value is not None and (value < 1 or value != round(value)):
            yield problem(key("sessions", name), value, "a whole number ≥ 1 or a distribution")
    if constant_of(sessions.turns) == 1 and constant_of(sessions.calls_per_turn) == 1:
        yield problem(key("sessions", "turns"), 1, "more than 1, or calls_per_turn above 1, or no sessions")


def loop_problems(entry: TrafficClass, scenario: Scenario, said: Said) -> Iterator[str]:
    """A load generator sends when a client is free: no rate changes that, and all its clients begin within the run."""
    loop = entry.arrivals
    if not isinstance(loop, Concurrency):
        return

    def key(*parts: str) -> str:
        return said.class_key(entry.name, *parts)

    why = "arrivals of kind concurrency have no rate: a request is sent when a client is free"
    if entry.sessions is not None:
        yield (
            f"{key('sessions')}: cannot go with arrivals of kind concurrency, whose requests are independent; leave out"
            " one of the two"
        )
    if entry.spikes:
        yield f"{key('spikes')}: {why}"
    if entry.curves.active:
        yield from (
            f"{key('curves', name)}: {why}" for name in ("day", "week") if getattr(entry.curves, name)
        )
    if loop.ramp_s >= scenario.duration_s:
        allowed = f"less than duration_s ({scenario.duration_s:g} s): some clients would never start"
        yield problem(key("arrivals", "ramp_s"), loop.ramp_s, allowed)


def named_in_trace(entry: TrafficClass) -> bool:
    """Whether the trace of a class says whose each row is."""
    return (
        entry.trace is not None and entry.trace.columns is not None and entry.trace.columns.tenant is not None
    )


def recorded_problems(entry: TrafficClass, said: Said) -> Iterator[str]:
    """Rows of a trace that belong to tenants make classes of their own: they cannot be one tenant's, nor be shared."""
    if not named_in_trace(entry) or (entry.trace and entry.trace.tenant):
        return
    for name in ("tenant", "share"):
        if getattr(entry, name) is not None:
            column = said.class_key(entry.name, "trace", "columns", "tenant")
            yield f"{said.class_key(entry.name, name)}: cannot go with {column}, which gives every tenant a class"


def share_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Shares sum to one, and those who share have one process of arrivals."""
    sharing = [entry for entry in scenario.classes if entry.share is not None]
    total = sum(entry.share or 0.0 for entry in sharing)
    if sharing and abs(total - 1.0) > SHARE_ERROR:
        keys = {said.class_key(entry.name, "share"): entry.share for entry in sharing}
        shares = ", ".join(f"{key} {share:g}" for key, share in keys.items())
        yield f"{shares}: shares sum to {total:g}; allowed: a sum of 1"
    for entry in sharing[1:]:
        for name in ONE_PROCESS:
            if getattr(entry, name) != getattr(sharing[0], name):
                key = said.class_key(entry.name, name)
                yield f"{key}: differs from that of {sharing[0].name}; classes with a share split one process"


def tenant_problems(scenario: Scenario, said: Said) -> Iterator[str]:
    """Every tenant that is named is there and used, and its classes' limits lie within its own."""
    tenants = {tenant.name: tenant for tenant in scenario.tenants}
    for entry in scenario.classes:
        key = said.class_key(entry.name, "tenant")
        if entry.tenant is None:
            continue
        if entry.tenant not in tenants:
            allowed = ", ".join(tenants) or "null, as there are no `tenants`"
            yield problem(key, entry.tenant, allowed, nearest(entry.tenant, tenants))
            continue
        for name in ("requests_per_s", "tokens_per_s", "max_concurrent"):
            own, whole = getattr(entry.limits, name), getattr(tenants[entry.tenant].limits, name)
            if own is not None and whole is not None and own > whole:
                allowed = f"≤ {whole:g}, the limit of tenant {entry.tenant}: it would never be reached"
                yield problem(said.class_key(entry.name, "limits", name), own, allowed)
    used = {entry.tenant for entry in scenario.classes}
    for name, tenant in tenants.items():
        yield from limit_problems(tenant.limits, f"tenants.{name}.limits")
        if name not in used and not any(named_in_trace(entry) for entry in scenario.classes):
            yield f"tenants.{name}: no class has this tenant; give it to one, as classes.NAME.tenant, or drop it"
