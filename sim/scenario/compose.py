"""Hydra and OmegaConf, kept in this one file: a scenario's name and overrides in, plain data out.

What users write is read as data by `yaml_file` first and handed to hydra from memory; hydra itself opens only
the packaged conf/.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.errors import InputError
from sim.scenario.build import TOP_LEVEL, from_dict, shape_problems
from sim.scenario.catalogue import GROUPS, conf_dir
from sim.scenario.edit import Edit, edited
from sim.scenario.inherit import POOL_GROUPS, merge
from sim.scenario.left_over import left_over_problems, without_old_memory
from sim.scenario.names import name_problems
from sim.scenario.options import kind_of, node_of, own_nodes
from sim.scenario.problems import not_a_key
from sim.scenario.scenario import Scenario
from sim.scenario.story import Choice, Story, check_choice, read_story
from sim.scenario.variant_names import label_of, short_keys
from sim.scenario.yaml_file import DEPTH_MAX, read_yaml

LENGTH_MAX = 20_000  # characters of one override
VARIANTS_MAX = 1_000
STORY = "story"
COMPOSED: dict[Any, dict[str, Any]] = {}  # what hydra made of choices: the packaged catalogue does not change
LOCK = threading.Lock()  # hydra keeps its state in globals


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
    data = merge(options, body)
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

    What a file says of a list, as `slo`, is the whole of it: an option that is chosen stands in its place.
    """
    before = default_choices() | story.choices
    body = dict(story.body)
    for choice, option in orders.choices.items():
        said = body.get(choice.group)
        if choice.package is None and isinstance(said, list):
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


def chosen(story: dict[Choice, str], given: dict[Choice, str]) -> dict[str, Any]:
    """The options of the catalogue in their places, as hydra composes them; raises InputError."""
    own = own_nodes(story | given)
    key = (tuple(story.items()), tuple(given.items()))
    if own or key not in COMPOSED:
        found = composed(story, given, own)
        if own:
            return found  # the user's files may be other ones the next time
        COMPOSED[key] = found
    return copy.deepcopy(COMPOSED[key])


def composed(
    story: dict[Choice, str], given: dict[Choice, str], own: dict[tuple[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """`chosen`, by hydra."""
    words = [f"scenario={STORY}"]
    for choice, option in given.items():
        is_new = choice.package is not None and choice not in story
        words.append(f"{'+' if is_new else ''}{choice.key}={node_of(option)}")
    try:
        with LOCK, hydra_over(conf_dir()), stored(list(defaults_of(story)), own):
            data = OmegaConf.to_container(hydra_compose("config", overrides=words), resolve=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"scenario: {' '.join(str(error).split())}") from None
    assert isinstance(data, dict)
    return {str(key): value for key, value in data.items()}


def defaults_of(choices: dict[Choice, str]) -> Iterator[Any]:
    """A story's choices as hydra's defaults list."""
    yield from ({f"/{choice.key}": node_of(option)} for choice, option in choices.items() if choice.package)
    yield "_self_"
    yield from ({f"override /{c.key}": node_of(option)} for c, option in choices.items() if not c.package)


@contextmanager
def hydra_over(folder: Path) -> Iterator[None]:
    """Hydra on the packaged conf/, and afterwards as the caller had it."""
    state = GlobalHydra.instance()
    before, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(folder), job_name="fleetsim", version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = before


@contextmanager
def stored(entries: list[Any], own: dict[tuple[str, str], dict[str, Any]]) -> Iterator[None]:
    """The story's choices and the user's own options in hydra's memory, for as long as this lasts."""
    store = ConfigStore.instance()
    before = store.repo
    store.repo = {key: dict(value) if isinstance(value, dict) else value for key, value in before.items()}
    try:
        store.store(STORY, {"defaults": entries}, group="scenario", package="_global_")
        for (group, option), body in own.items():
            store.store(option, body, group=group, package="_global_" if group == "slo" else None)
        yield
    finally:
        store.repo = before


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
    if override.is_sweep_override():
        raise InputError(f"{text}: several values: `fleetsim compare` runs each of them")
    group = override.key_or_group
    value = None if override.is_delete() else override.value()
    if group in GROUPS and (isinstance(value, str) or override.package is not None):
        choice = Choice(group, override.package)
        check_choice(choice, value)
        orders.choices[choice] = str(value)
    else:
        orders.edits.append(Edit(text, tuple(group.split(".")), value, override.is_delete()))


def parsed(text: str) -> Override:
    """One override in hydra's grammar; raises InputError when it is not one, or is more than data."""
    check_text(text)
    if text.startswith("="):
        raise InputError(f"{text}: has no key; write key=value")
    try:
        override = OverridesParser.create().parse_override(with_dots(text))
    except (HydraException, RecursionError):
        hint = "" if "=" in text else "; write key=value"
        raise InputError(f"{text}: is not an override{hint}") from None
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
    parts = override.key_or_group.split(".")
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
        (lists if override.is_sweep_override() else fixed).append((override, text))
    refuse_twice([override for override, _ in lists], [override for override, _ in fixed])
    choices = [swept(override) for override, _ in lists]
    product = list(itertools.islice(itertools.product(*choices), VARIANTS_MAX + 1))
    if len(product) > VARIANTS_MAX:
        raise InputError(f"more than {VARIANTS_MAX} variants: {', '.join(text for _, text in lists)}")
    plain = [text for _, text in fixed]
    keys = [override.get_key_element() for override, _ in lists]
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
        key = override.get_key_element()
        if any(other.get_key_element() == key for other in (*lists[:i], *fixed)):
            raise InputError(f"{override.input_line}: {key} is given twice; allowed: once")


def swept(override: Override) -> list[str]:
    """`autoscaler=a,b` as [`autoscaler=a`, `autoscaler=b`]; raises InputError."""
    try:
        values = list(override.sweep_string_iterator())
    except (HydraException, NotImplementedError):
        raise InputError(f"{override.input_line}: cannot be taken apart into single values") from None
    key = override.get_key_element()
    if len(set(values)) < len(values):
        raise InputError(f"{override.input_line}: names a value twice")
    return [f"{key}={value}" for value in values]
