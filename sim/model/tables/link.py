"""Links that transfers share: what they carry, and the transfers in progress."""

from __future__ import annotations

from sim.schema import Field, Row, Wide


class LinkParams(Row):
    """A link."""

    bandwidth_q40 = Field("what it carries")


class LinkState(Row):
    """What a link carries now, and has carried."""

    n = Field("transfers in progress over it")
    n_max = Field("most of them at one time")
    rate_q40 = Field("what they move together")
    is_full = Field("1 = it holds some of them back")
    moved_bytes = Wide("bytes of the transfers that have ended", unit="bytes")
    busy_ps = Wide("Σ time with a transfer in progress", unit="ps")
    full_ps = Wide("Σ time in which it held some back", unit="ps")
    left_q40 = Field("scratch: what is not given out yet")
    waiting = Field("scratch: transfers over it that have no rate yet")


class Transfer(Row):
    """A step of a start that moves bytes over links, of one replica place. Its clock is the time that it would need alone
    over links without a limit: the speed says how fast that clock runs.
    """

    replica = Field("the replica that starts")
    is_moving = Field("1 = bytes are moving")
    end_ps = Field("when its last byte came, −1 = that has not happened", begin=-1)
    links = Field("bit i: its bytes go over the i-th link")
    moved_bytes = Field("how many", unit="bytes")
    cap_q40 = Field("its rate alone, over links without a limit")
    rate_q40 = Field("its rate now, −1 = not shared out yet")
    speed_q30 = Field("how fast its clock runs, at most 1")
    left_ps = Field("what its clock has left, at the last change of rates")
    due_ps = Field("when it ends if no rate changes")
    prev = Field("the transfer in progress before it, by cap, then by number; −1 = none")
    next = Field("the one behind it")
