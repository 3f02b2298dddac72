"""The command `fleetsim`: a thin dispatcher that owns the verb and hands the rest on."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from sim import cache
from sim.errors import InputError, nearest, printable, printable_lines
from sim.streams import EndedError, ends_as_interrupts, make_writable, silence, write
from sim.words import HELP, hint, need_folder, scenario_and_overrides, seeds_and_rest, take_flags, take_value

OK, OUR_FAULT, BAD_INPUT, SLO_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "the name is too long",
}

ANSWERS = ("whatif", "capacity", "search", "robust", "sensitivity", "budget")
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a stream, which has no name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    with ends_as_interrupts():
        try:
            make_writable()
            return dispatch(words)
        except InputError as error:
            return complain(BAD_INPUT, error.problems)
        except EndedError as error:
            return complain(error.code, [f"ended by {error.name}"])
        except KeyboardInterrupt:
            return complain(INTERRUPTED, ["interrupted"])
        except MemoryError:
            return complain(
                BAD_INPUT, ["there is not enough memory for this; a smaller or a shorter run needs less"]
            )
        except OSError as error:
            return os_error(error)
        except Exception as error:
            return our_fault(error)


def dispatch(words: list[str]) -> int:
    """Hand the words to their verb."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "run": run,
        "compare": compare,
        "plan": partial(of_study, "plan"),
        "sweep": study,
        "sql": partial(of_study, "sql"),
        **{verb: partial(answer, verb) for verb in ANSWERS},
        "show": show,
        "list": list_,
        "plot": partial(pictures, "plot"),
        "why": partial(pictures, "why"),
        "report": partial(pictures, "report"),
        "explore": explore,
        "trace": partial(outlet, "trace"),
        "metrics": partial(outlet, "metrics"),
        "check": partial(outlet, "check"),
        "calibrate": calibrate,
        "import-model": import_model,
        "completion": completion,
        "__complete": complete,
    }
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb in ("--help", "-h", "help") or (verb in verbs and rest[:1] in (["--help"], ["-h"])):
        say(HELP)
        return OK
    if verb == "--version":
        say(f"fleetsim {version()}\n")
        return OK
    need_folder()
    if verb not in verbs:
        known = [name for name in verbs if not name.startswith("_")]
        close = nearest(verb, known)
        raise InputError(f"{verb!r} is no verb; there are: {', '.join(known)}{hint(close)}")
    return verbs[verb](rest)


def run(words: list[str]) -> int:
    """`run SCENARIO [overrides]`: 3 when a limit of the scenario failed."""
    name, overrides = scenario_and_overrides("run", words)
    from sim import api
    from sim.report import terminal
    from sim.scenario.catalogue import commands

    seeds, overrides = seeds_and_rest(overrides)
    if seeds:
        return sweep(name, seeds, {name: overrides}, ["run", *words])
    scenario = api.load(name, overrides)
    with progress(scenario.name) as tick:
        done = api.run(scenario, out=scenario.output.dir, progress=tick, said=[name, *overrides])
    terminal.print_run(done, console())
    suggested = [f"  {line}\n" for line in commands(name)]
    say("".join(["try\n", *suggested] if suggested else []))
    return verdict_code([done])


def compare(words: list[str]) -> int:
    """`compare SCENARIO key=a,b,c`: 3 when a limit failed in any variant."""
    name, overrides = scenario_and_overrides("compare", words)
    from sim import api
    from sim.report import terminal
    from sim.scenario.compose import variants

    seeds, overrides = seeds_and_rest(overrides)
    chosen = variants(overrides)
    if seeds:
        return sweep(name, seeds, chosen, ["compare", *words])
    if len(chosen) < 2:
        raise InputError("compare: nothing to compare; give several values, as autoscaler=fixed,hpa,queue")
    folder = api.load(name, next(iter(chosen.values()))).output.dir
    with progress(f"{len(chosen)} variants of {name}") as tick:
        done = api.compare(name, chosen, out=folder, progress=tick)
    terminal.print_comparison(done, console())
    return verdict_code(list(done.runs.values()))


def sweep(name: str, seeds: Sequence[int], variants: dict[str, list[str]], said: Sequence[str]) -> int:
    """`seed=1..N`: every variant once for each seed, means with intervals; 3 when a limit failed in any run."""
    from sim import api
    from sim.report import sweep_terminal

    scenario = api.load(name, next(iter(variants.values())))
    with progress(f"{len(seeds) * len(variants)} runs of {scenario.name}") as tick:
        done = api.sweep(name, seeds, variants, out=scenario.output.dir, progress=tick, said=said)
    sweep_terminal.print_sweep(done, console())
    return OK if all(row["slo_ok"] is not False for row in done.rows) else SLO_FAILED


def study(words: list[str]) -> int:
    """`sweep STUDY`, or `sweep SCENARIO key=a,b`: run it, or what is missing of it."""
    from sim import study_verbs

    return study_verbs.sweep(words, console(), lambda line: complain(OK, [line]), is_agreed, progress)


def of_study(verb: str, words: list[str]) -> int:
    """`plan STUDY`, what it would take; `sql QUERY RESULT`, the answer as a table or as lines of JSON."""
    from sim import study_verbs

    say(study_verbs.plan_text(words) if verb == "plan" else study_verbs.sql_text(words, console()))
    return OK


