"""When the rules are called: advance to a control instant, control, and so on, until something needs the host."""

from __future__ import annotations

from sim.model.control import control
from sim.model.fleet import advance, begin, finish
from sim.model.layout import CLOSED, DONE, NEW, OK, S_STATUS, S_STOP


def run_until_host(p, st):  # type: ignore[no-untyped-def]
    """Run until the status is no longer OK and return it: DONE, or a reason to come back to the host.

    Plain Python; `sim.engine.cpu` compiles it, and tests call it as it is.
    """
    if st.m[S_STATUS] == NEW:
        begin(p, st)
    while st.m[S_STATUS] == OK:
        stop_ps = st.m[S_STOP]
        advance(p, st, stop_ps)
        if st.m[S_STATUS] == OK:
            control(p, st, stop_ps)
    if st.m[S_STATUS] == DONE or st.m[S_STATUS] == CLOSED:
        finish(p, st)
    return st.m[S_STATUS]
