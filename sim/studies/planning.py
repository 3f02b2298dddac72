"""The plan of a study: its runs in shards, each named by what it depends on.

A run is a point and a seed, and has no object of its own: a plan of a million runs is some columns of points and a table of
shards. A shard's name is a hash of the scenario, the overrides, the points, the seeds and the model of the world, so that a
result is taken for a finished one exactly while nothing it depends on has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.records.config import versions
from sim.records.version import SCHEMA_VERSION
from sim.scenario.catalogue import PACKAGE, conf_dir, own_conf_dir
from sim.scenario.compose import compose, load_scenario
from sim.scenario.scenario import Scenario
from sim.statistics.sequences import rounds
from sim.studies.points import NEVER, Points
from sim.studies.study import Study

RUNS_MAX = 10_000_000
SHARDS_AIM = 64
SHARD_RUNS = (16, 4096)  # the fewest and the most in one
POINTS_TOGETHER = 4  # that share the requests of a seed, before a shard has more seeds
POINTS_IN_SHARD = 128  # each is composed and packed on its own
NOT_MODEL = (
    "report",
    "studies",
    "statistics",
    "answers",
    "huggingface",
    "outlets",
    "explore",
)  # packages that change no result
NOT_MODEL_FILES = (
    "cli.py",
    "api.py",
    "words.py",
    "streams.py",
    "completion.py",
    "show.py",
    "calibration.py",
    "study_verbs.py",
    "outlet_verbs.py",
    "report_verbs.py",
    "answer_verbs.py",
)
ID_BYTES = 12
CHECKED_POINTS = 200  # composed before a study begins, every value of an axis once


class Shard(NamedTuple):
    """A rectangle of the plan: some points, each with some seeds."""

    number: int
    first_point: int
    n_point: int
    first_seed: int
    n_seed: int

    @property
    def n_run(self) -> int:
        """How many runs it has."""
        return self.n_point * self.n_seed


@dataclass(frozen=True)
class Plan:
    """All runs of a study."""

    study: Study
    points: Points
    seeds: Sequence[int]
    shards: np.ndarray  # (shard, 4): first point, points, first seed, seeds
    depends: dict[str, str]  # what results depend on beside points and seeds, as hashes

    @property
    def n_run(self) -> int:
        """How many runs there are; with `until decided`, at most."""
        return self.points.n * len(self.seeds)

    @property
    def looks(self) -> tuple[int, ...] | None:
        """After how many seeds it may stop; None where it runs all of them."""
        return tuple(rounds(len(self.seeds))) if self.study.seeds.until_decided else None

    def stages(self) -> list[tuple[int, range]]:
        """Its rounds, one where it runs all seeds: (seeds up to its end, the numbers of its shards)."""
        ends = (self.shards[:, 2] + self.shards[:, 3]).tolist()
        found, first = [], 0
        for n_seed in self.looks or (len(self.seeds),):
            last = max(i for i, end in enumerate(ends) if end <= n_seed) + 1
            found.append((n_seed, range(first, last)))
            first = last
        return found

    @property
    def n_shard(self) -> int:
        """How many shards they are in."""
        return len(self.shards)

    def shard(self, number: int) -> Shard:
        """One shard by its number."""
        return Shard(number, *self.shards[number].tolist())

    def seeds_of(self, shard: Shard) -> list[int]:
        """The seeds of a shard."""
        return list(self.seeds[shard.first_seed : shard.first_seed + shard.n_seed])

    def id_of(self, shard: Shard) -> str:
        """What a shard is called: 24 hex digits of all it depends on."""
        h = hashlib.blake2b(digest_size=ID_BYTES)
        for name, text in sorted(self.depends.items()):
            h.update(f"{name}={text}\n".encode())
        h.update(self.points_hash(shard).encode())
        h.update(np.array(self.seeds_of(shard), dtype="<u8").tobytes())
        h.update(self.study.histograms.encode())
        return h.hexdigest()

    def points_hash(self, shard: Shard) -> str:
        """What stands for the values of a shard's points."""
        h = hashlib.blake2b(digest_size=ID_BYTES)
        first, end = shard.first_point, shard.first_point + shard.n_point
        for column in sorted(self.points.columns, key=lambda c: c.key):
            if (column.codes[first:end] != NEVER).any():
                h.update(f"\n{column.key}:".encode() + column.contents(first, end))
        h.update(str(shard.n_point).encode())
        h.update(np.arange(first, end, dtype="<i8").tobytes())  # results name points by number
        return h.hexdigest()

    def all_shards(self) -> Iterator[Shard]:
        """Every shard in order."""
        return (self.shard(i) for i in range(self.n_shard))

    def scenario(self, point: int) -> Scenario:
        """The scenario of a point; raises InputError, which names the point."""
        words = [*self.study.overrides, *self.points.overrides(point)]
        try:
            return load_scenario(self.study.scenario, words)
        except InputError as error:
            varied = self.points.label(point) if self.points.columns else ""
            raise InputError(f"{line} (at {varied})" if varied else line for line in error.problems) from None


