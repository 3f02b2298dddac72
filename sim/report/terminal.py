"""A run, and several side by side, as text on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sim.analysis.compare import compare
from sim.measures.levels import LEVELS, key_of
from sim.measures.shown import TABLE_OF_LATENCIES, UNSERVED, UTILISATIONS, measure
from sim.report.comparison import against, comparison_table
from sim.report.deployments import deployment_lines
from sim.report.inputs import dropped_lines, given_lines
from sim.report.starts import start_lines, step_time_lines
from sim.report.text import kinds, number, observed, quantity, seconds, share, slo_text, usd
from sim.scenario.resolved import traffic_key

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

LATENCIES = {name: measure(name).shown for name in TABLE_OF_LATENCIES}
USES = {name: measure(name).long_label or measure(name).shown for name in UTILISATIONS}


class Run(Protocol):
    """What is printed of a run; `path` and `wall_s` (time it took) may be missing or None."""

    @property
    def summary(self) -> Mapping[str, Any]: ...


class Runs(Protocol):
    """Several runs, the baseline first."""

    @property
    def runs(self) -> Mapping[str, Run]: ...


def print_run(run: Run, console: Console) -> None:
    """Prints a run: what came out, its limits, latencies, fleet, bill, what to look at, and where its files are."""
    from rich.text import Text

    summary, path = run.summary, getattr(run, "path", None)
    console.print()
    console.print(Text(summary["question"] or summary["scenario"], style="bold"))
    console.print(_came_out(summary, getattr(run, "wall_s", None)))
    for line in (*given_lines(summary), *tries_lines(summary), *answer_lines(summary), *who_lines(summary)):
        console.print(Text(line))
    for verdict in summary.get("verdicts", []):
        console.print(verdict_line(verdict))
    console.print(latency_table(summary))
    for line in (
        *fleet_lines(summary),
        *station_lines(summary),
        *link_lines(summary),
        *node_lines(summary),
        *deployment_lines(summary),
        *bill_lines(summary),
        *step_time_lines(summary),
        *look_lines(summary),
    ):
        console.print(Text(line))
    console.print(Text(f"digest {summary['digest']}", style="dim"))
    if path is not None:
        console.print(Text(f"files in {path}", style="dim"), soft_wrap=True)


def print_comparison(runs: Runs, console: Console) -> None:
    """Prints runs side by side: the best value of each measure marked *, differences against the first below."""
    from rich.text import Text

    stories = {name: getattr(run, "scenario", None) for name, run in runs.runs.items()}
    known = all(story is not None for story in stories.values())
    traffic = {name: traffic_key(story) for name, story in stories.items()} if known else None
    comparison = compare({name: run.summary for name, run in runs.runs.items()}, traffic=traffic)
    console.print()
    for line in dict.fromkeys(line for run in runs.runs.values() for line in given_lines(run.summary)):
        console.print(Text(line))
    console.print(comparison_table(comparison, console.width))
    console.print(Text(f"* best value of a measure; {against(comparison)}", style="dim"))
    for row in comparison.rows:
        if row.failed:
            console.print(Text("  ✗ ", style="red") + Text(f"{row.name}: {', '.join(row.failed)}", style=""))
    for name, run in runs.runs.items():
        if getattr(run, "path", None) is not None:
            console.print(Text(f"{name}: files in {run.path}", style="dim"), soft_wrap=True)  # type: ignore[attr-defined]


def look_lines(summary: Mapping[str, Any]) -> list[str]:
    """What its scenario says to look at in a run."""
    lines = [f"  {text}" for text in summary["look_at"]]
    return ["look at", *lines] if lines else []


def verdict_line(verdict: Mapping[str, Any]) -> Text:
    """✓ or ✗, the limit, and what was observed."""
    from rich.text import Text

    mark, style = ("✓", "green") if verdict["ok"] else ("✗", "bold red")
    line = Text(f"  {mark} ", style=style)
    line.append(verdict["text"])
    line.append(f"   was {observed(verdict)}", style="" if verdict["ok"] else "red")
    return line


def latency_table(summary: Mapping[str, Any]) -> Table:
    """Measures by statistic; with several classes, each class's ttft below, or where they differ in kind all of each."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("latency")
    for label in LEVELS:
        table.add_column(label, justify="right")
    for name, cells in _latency_rows(summary):
        table.add_row(name, *cells)
    return table


