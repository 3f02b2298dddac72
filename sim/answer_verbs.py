"""The verbs that answer a question: `whatif`, `capacity`, `budget`. What they print goes through the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import InputError, nearest

OK, SLO_FAILED = 0, 3
SPANS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
SPAN = re.compile(r"^\s*(\d{1,9}(?:\.\d{1,9})?)\s*(s|min|h|d)\s*$")
Say = Callable[[str], Any]


class Asked(NamedTuple):
    """The words of a verb, sorted."""

    scenario: str
    overrides: list[str]
    values: dict[str, list[str]]  # option → what it was given, in order
    flags: set[str]

    def one(self, option: str, usual: str) -> str:
        """The only value of an option. Raises InputError where it is given twice."""
        found = self.values.get(option, [])
        if len(found) > 1:
            raise InputError(f"{option}: is given twice; allowed: once")
        return found[0] if found else usual

    def whole(self, option: str, usual: int) -> int:
        """A whole number."""
        text = self.one(option, str(usual))
        if not text.isdecimal() or len(text) > 9:
            raise InputError(f"{option}: {text!r} is not valid; allowed: a whole number")
        return int(text)

    def seconds(self, option: str, usual: float) -> float:
        """A time above 0, as 30d, 12 h or 600 s."""
        text = self.one(option, "")
        match = SPAN.match(text)
        if text and (match is None or not float(match[1]) > 0):
            raise InputError(f"{option}: {text!r} is not valid; allowed: a time, as 30d, 12h or 600s")
        return float(match[1]) * SPANS[match[2]] if match is not None else usual

    def share(self, option: str, usual: float) -> float:
        """A fraction, as 0.02 or 2 %."""
        text = self.one(option, "")
        if not text:
            return usual
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            raise InputError(
                f"{option}: {text!r} is not valid; allowed: a fraction, as 0.02 or 2 %"
            ) from None
        return number / 100 if text.endswith("%") else number


def read_words(
    verb: str,
    words: list[str],
    options: tuple[str, ...],
    flags: tuple[str, ...],
    what: str = "a scenario",
    example: str = "spiky_hour",
) -> Asked:
    """Sort the words of a verb: options with values, as `--keep X` or `--keep=X`, flags, overrides. Raises InputError."""
    values: dict[str, list[str]] = {}
    given: set[str] = set()
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if word in flags:
            given.add(word)
        elif option in options:
            if not equals:
                value = left.pop(0) if left else ""
            if not value:
                raise InputError(f"{verb}: {option} needs a value")
            values.setdefault(option, []).append(value)
        elif word.startswith("--"):
            known = (*options, *flags)
            close = nearest(option, known)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"{verb}: {option!r} is no option of it; there are: {', '.join(known)}{hint}")
        else:
            rest.append(word)
    if not rest or "=" in rest[0]:
        raise InputError(f"{verb}: needs {what} first, as `fleetsim {verb} {example}`")
    return Asked(rest[0], rest[1:], values, given)


def whatif(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`whatif SCENARIO --keep LIMIT --vary KEY=VALUES --minimise MEASURE`: 3 where no setting keeps the limits."""
    options = ("--keep", "--vary", "--minimise", "--seeds", "--curve")
    asked = read_words("whatif", words, options, ("--every", "--json"))
    if "--curve" in asked.values:
        return price(asked, console, say, progress)
    from sim.answers.varied import SEEDS_MAX
    from sim.answers.whatif import whatif as ask

    with progress(f"settings of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.values.get("--keep", []),
            asked.values.get("--vary", []),
            asked.one("--minimise", "usd_per_hour"),
            asked.overrides,
            asked.whole("--seeds", SEEDS_MAX),
            "--every" in asked.flags,
            progress=tick,
        )
    from sim.report.answer_terminal import print_whatif

    tell(asked, found, say, lambda: print_whatif(found, console))
    return OK if found.best is not None else SLO_FAILED


def price(asked: Asked, console: Any, say: Say, progress: Any) -> int:
    """`whatif SCENARIO --curve MEASURE=LIMITS --vary KEY=VALUES`: 3 where no setting keeps any of the limits."""
    from sim.answers.price import SEEDS
    from sim.answers.price import price as ask

    with progress(f"settings of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.values["--curve"],
            asked.values.get("--vary", []),
            asked.values.get("--keep", []),
            asked.one("--minimise", "usd_per_hour"),
            asked.overrides,
            asked.whole("--seeds", SEEDS),
            progress=tick,
        )
    from sim.report.answer_terminal import print_price

    tell(asked, found, say, lambda: print_price(found, console))
    return OK if any(point.cost is not None for point in found.points) else SLO_FAILED


