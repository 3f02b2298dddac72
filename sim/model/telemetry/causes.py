"""Why something happens in the cluster: who decided it, and which event set it off.

Whoever acts says so before it acts (`act_because`); every event that is then written down has that cause, until somebody
else acts. What goes on by itself, as a start or a drain, goes on for the cause for which it began (`go_on_with_replica`,
`go_on_with_node`).
"""

from __future__ import annotations

from sim.compile.jit import jit_call


@jit_call
def act_because(state, cause, cause_id, because):
    """What is written down from now on was decided by `cause`, the one of that number, after the event `because`."""
    state.cause = cause
    state.cause_id = cause_id
    state.because = because


@jit_call
def go_on_with_replica(params, state, r):
    """What follows is the next thing that replica r, which is wanted or has to go for some cause, comes to."""
    if params.n_cluster == 1:
        workload = state.workload[r]
        act_because(state, workload.cause, workload.cause_id, workload.event)


@jit_call
def go_on_with_node(state, node_id):
    """What follows is the next thing that a node, which was asked for or will be lost for some cause, comes to."""
    node = state.node[node_id]
    act_because(state, node.cause, node.cause_id, node.event)
