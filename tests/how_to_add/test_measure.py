"""A measure of the summary: at most three files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy


def test_a_summary_measure_takes_three_files(tmp_path: Path) -> None:
    """The share of long answers."""
    copy = Copy(tmp_path)
    copy.put(
        "sim/model/tables/record.py",
        after='    from_cache = Field("requests that the response cache answered")',
        text='    long_answers = Field("answers of at least 20 tokens")',
    )
    copy.put(
        "sim/model/record/request_record.py",
        after="    routed, scheduled, preemptions = slot.routed_ps, slot.scheduled_ps, slot.preemptions",
        text="    if last >= 0 and slot.output >= 20:\n        state.counts[slot.traffic_class].long_answers += 1",
    )
    copy.put(
        "sim/measures/listed.py",
        after='    Measure("from_cache", COUNT, "requests that the response cache answered", fact("from_cache")),',
        text='    Measure("long_share", SHARE, "share of long answers", ratio("long_answers", "all_completed"), HIGH),',
    )
    assert len(copy.touched) <= 3, copy.touched
    code = """
from sim.records.summary import summary_table
ran = run()
table = summary_table([ran.summary])
means = table.schema.field("long_share").metadata[b"means"].decode()
tell([ran.summary["long_share"], table["long_share"].to_pylist(), means])
"""
    assert copy.ask(code) == [1.0, [1.0], "share of long answers"]
    assert copy.ask(code, "traffic.output_tokens.value=19")[0] == 0.0
