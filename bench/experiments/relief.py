"""What is done about an overloaded tokenizer: the ways in which a decision becomes effective."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.cluster.flink import Cluster
from bench.lambdas.pool import Pool
from bench.steering.controller import Controller
from bench.steering.policy import Decision

# A directive that has not reached every subtask by then is recorded as not applied.
_APPLY_TIMEOUT_S = 0.25

Place = Literal["here", "reactive", "operator", "managed"]


@dataclass(frozen=True)
class Delays:
    """What scaling out takes elsewhere, in seconds, on top of what it takes here.

    Attributes:
        detection_s: until the overload has lasted long enough for an autoscaler to act.
        node_s: until there is a machine for the new TaskManagers.
        outage_s: while the job is restarted.
    """

    detection_s: float = 0.0
    node_s: float = 0.0
    outage_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.detection_s + self.node_s + self.outage_s


# A new node in 30–40 s: Karpenter. Outages: medians of restarts seen in a Kubernetes cluster (the
# public measurements of dos-group/demeter, Flink 1.17, samples of 1 s).
ELSEWHERE: dict[Place, Delays] = {
    "here": Delays(),
    # A horizontal autoscaler looks every 15 s by default; outages of 11 and 14 s.
    "reactive": Delays(15.0, 35.0, 12.5),
    # The operator's autoscaler averages over 15 minutes and acts above a utilisation of 1 (0.7 and
    # a tolerance of 0.3): a load that jumps from 0.5 to 2 has that average after 300 s.
    "operator": Delays(300.0, 35.0, 67.0),
    # Managed Service for Apache Flink acts after 15 minutes above 75 % of CPU; of its nodes and
    # outages nothing is published.
    "managed": Delays(900.0),
}


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
    """Gives the tokenizer more subtasks, once, when an overload has lasted as long as scaling out
    would take elsewhere (which is at once here); one that ends before is not scaled for.

    The delays of elsewhere are really waited for, with the old subtasks at work all the while, an
    outage's too: what comes out of it is the best that can be said of that place.

    Args:
        subtasks: how many it shall have.
        new: TaskManagers that are started for them; 0: free slots are there.
        delays: of the place that it shall be as slow as.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: str,
        subtasks: int,
        new: int,
        delays: Delays = ELSEWHERE["here"],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._job = job
        self._subtasks = subtasks
        self._new = new
        self._delay_s = delays.total_s
        self._clock = clock
        self._since_s: float | None = None
        self._done = False

    def apply(self, decision: Decision) -> float | None:
        if self._done:
            return None
        if not decision.overloaded:
            self._since_s = None
            return None
        now_s = self._clock()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= self._delay_s:
            self._done = True
            for _ in range(self._new):
                self._cluster.add_task_manager(1)
            self._cluster.rescale(self._job, ("tokenizer",), self._subtasks)
        return None
