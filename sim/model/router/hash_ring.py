"""The ring of consistent hashing, made on the host before a run."""

from __future__ import annotations

import numpy as np

from sim.compile.jit import plain
from sim.model.tables.codes import CONSISTENT_HASH
from sim.model.tables.served_model import PLACE_BITS
from sim.rng import STREAM_RING, draw


def make_ring(n_place: int, virtual_nodes: int, seed: int) -> np.ndarray:
    """Virtual nodes of a served model's replica places, sorted: the hash with the place in its lowest bits."""
    places = np.repeat(np.arange(n_place), virtual_nodes)
    nodes = np.tile(np.arange(virtual_nodes), n_place)
    h = plain(draw)(seed, STREAM_RING, places, nodes)
    return np.sort((h >> PLACE_BITS << PLACE_BITS) | places)


def make_rings(models: np.ndarray, virtual_nodes: list[int], seed: int, start: int) -> list[np.ndarray]:
    """The rings of the served models that hash, to lie from `start` on; where each begins is written into its record."""
    rings = []
    for row, nodes in zip(models, virtual_nodes, strict=True):
        if row["router"] == CONSISTENT_HASH:
            rings.append(make_ring(int(row["n_replica"]), nodes, seed))
            row["ring_at"], row["n_ring"] = start, len(rings[-1])
            start += len(rings[-1])
    return rings
