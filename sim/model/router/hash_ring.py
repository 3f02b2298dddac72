"""The ring of consistent hashing, made on the host before a run."""

from __future__ import annotations

import numpy as np

from sim.compile.jit import plain
from sim.model.router.choose import CONSISTENT_HASH
from sim.model.router.session_affinity import ConsistentHashSettings
from sim.model.tables.run import Params
from sim.model.tables.served_model import PLACE_BITS
from sim.rng import STREAM_RING, draw


def make_ring(n_place: int, virtual_nodes: int, seed: int) -> np.ndarray:
    """Virtual nodes of a served model's replica places, sorted: the hash with the place in its lowest bits."""
    places = np.repeat(np.arange(n_place), virtual_nodes)
    nodes = np.tile(np.arange(virtual_nodes), n_place)
    h = plain(draw)(seed, STREAM_RING, places, nodes)
    return np.sort((h >> PLACE_BITS << PLACE_BITS) | places)


def make_rings(params: Params) -> list[np.ndarray]:
    """The rings of the served models that hash, to lie behind Params.m; where each begins is written into its settings."""
    rings: list[np.ndarray] = []
    start = len(params.m)
    for model in params.rows("served_model", int(params.n_served_model)):
        if model["router"] == CONSISTENT_HASH:
            settings = ConsistentHashSettings(params, int(model["settings_at"]))
            ring = make_ring(int(model["n_replica"]), int(settings.virtual_nodes), int(params.seed))
            settings.ring_at, settings.n_ring = start, len(ring)
            start += len(ring)
            rings.append(ring)
    return rings
