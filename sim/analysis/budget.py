"""Error budgets and burn-rate alerts over a run, as the Google SRE workbook has them.

An objective of 99.9 % leaves an error budget of one request in a thousand. The burn rate is how many times faster than
that the budget is used: at 1 it lasts exactly its period. An alert goes off while the burn rate over a long window and
over a short one are both above a factor; the short window ends it soon after the trouble ends. Beyer and others, "The
Site Reliability Workbook", 2018, chapter 5: "Alerting on SLOs", table 5-6 and the rules after it.

A request counts at the instant from which it is known what became of it: an answer at its last token, one whose first
or last token is late when it ought to have come, one that was never answered then too, or at its arrival where neither
was promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.blame import MET, MISSED, Limits, Rows, judged, promises_of, read_rows
from sim.errors import InputError, nearest, problem

HOUR_S, DAY_S = 3600.0, 86_400.0
PERIOD_S = 30 * DAY_S
PERIODS_S = (
    3 * DAY_S,
    400 * DAY_S,
)  # no alert's window is longer than the shortest, and no SLO is for more than a year
STEP_S = 10.0  # an alert is looked at so often
STEPS_MAX = 50_000
USUAL = 0.999  # objective, where the scenario sets no limit on slo_attainment


class Rule(NamedTuple):
    """One alert: both windows above a factor."""

    severity: str  # "page" or "ticket"
    long_s: float
    short_s: float
    factor: float  # of the burn rate
    budget: float  # the share of a period's budget that is gone when it goes off


#: of a period of 30 days: for 2 % of the budget in an hour, 5 % in six, 10 % in three days
RULES = (
    Rule("page", HOUR_S, 300.0, 14.4, 0.02),
    Rule("page", 6 * HOUR_S, 1800.0, 6.0, 0.05),
    Rule("ticket", 3 * DAY_S, 6 * HOUR_S, 1.0, 0.10),
)


class Alert(NamedTuple):
    """When a rule's alert was on."""

    rule: Rule
    spans_s: list[tuple[float, float]]  # from, to; the last may end with the run
    max_burn: float  # the highest that both windows were above at once
    is_whole: bool  # whether the run is as long as the long window; else what came before is taken to have been well


class Budget(NamedTuple):
    """How much of its error budget a run used, and which alerts it would have set off."""

    klass: str | None  # the class asked for; None: all that promise something
    objective: float  # the share of requests that are to be good
    is_assumed: bool  # whether the objective is the usual one, as nobody said another
    period_s: float
    n: int  # judged requests
    n_bad: int
    rate_per_s: float  # of judged requests, mean over the run
    share_of_run: float | None  # of the budget of these requests; above 1 it is overspent
    share_of_period: float | None  # of the period's budget at the run's mean rate
    alerts: list[Alert]
    time_s: np.ndarray  # (step,) when alerts were looked at
    burn: dict[float, np.ndarray]  # window in s → burn rate at each step


def budget_of_run(
    run: Any, klass: str | None = None, objective: float | None = None, period_s: float = PERIOD_S
) -> Budget:
    """The error budget of a run folder, read. Without an objective, that of the scenario's limit on slo_attainment.

    Raises InputError where its requests were not kept, nothing was promised to them, or the period is none for an SLO.
    """
    if not PERIODS_S[0] <= period_s <= PERIODS_S[1]:
        least, most = (f"{period / DAY_S:g}d" for period in PERIODS_S)
        why = f"{least} to {most}: the longest window of an alert is {least}"
        raise InputError(problem("--period", f"{period_s:g}s", why))
    if run.tables.requests.num_rows == 0:
        raise InputError(problem("run", str(run.path), "a run with requests and output.records=true"))
    promises = promises_of(run.config)
    if klass is not None and klass not in promises:
        raise InputError(problem("class", klass, ", ".join(promises), nearest(klass, promises)))
    held = {name: limits for name, limits in promises.items() if limits and klass in (None, name)}
    if not held:
        who = f"class {klass}" if klass is not None else "no class"
        raise InputError(
            f"budget: {who} promises {'nothing' if klass is not None else 'anything'}; set objectives of traffic"
        )
    rows = read_rows(run.tables.requests, float(run.summary["end_s"]))
    said = objective if objective is not None else said_objective(run.config, klass)
    goal = USUAL if said is None else said
    known_s, bad = events(rows, held)
    window = (float(run.summary["warmup_s"]), float(run.summary["end_s"]))
    return budget(known_s, bad, goal, window, period_s)._replace(klass=klass, is_assumed=said is None)


