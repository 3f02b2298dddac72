"""Flavours: which of its queue's flavours each resource of a workload gets, and whether it fits, or would after preemption.

A workload's parts that must share flavours are a group: `state.group_asked` (group, resource) is what it asks for, −1 = it
does not ask, `state.group_flavors` (group,) the flavours it may have, a bit each (taints, labels). A queue's resources
come in groups, each with flavours in order; all of one group get one flavour. The answer is `state.got_flavor` and
`state.got_mode`, (group, resource), −1 where none was assigned. Whether preemption would help is found by trying it.
Source: kubernetes-sigs/kueue pkg/scheduler/flavorassigner.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call
from sim.model.placement.fair_preemption import find_victims
from sim.model.placement.quotas import (
    admit_usage,
    available,
    borrowing_level,
    potential,
    quota_of,
    release_usage,
)
from sim.model.tables.quota import PREEMPT_NEVER

MODES = ("no_fit", "preempt", "fit")
NO_FIT, PREEMPT, FIT = range(3)
# what a search tells apart, worse before better
CANNOT, NO_CANDIDATES, FROM_OWN, FROM_OTHERS, FITS = range(5)
RANK = 1 << 32  # a finding is CANNOT … FITS times RANK, less the level from which it borrows


@jit
def mode_of(finding):
    """NO_FIT, PREEMPT or FIT of a finding."""
    kind = kind_of(finding)
    if kind == CANNOT:
        return NO_FIT
    return FIT if kind == FITS else PREEMPT


@jit
def finding_of(kind, level):
    """A finding: better ones are larger."""
    return (kind + 1) * RANK - level


@jit
def kind_of(finding):
    """CANNOT … FITS of a finding."""
    return (finding + RANK - 1) // RANK - 1


@jit
def level_of(finding):
    """The level from which a finding borrows."""
    return (kind_of(finding) + 1) * RANK - finding


# ---- one pair ----------------------------------------------------------------------
@jit_call
def preemption_answer(params, state, pair, amount):
    """What preemption would give of one pair, as a finding, for the workload of state.preemption[0]; state.asked and
    state.contested are overwritten.
    """
    wanting = state.preemption[0]
    if wanting.is_recorded == 1:
        answer = state.quota_answer[pair]
        return finding_of(NO_CANDIDATES + answer.possibility, answer.borrowing)
    for other in range(params.n_quota_pair):
        state.asked[other] = amount if other == pair else 0
        state.contested[other] = 1 if other == pair else 0
    n = find_victims(params, state)
    kind = FROM_OTHERS if n > 0 else NO_CANDIDATES
    for i in range(n):
        w = state.quota_victim[i].workload
        if state.quota_workload[w].queue == wanting.queue:
            kind = FROM_OWN
        release_usage(params, state, w)
    level = borrowing_level(params, state, wanting.queue, pair, amount) // 2
    for i in range(n):
        admit_usage(params, state, state.quota_victim[i].workload)
    return finding_of(kind, level)


@jit_call
def pair_finding(params, state, pair, amount):
    """Whether a queue could use so much of a pair, now or after preemption, as a finding."""
    wanting = state.preemption[0]
    queue = wanting.queue
    if amount > potential(params, queue, pair):
        return finding_of(CANNOT, 0)
    level = borrowing_level(params, state, queue, pair, amount)
    if amount <= available(params, state, queue, pair):
        return finding_of(FITS, level // 2)
    node = params.quota_node[queue]
    while_borrowing = node.may_borrow == 1 or (wanting.is_fair == 1 and node.reclaim != PREEMPT_NEVER)
    if quota_of(params, queue, pair).nominal >= amount or level % 2 == 1 or while_borrowing:
        return preemption_answer(params, state, pair, amount)
    return finding_of(CANNOT, level // 2)


# ---- one flavour ----------------------------------------------------------------------
@jit
def resource_group(params, queue, resource):
    """The group of resources of a queue that a resource is in, −1 = the queue does not have it."""
    return params.resource_group[queue * params.n_resource + resource]


@jit_call
def flavor_finding(params, state, group, place, flavor):
    """What a flavour would mean for all that a group asks for of a group of resources: the worst of its findings, and in
    state.found that of each resource.
    """
    queue = state.preemption[0].queue
    worst = finding_of(FITS, 0)
    for resource in range(params.n_resource):
        amount = state.group_asked[group * params.n_resource + resource]
        if amount < 0 or resource_group(params, queue, resource) != place:
            continue
        pair = params.pair_of[flavor * params.n_resource + resource]
        if pair < 0:
            return finding_of(CANNOT, 0)
        finding = pair_finding(params, state, pair, state.assumed[pair] + amount)
        state.found[resource] = finding
        worst = min(worst, finding)
        if kind_of(worst) == CANNOT:
            return worst
    return worst


@jit_call
def tries_next(params, queue, finding):
    """Whether another flavour is tried after one with this finding."""
    node = params.quota_node[queue]
    kind = kind_of(finding)
    if kind == CANNOT or kind == NO_CANDIDATES:
        return True
    if (kind == FROM_OWN or kind == FROM_OTHERS) and node.preempt_stops == 0:
        return True
    return level_of(finding) > 0 and node.borrow_next == 1


@jit_call
def assign_flavor(params, state, group, place):
    """Find the flavour of a group for a group of resources and note it; whether there is one."""
    queue = state.preemption[0].queue
    node = params.quota_node[queue]
    best = finding_of(CANNOT, 0)
    found = 0
    for i in range(node.first_flavor, node.first_flavor + node.n_flavor):
        offered = params.queue_flavor[i]
        if offered.group != place or (state.group_flavors[group] >> offered.flavor) & 1 == 0:
            continue
        finding = flavor_finding(params, state, group, place, offered.flavor)
        is_last = not tries_next(params, queue, finding)
        if is_last or (kind_of(finding) != CANNOT and finding > best):
            best = finding
            found = 1
            note_flavor(params, state, group, place, offered.flavor)
        if is_last:
            break
    return found


@jit_call
def note_flavor(params, state, group, place, flavor):
    """Write down a flavour for what a group asks for of a group of resources."""
    queue = state.preemption[0].queue
    for resource in range(params.n_resource):
        at = group * params.n_resource + resource
        if state.group_asked[at] >= 0 and resource_group(params, queue, resource) == place:
            state.got_flavor[at] = flavor
            state.got_mode[at] = mode_of(state.found[resource])
            state.got_level[at] = level_of(state.found[resource])


# ---- the whole workload ----------------------------------------------------------------------
@jit_call
def assign_group(params, state, group):
    """Find the flavours of a group; whether each resource it asks for has one. A resource that its queue does not have
    needs none if nothing of it is asked for.
    """
    queue = state.preemption[0].queue
    for resource in range(params.n_resource):
        at = group * params.n_resource + resource
        place = resource_group(params, queue, resource)
        if state.group_asked[at] < 0 or state.got_flavor[at] >= 0:
            continue
        if place < 0 and state.group_asked[at] == 0:
            continue
        if place < 0 or assign_flavor(params, state, group, place) == 0:
            forget_group(params, state, group)
            return 0
    return 1


@jit
def forget_group(params, state, group):
    """A group has no flavours."""
    for resource in range(params.n_resource):
        state.got_flavor[group * params.n_resource + resource] = -1


@jit_call
def count_group(params, state, group):
    """What a group was assigned counts for the groups behind it, and for the answer as a whole."""
    wanting = state.preemption[0]
    for resource in range(params.n_resource):
        at = group * params.n_resource + resource
        if state.got_flavor[at] >= 0:
            pair = params.pair_of[state.got_flavor[at] * params.n_resource + resource]
            state.assumed[pair] += state.group_asked[at]
            wanting.borrowing = max(wanting.borrowing, state.got_level[at])
            wanting.mode = min(wanting.mode, state.got_mode[at])


@jit_call
def assign_flavors(params, state, n_group):
    """Assign flavours to the n groups of the workload of state.preemption[0]; its mode: NO_FIT, PREEMPT or FIT.

    The first group that cannot have them ends the search. state.assumed is, in the end, what of each pair was assigned.
    """
    wanting = state.preemption[0]
    wanting.mode = FIT
    wanting.borrowing = 0
    for pair in range(params.n_quota_pair):
        state.assumed[pair] = 0
    for group in range(n_group):
        forget_group(params, state, group)
    for group in range(n_group):
        if assign_group(params, state, group) == 0:
            wanting.mode = NO_FIT
            return NO_FIT
        count_group(params, state, group)
    return wanting.mode