def tries_lines(summary: Mapping[str, Any]) -> list[str]:
    """Where requests were tried again or not served: how often, why, and what was computed for nobody."""
    lines = []
    if summary["retries"] or summary["hedges"]:
        lines.append(
            f"{number(summary['attempts'])} attempts: {number(summary['retries'])} retries,"
            f" {number(summary['hedges'])} hedges"
        )
    if summary["reasons"]:
        why = ", ".join(f"{number(n)} {reason}" for reason, n in summary["reasons"].items())
        lines.append(f"not served: {why} · {number(summary['wasted_tokens'])} tokens computed for nobody")
    return lines


def answer_lines(summary: Mapping[str, Any]) -> list[str]:
    """Answers that came from the response cache, and those that a guardrail blocked, where there were any."""
    n = summary["completed"]
    cached, blocked = summary["from_cache"], summary["blocked"]
    parts = [f"{number(cached)} ({share(cached / n)}) answered from the response cache"] if cached else []
    parts += [f"{number(blocked)} answers blocked by a guardrail"] if blocked else []
    return [" · ".join(parts)] if parts else []


def station_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each CPU station: how busy its workers were, and how long was waited for them."""
    return [
        f"station {name}: {number(found['workers'])} worker{'s' * (found['workers'] > 1)},"
        f" {share(found['run_use'])} busy, mean wait {seconds(found['run_wait_mean_s'])}"
        f" · {number(found['run_visits'])} visits"
        for name, found in summary["stations"].items()
    ]


def link_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each link that starts shared: what it carried, and how long it held them back."""
    return [
        f"link {name}: {number(found['bandwidth_gb_s'])} GB/s,"
        f" up to {number(found['run_transfers_max'])} transfers at once,"
        f" {number(found['run_moved_gb'])} GB · {seconds(found['run_busy_s'])} in use,"
        f" {seconds(found['run_full_s'])} of it full"
        for name, found in summary.get("links", {}).items()
    ]


def node_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each node group: its nodes, what was held of them, their cost; for each pool that waited for GPUs; for
    each batch job.
    """
    groups = [
        f"nodes {name}: {number(found['nodes_mean'])} on average, up to {number(found['run_nodes_max'])};"
        f" GPUs {share(found['slice_use'])} held · {usd(found['usd'])}, of which idle"
        f" {usd(round(found['usd'] - found['usd_used'] - found['usd_jobs'], 9))}"
        f" · {number(found['run_requested'])} asked for, {number(found['run_refused'])} refused"
        f"{f', {number(lost)} lost' if (lost := found['run_lost']) else ''}"
        for name, found in summary.get("node_groups", {}).items()
    ]
    waits = [
        f"waits for GPUs of {name}: {seconds(found['run_wait_s'])} in all, up to {seconds(found['run_wait_max_s'])}"
        for name, found in summary.get("slice_waits", {}).items()
        if found["run_wait_max_s"]
    ]
    jobs = [
        f"job {name}: {number(found['run_submitted'])} runs, {number(found['run_finished'])} finished"
        f"{f', {number(failed)} given up' if (failed := found['run_failed']) else ''}"
        f"{f', {number(late)} late' if (late := found['run_late']) else ''}"
        f" · preempted {number(found['run_preempted'])} times, {number(found['run_lost'])} times with a node"
        f" · {number(found['run_gpu_s'] / 3600)} GPU hours, {number(found['run_lost_gpu_s'] / 3600)} of them for lost work"
        for name, found in summary.get("jobs", {}).items()
    ]
    return groups + waits + jobs + queue_lines(summary)


def queue_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each queue with quotas."""
    return [
        f"queue {name}: {number(found['used_gpus_mean'])} GPUs on average of {number(found['nominal_gpus'])},"
        f" {number(found['borrowed_gpus_mean'])} of them borrowed · {number(found['run_admitted'])} admitted,"
        f" up to {seconds(found['run_quota_wait_max_s'])} for quota, {number(found['run_unplaceable'])} then found no GPUs"
        f" · quota taken from {number(found['run_taken'])}"
        for name, found in summary.get("queues", {}).items()
    ]


def who_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each class and each tenant, where there are several classes."""
    if len(summary["classes"]) < 2:
        return []
    who = [(name, section) for name, section in summary["classes"].items()]
    who += [(f"tenant {name}", section) for name, section in summary.get("tenants", {}).items()]
    return [
        f"  {name}: {number(section['offered'])} requests, {share(section['served_fraction'])} served,"
        f" {slo_text(section) or 'nothing promised'} · {usd(section['usd'])}"
        for name, section in who
    ]


def fleet_lines(summary: Mapping[str, Any]) -> list[str]:
    """Replicas and utilisations of the fleet, a line each; a pool's own where there are several."""
    lines = [_replica_line("replicas", summary), _use_line(summary)]
    if len(summary["pools"]) > 1:
        lines += [_replica_line(f"  {name}", pool) for name, pool in summary["pools"].items()]
    return lines + start_lines(summary) + dropped_lines(summary)


