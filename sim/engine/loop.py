"""When the rules are called: advance to a control instant, control, and so on, until something needs the host."""

from __future__ import annotations

from sim.model.control import control
from sim.model.fleet import advance
from sim.model.layout import OK, S_STATUS, S_STOP


def run_until_host(p, st):  # type: ignore[no-untyped-def]
    """Run until the status is no longer OK and return it: DONE, or a reason to come back to the host.

    Plain Python; `sim.engine.cpu` compiles it, and tests call it as it is.
    """
    while st.run[S_STATUS] == OK:
        stop_ps = st.run[S_STOP]
        advance(p, st, stop_ps)
        if st.run[S_STATUS] != OK:
            break
        control(p, st, stop_ps)
    return st.run[S_STATUS]
