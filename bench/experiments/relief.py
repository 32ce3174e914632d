"""What is done about an overloaded tokenizer: the ways in which a decision becomes effective."""

from __future__ import annotations

from typing import Protocol

from bench.cluster.flink import Cluster
from bench.lambdas.pool import Pool
from bench.steering.controller import Controller
from bench.steering.policy import Decision

# A directive that has not reached every subtask by then is recorded as not applied.
_APPLY_TIMEOUT_S = 0.25


class Relief(Protocol):
    """Makes a decision effective."""

    def apply(self, decision: Decision) -> float | None:
        """Do what `decision` says. Returns ms until it was in force, None where that is unknown."""


class Nothing:
    """The decision is recorded, and nobody acts on it."""

    def apply(self, decision: Decision) -> float | None:
        return None


class Offload:
    """Directs the job's subtasks, through the controller, to offload the decided share, and has
    environments started where the decision asks for warm ones."""

    def __init__(self, controller: Controller, subtasks: int, pool: Pool) -> None:
        self._controller = controller
        self._subtasks = subtasks
        self._pool = pool
        self._directed = (0.0, 0)

    def apply(self, decision: Decision) -> float | None:
        self._pool.warm_up(decision.warm)
        calls = -(-decision.in_flight // self._subtasks)
        if (decision.share, calls) == self._directed:
            return None
        self._directed = (decision.share, calls)
        number = self._controller.publish(share=decision.share, in_flight=calls)
        return self._controller.wait_applied(number, _APPLY_TIMEOUT_S)


class ScaleOut:
    """Gives the tokenizer and the sink more subtasks, once, at the first overload.

    Args:
        subtasks: how many they shall have.
        new_slots: of a TaskManager process that is started for them; 0: free slots are there.
    """

    def __init__(self, cluster: Cluster, job: str, subtasks: int, new_slots: int) -> None:
        self._cluster = cluster
        self._job = job
        self._subtasks = subtasks
        self._new_slots = new_slots
        self._done = False

    def apply(self, decision: Decision) -> float | None:
        if decision.overloaded and not self._done:
            self._done = True
            if self._new_slots:
                self._cluster.add_task_manager(self._new_slots)
            self._cluster.rescale(self._job, ("tokenizer", "sink"), self._subtasks)
        return None