def bill_lines(summary: Mapping[str, Any]) -> list[str]:
    """The bill, a line each, then its sum and prices."""
    lines = [
        f"  {line['pool']}: {number(line['quantity_h'])} {_hours(line)}"
        f" × {line['unit_usd_per_hour']:g} usd = {usd(line['usd'])}"
        for line in summary["usd_lines"]
    ]
    tokens_in, tokens_out = summary["usd_per_million_input_tokens"], summary["usd_per_million_output_tokens"]
    total = (
        f"cost {usd(summary['usd'])} ({quantity(summary['usd_per_hour'], 'usd/h')})"
        f" · per million tokens in {usd(tokens_in)}, out {usd(tokens_out)}"
        f" (out alone, for all: {usd(summary['usd_per_million_output_tokens_all_in'])})"
    )
    return [total, *lines, *energy_lines(summary)]


def energy_lines(summary: Mapping[str, Any]) -> list[str]:
    """What was drawn, in a line; none where it is not known."""
    kwh, gpu_kwh, kg = summary.get("kwh"), summary.get("gpu_kwh"), summary.get("kgco2e")
    if kwh is None or gpu_kwh is None or kg is None:
        return []
    token, gpu_token = summary["joules_per_output_token"], summary["gpu_joules_per_output_token"]
    each = "" if token is None else f" · {number(token)} J per token out ({number(gpu_token)} of GPUs)"
    return [f"energy {number(kwh)} kWh (GPUs {number(gpu_kwh)}), {number(kg)} kg CO2e, modelled{each}"]


def _hours(line: Mapping[str, Any]) -> str:
    if line["gpu"]:
        return f"GPU hours ({line['gpu']})"
    return f"{'node hours' if line['line'] in IDLE_NODES else 'hours'}, {paid_for(line)},"


#: Line of a bill → what of a node it is paid for.
IDLE_NODES = {
    "jobs": "held by jobs",
    "free": "free",
    "fragmented": "useless",
    "not_ready": "not ready",
    "rounding": "rounded up",
    "unused": "not asked for",
}


def paid_for(line: Mapping[str, Any]) -> str:
    """What a line of the bill is for."""
    others = {"fixed": "whatever runs", **IDLE_NODES}
    return str(line["gpu"] or others.get(line["line"], line["line"]))


def _came_out(summary: Mapping[str, Any], wall_s: float | None) -> Text:
    from rich.text import Text

    parts = [
        f"{number(summary['offered'])} requests in {seconds(summary['window_s'])}",
        f"{share(summary['served_fraction'])} served",
        *filter(None, [slo_text(summary)]),
        *(f"{number(summary[fate])} {measure(fate).shown}" for fate in UNSERVED if summary[fate]),
    ]
    if wall_s is not None:
        parts.append(f"simulated in {seconds(wall_s)}")
    return Text(" · ".join(parts))


def _latency_rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The fleet's measures; what the served alone had where some were lost; each class's ttft. Where classes differ in
    kind, the fleet's ttft and each class's measures instead.
    """
    mixed = len(kinds(summary["classes"])) > 1
    for name, label in LATENCIES.items():
        if name == "ttft" or not mixed:
            yield f"{label}, all classes mixed" if mixed else label, _cells(summary[name])
        if summary["served_fraction"] not in (None, 1) and name == "ttft":
            yield "ttft, served alone", _cells(summary["ttft"], "_served")
    if len(summary["classes"]) > 1:
        for name, section in summary["classes"].items():
            for latency, label in LATENCIES.items():
                if latency == "ttft" or (mixed and section[latency]["p50_s"] is not None):
                    yield f"{label} of {name}", _cells(section[latency])


def _cells(statistics: Mapping[str, float | None], form: str = "") -> list[str]:
    return [seconds(statistics[key_of(f"{level}{form}")]) for level in LEVELS]


def _replica_line(label: str, section: Mapping[str, Any]) -> str:
    mean, ready = number(section["replicas_mean"]), number(section["replicas_ready_mean"])
    return (
        f"{label} {mean} billed on average, {ready} ready (most {number(section['replicas_ready_max'])})"
        f" · {number(section['scale_ups'])} scale-ups, {number(section['scale_downs'])} scale-downs,"
        f" {number(section['cold_starts'])} cold starts"
    )


def _use_line(section: Mapping[str, Any]) -> str:
    known = [f"{label} {share(section[name])}" for name, label in USES.items() if section[name] is not None]
    return "use of serving replicas: " + (", ".join(known) if known else "none was ready")
