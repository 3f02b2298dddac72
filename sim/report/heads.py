"""What stands at the head of every picture and page: scenario, what differs from it, seed, GPU, policy, date."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

SEED = "seed"
OUTSIDE = (
    "seed=",
    "seeds=",
    "output.dir=",
    "engine=",
    "engine.",
)  # words that change no result, or are said elsewhere


class Head(NamedTuple):
    """What a picture is of. `differs` is None where nobody kept the words that made the run."""

    scenario: str
    differs: Sequence[str] | None
    seed: str
    gpu: str
    policy: str
    date: str

    @property
    def facts(self) -> list[tuple[str, str]]:
        """(what, value) of each fact, those that are not known left out."""
        said = [("scenario", self.scenario)]
        if self.differs is not None:
            said.append(("differs", " ".join(self.differs) if self.differs else "nothing"))
        said += [("seed", self.seed), ("GPU", self.gpu), ("policy", self.policy), ("drawn", self.date)]
        return [(what, value) for what, value in said if value]

    @property
    def parts(self) -> list[str]:
        """All of it, for a line or two above a picture."""
        seed = f"seed {self.seed}" if self.seed else ""
        parts = [self.scenario, *(self.differs or ()), seed, self.gpu, self.policy, self.date]
        return [part for part in parts if part]

    @property
    def line(self) -> str:
        """All of it on one line."""
        return "  ·  ".join(self.parts)


def head_of_run(config: Mapping[str, Any], summary: Mapping[str, Any], day: date | None = None) -> Head:
    """The head of a run's picture; `config` is its config.json."""
    return Head(
        scenario=str(summary["scenario"]),
        differs=differs_of(config),
        seed=str(config.get("seed", summary.get("seed", ""))),
        gpu=gpus_of(config),
        policy=policies_of(config),
        date=day_text(day),
    )


def head_of_runs(
    runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], day: date | None = None
) -> Head:
    """The head of several runs' picture: what they have in common, and what any of them has; (config, summary) each."""
    heads = [head_of_run(config, summary, day) for config, summary in runs]
    words = [head.differs for head in heads]
    common = [word for word in words[0] or () if all(word in (other or ()) for other in words)]
    return Head(
        scenario=among(head.scenario for head in heads),
        differs=common if any(word is not None for word in words) else None,
        seed=among(head.seed for head in heads),
        gpu=among(head.gpu for head in heads),
        policy=among(head.policy for head in heads),
        date=day_text(day),
    )


def among(values: Iterable[str]) -> str:
    """Different values, each once."""
    return ", ".join(dict.fromkeys(value for value in values if value))


def said_of(config: Mapping[str, Any]) -> list[str] | None:
    """The scenario and the overrides that made a run, as they were given; None where nobody kept them."""
    said = config.get("about", {}).get("said")
    return [str(word) for word in said] if isinstance(said, list) and said else None


def differs_of(config: Mapping[str, Any]) -> list[str] | None:
    """The overrides that change the run's result, beside its seed."""
    said = said_of(config)
    return None if said is None else [word for word in said[1:] if not word.startswith(OUTSIDE)]


def command_of(config: Mapping[str, Any], verb: str = "run") -> str | None:
    """The command line that makes the same run again; None where nobody kept its words."""
    said = said_of(config)
    if said is None:
        return None
    words = [word for word in said if not word.startswith("output.dir=")]
    return command("fleetsim", verb, *words)


def command(*words: str) -> str:
    """Words as a shell takes them."""
    return " ".join(map(shlex.quote, words))


def pools_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pools of a run's configuration."""
    pools = config.get("config", {}).get("pools", [])
    return list(pools.values()) if isinstance(pools, Mapping) else list(pools)


def gpus_of(config: Mapping[str, Any]) -> str:
    """The kinds of GPU of a run's pools, with how many a replica has where it has several."""
    return among(_gpus(pool) for pool in pools_of(config))


def _gpus(pool: Mapping[str, Any]) -> str:
    n = 1
    for key in ("tp", "pp", "dp"):
        n *= int(pool.get(key) or 1)
    name = str(pool.get("gpu", {}).get("name", ""))
    return name if n == 1 else f"{n} × {name}"


def policies_of(config: Mapping[str, Any]) -> str:
    """The autoscalers of a run's pools."""
    return among(policy_of(pool) for pool in pools_of(config))


def policy_of(pool: Mapping[str, Any]) -> str:
    """A pool's autoscaler by its name in the catalogue; a law of the user's by where it is."""
    scaler = pool.get("autoscaler", {})
    return str(scaler.get("law") or scaler.get("name") or scaler.get("kind", ""))


def day_text(day: date | None) -> str:
    """A date as people write it, today's by default."""
    day = day or date.today()
    return f"{day.day} {day:%b %Y}"
