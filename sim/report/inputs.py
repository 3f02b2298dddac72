"""What a run was given, in lines: how its recordings were read, and what its prefix caches had no room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim.report.text import number


def trace_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each recorded trace: as what it was read, and what of it was left out or changed."""
    return [
        f"trace {told['file']}: {', '.join(_trace_parts(told))}"
        for told in summary.get("traces", {}).values()
    ]


def given_lines(summary: Mapping[str, Any]) -> list[str]:
    """The lines of the traces, and of load generators that had requests left when their time was up."""
    return [
        *trace_lines(summary),
        *(
            f"{name}: {number(n)} requests of the load generator were not sent by duration_s; a longer one lets it finish"
            for name, n in summary.get("unsent", {}).items()
        ),
    ]


def _trace_parts(told: Mapping[str, Any]) -> Iterator[str]:
    """What there is to say of a recorded trace, most important first."""
    yield f"{number(told['rows'])} rows as {told['format']}"
    if told["failed_rows"]:
        yield f"{number(told['failed_rows'])} failed calls left out (no tokens)"
    if told["late_rows"]:
        yield f"{number(told['late_rows'])} rows out of order, sorted"
    if told["sessions"]:
        yield f"{number(told['sessions'])} sessions in {'closed' if told['closed_loop'] else 'open'} loop"
    if told["overlapping_rows"]:
        yield f"{number(told['overlapping_rows'])} rows before the answer that they follow, now right behind it"
    if told["hash_block_tokens"]:
        yield f"hashes of {told['hash_block_tokens']} tokens"
    if told["unused_hashes"]:
        yield "hashes unused: the files with the lengths of their pieces are not beside it"
    if told["estimated_lengths"]:
        yield "token counts estimated from characters"


def dropped_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each pool whose table of cached runs was too small: it finds less than its KV blocks hold."""
    return [
        f"prefix cache of {name}: {n:,} runs of blocks were dropped before their time, so hits are too few;"
        " leave runtime.prefix_runs out (sized by the cache) or raise it"
        for name, pool in summary["pools"].items()
        if (n := pool["prefix_runs_dropped"])
    ]
