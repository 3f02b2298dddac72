"""A pool's autoscaler and its signals in numbers."""

from __future__ import annotations

import numpy as np

from sim.errors import InputError
from sim.fill.by_name import fields_of
from sim.fill.kinds import settings_words
from sim.fill.signals import SignalRow
from sim.model.autoscaler.hpa_rows import (
    DOWN,
    POLICY_CAP,
    POLICY_PERCENT,
    POLICY_PODS,
    SELECT_DISABLED,
    SELECT_MAX,
    SELECT_MIN,
    UP,
    HpaRule,
    HpaSettings,
    hpa_fits,
    hpa_policy,
    hpa_rule,
    hpa_settings,
    hpa_target,
)
from sim.model.autoscaler.keda import KedaSettings, keda_settings, keda_trigger
from sim.model.loop.control import AUTOSCALERS, KINDS, SCALER_PAR
from sim.model.tables.codes import AGGREGATIONS, FIXED, HPA, METRIC_SOURCES, QUEUE
from sim.scenario.autoscaler import Hpa, Queue, ScalingRules, Trigger
from sim.scenario.metrics import Pipeline
from sim.scenario.pool import Pool
from sim.units import s_to_ps

RING_MAX = 4096
SELECT = {"max": SELECT_MAX, "min": SELECT_MIN, "disabled": SELECT_DISABLED}


def scaler_row(pool: Pool) -> tuple[int, int, int, np.ndarray]:
    """(code, first tick ps, fixed target, settings) of a pool's controller."""
    scaler = pool.autoscaler
    words = np.zeros(SCALER_PAR, dtype=np.int64)
    kind = KINDS[AUTOSCALERS.index(scaler.kind)]
    if scaler.kind == "fixed":
        return FIXED, 0, scaler.replicas, words
    if scaler.kind == "hpa":
        fill_hpa(pool, scaler, words)
        return HPA, s_to_ps(scaler.sync_period_s), 0, words
    if scaler.kind == "queue":
        fill_queue(pool, scaler, words)
        return QUEUE, 0, 0, words
    if kind.settings is not None:
        words[: kind.settings.SIZE] = settings_words(kind, fields_of(kind.settings, scaler, pool))
    return kind.code, s_to_ps(scaler.period_s), 0, words


def milli(value: float) -> int:
    """A quantity in thousandths, at least one: how Kubernetes keeps it."""
    return max(1, round(value * 1000))


def fill_hpa(pool: Pool, scaler: Hpa, words: np.ndarray) -> None:
    """An HPA's settings; InputError where its logs could overflow."""
    key = f"pools.{pool.name}.autoscaler"
    settings = HpaSettings(words, 0)
    hpa_settings(settings, min_replicas=pool.min_replicas, max_replicas=pool.max_replicas)
    tolerance = round(scaler.tolerance * 1000)
    for target in (scaler.target, *(metric.target for metric in scaler.more_metrics)):
        hpa_target(settings, milli(target), tolerance_up_milli=tolerance, tolerance_down_milli=tolerance)
    _fill_rule(hpa_rule(settings, UP), f"{key}.scale_up", scaler.scale_up)
    _fill_rule(hpa_rule(settings, DOWN), f"{key}.scale_down", scaler.scale_down)
    if not hpa_fits(settings, s_to_ps(scaler.sync_period_s)):
        raise InputError(
            f"{key}.sync_period_s: {scaler.sync_period_s:g} s is too short for its windows and policies; "
            "allowed: at least 1/254 of the longest of them"
        )


def _fill_rule(rule: HpaRule, key: str, rules: ScalingRules) -> None:
    rule.window_ps, rule.select = s_to_ps(rules.stabilization_window_s), SELECT[rules.select_policy]
    for policy in rules.policies:
        kind = POLICY_PODS if policy.type == "pods" else POLICY_PERCENT
        if not hpa_policy(rule, kind, policy.value, s_to_ps(policy.period_s)):
            raise InputError(f"{key}.policies: {len(rules.policies)} policies; allowed: at most {POLICY_CAP}")


def fill_queue(pool: Pool, scaler: Queue, words: np.ndarray) -> None:
    """A queue scaler's settings."""
    settings = KedaSettings(words, 0)
    keda_settings(
        settings,
        min_replicas=pool.min_replicas,
        max_replicas=pool.max_replicas,
        polling_ps=s_to_ps(scaler.polling_interval_s),
        cooldown_ps=s_to_ps(scaler.cooldown_s),
    )
    triggers: list[Queue | Trigger] = [scaler, *scaler.more_triggers]
    for trigger in triggers:
        keda_trigger(settings, milli(trigger.target_backlog_per_replica), round(trigger.activation * 1000))


# ---- signals ----------------------------------------------------------------------
def signal_rows(pool: Pool) -> tuple[SignalRow, ...]:
    """A pool's signals in numbers; InputError where one holds more samples than there is room for."""
    first = pool.metrics
    source = str(first.source or getattr(pool.autoscaler, "metric", "outstanding"))
    key = f"pools.{pool.name}.metrics"
    more = [
        signal_row(f"{key}.more[{i}]", signal.source or source, signal) for i, signal in enumerate(first.more)
    ]
    return (signal_row(key, source, first), *more)


def signal_row(key: str, source: str, signal: Pipeline) -> SignalRow:
    """A signal in numbers."""
    if (signal.window_s + signal.lag_s) / signal.scrape_period_s > RING_MAX - 2:
        raise InputError(
            f"{key}: window_s + lag_s of {signal.window_s + signal.lag_s:g} s holds more than "
            f"{RING_MAX - 2} samples of scrape_period_s {signal.scrape_period_s:g} s; scrape less often"
        )
    return SignalRow(
        source=METRIC_SOURCES.index(source),
        scrape_ps=s_to_ps(signal.scrape_period_s),
        window_ps=s_to_ps(signal.window_s),
        lag_ps=s_to_ps(signal.lag_s),
        aggregation=AGGREGATIONS.index(signal.aggregation),
    )
