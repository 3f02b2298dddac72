"""The verbs that tell a run to other tools: `trace`, `metrics`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.errors import InputError, problem
from sim.words import take_flags, take_value

Say = Callable[[str], Any]
DURATION = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zµ]*)\Z")


def run_word(verb: str, words: list[str]) -> str:
    """The one run that is left in the words; raises InputError."""
    take_flags(verb, words, ())
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise InputError(
            f"{verb}: needs a run first, as `fleetsim {verb} latest` or `fleetsim {verb} results/...`"
        )
    if len(words) > 1:
        raise InputError(problem(verb, words[1], f"one run and nothing else, as `fleetsim {verb} latest`"))
    return words[0]


def duration(option: str, text: str | None, default: float) -> float:
    """Seconds from `900`, `15min`, `250ms`; raises InputError."""
    if text is None:
        return default
    from sim.scenario.slo import SECONDS

    match = DURATION.match(text)
    unit = match[2] or "s" if match else ""
    if match is None or unit not in SECONDS or not math.isfinite(float(match[1])):
        raise InputError(
            problem(option, text, f"a time since the run began, as 900, 15min, 0.5h ({', '.join(SECONDS)})")
        )
    return float(match[1]) * SECONDS[unit]


def trace(words: list[str], say: Say, progress: Any) -> int:
    """`trace RUN [--from T] [--to T] [-o FILE]`: writes the timeline."""
    out = take_value("trace", words, "-o")
    from_s = duration("--from", take_value("trace", words, "--from"), 0.0)
    to_s = duration("--to", take_value("trace", words, "--to"), math.inf)
    name = run_word("trace", words)
    from sim.outlets.trace import write_trace
    from sim.records.run_dir import find_run, read_run

    run = read_run(find_run(name))
    path = Path(out) if out else run.path / "trace.json"
    with progress(f"timeline of {run.summary['scenario']}") as tick:
        write_trace(run, path, from_s, to_s, tick)
    say(f"{path}\nopen it at https://ui.perfetto.dev, or in chrome://tracing\n")
    return 0


VERBS: dict[str, Callable[[list[str], Say, Any], int]] = {"trace": trace}
