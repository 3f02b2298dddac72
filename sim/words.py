"""Words of the command line: what `--help` says, what comes first, what has a value, what is an option of a verb."""

from __future__ import annotations

import os

from sim.errors import InputError, nearest

SEED_DIGITS = 19  # of the largest seed
HELP = """\
fleetsim: simulate a fleet that serves AI models, before money is spent

  fleetsim run SCENARIO [key=value ...]        run it, show and keep the results
  fleetsim compare SCENARIO key=a,b,c [...]    run every variant, side by side
  fleetsim run SCENARIO seed=1..100 [...]      once for each seed, as compare too: means with intervals
  fleetsim plan STUDY [key=value ...]          what a study would take: runs, time, memory, disk
  fleetsim sweep STUDY [key=a,b,c ...]         run it, or what is missing of it; --yes, --shard i/n
  fleetsim whatif SCENARIO --keep LIMIT --vary KEY=VALUES   the cheapest setting that keeps limits; --minimise, --json
  fleetsim capacity SCENARIO [--keep LIMIT]    the most traffic it carries under its limits; --json
  fleetsim search SCENARIO --vary KEY=VALUES --objective MEASURE   settings worth having, of many; --keep, --trials
  fleetsim sensitivity SCENARIO --vary KEY=RANGE --measure MEASURE   what a measure depends on; --samples
  fleetsim robust SCENARIO key=a,b,c           does the ranking survive other step times, cold starts, traffic? --worlds
  fleetsim budget RUN [class=NAME]             its error budget and burn-rate alerts; --objective 99.9%, --period 30d
  fleetsim sql QUERY RESULT                    ask the runs of a study; --json
  fleetsim show SCENARIO [key=value ...]       every key with its unit and source; --json, --all
  fleetsim list [GROUP]                        what there is to choose from; scenarios, studies
  fleetsim plot RUN|STUDY|SWEEP|RUN RUN ...    their picture, as HTML and PNG
  fleetsim why RUN [class=NAME] [measure=e2e]  what its misses spent their time on; request=ID: one request
  fleetsim report RUN|STUDY|SWEEP|RUN RUN ...  one HTML page of what came out, to share; -o FILE
  fleetsim trace RUN [--from T] [--to T]       its timeline for Perfetto; -o FILE
  fleetsim metrics RUN [--rules FILE]          OpenMetrics under vLLM's names, or alerts rehearsed; -o FILE, --at T
  fleetsim explore SCENARIO [key=value ...]    a page on this machine: move a slider, watch the fleet; --port N
  fleetsim check SCENARIO|STUDY [key=a,b ...]  its limits as tests, for CI; --junit, --json, --markdown FILE, --share P
  fleetsim calibrate FILE [--scenario NAME]    fit step times to measured steps or operating points
  fleetsim import-model CONFIG.json            a model from a Hugging Face config; --name NAME, -o conf
  fleetsim completion bash|zsh|fish            tab completion for your shell
  fleetsim --version, --help

First steps:   fleetsim run first_run
               fleetsim compare spiky_hour autoscaler=fixed,hpa,hpa_fast,queue
Overrides:     gpu=l4  duration_s=600  traffic.arrivals.rate_per_s=20  gpu@pools.code.gpu=h100
Your own:      ./scenarios/*.yaml come first; ./conf/GROUP/*.yaml add options
Exit codes:    0 fine, 1 our fault, 2 bad input, 3 a limit of `slo` failed, 130 interrupted (143: by SIGTERM)
"""


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


def need_folder() -> None:
    """Raise InputError when the folder in which the command was called is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f"the working directory cannot be used ({error.strerror}); change to another folder"
        ) from None
