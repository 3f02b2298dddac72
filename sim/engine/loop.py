"""When the rules are called: advance to a control instant, control, and so on, until something needs the host."""

from __future__ import annotations

from sim.model.loop.advance import advance, begin, finish
from sim.model.loop.control import control
from sim.model.tables.codes import CLOSED, DONE, NEW, OK


def run_until_host(params, state):  # type: ignore[no-untyped-def]
    """Run until the status is no longer OK and return it: DONE, or a reason to come back to the host.

    Plain Python; `sim.engine.cpu` compiles it, and tests call it as it is.
    """
    if state.status == NEW:
        begin(params, state)
    while state.status == OK:
        stop_ps = state.stop_ps
        advance(params, state, stop_ps)
        if state.status == OK:
            control(params, state, stop_ps)
    if state.status == DONE or state.status == CLOSED:
        finish(params, state)
    return state.status
