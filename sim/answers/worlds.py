"""Other worlds: the same scenario where steps or cold starts take longer, or less long, than it says.

What a step or a stage takes is assumed, modelled or measured on somebody else's machine (docs/accuracy.md,
docs/cold-starts.md). A world multiplies all of it: the packed times, so that every law, table and measurement is covered
alike. Where starts share links, these carry so many times less: a start that they hold back takes longer by as much.
"""

from __future__ import annotations

import numpy as np

from sim.fill.params import World as Packed
from sim.model.tables.pool import StartStep
from sim.model.tables.run import Params
from sim.pack.scenario import Outline

LIMIT_PS = 2**62


def with_times(of: Outline, step_time: float, cold_start: float) -> Outline:
    """A packed scenario whose steps and cold starts take so many times as long."""
    if step_time == 1.0 and cold_start == 1.0:
        return of
    params = Params(of.world.m.copy(), np.zeros(0, dtype=np.int64))
    for name in ("base", "slope"):
        table = _table(params, name)
        table[:] = times(table, step_time)
    pools = params.rows("pool", int(params.n_pool))
    pools["attention_q16"] = times(pools["attention_q16"], step_time)
    steps = StartStep.rows(_table(params, "start_step"))
    for name in ("quantile_ps", "setup_ps"):  # rounding keeps their order: no setup outlasts its step
        steps[name] = times(steps[name], cold_start)
    links = params.rows("link", int(params.n_link))
    links["bandwidth_q40"] = times(links["bandwidth_q40"], 1 / cold_start)
    return of._replace(world=Packed(params.m, of.world.n_class))


def _table(params: Params, name: str) -> np.ndarray:
    """The words of one of the tables that every run has, to be changed in place."""
    names = list(Params.fixed())
    start = int(params.m[Params.TABLES[name].start])
    end = int(params.m[Params.TABLES[names[names.index(name) + 1]].start])
    return np.asarray(params.m[start:end])


def times(values: np.ndarray, factor: float) -> np.ndarray:
    """Whole picoseconds, multiplied and rounded; what is never stays so."""
    more = np.rint(np.clip(values.astype(float) * factor, -float(LIMIT_PS), float(LIMIT_PS))).astype(np.int64)
    return np.where(np.abs(values) >= LIMIT_PS, values, more)