def make_plan(study: Study) -> Plan:
    """Points, seeds and shards of a study. Raises InputError where a point cannot be, as far as a few of them tell."""
    points = study.points()
    seeds = study.seeds.numbers
    n_run = points.n * len(seeds)
    if n_run > RUNS_MAX:
        raise InputError(
            f"study: {points.n:,} points × {len(seeds):,} seeds are {n_run:,} runs; allowed: at most {RUNS_MAX:,}"
        )
    cuts = rounds(len(seeds)) if study.seeds.until_decided else [len(seeds)]
    return Plan(study, points, seeds, cut_rounds(points.n, cuts), depends_on(study, points))


def check_points(plan: Plan) -> None:
    """Raise InputError where a point cannot be: every value of an axis is tried, as far as a few points have them all."""
    for point in plan.points.covering(CHECKED_POINTS):
        plan.scenario(point)


def folder_name(study: Study, name: str, words: Sequence[str]) -> str:
    """The folder of a study's results: of what was varied in words, a hash tells one study from another."""
    own = [
        word
        for word in words
        if not word.startswith(("seed=", "seeds=", "baseline=", "decide=", "control=", "output.dir="))
    ]
    if not own and study.keys:
        return f"study-{study.name}"
    text = "\0".join([name, *sorted(own)])
    return f"study-{study.name}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def cut_rounds(n_point: int, looks: Sequence[int]) -> np.ndarray:
    """The shards of so many points, round after round: none has seeds of two rounds, (shard, 4)."""
    parts = []
    for begin, end in zip((0, *looks[:-1]), looks, strict=True):
        parts.append(cut(n_point, end - begin) + np.array([0, 0, begin, 0]))
    return np.concatenate(parts)


def cut(n_point: int, n_seed: int) -> np.ndarray:
    """The shards of so many points with so many seeds, (shard, 4)."""
    least, most = SHARD_RUNS
    aim = int(np.clip(-(-n_point * n_seed // SHARDS_AIM), least, most))
    height = min(n_seed, max(1, aim // min(n_point, POINTS_TOGETHER)))
    width = min(n_point, max(1, aim // height), POINTS_IN_SHARD)
    starts = np.meshgrid(np.arange(0, n_point, width), np.arange(0, n_seed, height), indexing="ij")
    p, s = (start.reshape(-1) for start in starts)
    return np.stack([p, np.minimum(width, n_point - p), s, np.minimum(height, n_seed - s)], axis=1)


def depends_on(study: Study, points: Points) -> dict[str, str]:
    """Hashes of what all results of a study depend on: scenario, overrides, files of the user's, the model of the world."""
    composed = compose(study.scenario, study.overrides)
    return {
        "scenario": _hash(json.dumps(composed, sort_keys=True, default=str).encode()),
        "overrides": _hash("\0".join(study.overrides).encode()),
        "files": _files_hash(composed, points),
        "model": model_version(),
    }


def model_version() -> str:
    """A hash of everything in this package that a result depends on: the rules, the catalogue, the libraries."""
    h = hashlib.blake2b(digest_size=ID_BYTES)
    for path in _sources():
        h.update(path.name.encode() + hashlib.blake2b(path.read_bytes()).digest())
    h.update(json.dumps([SCHEMA_VERSION, versions().get("numpy"), versions().get("scipy")]).encode())
    return h.hexdigest()


def _sources() -> list[Path]:
    code = [path for path in sorted(PACKAGE.rglob("*.py")) if _is_model(path)]
    return [*code, *sorted(path for path in conf_dir().rglob("*") if path.is_file())]


def _is_model(path: Path) -> bool:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] not in NOT_MODEL and parts[0] not in NOT_MODEL_FILES and parts[0] != "_data"


def _files_hash(composed: Any, points: Points) -> str:
    """Contents of the user's own options, recordings and policies."""
    own = own_conf_dir()
    names = {str(path): path for path in (sorted(own.rglob("*.yaml")) if own else [])}
    said = list(_named_files(composed, ""))
    for column in points.columns:
        said += [v for v in column.table if isinstance(v, str) and v.endswith((".yaml", ".yml"))]
        if column.key.endswith((".file", ".law")):
            said += [str(v) for v in column.table]
    for text in said:
        path = Path(text.partition(":")[0] if ".py:" in text else text)
        if path.is_file():
            names[text] = path
    h = hashlib.blake2b(digest_size=ID_BYTES)
    for name, path in sorted(names.items()):
        with path.open("rb") as file:
            h.update(name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return h.hexdigest()


def _named_files(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _named_files(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _named_files(item, key)
    elif isinstance(value, str) and key in ("file", "law"):
        yield value


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=ID_BYTES).hexdigest()


def said_seeds(plan: Plan) -> str | list[int]:
    """The seeds, a range as such."""
    numbers = plan.seeds
    return f"{numbers.start}..{numbers.stop - 1}" if isinstance(numbers, range) else list(numbers)
