"""A scenario's name and overrides in, plain data or a checked Scenario out.

What users write is read as data by `yaml_file`; `chosen` puts options in their places, as hydra composes them.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sim.errors import InputError
from sim.scenario.build import TOP_LEVEL, from_dict, shape_problems
from sim.scenario.catalogue import GROUPS, conf_dir
from sim.scenario.chosen import chosen
from sim.scenario.edit import Edit, edited
from sim.scenario.inherit import POOL_GROUPS, merge
from sim.scenario.left_over import left_over_problems, without_old_memory
from sim.scenario.names import name_problems
from sim.scenario.node_options import with_options
from sim.scenario.options import kind_of
from sim.scenario.override import Override, read_override, swept
from sim.scenario.problems import not_a_key
from sim.scenario.scenario import Scenario
from sim.scenario.story import Choice, Story, check_choice, read_story
from sim.scenario.variant_names import label_of, short_keys
from sim.scenario.yaml_file import DEPTH_MAX, read_yaml

LENGTH_MAX = 20_000  # characters of one override
VARIANTS_MAX = 1_000


class Orders(NamedTuple):
    """The command line, sorted: options chosen from the catalogue, and values."""

    choices: dict[Choice, str]
    edits: list[Edit]


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> Scenario:
    """The resolved scenario; raises InputError with one line for every mistake."""
    return from_dict(compose(name_or_path, overrides))


def compose(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The scenario as plain data, before pools and classes inherit; raises InputError.

    Options first, then what the scenario's file says, then what the command line says.
    """
    story = read_story(name_or_path)
    orders = read_orders(overrides)
    options, body = chosen(story.choices, orders.choices), still_meant(story, orders)
    data = with_options(merge(options, body))
    problems = list(name_problems(story, orders.choices, orders.edits, data))
    if problems:
        raise InputError(problems)
    in_file, in_words = list(said_keys(body, "")), edited_keys(orders.edits)
    whole = edited(without_old_memory(data, in_file), orders.edits)
    if not shape_problems(whole):
        problems += left_over_problems(options, data, in_file)
        problems += left_over_problems(data, whole, in_words)
    if problems:
        raise InputError(problems)
    return without_old_memory(whole, in_words)


def edited_keys(edits: Sequence[Edit]) -> list[str]:
    """The full keys of everything that overrides say."""
    return [key for edit in edits for key in said_keys(edit.value, ".".join(edit.path))]


def still_meant(story: Story, orders: Orders) -> dict[str, Any]:
    """The file's body without what it says about an option of another kind than the one now chosen.

    What a file says of a list, as `slo`, is the whole of it, and so are a cluster's node groups: an option that is chosen
    stands in its place.
    """
    before = default_choices() | story.choices
    body = dict(story.body)
    for choice, option in orders.choices.items():
        said = body.get(choice.group)
        if choice.package is None and (
            isinstance(said, list) or (choice.group == "cluster" and choice.group in body)
        ):
            del body[choice.group]
        is_about_it = choice.package is None and isinstance(said, dict) and "kind" not in said
        if is_about_it and kind_of(choice.group, before[choice]) != kind_of(choice.group, option):
            del body[choice.group]
    return body


@functools.cache  # a packaged file
def default_choices() -> dict[Choice, str]:
    """What the packaged root chooses where nobody says anything."""
    entries = read_yaml(conf_dir() / "config.yaml")["defaults"]
    return {Choice(g, None): o for entry in entries if isinstance(entry, dict) for g, o in entry.items() if o}


def read_orders(overrides: Sequence[str]) -> Orders:
    """The command line's overrides; raises InputError with every mistake."""
    orders = Orders({}, [])
    problems: list[str] = []
    for text in overrides:
        try:
            take_order(orders, text)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return orders._replace(choices={**laws(overrides), **orders.choices})


def laws(overrides: Sequence[str]) -> dict[Choice, str]:
    """`autoscaler.law=…` chooses the autoscaler that has a law, for everybody or for one pool."""
    keys = [text.lstrip("+").partition("=")[0] for text in overrides]
    places = [key.removesuffix(".law") for key in keys if key.endswith("autoscaler.law")]
    return {Choice("autoscaler", None if place == "autoscaler" else place): "user" for place in places}


def take_order(orders: Orders, text: str) -> None:
    """Sort one override into `orders`; raises InputError."""
    override = parsed(text)
    if override.is_sweep:
        raise InputError(f"{text}: several values: `fleetsim compare` runs each of them")
    group, value = override.key, override.value
    if group in GROUPS and (isinstance(value, str) or override.package is not None):
        choice = Choice(group, override.package)
        check_choice(choice, value)
        orders.choices[choice] = str(value)
    else:
        orders.edits.append(Edit(text, tuple(group.split(".")), value, override.is_delete))