def capacity(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`capacity SCENARIO [--keep LIMIT]`: 3 where not even little traffic keeps the limits."""
    asked = read_words("capacity", words, ("--keep", "--seeds", "--precision"), ("--json",))
    from sim.answers.capacity import PRECISION
    from sim.answers.capacity import capacity as ask
    from sim.answers.varied import SEEDS_MAX

    with progress(f"loads of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.values.get("--keep", []),
            asked.overrides,
            asked.whole("--seeds", SEEDS_MAX),
            asked.share("--precision", PRECISION),
            progress=tick,
        )
    from sim.report.answer_terminal import print_capacity

    tell(asked, found, say, lambda: print_capacity(found, console))
    return OK if found.factor is not None else SLO_FAILED


def robust(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`robust SCENARIO key=a,b,c`: does the ranking survive other step times, cold starts, traffic and seeds?"""
    options = ("--keep", "--minimise", "--worlds", "--step-time", "--cold-start", "--load")
    asked = read_words("robust", words, options, ("--json",))
    from sim.answers.robust import OFF, WORLDS
    from sim.answers.robust import robust as ask

    off = {key: asked.share(f"--{key.replace('_', '-')}", usual) for key, usual in OFF.items()}
    with progress(f"worlds of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.overrides,
            asked.values.get("--keep", []),
            asked.one("--minimise", "usd_per_hour"),
            asked.whole("--worlds", WORLDS),
            off,
            progress=tick,
        )
    from sim.report.answer_terminal import print_robust

    tell(asked, found, say, lambda: print_robust(found, console))
    return OK


def search(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`search SCENARIO --vary KEY=VALUES --objective MEASURE`: 3 where no setting that was tried keeps the limits."""
    options = ("--vary", "--objective", "--keep", "--trials", "--seeds", "--sampler-seed")
    asked = read_words("search", words, options, ("--json",))
    from sim.answers.search import SEEDS, TRIALS
    from sim.answers.search import search as ask
    from sim.scenario.compose import load_scenario

    with progress(f"settings of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.values.get("--vary", []),
            asked.values.get("--objective", ["usd_per_hour"]),
            asked.values.get("--keep", []),
            asked.overrides,
            asked.whole("--trials", TRIALS),
            asked.whole("--seeds", SEEDS),
            asked.whole("--sampler-seed", 0),
            Path(load_scenario(asked.scenario, asked.overrides).output.dir),
            progress=tick,
        )
    from sim.report.answer_terminal import print_search

    tell(asked, found, say, lambda: print_search(found, console))
    return OK if found.front else SLO_FAILED


def sensitivity(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`sensitivity SCENARIO --vary KEY=RANGE --measure MEASURE`: Sobol indices."""
    options = ("--vary", "--measure", "--samples", "--seeds", "--step-time", "--cold-start", "--load")
    asked = read_words("sensitivity", words, options, ("--json",))
    from sim.answers.robust import OFF
    from sim.answers.sensitivity import SAMPLES, SEEDS
    from sim.answers.sensitivity import sensitivity as ask

    off = {key: asked.share(f"--{key.replace('_', '-')}", usual) for key, usual in OFF.items()}
    with progress(f"points of {asked.scenario}") as tick:
        found = ask(
            asked.scenario,
            asked.one("--measure", "ttft.p99"),
            asked.values.get("--vary", []),
            asked.overrides,
            off,
            asked.whole("--samples", SAMPLES),
            asked.whole("--seeds", SEEDS),
            progress=tick,
        )
    from sim.report.sensitivity_terminal import print_sensitivity

    tell(asked, found, say, lambda: print_sensitivity(found, console))
    return OK


def budget(words: list[str], console: Any, say: Say, progress: Any) -> int:
    """`budget RUN [class=NAME]`: the error budget of a kept run and its burn-rate alerts; 3 where it is overspent."""
    asked = read_words("budget", words, ("--objective", "--period"), ("--json",), "a run", "latest")
    from sim.analysis.budget import PERIOD_S, budget_of_run
    from sim.records.run_dir import find_run, read_run

    klass = None
    for word in asked.overrides:
        key, _, klass = word.partition("=")
        if key != "class" or not klass or len(asked.overrides) > 1:
            raise InputError(f"budget: {word!r} is not valid; allowed: class=NAME, once")
    objective = asked.share("--objective", math.nan)
    if not math.isnan(objective) and not 0 < objective < 1:
        raise InputError(
            f"--objective: {asked.one('--objective', '')!r} is not valid; allowed: between 0 and 100 %, as 99.9%"
        )
    found = budget_of_run(
        read_run(find_run(asked.scenario)),
        klass,
        None if math.isnan(objective) else objective,
        asked.seconds("--period", PERIOD_S),
    )
    if "--json" in asked.flags:
        say(as_json(budget_dict(found)))
    else:
        from sim.report.budget_terminal import print_budget

        print_budget(found, console)
    return OK if found.share_of_run is None or found.share_of_run <= 1 else SLO_FAILED


def budget_dict(found: Any) -> dict[str, Any]:
    """An error budget as plain data, for JSON."""
    data = {key: value for key, value in found._asdict().items() if key not in ("alerts", "time_s", "burn")}
    alerts = [{**a.rule._asdict(), **a._asdict()} for a in found.alerts]
    for alert in alerts:
        del alert["rule"]
    return {"question": "budget", **data, "alerts": alerts}


def tell(asked: Asked, found: Any, say: Say, show: Callable[[], None]) -> None:
    """What was found: as JSON where that is asked for, else shown on the terminal."""
    if "--json" in asked.flags:
        say(as_json(found.as_dict()))
    else:
        show()


def as_json(data: Any) -> str:
    """Plain data as JSON text; what is infinite is "inf"."""
    from sim.records.config import to_json

    return to_json(data) + "\n"


VERBS: dict[str, Callable[[list[str], Any, Say, Any], int]] = {
    "whatif": whatif,
    "capacity": capacity,
    "budget": budget,
    "robust": robust,
    "search": search,
    "sensitivity": sensitivity,
}
