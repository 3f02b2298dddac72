"""The SimPy engine: a process for each actor, asleep until its next instant, calling the compiled loop's rules.

It is observable and steppable, and open to a user's own SimPy processes, which may read the fleet and scale it. An
event's priority is its phase and entity, so that ties fall in the model's written order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import simpy

from sim.engine.act import (
    ACT_BEGIN,
    ACT_BOUNDARY,
    ACT_CLUSTER,
    ACT_CONTROL,
    ACT_CORDON,
    ACT_DRAIN_NODE,
    ACT_FINISH,
    ACT_INPUT,
    ACT_LOSE_NODE,
    ACT_SCALE,
    ACT_STAGE,
    ACT_UNCORDON,
)
from sim.engine.cpu import compiled_act
from sim.engine.host import Observation, Policies, observe, serve
from sim.errors import InputError, problem
from sim.fill.state import new_state
from sim.model.tables.codes import (
    CLOSED,
    DONE,
    NEED_PLACEMENT,
    NEED_POLICY,
    NEED_SLOTS,
    PHASE_ARRIVAL,
    PHASE_BOUNDARY,
    PHASE_FAULT,
    PHASE_SAMPLE,
    PHASE_STAGE,
)
from sim.model.tables.node import NODE_ABSENT, NODE_STAGES
from sim.model.tables.run import Params, State
from sim.units import NEVER, ps_to_s, s_to_ps

_ENTITIES = 1 << 20
_Process = Generator[simpy.Event, Any, None]


class SeenNode(NamedTuple):
    """A node as a process sees it."""

    node: int
    group: int
    zone: int
    stage: str
    used_slices: int


class Alarm(simpy.Event):
    """An event at an absolute time, with the priority of a phase and an entity."""

    def __init__(self, env: simpy.Environment, at_ps: int, phase: int, entity: int = 0) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=phase * _ENTITIES + entity, delay=at_ps - env.now)  # type: ignore[arg-type]


class Fleet:
    """A run in SimPy: `env` is its clock (int ps), `step` and `run` move it on, `add` lets other processes in."""

    def __init__(self, p: Params, policies: Policies | None = None) -> None:
        self.params = p
        self.policies = policies or Policies({})
        self.state = new_state(p)
        self._act = compiled_act()
        self._act(p, self.state, ACT_BEGIN, 0, 0, 0)
        self.env = simpy.Environment(initial_time=0)
        self._over = self.env.event()
        self._look()
        n = len(self._stage_ps)
        # what each replica's process sleeps for
        self._set_boundary_ps = self._boundary_ps.copy()
        self._set_stage_ps = self._stage_ps.copy()
        self._set_input_ps = self._set_cluster_ps = -1
        self._replicas = [self.env.process(self._replica(r)) for r in range(n)]
        self._gateway = self.env.process(self._arrivals())
        self.env.process(self._autoscalers())
        self._cluster = self.env.process(self._cluster_events())
        while self.env.peek() == 0 and self.env._queue[0][1] < _ENTITIES:
            self.env.step()  # every process runs up to its first sleep

    # ---- for users ------------------------------------------------------------------
    @property
    def time_s(self) -> float:
        """The simulated time."""
        return ps_to_s(self.env.now)  # type: ignore[arg-type]

    def add(self, process: Callable[[Fleet], _Process]) -> simpy.Process:
        """Start a user's own process: a generator function that takes this fleet and yields SimPy events."""
        return self.env.process(process(self))

    def wait(self, seconds: float) -> simpy.Event:
        """An event that happens after so many simulated seconds."""
        return self.env.timeout(s_to_ps(seconds))

    def see(self) -> Observation:
        """What a policy would see now."""
        return observe(self.params, self.state, int(self.env.now))

    def scale(self, pool: int, replicas: int) -> None:
        """Ask for so many replicas of a pool, within its bounds."""
        self._act(self.params, self.state, ACT_SCALE, pool, replicas, int(self.env.now))
        self._wake(-1)

    # ---- the cluster, where there is one ---------------------------------------------
    def nodes(self) -> list[SeenNode]:
        """The nodes that are there or on their way, by number."""
        rows = self.state.rows("node", int(self.params.n_node))
        return [
            SeenNode(
                i,
                int(row["group"]),
                int(self.params.node_group[int(row["group"])].zone),
                NODE_STAGES[row["stage"]],
                int(row["used_slices"]),
            )
            for i, row in enumerate(rows)
            if row["stage"] != NODE_ABSENT
        ]

    def cordon(self, node: int) -> None:
        """Let a node take no new replicas; those that it holds stay."""
        self._act_on_node(ACT_CORDON, node)

    def drain(self, node: int) -> None:
        """Cordon a node and evict what it holds, as far as disruption budgets allow; what they forbid is tried again. It
        stays cordoned; `uncordon` ends the drain.
        """
        self._act_on_node(ACT_DRAIN_NODE, node)

    def uncordon(self, node: int) -> None:
        """Let a cordoned node take replicas again."""
        self._act_on_node(ACT_UNCORDON, node)

    def lose_node(self, node: int) -> None:
        """Take a node away with all that it holds; pools replace what they lost."""
        self._act_on_node(ACT_LOSE_NODE, node)

    def lose_zone(self, zone: int) -> None:
        """Take all nodes of a zone away with all that they hold."""
        for node in self.nodes():
            if node.zone == zone:
                self.lose_node(node.node)

    def _act_on_node(self, what: int, node: int) -> None:
        if not 0 <= node < int(self.params.n_node):
            raise InputError(problem("node", node, f"a number below {int(self.params.n_node)}"))
        self._act(self.params, self.state, what, node, 0, int(self.env.now))
        self._wake(-1)

    def step(self) -> None:
        """Let the next event happen."""
        self.env.step()

    def run(self, until_s: float | None = None) -> State:
        """Run to the end, or up to a simulated time, and return the state."""
        if until_s is None:
            self.env.run(until=self._over)
        else:
            self.env.run(until=s_to_ps(until_s))
        return self.state

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return bool(self._over.triggered)

    def _look(self) -> None:
        """View the keys of the model's trees: when each replica's next boundary and stage change are."""
        n, leaves = int(self.params.n_replica), int(self.params.leaves)
        self._boundary_ps = self.state.boundary_tree[leaves : leaves + n]
        self._stage_ps = self.state.stage_tree[leaves : leaves + n]

    # ---- processes ------------------------------------------------------------------
    def _replica(self, r: int) -> _Process:
        """One replica: its stages, then its steps."""
        while True:
            stage_ps, boundary_ps = int(self._stage_ps[r]), int(self._boundary_ps[r])
            self._set_stage_ps[r], self._set_boundary_ps[r] = stage_ps, boundary_ps
            is_stage = stage_ps <= boundary_ps
            phase = PHASE_STAGE if is_stage else PHASE_BOUNDARY
            try:
                yield self._alarm(min(stage_ps, boundary_ps), phase, r)
            except simpy.Interrupt:
                continue
            if self.is_over:
                return
            if is_stage:
                self._act(self.params, self.state, ACT_STAGE, r, 0, stage_ps)
            else:
                self._act(self.params, self.state, ACT_BOUNDARY, r, 0, boundary_ps)
            self._wake(r)

    def _arrivals(self) -> _Process:
        """The gateway: requests arrive, held ones are released."""
        while True:
            at_ps = self._set_input_ps = int(self.state.next_input_ps)
            try:
                yield self._alarm(at_ps, PHASE_ARRIVAL)
            except simpy.Interrupt:
                continue
            if self.is_over:
                return
            self._act(self.params, self.state, ACT_INPUT, 0, 0, at_ps)
            if self.state.status == NEED_SLOTS:
                self.state = serve(self.params, self.state, NEED_SLOTS, self.policies)
                self._look()
                continue
            if self.state.status == CLOSED:
                self._act(self.params, self.state, ACT_FINISH, 0, 0, at_ps)
                self._over.succeed()
                return
            self._wake(-1)

    def _cluster_events(self) -> _Process:
        """Scripted losses of replicas, transfers over links."""
        while True:
            at_ps = self._set_cluster_ps = int(self.state.next_cluster_ps)
            try:
                yield self._alarm(at_ps, PHASE_FAULT, 1)
            except simpy.Interrupt:
                continue
            if self.is_over:
                return
            self._act(self.params, self.state, ACT_CLUSTER, 0, 0, at_ps)
            if self.state.status == NEED_PLACEMENT:
                self.state = serve(self.params, self.state, NEED_PLACEMENT, self.policies)
            self._wake(-1)

    def _autoscalers(self) -> _Process:
        """Scrapes, samples and autoscaler ticks, pools in order."""
        while True:
            stop_ps = int(self.state.stop_ps)
            yield self._alarm(stop_ps, PHASE_SAMPLE)
            if self.is_over:
                return
            self._act(self.params, self.state, ACT_CONTROL, 0, 0, stop_ps)
            while self.state.status == NEED_POLICY:
                self.state = serve(self.params, self.state, NEED_POLICY, self.policies)
                self._act(self.params, self.state, ACT_CONTROL, 0, 0, stop_ps)
            if self.state.status == DONE:
                self._act(self.params, self.state, ACT_FINISH, 0, 0, stop_ps)
                self._over.succeed()
                return
            self._wake(-1)

    def _alarm(self, at_ps: int, phase: int, entity: int = 0) -> simpy.Event:
        """An event at at_ps, or one that never happens."""
        return self.env.event() if at_ps == NEVER else Alarm(self.env, at_ps, phase, entity)

    def _wake(self, but: int) -> None:
        """Interrupt the sleepers whose alarm has moved; process `but` is awake and looks for itself."""
        moved = (self._boundary_ps != self._set_boundary_ps) | (self._stage_ps != self._set_stage_ps)
        for r in moved.nonzero()[0]:
            if r != but:
                self._set_boundary_ps[r], self._set_stage_ps[r] = self._boundary_ps[r], self._stage_ps[r]
                self._replicas[r].interrupt()
        if (
            self.state.next_cluster_ps != self._set_cluster_ps
            and self.env.active_process is not self._cluster
        ):
            self._set_cluster_ps = int(self.state.next_cluster_ps)
            self._cluster.interrupt()
        if self.state.next_input_ps != self._set_input_ps and self.env.active_process is not self._gateway:
            self._set_input_ps = int(self.state.next_input_ps)
            self._gateway.interrupt()