def parsed(text: str) -> Override:
    """One override in hydra's grammar; raises InputError when it is not one, or is more than data."""
    check_text(text)
    if text.startswith("="):
        raise InputError(f"{text}: has no key; write key=value")
    override = read_override(with_dots(text))
    if override is None:
        unpaired = [pair for pair in ("{}", "[]", "()") if text.count(pair[0]) != text.count(pair[1])]
        hint = f"; {unpaired[0][0]} and {unpaired[0][1]} do not pair" if unpaired else ""
        hint = hint if "=" in text else "; write key=value"
        raise InputError(f"{text}: is not an override{hint}")
    check_key(override, text)
    return override


def with_dots(text: str) -> str:
    """`spikes[0].height=3` as hydra reads it, `spikes.0.height=3`."""
    key, equals, value = text.partition("=")
    return re.sub(r"\[(\d+)\]", r".\1", key) + equals + value


def check_text(text: str) -> None:
    """Raise InputError for an override that is too long, too deep, or refers to something outside."""
    if len(text) > LENGTH_MAX:
        raise InputError(f"{text[:40]}…: an override has at most {LENGTH_MAX} characters")
    if "${" in text:
        raise InputError(f"{text}: interpolation is not allowed: a scenario is data and reads no environment")
    if max(text.count(mark) for mark in "[({") > 500 or nesting(text) > DEPTH_MAX:
        raise InputError(f"{text[:40]}…: at most {DEPTH_MAX} levels of brackets are allowed")


def nesting(text: str) -> int:
    """How deep the brackets go."""
    steps = ((c in "[({") - (c in "])}") for c in text)
    return max(itertools.accumulate(steps, initial=0))


def check_key(override: Override, text: str) -> None:
    """Raise InputError unless the key starts with one that a scenario has."""
    parts = override.key.split(".")
    if any(part.startswith("_") for part in parts):
        raise InputError(
            f"{text}: keys that start with _ are not allowed: a scenario is data and runs no code"
        )
    if len(parts) > DEPTH_MAX:
        raise InputError(f"{text[:40]}…: at most {DEPTH_MAX} levels are allowed")
    if parts[0] not in TOP_LEVEL and parts[0] not in GROUPS:
        raise InputError(not_a_key(parts[0], TOP_LEVEL))


def said_where(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Key → `scenario` or `command line`, for everything that is no choice from the catalogue."""
    story, orders = read_story(name_or_path), read_orders(overrides)
    found = dict.fromkeys(said_keys(story.body, ""), "scenario")
    found |= dict.fromkeys((".".join(edit.path) for edit in orders.edits), "command line")
    groups = tuple(
        f"pool.{group}." for group in POOL_GROUPS
    )  # what `pool` says of a group stands over the group
    return found | {key.removeprefix("pool."): who for key, who in found.items() if key.startswith(groups)}


def said_keys(body: Any, prefix: str) -> Iterator[str]:
    """The full keys of everything that a scenario file says."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield from said_keys(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix


def variants(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The product of all comma lists: label → the overrides of one run; raises InputError.

    With one list of names the label is the name, else `key=value` joined by blanks, with as much of a key as is needed.
    """
    fixed: list[tuple[Override, str]] = []
    lists: list[tuple[Override, str]] = []
    for text in overrides:
        override = parsed(text)
        (lists if override.is_sweep else fixed).append((override, text))
    refuse_twice([override for override, _ in lists], [override for override, _ in fixed])
    choices = [swept(override) for override, _ in lists]
    product = list(itertools.islice(itertools.product(*choices), VARIANTS_MAX + 1))
    if len(product) > VARIANTS_MAX:
        raise InputError(f"more than {VARIANTS_MAX} variants: {', '.join(text for _, text in lists)}")
    plain = [text for _, text in fixed]
    keys = [override.element for override, _ in lists]
    short = short_keys(keys)
    return {
        label_of([word.removeprefix(f"{key}=") for word, key in zip(words, keys, strict=True)], short): [
            *plain,
            *words,
        ]
        for words in product
    }


def refuse_twice(lists: Sequence[Override], fixed: Sequence[Override]) -> None:
    """Raise InputError where a key has a list of values and is given once more: only one of the two could hold."""
    for i, override in enumerate(lists):
        key = override.element
        if any(other.element == key for other in (*lists[:i], *fixed)):
            raise InputError(f"{override.line}: {key} is given twice; allowed: once")
