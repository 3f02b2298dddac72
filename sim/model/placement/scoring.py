"""Scores of nodes for a workload, as kube-scheduler's plugins give them: whole numbers from 0 to 100, more is better.

`requested` is what a node's workloads ask for with the new one among them, `allocatable` what the node has: (n,) each, an
entry a resource, in any unit. A resource that the node does not have, or that is not to count, has allocatable 0. `shape`
holds the n_point points of a function: place and value of each, the places increasing.
Source: kubernetes/kubernetes pkg/scheduler/framework/plugins/noderesources, podtopologyspread and helper.
"""

from __future__ import annotations

from sim.compile.jit import jit, jit_call

SCORE_MAX = 100

SCORE_STRATEGIES = ("least_allocated", "most_allocated", "requested_to_capacity")
SCORE_LEAST, SCORE_MOST, SCORE_RATIO = range(3)


# ---- one resource ----------------------------------------------------------------------
@jit
def least_allocated(requested, allocatable):
    """The share of a resource that stays free; 0 where more is asked for than there is."""
    if requested > allocatable:
        return 0
    return (allocatable - requested) * SCORE_MAX // allocatable


@jit
def most_allocated(requested, allocatable):
    """The share of a resource that is taken, at most all of it."""
    return min(requested, allocatable) * SCORE_MAX // allocatable


@jit_call
def broken_linear(at, shape, n_point):
    """A function that is linear between its points and level outside; between two points rounded towards the first."""
    for i in range(n_point):
        if at <= shape[2 * i]:
            if i == 0:
                return shape[1]
            rise = (shape[2 * i + 1] - shape[2 * i - 1]) * (at - shape[2 * i - 2])
            run = shape[2 * i] - shape[2 * i - 2]
            return shape[2 * i - 1] + (rise // run if rise >= 0 else -(-rise // run))
    return shape[2 * n_point - 1]


@jit
def requested_to_capacity(requested, allocatable, shape, n_point):
    """A shape's value, from 0 to 100, at the share of a resource that is taken, in per cent."""
    share = SCORE_MAX if requested > allocatable else requested * SCORE_MAX // allocatable
    return broken_linear(share, shape, n_point)


# ---- a node ----------------------------------------------------------------------
@jit_call
def node_score(strategy, requested, allocatable, weights, n, shape, n_point):
    """The score of a node by its n resources, each with its weight: the mean over those that count.

    `requested_to_capacity` leaves resources with score 0 out of the mean and rounds it half up; the others round down.
    """
    total = 0
    weight_sum = 0
    for i in range(n):
        if allocatable[i] == 0:
            continue
        if strategy == SCORE_LEAST:
            score = least_allocated(requested[i], allocatable[i])
        elif strategy == SCORE_MOST:
            score = most_allocated(requested[i], allocatable[i])
        else:
            score = requested_to_capacity(requested[i], allocatable[i], shape, n_point)
            if score <= 0:
                continue
        total += score * weights[i]
        weight_sum += weights[i]
    if weight_sum == 0:
        return 0
    if strategy == SCORE_RATIO:
        return (2 * total + weight_sum) // (2 * weight_sum)
    return total // weight_sum


# ---- spreading over zones or nodes ----------------------------------------------------------------------
@jit
def spread_allows(count, least, skew_max):
    """Whether one workload more may go where `count` of its kind are, if `least` are where fewest are."""
    return count + 1 - least <= skew_max


@jit
def spread_score(count, least, most):
    """The score of a place with `count` of a workload's kind, if the places have from `least` to `most`: fewer is better.

    For one constraint: kube-scheduler weighs several by the logarithm of how many places each has.
    """
    if most == 0:
        return SCORE_MAX
    return SCORE_MAX * (most + least - count) // most


@jit
def normalised(score, highest, reverse):
    """A score among those of all nodes, of which `highest` is the highest, from 0 to 100; reversed where less is better."""
    if highest == 0:
        return SCORE_MAX * reverse
    share = SCORE_MAX * score // highest
    return SCORE_MAX - share if reverse == 1 else share
