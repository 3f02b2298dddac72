"""The stages of a replica's start, and the steps that a start is made of: one list for scenarios, rules and files.

A stage is what time series show. A step is what a scenario gives a duration; it draws from a stream of random numbers of
its own. A new stage is a line of START_STAGES, at its place in the order of life; a new step is a line at the end of STEPS,
so that no other's stream changes.
"""

from __future__ import annotations

#: In the order of a replica's life.
START_STAGES = (
    "waiting_slice",
    "provisioning",
    "image_pull",
    "weight_load",
    "engine_start",
)
#: Step → the stage that it is shown as. The first step of each stage gives it its name in scenarios.
STEPS = {
    "slice": "waiting_slice",
    "provision": "provisioning",
    "image": "image_pull",
    "weights": "weight_load",
    "engine": "engine_start",
    "unpack": "image_pull",
    "server": "engine_start",
    "load": "weight_load",
    "compile": "engine_start",
    "graphs": "engine_start",
    "warmup": "engine_start",
}
#: Step → its stream of random numbers, from 1.
STREAMS = {name: i + 1 for i, name in enumerate(STEPS)}
#: The first step of each stage, in the order of life.
FIRST_STEPS = tuple(
    next(step for step, shown_as in STEPS.items() if shown_as == stage) for stage in START_STAGES
)
