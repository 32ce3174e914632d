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
        self._directed = (0.0, 0, 1)

    def apply(self, decision: Decision) -> float | None:
        self._pool.warm_up(decision.warm)
        calls = -(-decision.in_flight // self._subtasks)
        directed = (decision.share, calls, decision.batches_per_call)
        if directed == self._directed:
            return None
        self._directed = directed
        number = self._controller.publish(
            share=decision.share, in_flight=calls, batches_per_call=decision.batches_per_call
        )
        return self._controller.wait_applied(number, _APPLY_TIMEOUT_S)


class ScaleOut:
    """Gives the tokenizer more subtasks, once, at the first overload.

    Args:
        subtasks: how many it shall have.
        new: TaskManagers that are started for them; 0: free slots are there.
    """

    def __init__(self, cluster: Cluster, job: str, subtasks: int, new: int) -> None:
        self._cluster = cluster
        self._job = job
        self._subtasks = subtasks
        self._new = new
        self._done = False

    def apply(self, decision: Decision) -> float | None:
        if decision.overloaded and not self._done:
            self._done = True
            for _ in range(self._new):
                self._cluster.add_task_manager(1)
            self._cluster.rescale(self._job, ("tokenizer",), self._subtasks)
        return None
