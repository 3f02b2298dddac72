"""A router with a setting and a memory of its own: at most four files."""

from __future__ import annotations

from pathlib import Path

from tests.how_to_add.kit import Copy

RULE = '''"""The router that stays: so many requests in a row go to one replica."""

from sim.compile.jit import jit_call
from sim.schema import Field, Row


class StickySettings(Row):
    """Settings of sticky."""

    in_a_row = Field("requests in a row that a replica gets")
    pause_ps = Field("after so long without a request it moves on")


class StickyMemory(Row):
    """Memory of sticky, of a served model."""

    place = Field("where in the list of ready replicas it is")
    given = Field("requests that this replica got in a row")
    last_ps = Field("when the last one came")


STICKY_MEMORY_SIZE = StickyMemory.SIZE


@jit_call
def sticky(params, state, route):
    """The replica of the list that got the last request, until it has had its share or nothing came for a while."""
    g = route.served_model
    settings = StickySettings(params, params.served_model[g].settings_at)
    memory = StickyMemory(state.router_memory, params.served_model[g].memory_at + g * STICKY_MEMORY_SIZE)
    if memory.given == settings.in_a_row or route.now_ps - memory.last_ps >= settings.pause_ps:
        memory.place += 1
        memory.given = 0
    memory.given += 1
    memory.last_ps = route.now_ps
    return state.ready[route.first + memory.place % route.n]
'''


def with_router(tmp_path: Path) -> Copy:
    copy = Copy(tmp_path)
    copy.new("sim/model/router/sticky.py", RULE)
    choose = "sim/model/router/choose.py"
    copy.put(
        choose,
        before="from sim.model.router.weighted_score import",
        text="from sim.model.router.sticky import StickyMemory, StickySettings, sticky",
    )
    copy.swap(choose, "import REPLICA, SESSION, Kind", "import REPLICA, SERVED_MODEL, SESSION, Kind")
    copy.put(
        choose,
        after='    Kind(PREFIX_AWARE, "prefix_aware", PrefixAwareSettings),',
        text='    Kind(STICKY, "sticky", StickySettings, StickyMemory, SERVED_MODEL),',
    )
    copy.put(choose, before="KINDS = (", text="STICKY = 9")
    copy.put(
        choose,
        after="        r = prefix_aware(params, state, route)",
        text="    elif router == STICKY:\n        r = sticky(params, state, route)",
    )
    scenario = "sim/scenario/router.py"
    copy.put(
        scenario,
        before="AnyRouter = Annotated[",
        text='''
@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Sticky:
    """So many requests `in_a_row` go to one replica, unless none came for `pause_s`."""

    kind: Literal["sticky"] = "sticky"
    in_a_row: CountOrZero = 3
    pause_s: NonNegative = 1000.0
    source: Text = ""

''',
    )
    copy.swap(scenario, "| WeightedScore | PrefixAware", "| WeightedScore | PrefixAware | Sticky")
    copy.new("conf/router/sticky.yaml", "# Three in a row.\nkind: sticky\nin_a_row: 3\npause_s: 1000\n")
    return copy


PLACES = """
rows = run().result.requests
order = sorted(range(len(rows["routed_ps"])), key=lambda i: rows["routed_ps"][i])
tell([rows["replica_id"][i] for i in order])
"""


def test_a_router_takes_four_files(tmp_path: Path) -> None:
    copy = with_router(tmp_path)
    assert len(copy.touched) <= 4, copy.touched
    for in_a_row in (1, 3):
        places = copy.ask(PLACES, "router=sticky", f"router.in_a_row={in_a_row}")
        assert len(places) > 20
        assert places == [i // in_a_row % 2 for i in range(len(places))], in_a_row
    moved = copy.ask(PLACES, "router=sticky", "router.in_a_row=1000", "router.pause_s=0.000001")
    assert moved == [(i + 1) % 2 for i in range(len(moved))], "no two requests come within a microsecond"
    assert set(copy.ask(PLACES, "router=sticky", "router.in_a_row=1000")) == {0}, (
        "settings reach the rule in ps"
    )
