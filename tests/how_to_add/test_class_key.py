"""A key of a traffic class: at most three files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy


def test_a_class_key_takes_three_files(tmp_path: Path) -> None:
    """Attempts with prompts shorter than `prompt_min` are refused."""
    copy = Copy(tmp_path)
    copy.put(
        "sim/scenario/traffic.py",
        after="    max_ttft_s: Seconds | None = None",
        text="    prompt_min: CountOrZero = 0",
    )
    copy.put(
        "sim/model/tables/traffic.py",
        before='    hedge_list = Field("the hedge list of its attempts")',
        text='    prompt_min = AttemptField("attempts with shorter prompts are refused", unit="tokens")',
    )
    copy.swap(
        "sim/model/admission/rate_limits.py",
        "if slot.prompt > klass.prompt_max or",
        "if slot.prompt < klass.prompt_min or slot.prompt > klass.prompt_max or",
    )
    assert len(copy.touched) <= 3, copy.touched
    code = (
        "tell({name: run().result.counts[name][0] for name in ('offered', 'rejected', 'reason_over_limit')})"
    )
    let_in = copy.ask(code, "traffic.prompt_min=300")
    assert let_in["offered"] > 20
    assert let_in["rejected"] == 0
    refused = copy.ask(code, "traffic.prompt_min=301")
    assert refused["rejected"] == refused["reason_over_limit"] == refused["offered"] == let_in["offered"]
