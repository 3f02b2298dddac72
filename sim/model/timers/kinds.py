"""What a timer is for, and in which order timers of one instant fire.

A kind is its phase (`sim.model.tables.codes`) and a number within the phase: timers of one instant fire by phase, then
by request and attempt. `on_timer_fired` of sim.model.clients.give_up says what happens.
"""

from __future__ import annotations

from sim.model.tables.codes import PHASE_ARRIVAL, PHASE_DEADLINE, PHASE_RETRY, PHASE_TURN

KIND_BITS = 2

TIMER_DEADLINE = PHASE_DEADLINE << KIND_BITS  # a client gives up, or checks whether it should
TIMER_RETRY = PHASE_RETRY << KIND_BITS  # the wait before an attempt is over
TIMER_TURN = PHASE_TURN << KIND_BITS  # the next turn of a session arrives
TIMER_HEDGE = TIMER_TURN + 1  # a client sends a second attempt
TIMER_CANCEL = TIMER_TURN + 2  # the other of two hedged attempts has answered
TIMER_STATION = PHASE_ARRIVAL << KIND_BITS  # a CPU station is done: after turns, before releases and arrivals
