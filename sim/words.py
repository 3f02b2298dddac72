"""Words of the command line: what comes first, what has a value, what is an option of a verb."""

from __future__ import annotations

from sim.errors import InputError, nearest

SEED_DIGITS = 19  # of the largest seed


def seeds_and_rest(overrides: list[str]) -> tuple[range | None, list[str]]:
    """Take `seed=A..B` out of the overrides; raises InputError where it is no range of seeds."""
    ranges = [word for word in overrides if word.startswith("seed=") and ".." in word]
    if not ranges:
        return None, overrides
    twice = [word for word in overrides if word.startswith("seed=") and word != ranges[0]]
    if twice:
        raise InputError(f"{twice[0]}: {ranges[0]} says the seeds already; allowed: one of the two")
    first, _, last = ranges[-1].removeprefix("seed=").partition("..")
    is_range = all(word.isdecimal() and len(word) <= SEED_DIGITS for word in (first, last))
    if not is_range or int(first) > int(last):
        raise InputError(f"{ranges[-1]}: allowed: seed=FIRST..LAST, two whole numbers, as seed=1..100")
    return range(int(first), int(last) + 1), [word for word in overrides if word not in ranges]


def scenario_and_overrides(verb: str, words: list[str]) -> tuple[str, list[str]]:
    """The scenario's name and the rest; raises InputError when there is none."""
    for word in words:
        if word.startswith("--"):
            raise InputError(f"{verb}: {word!r} is no option; settings are given as key=value")
    if not words or "=" in words[0]:
        raise InputError(
            f"{verb}: needs a scenario first, as `fleetsim {verb} spiky_hour`; `fleetsim list` has them"
        )
    return words[0], words[1:]


def take_value(verb: str, words: list[str], option: str) -> str | None:
    """Take `option VALUE` or `option=VALUE` out of the words; raises InputError where it has none, or comes twice."""
    given = [i for i, word in enumerate(words) if word == option or word.startswith(f"{option}=")]
    if not given:
        return None
    if len(given) > 1:
        raise InputError(f"{verb}: {option} is given twice; allowed: once")
    _, equals, value = words.pop(given[0]).partition("=")
    if not equals and given[0] < len(words):
        value = words.pop(given[0])
    if not value:
        raise InputError(f"{verb}: {option} needs a value")
    return value


def take_flags(verb: str, words: list[str], known: tuple[str, ...]) -> set[str]:
    """Take the flags out of the words; raises InputError for one that the verb does not have."""
    flags = {word for word in words if word.startswith("--")}
    for flag in sorted(flags - set(known)):
        there = f"there are: {', '.join(known)}" if known else "it has none"
        raise InputError(f"{verb}: {flag!r} is no option of it; {there}{hint(nearest(flag, known))}")
    words[:] = [word for word in words if word not in flags]
    return flags


def hint(close: str | None) -> str:
    """What the user may have meant."""
    return f"; did you mean {close!r}?" if close else ""
