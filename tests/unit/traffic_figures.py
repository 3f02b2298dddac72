"""What is measured on arrival times, the same way for recorded and for made traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter

from sim.scenario.traffic import TrafficClass

Floats = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
CONF = HERE.parents[1] / "conf" / "traffic"
# those of calls that stand alone; sessions are measured in test_workload_sessions
PRESETS = tuple(sorted(path.stem for path in CONF.glob("*.yaml") if "\nsessions:" not in path.read_text()))


def preset(name: str) -> TrafficClass:
    """conf/traffic/<name>.yaml as it stands."""
    return TypeAdapter(TrafficClass).validate_python(yaml.safe_load((CONF / f"{name}.yaml").read_text()))


def published(name: str) -> dict[str, Any]:
    """What the preset's source says of itself."""
    text = (HERE / "data" / "characteristics_subset.json").read_text()
    return dict(json.loads(text)["presets"][name])


def counts(times_s: Floats, bin_s: float, span_s: float) -> NDArray[np.int64]:
    """Arrivals in each whole bin of [0, span_s)."""
    n = int(span_s // bin_s)
    return np.bincount((times_s[times_s < n * bin_s] // bin_s).astype(np.int64), minlength=n)


def index_of_dispersion(times_s: Floats, bin_s: float, span_s: float) -> float:
    """Variance of the counts over their mean."""
    c = counts(times_s, bin_s, span_s)
    return float(c.var() / c.mean())


def peak_to_mean(times_s: Floats, bin_s: float, span_s: float, window_s: float) -> float:
    """The fullest bin over the mean bin, in windows as long as the recorded trace: the median over them."""
    ratios = []
    for begin in np.arange(0.0, span_s - window_s + 1, window_s):
        inside = times_s[(times_s >= begin) & (times_s < begin + window_s)] - begin
        c = counts(inside, bin_s, window_s)
        ratios.append(c.max() / c.mean())
    return float(np.median(ratios))


def cv(gaps: Floats) -> float:
    """Coefficient of variation."""
    return float(gaps.std() / gaps.mean())


def cv_within(times_s: Floats, span_s: float, window_s: float = 600.0) -> float:
    """The median over windows of the gaps' CV inside them."""
    edges = np.searchsorted(times_s, np.arange(0.0, span_s, window_s))
    gaps = [np.diff(part) for part in np.split(times_s, edges[1:])]
    return float(np.median([cv(g) for g in gaps if len(g) > 5]))
