"""Reading a study: from a file in `scenarios/studies/`, or from words of the command line; a line for every mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.errors import InputError, nearest, problem
from sim.scenario.build import TOP_LEVEL
from sim.scenario.catalogue import GROUPS, scenario_files, study_files
from sim.scenario.compose import read_orders
from sim.scenario.problems import not_a_key
from sim.scenario.yaml_file import read_yaml
from sim.studies.axes import OPTION, RANGE, Axis, Value, axis, keys_of, split
from sim.studies.points import count
from sim.studies.rules import Rule, read_rule
from sim.studies.seeds import read_decide, read_seeds
from sim.studies.study import Study, read_sampler

KEYS = (
    "name",
    "question",
    "scenario",
    "overrides",
    "axes",
    "zipped",
    "when",
    "constraints",
    "sampler",
    "seeds",
    "baseline",
    "decide",
    "control",
    "histograms",
)
SEVERAL_DOTS = re.compile(r"^[-+.\d][^,\s]*\.\.")  # meant as a range
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


def find_study(name_or_path: str) -> Path | None:
    """The file of a study by name or path; None where it is the name of a scenario, or a scenario's file."""
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"study: there is no file {name_or_path}")
        body = read_yaml(path, packages=("_global_",))
        return path if any(key in body for key in ("axes", "zipped", "seeds", "sampler")) else None
    files = study_files()
    if name_or_path in files:
        return files[name_or_path]
    if name_or_path in scenario_files():
        return None
    known = [*files, *scenario_files()]
    close = nearest(name_or_path, known)
    hint = f"; did you mean {close!r}?" if close else ""
    raise InputError(
        f"study: {name_or_path!r} is not known; studies: {', '.join(files)}; or a scenario of `fleetsim list`{hint}"
    )


def load_study(name_or_path: str, words: Sequence[str] = ()) -> Study:
    """A study by name or path, or a scenario with axes in `words`; overrides in `words` hold over those of the file.

    Raises InputError with a line for every mistake.
    """
    path = find_study(name_or_path)
    said = dict(read_yaml(path)) if path else {"scenario": name_or_path}
    said.setdefault("name", re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name_or_path).stem).strip("_-") or "study")
    return replace(
        read_study(with_words(said, words), str(path) if path else ""), said=(name_or_path, *words)
    )


