"""Hydra and OmegaConf, kept in this one file: choices from the catalogue and words in, plain data out.

What users write was read as data before, and is handed to hydra from memory; hydra itself opens only the packaged conf/.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from sim.scenario.catalogue import conf_dir
from sim.scenario.options import node_of
from sim.scenario.story import Choice

STORY = "story"
LOCK = threading.Lock()  # hydra keeps its state in globals


def parsed(line: str) -> Override | None:
    """An override in hydra's grammar; None when it is none."""
    try:
        return OverridesParser.create().parse_override(line)
    except (HydraException, RecursionError):
        return None


def several(line: str) -> list[str] | None:
    """The values of an override that has several, as they are written; None where they cannot be listed."""
    override = parsed(line)
    try:
        return list(override.sweep_string_iterator()) if override is not None else None
    except (HydraException, NotImplementedError):
        return None


def composed(
    story: dict[Choice, str], given: dict[Choice, str], own: dict[tuple[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """The options of the catalogue in their places; raises InputError.

    `story` are a scenario's choices, `given` the command line's; `own` are the bodies of options that are the user's.
    """
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
