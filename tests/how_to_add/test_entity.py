"""An entity with tables of its own, what a run never changes of it and what it does: at most six files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy

ROWS = '''"""Pauses: times in which the gateway lets nobody in."""

from sim.schema import Field, Row


class Pause(Row):
    """A pause."""

    from_ps = Field("when it begins")
    length_ps = Field("how long it is")


class PauseState(Row):
    """What has become of a pause."""

    refused = Field("attempts that it refused")
'''
RULE = '''"""The gateway is shut during pauses."""

from sim.compile.jit import jit_call


@jit_call
def is_shut(params, state, t):
    """Whether an attempt at t falls into a pause, which counts it."""
    for i in range(params.n_pause):
        pause = params.pause[i]
        if pause.from_ps <= t < pause.from_ps + pause.length_ps:
            state.pause[i].refused += 1
            return True
    return False
'''


def with_entity(tmp_path: Path) -> Copy:
    copy = Copy(tmp_path)
    copy.new("sim/model/tables/pause.py", ROWS)
    copy.new("sim/model/admission/pause.py", RULE)
    run = "sim/model/tables/run.py"
    copy.put(
        run,
        before="from sim.model.tables.pool import",
        text="from sim.model.tables.pause import Pause, PauseState",
    )
    copy.put(
        run,
        after='    fault_at = Field("where they start in Params.m, by time")',
        text='    n_pause = Field("pauses")\n    pause_at = Field("where they start in Params.m")',
    )
    copy.put(
        run,
        before="    limit = Table(LimitParams",
        text='    pause = Table(Pause, "pauses", at="pause_at", rows=("n_pause",), key="pauses", by="from_ps")',
    )
    copy.put(
        run,
        before="    queue = Table(",
        text='    pause = Table(PauseState, "a row a pause", rows=("n_pause",))',
    )
    hook = "sim/model/admission/rate_limits.py"
    copy.put(
        hook,
        before="from sim.model.tables.codes import",
        text="from sim.model.admission.pause import is_shut",
    )
    copy.put(
        hook,
        before="    if slot.prompt > klass.prompt_max or",
        text="    if is_shut(params, state, t):\n        return SHED",
    )
    scenario = "sim/scenario/scenario.py"
    copy.put(
        scenario,
        before="@dataclass(frozen=True, kw_only=True, config=CONFIG)\nclass Scenario:",
        text='''@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Pause:
    """The gateway lets nobody in for `length_s`."""

    from_s: Seconds
    length_s: SomeSeconds

''',
    )
    copy.put(scenario, after="    faults: Faults = ()", text="    pauses: tuple[Pause, ...] = ()")
    return copy


REFUSED = """
from sim.engine.host import run_plan
from sim.pack.scenario import plan
made = plan(run().scenario)
state = run_plan(made.params, {})
rows = run().result.requests
refused = [int(ps) for ps, outcome in zip(rows["arrival_ps"], rows["outcome"]) if outcome == 2]
counts = state.rows("pause", int(made.params.n_pause))["refused"]
tell([list(map(int, counts)), refused, list(map(int, rows["arrival_ps"]))])
"""


def test_an_entity_takes_six_files(tmp_path: Path) -> None:
    copy = with_entity(tmp_path)
    assert len(copy.touched) <= 6, copy.touched
    limits = "traffic.limits.requests_per_s=1000"  # attempts may be refused
    pauses = "pauses=[{from_s: 12, length_s: 3}, {from_s: 2, length_s: 4}]"
    counts, refused, arrivals = copy.ask(REFUSED, limits, pauses)
    first, second = ([ps for ps in arrivals if a <= ps / 10**12 < b] for a, b in ((2, 6), (12, 15)))
    assert first
    assert second
    assert refused == first + second
    assert counts == [len(first), len(second)], "in order of time, whatever the order in the scenario"
    assert copy.ask(REFUSED, limits)[:2] == [[], []]
