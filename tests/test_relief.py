"""When scaling out acts, here and with the times that it takes elsewhere."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bench.cluster.flink import Cluster
from bench.experiments.relief import ELSEWHERE, Place, ScaleOut
from bench.steering.policy import Decision

pytestmark = pytest.mark.beside

OVERLOADED = Decision(overloaded=True, share=0.0, in_flight=0, reason="")
CALM = Decision(overloaded=False, share=0.0, in_flight=0, reason="")


class Asked:
    """Takes the place of a cluster, and notes when it was asked for what."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.log: list[tuple[float, Any]] = []

    def add_task_manager(self, slots: int) -> None:
        self.log.append((self.now_s, f"TaskManager of {slots}"))

    def rescale(self, job: str, vertices: tuple[str, ...], subtasks: int) -> None:
        self.log.append((self.now_s, (job, vertices, subtasks)))


def played(place: Place, decisions: list[tuple[float, Decision]], new: int = 0) -> Asked:
    asked = Asked()
    relief = ScaleOut(
        cast(Cluster, asked), "j", 3, new, ELSEWHERE[place], clock=lambda: asked.now_s
    )
    for asked.now_s, decision in decisions:
        relief.apply(decision)
    return asked


def test_here_it_acts_at_the_first_overload_and_once() -> None:
    asked = played("here", [(100, CALM), (101, OVERLOADED), (102, OVERLOADED)], new=2)
    assert asked.log == [
        (101, "TaskManager of 1"),
        (101, "TaskManager of 1"),
        (101, ("j", ("tokenizer",), 3)),
    ]


@pytest.mark.parametrize("place", ["reactive", "operator", "managed"])
def test_elsewhere_it_acts_as_late_as_detection_node_and_outage_take_there(place: Place) -> None:
    delay_s = ELSEWHERE[place].total_s
    asked = played(place, [(100.0 + k, OVERLOADED) for k in range(1000)])
    ((at_s, _),) = asked.log
    assert at_s - 100 == pytest.approx(delay_s, abs=1.0)
    assert delay_s > 30, "no autoscaler elsewhere is done within a short burst"


def test_an_overload_that_ends_before_is_not_scaled_for() -> None:
    burst = [(100.0 + k, OVERLOADED) for k in range(20)]
    again = [(125.0 + k, OVERLOADED) for k in range(60)]
    assert played("reactive", [*burst, (124, CALM), *again[:60]]).log == []