def said_objective(config: Mapping[str, Any], klass: str | None) -> float | None:
    """The scenario's limit on slo_attainment, of the class or of all; None where it has none."""
    from sim.scenario.slo import parse_slo

    inner = config.get("config", {})
    names = [entry["name"] for entry in inner.get("classes", [])]
    limits = [parse_slo(text, names) for text in inner.get("slo", [])]
    of = [limit for limit in limits if limit.metric == "slo_attainment" and limit.op.startswith(">")]
    for scope in dict.fromkeys((klass, None)):
        found = [limit.value for limit in of if limit.scope == scope]
        if found:
            return max(found)
    return None


def events(rows: Rows, held: Mapping[str, Limits]) -> tuple[np.ndarray, np.ndarray]:
    """(when it was known what became of each judged request, s, rising; whether it was bad)."""
    verdict = judged(rows, held, "e2e")
    e2e_s = rows.values["e2e"] / 1e12
    known_s = rows.arrival_s + np.maximum(e2e_s, 0.0)
    never = e2e_s < 0
    for code, name in enumerate(rows.names):
        for measure in ("ttft", "e2e"):
            limit = held.get(name, {}).get(measure)
            if limit is not None:
                value = rows.values[measure]
                late = (rows.klass == code) & (verdict == MISSED) & ((value < 0) | (value > limit))
                at = rows.arrival_s + limit / 1e12
                known_s = np.where(late, np.where(never, at, np.minimum(known_s, at)), known_s)
                never &= ~late
    chosen = (verdict == MISSED) | (verdict == MET)
    order = np.argsort(known_s[chosen], kind="stable")
    return known_s[chosen][order], (verdict == MISSED)[chosen][order]


def budget(
    known_s: np.ndarray,
    bad: np.ndarray,
    objective: float,
    window_s: tuple[float, float],
    period_s: float = PERIOD_S,
    rules: tuple[Rule, ...] = RULES,
) -> Budget:
    """The budget of events: when each was known, rising, and whether it was bad. ValueError for an objective of 0 or 1."""
    if not 0 < objective < 1:
        raise ValueError("an objective lies between 0 and 1")
    begin, end = window_s
    n, n_bad, allowed = len(bad), int(bad.sum()), 1 - objective
    rate = n / max(end - begin, 1e-9)
    times = look_times(begin, end)
    scaled = [scaled_rule(rule, period_s) for rule in rules]
    windows = dict.fromkeys(w for rule in scaled for w in (rule.long_s, rule.short_s))
    burn = {w: burn_rate(known_s, bad, allowed, times, w, begin, rate) for w in windows}
    alerts = [alert_of(rule, times, burn, end - begin) for rule in scaled]
    in_period = rate * period_s * allowed
    return Budget(
        None,
        objective,
        False,
        period_s,
        n,
        n_bad,
        rate,
        n_bad / (n * allowed) if n else None,
        n_bad / in_period if n else None,
        alerts,
        times,
        burn,
    )


def scaled_rule(rule: Rule, period_s: float) -> Rule:
    """The rule for another period than 30 days: the same windows and shares of the budget, another factor."""
    return rule._replace(factor=rule.budget * period_s / rule.long_s)


def look_times(begin: float, end: float) -> np.ndarray:
    """When alerts are looked at: every STEP_S, less often in a long run."""
    n = min(STEPS_MAX, max(1, int((end - begin) / STEP_S)))
    return begin + (end - begin) * np.arange(1, n + 1) / n


def burn_rate(
    known_s: np.ndarray,
    bad: np.ndarray,
    allowed: float,
    times: np.ndarray,
    window_s: float,
    begin: float,
    rate: float,
) -> np.ndarray:
    """The share of bad events of the last `window_s` at each time, over what is allowed, (time,).

    Before the run all is taken to have been well, at the run's mean rate: a window that begins earlier is filled so.
    """
    up_to = np.concatenate([[0], np.cumsum(bad)])
    last = np.searchsorted(known_s, times, side="right")
    first = np.searchsorted(known_s, times - window_s, side="right")
    n = last - first + np.maximum(0.0, begin - (times - window_s)) * rate
    n_bad = up_to[last] - up_to[first]
    share = np.divide(n_bad, n, out=np.zeros(len(times)), where=n > 0)
    return share / allowed


def alert_of(rule: Rule, times: np.ndarray, burn: Mapping[float, np.ndarray], length_s: float) -> Alert:
    """When both windows of a rule were above its factor."""
    both = np.minimum(burn[rule.long_s], burn[rule.short_s])
    is_on = both > rule.factor
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_on.astype(np.int8), [0]])))
    spans = [(float(times[a]), float(times[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return Alert(rule, spans, float(both.max(initial=0.0)), length_s >= rule.long_s)
