"""Which settings are worth having: those that no other is better than in everything, with how sure that is over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.answers.price import weighted

N_DRAW = 500


def undominated(scores: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Which settings are on the front, (setting,) bool: of those that are `good`, the ones that no other good one is at
    least as little in every score and less in one. `scores` (setting, objective) are to be little; infinite ones never are.
    """
    able = good & np.isfinite(scores).all(axis=1)
    no_more = (scores[:, None, :] <= scores[None, :, :]).all(axis=2)
    less = (scores[:, None, :] < scores[None, :, :]).any(axis=2)
    beaten = (no_more & less & able[:, None]).any(axis=0)
    return np.asarray(able & ~beaten)


def shares_on_front(
    scores: Sequence[np.ndarray], margins: Sequence[np.ndarray], n_draw: int = N_DRAW
) -> np.ndarray:
    """In which share of draws of whole seeds each setting is on the front, (setting,).

    `scores` of each objective and `margins` of each limit are (seed, setting); a limit is kept where the mean margin is
    at least 0.
    """
    n_seed, n_setting = scores[0].shape
    draws = np.random.default_rng(0).multinomial(n_seed, np.full(n_seed, 1 / n_seed), size=n_draw) / n_seed
    means = np.stack([weighted(draws, values) for values in scores], axis=2)  # (draw, setting, objective)
    good = np.ones((n_draw, n_setting), dtype=bool)
    for values in margins:
        good &= weighted(draws, values) >= 0
    return np.asarray(np.mean([undominated(means[i], good[i]) for i in range(n_draw)], axis=0))
