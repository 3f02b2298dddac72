"""What the HPA is told, sees and remembers, as rows, and the functions that fill its settings.

The logs are lists as upstream keeps them (a stale entry is overwritten, otherwise one is appended), of fixed capacity: a
full log drops its oldest entry and counts it; `hpa_fits` tells beforehand whether that can happen. A memory of zeros is
that of a new HPA.
Source of the defaults: kubernetes/kubernetes pkg/apis/autoscaling/v2/defaults.go.
"""

from __future__ import annotations

from sim.schema import Array, Field, Row
from sim.units import PS_PER_S

# what a target is held against
TARGET_AVERAGE = 0  # external or object metric, AverageValue: sum over the pool / replicas
TARGET_VALUE = 1  # external or object metric, Value
TARGET_PODS = 2  # pods metric: mean over the pods that report

SELECT_MAX = 0
SELECT_MIN = 1
SELECT_DISABLED = 2

POLICY_PODS = 0
POLICY_PERCENT = 1

UP = 0
DOWN = 1

# reasons, named as in the ScalingLimited condition
DESIRED_WITHIN_RANGE = 0
SCALE_UP_LIMIT = 1
TOO_MANY_REPLICAS = 2
SCALE_DOWN_LIMIT = 3
TOO_FEW_REPLICAS = 4

POLICY_CAP = 8
LOG_CAP = 256
TARGET_CAP = 8  # metrics of an HPA, signals of a pool
REPLICAS_MAX = 2**31 - 1


# ---- settings ----------------------------------------------------------------------
class HpaTarget(Row):
    """What one metric is held against: an entry of `spec.metrics`."""

    kind = Field("TARGET_AVERAGE, TARGET_VALUE or TARGET_PODS")
    milli = Field("the target in thousandths of the metric's unit; of a resource a whole percentage")
    tolerance_up_milli = Field("nothing happens until usage / target is above 1 by more than this", begin=100)
    tolerance_down_milli = Field("… or below 1 by more than this", begin=100)


class HpaPolicy(Row):
    """A scaling policy: at most `value` in a period."""

    kind = Field("POLICY_PODS or POLICY_PERCENT")
    value = Field("pods, or percent of the replicas at the start of the period")
    period_ps = Field("length of the period")


class HpaRule(Row):
    """One direction of `spec.behavior`."""

    window_ps = Field("stabilization window")
    select = Field("SELECT_MAX, SELECT_MIN or SELECT_DISABLED")
    n_policy = Field("policies")
    policies = Array("HpaPolicy rows", POLICY_CAP * HpaPolicy.SIZE)


class HpaSettings(Row):
    """A HorizontalPodAutoscaler's spec."""

    min_replicas = Field("replicas at least", begin=1)
    max_replicas = Field("replicas at most", begin=REPLICAS_MAX)
    behavior = Field(
        "1: spec.behavior is set; 0: the older limits (at most double or 4, slow down only)", begin=1
    )
    scale_to_zero = Field("1: the feature gate HPAScaleToZero is on")
    n_target = Field("metrics")
    targets = Array("HpaTarget rows, one a metric", TARGET_CAP * HpaTarget.SIZE)
    up = Array("an HpaRule", HpaRule.SIZE)
    down = Array("an HpaRule", HpaRule.SIZE)


# ---- what it sees and remembers ----------------------------------------------------------------------
class HpaSeen(Row):
    """What a reconcile reads: its metrics, and the pods that report them."""

    n_reporting = Field("replicas with a sample; for TARGET_VALUE the ready ones")
    n_pending = Field("replicas that are not on a node yet")
    n_missing = Field("replicas that run without a sample")
    metric_milli = Array(
        "each metric, summed over the pool (for TARGET_VALUE the value itself); negative: it could not be read",
        TARGET_CAP,
    )


class HpaLog(Row):
    """Values with the times at which they were written."""

    n = Field("entries")
    n_dropped = Field("entries that were overwritten although they still counted, for want of room")
    time_ps = Array("when", LOG_CAP, unit="ps")
    value = Array("replicas proposed, added or removed", LOG_CAP)


