"""What an answer varies, and with how many seeds: settings in rows, each along one key, as words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.answers.bench import Setting, Sheet
from sim.errors import InputError, problem
from sim.scenario.catalogue import GROUPS, is_file, option_files, unknown_option
from sim.studies.axes import Axis, Value, axis, keys_of
from sim.studies.points import Points, as_word, grid
from sim.studies.reading import check_scenario_key

SEEDS_MAX = 50  # of a setting, unless told
COMPOSED_MAX = 400  # settings that are composed before the first is run
SETTINGS_MAX = 20_000


def checked_seeds(seeds: int) -> int:
    """The most seeds of a setting. Raises InputError."""
    if type(seeds) is not int or not 2 <= seeds <= 100_000:
        raise InputError(problem("--seeds", seeds, "a whole number from 2 to 100000"))
    return seeds


def axes_of(vary: Mapping[str, Any] | Sequence[str], overrides: Sequence[str] = ()) -> list[Axis]:
    """What is varied, from `key=values` or a mapping. Raises InputError, also where `overrides` set a key of it."""
    if isinstance(vary, Mapping):
        pairs = [(str(key), value) for key, value in vary.items()]
    else:
        pairs = []
        for text in [vary] if isinstance(vary, str) else vary:
            key, equals, value = text.partition("=")
            if not equals or not key.strip() or not value.strip():
                raise InputError(problem("--vary", text, "a key and its values, as pool.min_replicas=1..64"))
            pairs.append((key.strip(), value))
    if not pairs:
        raise InputError("--vary: nothing is varied; write --vary pool.min_replicas=1..64")
    found: list[Axis] = []
    for key, value in pairs:
        one = axis(key, value, "--vary")
        for inner in keys_of([one]):
            check_scenario_key(inner, "--vary")
        if key in [other.key for other in found]:
            raise InputError(f"--vary: {key} is given twice; allowed: once")
        _check_options(one)
        found.append(one)
    fixed = {word.partition("=")[0].strip() for word in overrides}
    for key in keys_of(found):
        if key in fixed:
            raise InputError(f"{key}: is set and is varied too; allowed: one of both, {key}=VALUE or --vary")
    return found


def _check_options(one: Axis) -> None:
    """Raise InputError for an option that its group does not have: it is misspelt, no setting that cannot be."""
    group = one.key.partition("@")[0]
    for part in one.parts:
        if not isinstance(part, Value):
            continue
        option = part.value
        is_name = group in GROUPS and isinstance(option, str) and not is_file(option)
        if is_name and option not in option_files(group):
            raise InputError(f"--vary.{unknown_option(group, option, one.key)}")
        for inner in part.axes:
            _check_options(inner)


Setup = tuple[
    str, dict[str, Any], list[dict[str, Any]]
]  # searched key, the other keys, values of each setting


def rows_of(axes: Sequence[Axis], sheet: Sheet, notes: list[str]) -> list[Setup]:
    """The rows of settings, each along the longest numeric axis, those left out that cannot be.

    Raises InputError where no setting can be, or they are too many.
    """
    points = grid(axes, (), ())
    if points.n > SETTINGS_MAX:
        raise InputError(f"--vary: {points.n:,} settings; allowed: at most {SETTINGS_MAX:,}")
    key = searched_key(points)
    good = [points.varied(i) for i in range(points.n)]
    if len(good) <= COMPOSED_MAX:
        good = possible(good, sheet, notes)
    rows: dict[str, Setup] = {}
    for values in good:
        fixed = {k: v for k, v in values.items() if k != key}
        rows.setdefault(repr(fixed), (key, fixed, []))[2].append(values)
    for _, _, row in rows.values():
        if all(is_number(values[key]) for values in row):
            row.sort(key=lambda values: float(values[key]))
    return list(rows.values())


def is_number(value: Any) -> bool:
    """Whether a value has a place in an order."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def searched_key(points: Points) -> str:
    """The axis with most numbers that every point has; without numbers the first, all of whose values are tried."""
    full = [c for c in points.columns if (c.codes >= 0).all()]
    numeric = [c for c in full if c.kind in ("int", "float")]
    if numeric:
        return max(numeric, key=lambda c: len(c.table)).key
    return full[0].key


def words_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """A setting as words of the command line."""
    return tuple(f"{key}={as_word(value)}" for key, value in values.items())


def possible(settings: Sequence[dict[str, Any]], sheet: Sheet, notes: list[str]) -> list[dict[str, Any]]:
    """The settings that can be; why others cannot goes to the notes. Raises InputError where none can."""
    good: list[dict[str, Any]] = []
    reasons: dict[str, list[dict[str, Any]]] = {}
    for values in settings:
        try:
            sheet.story(Setting(words_of(values)))
            good.append(values)
        except InputError as error:
            reasons.setdefault(error.problems[0], []).append(values)
    if not good:
        raise InputError(next(iter(reasons)))
    if reasons:
        n = sum(len(bad) for bad in reasons.values())
        notes.append(f"{n} of {len(settings)} settings cannot be and were left out: {next(iter(reasons))}")
    return good