def with_words(said: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """What a file says with words of the command line laid over: `seed=1..30`, `key=1,2` an axis, `key=1` an override."""
    data = dict(said)
    axes = dict(data.get("axes") or {}) if isinstance(data.get("axes") or {}, Mapping) else data["axes"]
    overrides = list(data.get("overrides") or [])
    seen: set[str] = set()
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{word}: is not an override; write key=value")
        if key in seen:
            raise InputError(f"{word}: {key} is given twice; allowed: once")
        seen.add(key)
        if key in ("seed", "seeds"):
            data["seeds"] = value
        elif key in ("baseline", "decide", "control"):
            data[key] = value
        elif isinstance(axes, dict) and (key in axes or is_axis(key, value)):
            axes[key] = value
            if isinstance(data.get("baseline"), Mapping):  # it names a value that may be gone
                data["baseline"] = {k: v for k, v in data["baseline"].items() if k != key}
        else:
            overrides.append(word)
    return {**data, "axes": axes, "overrides": overrides}


def is_axis(key: str, value: str) -> bool:
    """Whether a word of the command line says several values: more than one, a range, or an option with axes of its own."""
    try:
        items = split(value, key)
    except InputError:
        return False  # whoever reads overrides says what is wrong with it
    return len(items) > 1 or any(form.match(items[0]) for form in (RANGE, OPTION, SEVERAL_DOTS))


def read_study(said: Mapping[str, Any], shown: str = "") -> Study:
    """A study from plain data; raises InputError with a line for every mistake, `shown` in front of each."""
    problems: list[str] = []

    def told(read: Any, *args: Any) -> Any:
        try:
            return read(*args)
        except InputError as error:
            problems.extend(f"{shown}: {line}" if shown else line for line in error.problems)
            return None

    for key in said:
        told(_check_key, str(key))
    axes = told(_axes, said.get("axes") or {}, "axes") or ()
    zipped = told(_zipped, said.get("zipped") or []) or ()
    keys = list(dict.fromkeys(_keys(axes, zipped, [])))
    whens = told(_whens, said.get("when") or [], keys) or ()
    for _, inner in whens:
        keys += [key for key in keys_of(inner) if key not in keys]
    told(_check_axes_once, axes, zipped)
    study = {
        "name": told(_name, said.get("name", "study")),
        "scenario": told(_text, "scenario", said.get("scenario")),
        "question": told(_text, "question", said.get("question", "")),
        "overrides": told(_overrides, said.get("overrides") or [], keys),
        "sampler": told(read_sampler, said.get("sampler", "grid")),
        "seeds": told(read_seeds, said.get("seeds", 1)),
        "decide": told(read_decide, said.get("decide") or []),
        "control": told(_one_of, "control", said.get("control", "none"), ("none", "arrivals")),
        "histograms": told(_one_of, "histograms", said.get("histograms", "cell"), ("cell", "run", "none")),
    }
    constraints = () if problems else told(_constraints, said.get("constraints") or [], keys)
    baseline = {} if problems else told(_baseline, said.get("baseline") or {}, keys)
    if problems:
        raise InputError(problems)
    return Study(axes=axes, zipped=zipped, whens=whens, constraints=constraints, baseline=baseline, **study)


def _keys(
    axes: Sequence[Axis], zipped: Sequence[Sequence[Axis]], more: Sequence[Sequence[Axis]]
) -> list[str]:
    return [key for group in (axes, *zipped, *more) for key in keys_of(group)]


def _check_key(key: str) -> None:
    if key not in KEYS:
        close = nearest(key, KEYS)
        raise InputError(
            f"{key}: no such key; allowed: {', '.join(KEYS)}"
            + (f"; did you mean {close!r}?" if close else "")
        )


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.match(value):
        raise InputError(problem("name", value, "letters, digits, _ and -, at most 64"))
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or (key == "scenario" and not value):
        raise InputError(problem(key, value, "a name or a path" if key == "scenario" else "text"))
    return value


def _one_of(key: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InputError(problem(key, value, ", ".join(allowed), nearest(str(value), allowed)))
    return str(value)


def _overrides(said: Any, keys: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(word, str) for word in said):
        raise InputError(problem("overrides", said, "a list of key=value"))
    read_orders(said)
    for word in said:
        key = word.lstrip("+~").partition("=")[0]
        if key in keys:
            raise InputError(f"overrides: {word}: {key} is an axis too; allowed: one of the two")
        if key == "seed":
            raise InputError(f"overrides: {word} is not valid; allowed: seeds, beside axes")
    return tuple(said)


def _axes(said: Any, place: str) -> tuple[Axis, ...]:
    if not isinstance(said, Mapping):
        raise InputError(problem(place, said, "a mapping of keys to values, as {pool.min_replicas: 1..4}"))
    found, problems = [], []
    for key, value in said.items():
        try:
            found.append(axis(str(key), value, place))
            for inner in keys_of(found[-1:]):
                check_scenario_key(inner, place)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(found)


def check_scenario_key(key: str, place: str) -> None:
    """Raise InputError for a key that no scenario has, as far as its first part tells."""
    group, at, _ = key.partition("@")
    first = re.split(r"[.\[]", key)[0]
    if key == "seed":
        raise InputError(f"{place}.seed: is not an axis; allowed: seeds, beside axes")
    known = group in GROUPS if at else first in TOP_LEVEL or first in GROUPS
    if not known:
        line = not_a_key(first, list(dict.fromkeys([*TOP_LEVEL, *GROUPS])))
        raise InputError(f"{place}.{key}: {line}" if first != key else f"{place}.{line}")


def _zipped(said: Any) -> tuple[tuple[Axis, ...], ...]:
    if not isinstance(said, list):
        raise InputError(
            problem(
                "zipped", said, "a list of mappings, as [{pool.min_replicas: 1,2, pool.max_replicas: 4,8}]"
            )
        )
    groups = []
    for i, entry in enumerate(said):
        group = _axes(entry, f"zipped[{i}]")
        if len(group) < 2:
            raise InputError(f"zipped[{i}]: {len(group)} axis; allowed: at least two that step together")
        if any(isinstance(part, Value) and part.axes for one in group for part in one.parts):
            raise InputError(
                f"zipped[{i}]: options with axes of their own are not allowed here; write them under axes"
            )
        sizes = {one.key: count(one) for one in group}
        if len(set(sizes.values())) > 1:
            text = ", ".join(f"{key} has {n}" for key, n in sizes.items())
            raise InputError(f"zipped[{i}]: {text}; allowed: as many values of each")
        groups.append(group)
    return tuple(groups)


def _whens(said: Any, keys: list[str]) -> tuple[tuple[Rule, tuple[Axis, ...]], ...]:
    if not isinstance(said, list):
        raise InputError(
            problem("when", said, "a list, as [{if: autoscaler == 'hpa', axes: {pool.min_replicas: 1,2}}]")
        )
    found = []
    for i, entry in enumerate(said):
        place = f"when[{i}]"
        if not isinstance(entry, Mapping) or set(entry) != {"if", "axes"}:
            raise InputError(problem(place, entry, "a mapping with if and axes"))
        rule, inner = read_rule(entry["if"], keys, f"{place}.if"), _axes(entry["axes"], f"{place}.axes")
        for one in inner:
            if one.key in keys and one.key in rule.keys:
                raise InputError(f"{place}: {one.key} cannot depend on itself")
        found.append((rule, inner))
        keys = list(dict.fromkeys([*keys, *keys_of(inner)]))
    return tuple(found)


def _check_axes_once(axes: Sequence[Axis], zipped: Sequence[Sequence[Axis]]) -> None:
    top = [one.key for group in (axes, *zipped) for one in group]
    for key in top:
        if top.count(key) > 1:
            raise InputError(f"axes.{key}: is varied twice, by axes and zipped; allowed: once")
    inner = {key for key in _keys(axes, zipped, []) if key not in top}
    both = next((key for key in top if key in inner), None)
    nested = [
        key for one in axes for part in one.parts if isinstance(part, Value) for key in keys_of(part.axes)
    ]
    both = both or next((key for key in top if key in nested), None)
    if both:
        raise InputError(f"axes.{both}: is varied within an option too; allowed: one of the two")


def _constraints(said: Any, keys: Sequence[str]) -> tuple[Rule, ...]:
    entries = [said] if isinstance(said, str) else said
    if not isinstance(entries, list):
        raise InputError(
            problem("constraints", said, "a list of rules, as pool.min_replicas <= pool.max_replicas")
        )
    return tuple(read_rule(text, keys, f"constraints[{i}]") for i, text in enumerate(entries))


def _baseline(said: Any, keys: Sequence[str]) -> dict[str, Any]:
    if isinstance(said, str):
        pairs = [item.partition("=") for item in split(said, "baseline")]
        if any(not equals or not value.strip() for _, equals, value in pairs):
            raise InputError(problem("baseline", said, "values of axes, as pool.min_replicas=2"))
        said = {key.strip(): axis("baseline", value.strip(), "").parts[0] for key, _, value in pairs}
        said = {key: part.value for key, part in said.items() if isinstance(part, Value)}
    if not isinstance(said, Mapping):
        raise InputError(problem("baseline", said, "values of axes, as {autoscaler: fixed}"))
    for key in said:
        if key not in keys:
            close = nearest(str(key), keys)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"baseline.{key}: is no axis; allowed: {', '.join(keys)}{hint}")
    return dict(said)
