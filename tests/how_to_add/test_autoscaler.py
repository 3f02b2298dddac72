"""An autoscaler with a setting, a memory and two metrics: at most four files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy

RULE = '''"""An autoscaler that adds a replica while one of two metrics is too high, and takes one after quiet periods."""

from sim.compile.jit import jit_call
from sim.schema import Field, Row


class StepperSettings(Row):
    """Settings of stepper."""

    waiting_most_milli = Field("sequences that may wait")
    running_most_milli = Field("sequences that may run")
    calm_periods = Field("quiet periods until a replica goes")


class StepperMemory(Row):
    """Memory of stepper."""

    calm = Field("quiet periods so far")


@jit_call
def stepper(wanted, settings, memory, waiting_milli, running_milli):
    """One more while a metric is above its limit; one less after so many periods in which none was."""
    if waiting_milli > settings.waiting_most_milli or running_milli > settings.running_most_milli:
        memory.calm = 0
        return wanted + 1
    memory.calm += 1
    if memory.calm < settings.calm_periods:
        return wanted
    memory.calm = 0
    return wanted - 1
'''


def with_autoscaler(tmp_path: Path) -> Copy:
    copy = Copy(tmp_path)
    copy.new("sim/model/autoscaler/stepper.py", RULE)
    control = "sim/model/loop/control.py"
    copy.put(
        control,
        before="from sim.model.base.min_tree import",
        text="from sim.model.autoscaler.stepper import StepperMemory, StepperSettings, stepper",
    )
    copy.put(control, before="KINDS = (", text="STEPPER = 4")
    copy.put(
        control,
        after='    Kind(USER, "user"),',
        text='    Kind(STEPPER, "stepper", StepperSettings, StepperMemory, POOL),',
    )
    copy.put(
        control,
        after="        return keda_replicas(params, state, pool_id, t)",
        text="""    if kind == STEPPER:
        pool = params.pool[pool_id]
        state.pool[pool_id].next_tick_ps = t + pool.tick_ps
        return stepper(
            state.pool[pool_id].wanted,
            StepperSettings(params.autoscaler, pool_id * SCALER_PAR),
            StepperMemory(state.autoscaler, pool_id * SCALER_STATE),
            signal_milli(params, state, pool.first_signal, t),
            signal_milli(params, state, pool.first_signal + 1, t),
        )""",
    )
    scenario = "sim/scenario/autoscaler.py"
    copy.put(
        scenario,
        before="Autoscaler = Annotated[",
        text='''
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Stepper:
    """One replica more while more than `waiting_most` wait (the first metric) or `running_most` run (the second)."""

    kind: Literal["stepper"] = "stepper"
    name: Name = "stepper"
    metric: MetricSource = "waiting"
    waiting_most: NonNegative = 0.0
    running_most: NonNegative = 4.0
    calm_periods: Count = 4
    period_s: PeriodS = 15.0
    source: Text = ""

''',
    )
    copy.swap(scenario, "Fixed | Hpa | Queue | User, Field", "Fixed | Hpa | Queue | User | Stepper, Field")
    copy.new(
        "conf/autoscaler/stepper.yaml",
        "# One more while anybody waits.\nkind: stepper\nwaiting_most: 0\nrunning_most: 4\ncalm_periods: 4\nperiod_s: 2\n",
    )
    return copy


WANTED = """
from sim.records.timeseries import timeseries_table
ran = run()
table = timeseries_table(ran.scenario, ran.result)
tell(table["wanted"].to_pylist()[::2])
"""


def test_an_autoscaler_takes_four_files(tmp_path: Path) -> None:
    copy = with_autoscaler(tmp_path)
    assert len(copy.touched) <= 4, copy.touched
    words = (
        "autoscaler=stepper",
        "pool.min_replicas=1",
        "pool.max_replicas=4",
        "output.sample_interval_s=1",
        "metrics.scrape_period_s=1",
        "metrics.more=[{source: running, scrape_period_s: 1}]",
    )
    climbs = copy.ask(WANTED, *words, "autoscaler.running_most=0.5", "traffic.output_tokens.value=2000")
    assert climbs[:5] == sorted(climbs[:5])
    assert max(climbs) == 4, "the second metric counts"
    calm = ("autoscaler.running_most=1000", "autoscaler.waiting_most=1000", "pool.initial_replicas=3")
    rests = copy.ask(WANTED, *words, *calm)
    assert rests == sorted(rests, reverse=True)
    assert rests.count(3) in (4, 5), "four quiet periods of two seconds: its memory"
    assert rests.count(2) == 4
    assert rests[-1] == 1
