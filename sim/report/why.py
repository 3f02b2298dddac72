"""Why requests missed: one sentence to quote, and a table of where their time went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim.analysis.blame import Blame, Limits, causes_seen
from sim.report.text import number, seconds, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WHERE = {  # how a cause reads after "went to"
    "retry": "earlier attempts and the waits between them",
    "gateway": "the gateway",
    "cpu": "CPU stages",
    "network": "the network and the server's front end",
    "cold_start": "cold starts",
    "queue": "the queue behind others",
    "prefill": "their own prefill",
    "interference": "interference from others' prompts and tokens",
    "neighbour": "neighbours on the same GPU",
    "preemption": "preemption",
    "withheld": "answers that are shown only when complete",
    "decode": "their own decoding",
}
LABELS = {
    "retry": "retries",
    "gateway": "gateway",
    "cpu": "CPU stages",
    "network": "network, front end",
    "cold_start": "cold start",
    "queue": "queue behind others",
    "prefill": "prefill",
    "interference": "interference",
    "neighbour": "neighbours on the GPU",
    "preemption": "preemption",
    "withheld": "withheld",
    "decode": "decode",
}
UNTIL = {"ttft": "time to first token", "e2e": "time to last token"}
NAMED_MAX, NAMED_FROM, NAMED_ENOUGH = 3, 0.01, 0.95  # causes in a sentence: how many, how small, until when


def print_why(blame: Blame, console: Console) -> None:
    """Prints the sentence, what it is about where that needs saying, and the table."""
    from rich.text import Text

    console.print()
    if not blame.promises and blame.n:
        console.print(Text(no_promise(blame), style="dim"))
    console.print(Text(sentence(blame), style="bold"))
    if blame.unanswered:
        fates = ", ".join(f"{number(n)} {fate}" for fate, n in blame.unanswered.items())
        console.print(Text(f"never answered: {fates}", style="dim"))
    if blame.missed.n or blame.met.n:
        console.print(why_table(blame))


def start_waits(summary: Mapping[str, Any]) -> list[str]:
    """What cold starts of a cluster's pools were made of: the wait for GPUs, then the stages; a line for each pool that
    waited. A wait is longer than a placement where nodes had to come, or the provider had none.
    """
    refused = sum(found["run_refused"] for found in summary.get("node_groups", {}).values())
    lines = []
    for name, found in summary.get("slice_waits", {}).items():
        if not found["run_wait_max_s"]:
            continue
        stages = (summary["pools"][name].get("cold_start") or {}).get("stages", {})
        then = ", ".join(f"{stage} {seconds(took)}" for stage, took in stages.items() if took)
        none = f" (the provider had no node {number(refused)} times)" if refused else ""
        lines.append(
            f"cold starts of {name} waited for GPUs {seconds(found['run_wait_s'])} in all, up to"
            f" {seconds(found['run_wait_max_s'])}{none}; {number(found['run_placed'])} got them, and then took,"
            f" in the median: {then or 'nothing'}"
        )
    return lines


def no_promise(blame: Blame) -> str:
    """What is looked at where nothing was promised."""
    who = f"class {blame.klass}" if blame.klass is not None else "no class"
    verb = "promises no" if blame.klass is not None else "promises a"
    what = "ttft" if blame.measure == "ttft" else "objective"
    return f"{who} {verb} {what}: the slowest 1 % of the requests, by {blame.measure}, stand for the misses"


def sentence(blame: Blame) -> str:
    """What an SRE would quote: how many missed what, and where their time went."""
    lost = sum(blame.unanswered.values())
    if blame.n == 0:
        return f"No{_class(blame)} request was measured to its {blame.measure}."
    if blame.n_missed == 0:
        return f"None of {number(blame.n)}{_class(blame)} requests missed {_promised(blame)}."
    if not blame.promises:
        head = f"The slowest {number(blame.n_missed)} of {number(blame.n)}{_class(blame)} requests"
        least = seconds(blame.slowest_ps / 1e12)
        token = "first" if blame.measure == "ttft" else "last"
        return f"{head} waited {least} or more for their {token} token; {_went(blame)} of it went to {_causes(blame)}."
    head = f"{number(blame.n_missed)} of {number(blame.n)}{_class(blame)} requests missed {_promised(blame)}"
    if blame.missed.n == 0:
        return f"{head}, and none of them was ever answered."
    if lost:
        head += f", {number(lost)} of them never answered"
    whose = "the others'" if lost else "their"
    return f"{head}; {_went(blame)} of {whose} {UNTIL[blame.measure]} went to {_causes(blame)}."


def _named(blame: Blame) -> list[str]:
    """The causes that a sentence names, largest first."""
    spent = blame.missed
    named: list[str] = []
    for cause in sorted(spent.parts_ps, key=spent.share, reverse=True):
        told = sum(map(spent.share, named))
        if len(named) == NAMED_MAX or (named and (spent.share(cause) < NAMED_FROM or told >= NAMED_ENOUGH)):
            break
        named.append(cause)
    return named


def _went(blame: Blame) -> str:
    return percent(blame.missed.share(_named(blame)[0]))


def _causes(blame: Blame) -> str:
    first, *more = _named(blame)
    texts = [WHERE[first], *(f"{percent(blame.missed.share(cause))} to {WHERE[cause]}" for cause in more)]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def percent(part: float) -> str:
    """A share in whole percent, unless that would make nothing or everything of it."""
    whole = f"{part * 100:.0f} %"
    return share(part) if whole in ("0 %", "100 %") else whole


def _class(blame: Blame) -> str:
    return f" {blame.klass}" if blame.klass is not None else ""


def _promised(blame: Blame) -> str:
    """The objectives that were held: of the one class, or of each."""
    if len(blame.promises) == 1:
        return limits_text(next(iter(blame.promises.values())))
    each = ", ".join(f"{name} {limits_text(limits)}" for name, limits in blame.promises.items())
    return f"what their class promises ({each})"


def limits_text(limits: Limits) -> str:
    """ttft ≤ 500 ms or tpot ≤ 50 ms."""
    return " or ".join(f"{name} ≤ {limit_text(limit)}" for name, limit in limits.items())


def limit_text(limit_ps: int) -> str:
    """A promised duration without trailing zeros."""
    for unit, name in ((1e12, "s"), (1e9, "ms")):
        if limit_ps >= unit:
            return f"{limit_ps / unit:g} {name}"
    return f"{limit_ps / 1e6:g} µs"


def why_table(blame: Blame) -> Table:
    """A line for each cause: its share and mean of the misses, beside those that met."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    missed = "missed" if blame.promises else "slowest"
    met = "met" if blame.promises else "the rest"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{blame.measure} spent on")
    for title in (missed, "mean ms", met, "mean ms"):
        table.add_column(title, justify="right")
    for cause in causes_seen([blame.missed, blame.met], blame.measure):
        table.add_row(LABELS[cause], *_cells(blame, cause))
    table.add_section()
    table.add_row("all", *_cells(blame, None))
    counts = [f"{number(some.n)}" for some in (blame.missed, blame.met)]
    table.add_row("answered requests", counts[0], "", counts[1], "")
    return table


def _cells(blame: Blame, cause: str | None) -> list[str]:
    cells = []
    for spent in (blame.missed, blame.met):
        mean_s = spent.mean_s(cause)
        part = 1.0 if cause is None else spent.share(cause)
        cells += [f"{part * 100:.1f} %" if spent.n else "–", number(None if mean_s is None else mean_s * 1e3)]
    return cells
