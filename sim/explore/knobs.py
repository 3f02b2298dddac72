"""What can be moved on the page: keys of a scenario with their range or their options, and the overrides they come to.

The page sends names of knobs and values. A value is a number within its knob's range or one of its options, and nothing
else: no text of a page becomes an override, a file name or code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sim.analysis.verdicts import limits_of
from sim.errors import InputError, problem
from sim.measures.flat import is_share
from sim.scenario.catalogue import catalogue
from sim.scenario.fields import unit_of
from sim.scenario.scenario import Scenario

NUMBER, CHOICE = "number", "choice"
NOT_OFFERED = {"autoscaler": ("user",)}  # needs a file of the user's
MAX_CLASSES, MAX_POOLS, MAX_SPIKES, MAX_LIMITS = 4, 4, 3, 4
SLO = "slo"
Value = float | int | str


class Knob(NamedTuple):
    """One key: where it stands, what it may be, and what a scenario has there (None: it has no such key)."""

    name: str  # the key as a user would override it; of a limit `slo.0`
    label: str
    group: str
    kind: str  # NUMBER or CHOICE
    of: Callable[[Scenario], Value | None]
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0  # 1: whole numbers
    options: tuple[str, ...] = ()
    unit: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it takes whole numbers alone."""
        return self.kind == NUMBER and self.step == 1


def knobs_of(story: Scenario) -> list[Knob]:
    """The knobs of a scenario, in the order of the page."""
    return [*_traffic(story), *_pools(story), *_routing(story), *_limits(story)]


# ---- traffic ----------------------------------------------------------------------
def _traffic(story: Scenario) -> list[Knob]:
    found = []
    for at, entry in enumerate(story.classes[:MAX_CLASSES]):
        alone = len(story.classes) == 1
        place, who = ("traffic", "") if alone else (f"classes.{entry.name}", f" of {entry.name}")
        rate = getattr(entry.arrivals, "rate_per_s", None)
        if isinstance(rate, int | float) and rate > 0:
            found.append(
                Knob(f"{place}.arrivals.rate_per_s", f"arrivals{who}", "Traffic", NUMBER,
                     _read("classes", at, "arrivals", "rate_per_s"), *_around(rate), unit="per second")
            )  # fmt: skip
        for number, spike in enumerate(entry.spikes[:MAX_SPIKES]):
            found.append(
                Knob(f"{place}.spikes.{number}.height", f"height of spike {number + 1}{who}", "Traffic", NUMBER,
                     _read("classes", at, "spikes", number, "height"), 1.0, max(20.0, 2 * spike.height), 0.5, unit="×")
            )  # fmt: skip
        if entry.objectives.ttft_s is not None:
            found.append(
                Knob(f"{place}.objectives.ttft_s", f"promised ttft{who}", "Traffic", NUMBER,
                     _read("classes", at, "objectives", "ttft_s"), *_around(entry.objectives.ttft_s), unit="s")
            )  # fmt: skip
    return found


# ---- pools ----------------------------------------------------------------------
def _pools(story: Scenario) -> list[Knob]:
    found: list[Knob] = []
    for at, pool in enumerate(story.pools[:MAX_POOLS]):
        alone = len(story.pools) == 1 and pool.name == "main"
        group = "Fleet" if alone else f"Pool {pool.name}"
        place = "pool" if alone else f"pools.{pool.name}"

        def option(name: str, alone: bool = alone, pool_name: str = pool.name) -> str:
            return name if alone else f"{name}@pools.{pool_name}.{name}"

        def inside(name: str, alone: bool = alone, pool_name: str = pool.name) -> str:
            return name if alone else f"pools.{pool_name}.{name}"

        most = max(32, 4 * pool.max_replicas)
        for key in ("min_replicas", "max_replicas"):
            low = 0 if key == "min_replicas" else 1
            found.append(
                Knob(
                    f"{place}.{key}",
                    key.replace("_", " "),
                    group,
                    NUMBER,
                    _read("pools", at, key),
                    low,
                    most,
                    1,
                )
            )
        found.append(
            _choice(
                option("autoscaler"),
                "autoscaler",
                group,
                "autoscaler",
                _read("pools", at, "autoscaler", "name"),
            )
        )
        for key in ("target", "target_backlog_per_replica"):
            found.append(
                Knob(inside(f"autoscaler.{key}"), key.replace("_", " "), group, NUMBER,
                     _read("pools", at, "autoscaler", key), *_around(getattr(pool.autoscaler, key, 8.0)), unit=unit_of(key))
            )  # fmt: skip
        found.append(
            _choice(
                option("coldstart"), "cold start", group, "coldstart", _read("pools", at, "coldstart", "name")
            )
        )
        found.append(
            _choice(option("gpu"), "GPU", group, "gpu", _option_of("gpu", _read("pools", at, "gpu", "name")))
        )
    return found


def _routing(story: Scenario) -> list[Knob]:
    return [_choice("router", "router", "Routing", "router", _read("router", "kind"))]


