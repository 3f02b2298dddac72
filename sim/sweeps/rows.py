"""A finished run of a sweep as one flat row: `flat_summary` of its summary, without what only whole summaries need."""

from __future__ import annotations

from typing import Any

from sim.analysis.summary import fleet_summary
from sim.analysis.verdicts import limits_of, verdicts, with_verdicts
from sim.engine.result import Result, make_result
from sim.model.tables.run import State
from sim.pack.closed_loop import check_sent
from sim.pack.scenario import Plan
from sim.records.summary import flat_summary
from sim.sweeps.jobs import Job

Row = dict[str, Any]


def make_row(job: Job, packed: Plan, state: State, engine: str) -> Row:
    """What a final state came to. Classes are looked at where limits name them."""
    row, _ = row_and_result(packed, state, engine)
    return {"variant": job.variant, "seed": job.seed, "digest": row["digest"], **row}


def row_and_result(packed: Plan, state: State, engine: str) -> tuple[Row, Result]:
    """The flat summary of a final state, and the result that it was made from: the fleet's histograms are in it."""
    named = {limit.scope for limit in limits_of(packed.scenario) if limit.scope is not None}
    check_sent(packed.scenario, packed.params, state)
    result = make_result(packed.params, state, records=False, classes=bool(named))
    summary = fleet_summary(packed.scenario, result, packed.tables, engine, named)
    return flat_summary(with_verdicts(summary, verdicts(packed.scenario, summary))), result
