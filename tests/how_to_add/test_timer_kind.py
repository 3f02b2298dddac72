"""A kind of timer: at most two files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy


def test_a_timer_kind_takes_two_files(tmp_path: Path) -> None:
    """Clients whose wait before a retry is over hesitate for 7 ms more."""
    copy = Copy(tmp_path)
    copy.put(
        "sim/model/timers/kinds.py",
        after="TIMER_RETRY = PHASE_RETRY << KIND_BITS  # the wait before an attempt is over",
        text="TIMER_HESITATED = TIMER_RETRY + 1  # a client has hesitated before an attempt",
    )
    handler = "sim/model/clients/give_up.py"
    copy.swap(
        handler,
        "import TIMER_CANCEL, TIMER_DEADLINE,",
        "import TIMER_CANCEL, TIMER_DEADLINE, TIMER_HESITATED,",
    )
    copy.put(handler, before="    disarm,\n    fires_before", text="    arm,")
    copy.swap(
        handler,
        "    elif kind == TIMER_RETRY:\n",
        "    elif kind == TIMER_RETRY:\n        arm(state, s, TIMER_HESITATED, t + 7_000_000_000)\n"
        "    elif kind == TIMER_HESITATED:\n",
    )
    assert len(copy.touched) <= 2, copy.touched
    words = (
        "traffic.limits.requests_per_s=0.5",
        "traffic.retry.attempts=2",
        "traffic.retry.backoff={kind: constant, base_s: 0.1}",
    )
    code = """
rows = run().result.requests
tell([[a, b] for a, b, n in zip(rows["arrival_ps"], rows["taken_ps"], rows["attempts"]) if n == 2])
"""
    hesitant = copy.ask(code, *words)
    plain = Copy(tmp_path / "plain").ask(code, *words)
    assert len(plain) > 3
    assert {taken - arrival for arrival, taken in plain} == {100_000_000_000}
    assert {taken - arrival for arrival, taken in hesitant} == {107_000_000_000}
