"""The verbs that answer a question over seeds: `whatif`, `capacity`. What they print goes through the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sim.errors import InputError, nearest

OK, SLO_FAILED = 0, 3
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


def read_words(verb: str, words: list[str], options: tuple[str, ...], flags: tuple[str, ...]) -> Asked:
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
        raise InputError(
            f"{verb}: needs a scenario first, as `fleetsim {verb} spiky_hour`; `fleetsim list` has them"
        )
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
    if "--json" in asked.flags:
        say(as_json(found.as_dict()))
    else:
        from sim.report.answer_terminal import print_whatif

        print_whatif(found, console)
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
    if "--json" in asked.flags:
        say(as_json(found.as_dict()))
    else:
        from sim.report.answer_terminal import print_price

        print_price(found, console)
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
    if "--json" in asked.flags:
        say(as_json(found.as_dict()))
    else:
        from sim.report.answer_terminal import print_capacity

        print_capacity(found, console)
    return OK if found.factor is not None else SLO_FAILED


def as_json(data: Any) -> str:
    """Plain data as JSON text; what is infinite is "inf"."""
    from sim.records.config import to_json

    return to_json(data) + "\n"


VERBS: dict[str, Callable[[list[str], Any, Say, Any], int]] = {"whatif": whatif, "capacity": capacity}
