"""The options of the catalogue in their places: composed by hydra once, then kept in memory and on this machine.

What is kept lies under a hash of everything that it was made from: the choices, the user's own options, every file of the
packaged catalogue, hydra's and OmegaConf's versions, and the file that calls them.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from sim import cache
from sim.scenario import catalogue
from sim.scenario.options import own_nodes
from sim.scenario.story import Choice

CALLER = Path(__file__).with_name("hydra_words.py")
KEPT_MAX = 1_000  # files, each some ten kilobytes
COMPOSED: dict[str, dict[str, Any]] = {}


def chosen(story: dict[Choice, str], given: dict[Choice, str]) -> dict[str, Any]:
    """The options in their places, as hydra composes them; raises InputError.

    `story` are a scenario's choices, `given` those of the command line.
    """
    own = own_nodes(story | given)
    key = key_of(story, given, own)
    if key not in COMPOSED:
        path = cache.home() / "composed" / f"{key}.json"
        COMPOSED[key] = kept(path) or made(path, story, given, own)
    return copy.deepcopy(COMPOSED[key])


def kept(path: Path) -> dict[str, Any] | None:
    """What an earlier run composed."""
    text = cache.read(path)
    return None if text is None else json.loads(text)


def made(
    path: Path, story: dict[Choice, str], given: dict[Choice, str], own: dict[tuple[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """Compose, and keep what is plain enough to be the same when it is read again; raises InputError."""
    from sim.scenario.hydra_words import composed

    found = composed(story, given, own)
    text = json.dumps(found)
    if repr(json.loads(text)) == repr(found):
        cache.keep(path, text.encode())
        cache.keep_at_most(path.parent, KEPT_MAX)
    return found


def key_of(
    story: dict[Choice, str], given: dict[Choice, str], own: dict[tuple[str, str], dict[str, Any]]
) -> str:
    """A hash of what is composed, and of what it is composed from."""
    said = [[[choice.key, option] for choice, option in choices.items()] for choices in (story, given)]
    bodies = [[*place, body] for place, body in own.items()]
    text = json.dumps([said, bodies, catalogue_hash(str(catalogue.conf_dir()))])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


@functools.cache  # packaged files do not change
def catalogue_hash(folder: str) -> str:
    """A hash of the packaged options, and of the program that puts them in their places."""
    made = hashlib.sha256()
    for name in ("hydra", "omegaconf.version"):
        made.update(cache.version_stamp(name).encode())
    conf = Path(folder)
    files = [path for group in catalogue.GROUPS for path in catalogue.yaml_files(conf / group).values()]
    for path in (CALLER, conf / "config.yaml", *files):
        data = path.read_bytes()
        made.update(f"{path.parent.name}/{path.name} {len(data)} ".encode() + data)
    return made.hexdigest()
