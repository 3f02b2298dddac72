"""The entry points of machine code: functions of addresses and integers. Only `sim.engine.cpu` imports this file, to
compile it, for making a rule's dispatcher takes numba.
"""

from __future__ import annotations

from sim.compile.jit import jit
from sim.compile.processor import at_address
from sim.engine.act import act as one_rule
from sim.engine.loop import run_until_host
from sim.model.tables.run import Params, State

params_at, state_at = at_address(Params, 2), at_address(State, 1)
run, apply = jit(run_until_host), jit(one_rule)


def loop(params, trace, state):  # type: ignore[no-untyped-def]
    """`sim.engine.loop.run_until_host` of the run whose arrays lie at these addresses."""
    return run(params_at(params, trace), state_at(state))


def act(params, trace, state, what, which, value, t):  # type: ignore[no-untyped-def]
    """`sim.engine.act.act` in the run whose arrays lie at these addresses."""
    return apply(params_at(params, trace), state_at(state), what, which, value, t)
