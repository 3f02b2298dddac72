"""What a run keeps of its replicas' starts: a row for each step of each start that came to its end."""

from __future__ import annotations

from sim.schema import Field, Row

BY_TIME, MOVED, FOUND, JOINED, FROM_PEER = range(5)
HOW_NAMES = ("time", "moved", "cache", "joined", "peer")


class StepTaken(Row):
    """A step of a start that is over."""

    replica = Field("the replica place")
    start = Field("which start of its pool it is")
    step = Field("which of its pool's steps")
    wanted_ps = Field("when the replica was wanted")
    got_ps = Field("when it had its slices")
    placed_ps = Field("when these could be used: its first steps began")
    begin_ps = Field("when the step began")
    end_ps = Field("when it ended")
    how = Field("BY_TIME …: whether it moved bytes over links, or had no need to")
    moved_bytes = Field("what it moved over links", unit="bytes")
    link = Field(
        "1 + the way that held its transfer back longest, a link or behind those an end; 0 = none did"
    )
    peer = Field("1 + the node that served its last byte, 0 = none did")
    bound_ps = Field("how long that one did", unit="ps")
