"""Links are shared max-min fair, after every event of generated fleets whose starts share them."""

from __future__ import annotations

import pytest
from parity.engines import laws_of
from parity.fleets import fleet

from sim.engine.simpy import Fleet
from sim.model.transfers.links import FULL_SPEED
from sim.units import NEVER

SEEDS = range(4000, 4060)
BLOCKS = 3


def check_links(walked: Fleet) -> tuple[int, int]:
    """(transfers at a rate below their cap, transfers at their cap): what must hold of their rates holds."""
    p, state = walked.params, walked.state
    n_link = int(p.n_link)
    rows = state.rows("transfer", int(p.n_transfer))
    moving = rows[rows["is_moving"] == 1]
    links = state.rows("link", n_link)
    over = [moving[(moving["links"] >> i) & 1 == 1] for i in range(n_link)]
    assert links["n"].tolist() == [len(found) for found in over]
    if int(state.rates_ps) != NEVER:
        return 0, 0  # what has begun or ended at this instant is shared out right after it
    capacity = [int(p.link[i].bandwidth_q40) for i in range(n_link)]
    for i in range(n_link):
        rates = over[i]["rate_q40"].tolist()
        assert sum(rates) == links["rate_q40"][i]
        assert sum(rates) <= capacity[i]
    slow = 0
    for one in moving:
        assert 0 < one["rate_q40"] <= one["cap_q40"]
        assert (one["speed_q30"] == FULL_SPEED) == (one["rate_q40"] == one["cap_q40"])
        assert one["due_ps"] >= int(state.shared_ps)
        if one["rate_q40"] == one["cap_q40"]:
            continue
        slow += 1
        # a transfer below its cap goes over a full link on which nobody is faster: that is what max-min fair means
        held = [
            i
            for i in range(n_link)
            if int(one["links"]) >> i & 1
            and capacity[i] - int(links["rate_q40"][i]) < len(over[i])
            and one["rate_q40"] >= over[i]["rate_q40"].max() - len(over[i])
        ]
        assert held, "nothing holds it back, and it is slower than it could be"
        assert any(links["is_full"][i] == 1 for i in held)
    return slow, len(moving) - slow


@pytest.mark.parametrize("block", range(BLOCKS))
def test_rates_are_max_min_fair_after_every_event(block: int) -> None:
    slow = full = 0
    for seed in SEEDS[block::BLOCKS]:
        made = fleet(seed, links=True, scaled=True, episodes=False)  # links as fast as they are
        walked = Fleet(made.params, laws_of(made))
        while not walked.is_over:
            walked.step()
            below, at_cap = check_links(walked)
            slow, full = slow + below, full + at_cap
    assert slow > 100
    assert full > 100
