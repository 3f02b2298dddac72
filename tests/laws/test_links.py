"""Links are shared max-min fair, after every event of generated fleets whose starts share them."""

from __future__ import annotations

import numpy as np
import pytest
from parity.engines import laws_of
from parity.fleets import fleet

from sim.engine.simpy import Fleet
from sim.model.tables.link import DISK, FROM_STORE, N_END
from sim.model.tables.run import Params, State
from sim.model.transfers.clock import FULL_SPEED
from sim.units import NEVER

SEEDS = range(4000, 4060)
BLOCKS = 3


def goes_over(p: Params, rows: np.ndarray, i: int) -> np.ndarray:
    """Whether each transfer goes over a link, or behind all links an end of a node."""
    if i < int(p.n_link):
        return np.asarray((rows["links"] >> i) & 1 == 1)
    return np.asarray((rows["in_end"] == 1 + i) | (rows["out_end"] == 1 + i))


def capacity_of(p: Params, state: State, i: int) -> int:
    """What a link carries, or an end of a node."""
    if i < int(p.n_link):
        return int(p.link[i].bandwidth_q40)
    node, end = divmod(i - int(p.n_link), N_END)
    group = p.node_group[int(state.node[node].group)]
    return int(group.disk_q40 if end == DISK else group.nic_q40)


def check_sources(p: Params, state: State, rows: np.ndarray) -> None:
    """Nodes serve as many as they say, and no more than they may; who waits for a source is in one queue."""
    if int(p.n_artifact) == 0:
        return
    for node in range(int(p.n_node)):
        served = rows[(rows["source"] == 1 + node) & (rows["is_moving"] == 1)]
        assert state.node[node].n_upload == len(served)
        for one in served:
            assert state.node[node].n_upload <= p.start_step[int(one["step"])].uploads_max or len(served) == 1
    assert int(state.n_queued) == (rows["is_queued"] == 1).sum()
    for i in range(int(p.n_artifact)):
        mine = rows[(rows["fetches"] > 0) & ((rows["fetches"] - 1) % int(p.n_artifact) == i)]
        assert state.artifact[i].n_store == (mine["source"] == FROM_STORE).sum()
        queued, at = [], int(state.artifact[i].first_queued) - 1
        while at >= 0:
            queued.append(at)
            at = int(state.transfer[at].next)
        assert len(queued) == (mine["is_queued"] == 1).sum()
        assert all(state.transfer[at].source == 0 and state.transfer[at].is_moving == 0 for at in queued)


def check_links(walked: Fleet) -> tuple[int, int]:
    """(transfers at a rate below their cap, transfers at their cap): what must hold of their rates holds."""
    p, state = walked.params, walked.state
    n_link = int(p.n_carrier)  # nodes' network cards and disks are links too
    rows = state.rows("transfer", int(p.n_transfer))
    moving = rows[rows["is_moving"] == 1]
    links = state.rows("link", n_link)
    over = [moving[goes_over(p, moving, i)] for i in range(n_link)]
    assert links["n"].tolist() == [len(found) for found in over]
    check_sources(p, state, rows)
    if int(state.rates_ps) != NEVER:
        return 0, 0  # what has begun or ended at this instant is shared out right after it
    capacity = [capacity_of(p, state, i) for i in range(n_link)]
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
            if goes_over(p, one, i)
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