class HpaMemory(Row):
    """What an HPA remembers."""

    reason = Field("what limited the last proposal")
    is_started = Field("1: the first reconcile has recorded the replicas that it found")
    is_at_zero = Field("1: condition ScaledToZero: this HPA, and nobody else, went to 0")
    seen = Array("an HpaSeen: what the reconcile in progress reads", HpaSeen.SIZE)
    proposals = Array("an HpaLog: replicas that were proposed", HpaLog.SIZE)
    ups = Array("an HpaLog: replicas that were added", HpaLog.SIZE)
    downs = Array("an HpaLog: replicas that were removed", HpaLog.SIZE)


# ---- pods of a resource metric ----------------------------------------------------------------------
class Pod(Row):
    """A pod as `groupPods` looks at it."""

    phase = Field("PHASE_…")
    is_deleted = Field("1: it is being deleted")
    has_sample = Field("1: the metric is known for it")
    ready = Field("its Ready condition: 1, 0, or −1 when it has none (or no start time yet)")
    start_ps = Field("when it started")
    transition_ps = Field("when the Ready condition last changed")
    sample_ps = Field("when its sample ends")
    window_ps = Field("what the sample covers")


class PodRules(Row):
    """How pods are grouped for a resource metric."""

    is_cpu = Field("1: the metric is cpu, which alone looks at readiness")
    initialization_ps = Field("--horizontal-pod-autoscaler-cpu-initialization-period")
    readiness_delay_ps = Field("--horizontal-pod-autoscaler-initial-readiness-delay")


# For compiled rules, which know no attributes of classes.
TARGET_SIZE = HpaTarget.SIZE
POLICY_SIZE = HpaPolicy.SIZE


# ---- filling settings ----------------------------------------------------------------------
def fill_row(row: Row, **fields: int) -> None:
    """Set a row to what it begins as, then these fields. A name that it does not declare is an AttributeError."""
    row.words[: row.SIZE] = row.blank()
    for name, value in fields.items():
        setattr(row, name, value)


def hpa_settings(settings: HpaSettings, **fields: int) -> HpaSettings:
    """Fill a row with Kubernetes' defaults, then with these fields; it has no target and no policy yet."""
    fill_row(settings, **fields)
    HpaRule(settings.down, 0).window_ps = 300 * PS_PER_S
    return settings


def hpa_target(settings: HpaSettings, milli: int, **fields: int) -> bool:
    """Add a metric with its target; False when there are TARGET_CAP already."""
    n = int(settings.n_target)
    if n >= TARGET_CAP:
        return False
    fill_row(HpaTarget(settings.targets, n * TARGET_SIZE), milli=milli, **fields)
    settings.n_target = n + 1
    return True


def hpa_rule(settings: HpaSettings, direction: int) -> HpaRule:
    """The rule of the UP or DOWN direction."""
    return HpaRule(settings.up if direction == UP else settings.down, 0)


def hpa_policy(rule: HpaRule, kind: int, value: int, period_ps: int) -> bool:
    """Add a scaling policy to a rule; False when it holds POLICY_CAP already."""
    n = int(rule.n_policy)
    if n >= POLICY_CAP:
        return False
    fill_row(HpaPolicy(rule.policies, n * POLICY_SIZE), kind=kind, value=value, period_ps=period_ps)
    rule.n_policy = n + 1
    return True


def hpa_default_policies(settings: HpaSettings) -> None:
    """Kubernetes' policies where a behavior has none: up by 4 pods or 100 %, down by 100 %, each in 15 s."""
    hpa_policy(hpa_rule(settings, UP), POLICY_PODS, 4, 15 * PS_PER_S)
    hpa_policy(hpa_rule(settings, UP), POLICY_PERCENT, 100, 15 * PS_PER_S)
    hpa_policy(hpa_rule(settings, DOWN), POLICY_PERCENT, 100, 15 * PS_PER_S)


def hpa_fits(settings: HpaSettings, sync_period_ps: int) -> bool:
    """Whether no log can fill up when the HPA runs every `sync_period_ps`."""
    rules = (hpa_rule(settings, UP), hpa_rule(settings, DOWN))
    longest_ps = max(max(int(rule.window_ps), _longest_period_ps(rule)) for rule in rules)
    return longest_ps // sync_period_ps + 2 <= LOG_CAP


def _longest_period_ps(rule: HpaRule) -> int:
    policies = (HpaPolicy(rule.policies, i * POLICY_SIZE) for i in range(int(rule.n_policy)))
    return max((int(policy.period_ps) for policy in policies), default=0)
