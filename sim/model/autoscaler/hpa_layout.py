"""Where the HPA keeps its parameters and its memory: offsets, capacities, and the functions that fill a par.

Both are int64 slices, times in picoseconds; a state of zeros is that of a new HPA. The logs are lists as
upstream keeps them (a stale entry is overwritten, otherwise one is appended), of fixed capacity: a full log
drops its oldest entry and says so in HPA_STATUS; `hpa_fits` tells beforehand whether that can happen.
Source of the defaults: kubernetes/kubernetes pkg/apis/autoscaling/v2/defaults.go.
"""

from __future__ import annotations

from numpy.typing import NDArray

from sim.units import PS_PER_S

# what the target is held against
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

# par
HPA_TARGET_TYPE = 0
HPA_TARGET_MILLI = 1
HPA_TOLERANCE_UP_MILLI = 2
HPA_TOLERANCE_DOWN_MILLI = 3
HPA_BEHAVIOR = 4  # 1: spec.behavior is set; 0: the older limits (at most double or 4, slow down only)
HPA_SCALE_TO_ZERO = 5  # feature gate HPAScaleToZero
HPA_RULES = 6  # two rules, up then down: window_ps, select, n_policies, (type, value, period_ps) …
HPA_POLICY_CAP = 8
HPA_RULE_SIZE = 3 + 3 * HPA_POLICY_CAP
HPA_PAR_SIZE = HPA_RULES + 2 * HPA_RULE_SIZE

# state
HPA_STATUS = 0  # HPA_OK or HPA_LOG_FULL
HPA_REASON = 1  # what limited the last proposal
HPA_STARTED = 2  # the first reconcile has recorded the replicas it found
HPA_AT_ZERO = 3  # condition ScaledToZero: this HPA, and nobody else, went to 0
HPA_LOGS = 4  # three logs: proposals, ups, downs, each n, (time_ps, value) …
HPA_LOG_CAP = 256
HPA_LOG_SIZE = 1 + 2 * HPA_LOG_CAP
HPA_PROPOSALS = HPA_LOGS
HPA_UPS = HPA_LOGS + HPA_LOG_SIZE
HPA_DOWNS = HPA_UPS + HPA_LOG_SIZE
HPA_STATE_SIZE = HPA_DOWNS + HPA_LOG_SIZE

HPA_OK = 0
HPA_LOG_FULL = 1

# reasons, named as in the ScalingLimited condition
DESIRED_WITHIN_RANGE = 0
SCALE_UP_LIMIT = 1
TOO_MANY_REPLICAS = 2
SCALE_DOWN_LIMIT = 3
TOO_FEW_REPLICAS = 4


def hpa_par(
    par: NDArray,
    target_milli: int,
    target_type: int = TARGET_AVERAGE,
    tolerance_up_milli: int = 100,
    tolerance_down_milli: int = 100,
    up_window_ps: int = 0,
    down_window_ps: int = 300 * PS_PER_S,
    up_select: int = SELECT_MAX,
    down_select: int = SELECT_MAX,
    behavior: int = 1,
    scale_to_zero: int = 0,
) -> None:
    """Fill `par` ((HPA_PAR_SIZE,) int64) with Kubernetes' defaults; `hpa_policy` adds the policies."""
    par[:HPA_PAR_SIZE] = 0
    par[HPA_TARGET_TYPE] = target_type
    par[HPA_TARGET_MILLI] = target_milli
    par[HPA_TOLERANCE_UP_MILLI] = tolerance_up_milli
    par[HPA_TOLERANCE_DOWN_MILLI] = tolerance_down_milli
    par[HPA_BEHAVIOR] = behavior
    par[HPA_SCALE_TO_ZERO] = scale_to_zero
    for direction, window_ps, select in ((UP, up_window_ps, up_select), (DOWN, down_window_ps, down_select)):
        base = HPA_RULES + direction * HPA_RULE_SIZE
        par[base] = window_ps
        par[base + 1] = select


def hpa_policy(par: NDArray, direction: int, policy_type: int, value: int, period_ps: int) -> bool:
    """Add a scaling policy to the UP or DOWN rule; False when the rule holds HPA_POLICY_CAP already."""
    base = HPA_RULES + direction * HPA_RULE_SIZE
    n = int(par[base + 2])
    if n >= HPA_POLICY_CAP:
        return False
    par[base + 3 + 3 * n : base + 6 + 3 * n] = (policy_type, value, period_ps)
    par[base + 2] = n + 1
    return True


def hpa_default_policies(par: NDArray) -> None:
    """Kubernetes' policies where a behavior has none: up by 4 pods or 100 %, down by 100 %, each in 15 s."""
    hpa_policy(par, UP, POLICY_PODS, 4, 15 * PS_PER_S)
    hpa_policy(par, UP, POLICY_PERCENT, 100, 15 * PS_PER_S)
    hpa_policy(par, DOWN, POLICY_PERCENT, 100, 15 * PS_PER_S)


def hpa_fits(par: NDArray, sync_period_ps: int) -> bool:
    """Whether no log can fill up when the HPA runs every `sync_period_ps`."""
    longest_ps = 0
    for direction in (UP, DOWN):
        base = HPA_RULES + direction * HPA_RULE_SIZE
        longest_ps = max(longest_ps, int(par[base]), _longest_period_ps(par, direction))
    return longest_ps // sync_period_ps + 2 <= HPA_LOG_CAP


def _longest_period_ps(par: NDArray, direction: int) -> int:
    base = HPA_RULES + direction * HPA_RULE_SIZE
    return max((int(par[base + 5 + 3 * i]) for i in range(int(par[base + 2]))), default=0)