def _choice(
    name: str, label: str, group: str, option_group: str, of: Callable[[Scenario], Value | None]
) -> Knob:
    options = tuple(
        o for o in catalogue(option_group)[option_group] if o not in NOT_OFFERED.get(option_group, ())
    )
    return Knob(name, label, group, CHOICE, of, options=options)


def _option_of(group: str, name_of: Callable[[Scenario], Value | None]) -> Callable[[Scenario], Value | None]:
    """The option whose title a scenario has: `h100` for "H100 SXM 80 GB"."""
    titles: dict[str, str] = {}

    def read(story: Scenario) -> Value | None:
        if not titles:
            from sim.scenario.catalogue import option_files
            from sim.scenario.yaml_file import read_yaml

            for option, path in option_files(group).items():
                titles.setdefault(str(read_yaml(path).get("name")), option)
        name = name_of(story)
        return titles.get(str(name))

    return read


# ---- limits ----------------------------------------------------------------------
def _limits(story: Scenario) -> list[Knob]:
    found = []
    for at, limit in enumerate(limits_of(story)[:MAX_LIMITS]):
        left = limit.text.partition(limit.op)[0].strip()
        is_percent = is_share("_".join(limit.path if limit.scope is None else limit.path[2:]))
        value = limit.value * 100 if is_percent else limit.value
        low, high, step = (50.0, 100.0, 0.5) if is_percent else _around(value)
        unit = "%" if is_percent else ("s" if limit.statistic is not None else "")
        found.append(
            Knob(
                f"{SLO}.{at}",
                f"{left} {limit.op}",
                "Limits",
                NUMBER,
                _limit_value(at, is_percent),
                low,
                high,
                step,
                unit=unit,
            )
        )
    return found


def _limit_value(at: int, is_percent: bool) -> Callable[[Scenario], Value | None]:
    def read(story: Scenario) -> Value | None:
        found = limits_of(story)
        return (found[at].value * (100 if is_percent else 1)) if at < len(found) else None

    return read


def _around(value: float) -> tuple[float, float, float]:
    """(low, high, step) of a slider on which a value stands well inside."""
    high = 4.0 * value
    step = 10.0 ** math.floor(math.log10(high / 100)) if high > 0 else 1.0
    return step, round(math.ceil(high / step) * step, 9), step


def _read(*path: str | int) -> Callable[[Scenario], Value | None]:
    """What a scenario has at a place; None where it has no such place."""

    def read(story: Scenario) -> Value | None:
        value: Any = story
        for part in path:
            if isinstance(part, int):
                value = value[part] if part < len(value) else None
            else:
                value = getattr(value, part, None)
            if value is None:
                return None
        return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None

    return read


# ---- values to overrides ----------------------------------------------------------------------
def checked(knobs: Sequence[Knob], said: Any) -> dict[str, Value]:
    """The values that a page sent, each of them a number in its range or one of its options; raises InputError."""
    if not isinstance(said, Mapping):
        raise InputError("values: are not valid; allowed: an object of knobs and their values")
    known = {knob.name: knob for knob in knobs}
    found: dict[str, Value] = {}
    for name, value in said.items():
        if name not in known:
            raise InputError(problem("knob", name, "one of the page's"))
        found[name] = _checked(known[name], value)
    return found


def _checked(knob: Knob, value: Any) -> Value:
    if knob.kind == CHOICE:
        if value not in knob.options:
            raise InputError(problem(knob.name, value, ", ".join(knob.options)))
        return str(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not knob.low <= value <= knob.high:
        raise InputError(problem(knob.name, value, f"a number from {knob.low:g} to {knob.high:g}"))
    if knob.is_whole and value != int(value):
        raise InputError(problem(knob.name, value, "a whole number"))
    return int(value) if knob.is_whole else float(value)


def overrides_of(story: Scenario, knobs: Sequence[Knob], values: Mapping[str, Value]) -> list[str]:
    """Overrides of what differs from the scenario, options first; limits are one list, as a scenario has them."""
    choices, numbers, limits = [], [], {}
    for knob in knobs:
        if knob.name not in values or values[knob.name] == knob.of(story):
            continue
        if knob.name.startswith(f"{SLO}."):
            limits[int(knob.name.partition(".")[2])] = (knob, values[knob.name])
        elif knob.kind == CHOICE:
            choices.append(f"{knob.name}={values[knob.name]}")
        else:
            numbers.append(f"{knob.name}={_number(values[knob.name])}")
    return [*choices, *numbers, *_limits_override(story, limits)]


def _number(value: Value) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.9g}"


def _limits_override(story: Scenario, changed: Mapping[int, tuple[Knob, Value]]) -> list[str]:
    if not changed:
        return []
    texts = []
    for at, limit in enumerate(limits_of(story)):
        if at in changed:
            knob, value = changed[at]
            unit = f" {knob.unit}" if knob.unit else ""
            texts.append(f"{knob.label} {_number(value)}{unit}")
        else:
            texts.append(limit.text)
    return ["slo=[" + ", ".join(f'"{text}"' for text in texts) + "]"]