def answer(verb: str, words: list[str]) -> int:
    """A verb that answers a question over seeds, as text or with --json as data; 3 where the answer is no."""
    from sim import answer_verbs

    return answer_verbs.VERBS[verb](words, console(), say, progress)


def is_agreed(question: str) -> bool:
    """Whether somebody at a terminal says yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    complain(OK, [f"{question} [y/N]"])
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def show(words: list[str]) -> int:
    """`show SCENARIO [overrides]`: every key, or with --json the resolved scenario as data."""
    flags = take_flags("show", words, ("--json", "--all"))
    name, overrides = scenario_and_overrides("show", words)
    from sim import show as pages

    page = pages.as_json if "--json" in flags else pages.as_table
    say(page(name, overrides, "--all" in flags))
    return OK


def list_(words: list[str]) -> int:
    """`list [group]`: names and one line each."""
    if len(words) > 1:
        raise InputError("list: takes one group at most")
    from sim import show as pages

    say(pages.as_list(words[0] if words else None))
    return OK


def pictures(verb: str, words: list[str]) -> int:
    """`plot`, `why`, `report`: what they draw of results that were kept, a path a line."""
    from sim import report_verbs

    for path in report_verbs.VERBS[verb](words, console):
        say(f"{path}\n")
    return OK


def outlet(verb: str, words: list[str]) -> int:
    """The verbs that tell a run to other tools."""
    from sim import outlet_verbs

    return outlet_verbs.VERBS[verb](words, say, progress)


def explore(words: list[str]) -> int:
    """`explore SCENARIO [key=value ...] [--port N]`: a page on this machine on which keys are moved; until interrupted."""
    from sim.explore.server import explore as serve

    serve(words, say, progress)
    return OK


def calibrate(words: list[str]) -> int:
    """`calibrate FILE [--scenario NAME] [overrides]`: the fitted step time as YAML, its errors beside it."""
    from sim import calibration

    text, report = calibration.calibrate_words(words)
    write(sys.stderr, printable_lines(report))
    say(text)
    return OK


def import_model(words: list[str]) -> int:
    """`import-model CONFIG.json [--name NAME] [-o FILE or conf folder]`: a model's YAML, its notes on stderr."""
    name, out = take_value("import-model", words, "--name"), take_value("import-model", words, "-o")
    take_flags("import-model", words, ("--name", "-o"))
    if len(words) != 1:
        raise InputError("import-model: needs one config.json of a Hugging Face checkpoint, or its folder")
    from sim import show as pages

    text, notes = pages.as_model(words[0], name, out)
    sys.stderr.write(notes)
    say(text)
    return OK


def completion(words: list[str]) -> int:
    """`completion bash|zsh|fish`: the script to source."""
    from sim.completion import SCRIPTS

    if len(words) != 1 or words[0] not in SCRIPTS:
        raise InputError(f"completion: needs one shell of: {', '.join(SCRIPTS)}")
    say(SCRIPTS[words[0]])
    return OK


def complete(words: list[str]) -> int:
    """What the completion scripts call: one candidate a line; silent whatever is wrong."""
    from sim.completion import candidates

    try:
        say("".join(f"{word}\n" for word in candidates(words)))
    except (InputError, OSError):
        return OK
    return OK


def verdict_code(runs: Sequence[Any]) -> int:
    """3 when any verdict of any run is a failure."""
    return OK if all(verdict[-1] for run in runs for verdict in run.verdicts) else SLO_FAILED


def progress(what: str) -> Any:
    """A bar on stderr for anything over two seconds; as a context it gives the function to report to."""
    from sim.report.progress import Progress

    return Progress(what)


def console() -> Any:
    """Where people read."""
    from sim.report.safe import make_console

    return make_console()


def version() -> str:
    """The installed version, or the checkout's."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("fleetsim")
    except PackageNotFoundError:
        return "(not installed)"


def say(text: str) -> None:
    """Write to stdout, as far as anybody reads it."""
    write(sys.stdout, printable_lines(text))


def complain(code: int, lines: Sequence[str]) -> int:
    """One line on stderr for each thing that is wrong; where stderr cannot be written the code must do."""
    try:
        write(sys.stderr, "".join(f"fleetsim: {printable(line)}\n" for line in lines))
    except (OSError, ValueError):
        silence(sys.stderr)
    return code


def os_error(error: OSError) -> int:
    """What the system refuses is the surroundings' fault: a disk, a folder, a stream, a process that cannot be had."""
    why = DISK_ERRORS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    where = error.filename
    if where is None and error.errno in OUTPUT_ERRORS:
        where = "the output"
        silence(sys.stdout)  # else Python complains when it ends
    return complain(BAD_INPUT, [f"{where or 'the system'}: cannot be used: {why}"])


def our_fault(error: Exception) -> int:
    """One line; the traceback only where FLEETSIM_DEBUG=1 asks for it."""
    if os.environ.get("FLEETSIM_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    what = " ".join(str(error).split()) or "no reason given"
    more = "FLEETSIM_DEBUG=1 shows where it happened"
    return complain(OUR_FAULT, [f"this is a bug: {type(error).__name__}: {what} ({more})"])


def script() -> NoReturn:
    """The console script: `main`, then exit with its code."""
    cache.keep_byte_code()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for some in every package
    sys.exit(main())


if __name__ == "__main__":
    script()
