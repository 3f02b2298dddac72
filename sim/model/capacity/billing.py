"""What a provider charges for nodes: from which stage on, in which units of time, and how much at least."""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.base.histogram import add_wide


@jit
def charged_ps(life_ps, unit_ps, least_ps):
    """The time that is charged for a node that was paid for so long: whole units, and no less than the least."""
    units = (life_ps + unit_ps - 1) // unit_ps
    return max(units * unit_ps, least_ps)


@jit_call
def charge_node(params, state, node_id, was, stage, t):
    """A node goes from one stage to another at t: it begins to be paid for or, when it is gone, its time is rounded up."""
    node = state.node[node_id]
    terms = params.node_group[node.group]
    group = state.node_group[node.group]
    is_paid = stage >= terms.paid_from
    was_paid = was >= terms.paid_from
    if is_paid and not was_paid:
        group.n_paid += 1
        node.paid_ps = t
    elif was_paid and not is_paid:
        group.n_paid -= 1
        life_ps = t - node.paid_ps
        add_wide(group.rounded_ps, charged_ps(life_ps, terms.unit_ps, terms.least_ps) - life_ps)
