"""The source: open loop. Every sentence has a moment at which it is due, whether or not the job
gets round to it, so that back-pressure cannot hide the lateness that it causes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import orjson
from pyflink.common import Types
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from flink_job import clock, home
from flink_job.load.shapes import PlannedBatch, batches, parse
from flink_job.load.workloads import workload
from flink_job.offload.batch import Batch
from flink_job.offload.control import Control
from flink_job.offload.operators import Output, Share
from flink_job.offload.task import check_cancelled, subtask_index
from flink_job.settings import JobSettings
from flink_job.tokenizer import Due

VERTEX = "source"

# Batches that the source sends to the caller instead of to the flatmap.
OFFLOADED = OutputTag("offloaded", Types.PICKLED_BYTE_ARRAY())

# The source waits so long at most before it lets checkpoints through.
_TICK_S = 0.25
# So often before the start: a start signal that takes longer will not come.
_TICKS_TO_START = 480
_NAP_S = 0.02


class NotStarted(Exception):
    """Nobody gave the signal to start."""


@dataclass(frozen=True)
class _Step:
    """What one number of the sequence stands for: a batch, or just a moment to wait for."""

    at_s: float
    number: int = -1
    batch: PlannedBatch | None = None


def plan(settings: JobSettings) -> list[PlannedBatch]:
    """All batches of the schedule."""
    return batches(
        parse(settings.shape), settings.length_s, settings.batch_size, settings.linger_ms
    )


def last_number(settings: JobSettings) -> int:
    """The last number of the sequence, which counts from 0."""
    steps = len(_steps(plan(settings)))
    return _TICKS_TO_START + steps + settings.max_parallelism - 1


def _steps(planned: list[PlannedBatch]) -> list[_Step]:
    """The batches, and moments in between where they are far apart."""
    steps = []
    closings = [0.0, *(batch.closes_s for batch in planned)]
    for number, (before_s, closes_s) in enumerate(pairwise(closings)):
        pauses = int((closes_s - before_s) / _TICK_S)
        steps += [_Step(before_s + (k + 1) * _TICK_S) for k in range(pauses)]
        steps.append(_Step(closes_s, number, planned[number]))
    return steps


class PacedSource(ProcessFunction):  # type: ignore[misc]
    """Turns the numbers of a sequence into batches, each not before the batch closes.

    The first numbers are for waiting until the schedule starts; those beyond the last batch become
    end markers. Running behind, it sends at once. The controller says in the directive's `job` when
    the schedule starts (`start_at_s`, of the clock) and where it is cut short (`until_s`, its own).
    With method "source" the directed share goes to the caller, as a side output.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        home.mend()
        clock.adopt(settings.clock)
        planned = plan(settings)
        self._steps = _steps(planned)
        self._batches = len(planned)
        self._workload = workload(settings.workload, settings.seed, settings.words_per_sentence)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")
        self._control = Control(
            settings.control, settings.secret, VERTEX, subtask_index(runtime_context)
        )
        self._share = Share()

    def close(self) -> None:
        self._control.close()

    def process_element(self, number: int, ctx: ProcessFunction.Context) -> Iterator[Output]:
        if number < _TICKS_TO_START:
            self._wait_for_start(_TICK_S)
            return
        start_s = self._wait_for_start(_TICK_S)
        if start_s is None:
            raise NotStarted(f"no start signal within {_TICKS_TO_START * _TICK_S:.0f} s")
        number -= _TICKS_TO_START
        by_source = self._settings.method == "source"
        if number >= len(self._steps):
            lane = number - len(self._steps)
            end = Batch(self._batches + lane, 0, b"")
            yield (OFFLOADED, end) if by_source else end
            return
        step = self._steps[number]
        if step.at_s > self._until_s():
            return
        planned = step.batch
        # Made before the wait: making sentences must not make them late.
        sentences = planned and self._workload.sentences(planned.first, planned.count)
        payload = orjson.dumps(sentences)
        _sleep_until(start_s + step.at_s)
        if planned is None:
            return
        self._sentences.inc(planned.count)
        due = Due(
            planned.first,
            (start_s + planned.due_first_s) * 1000,
            (start_s + planned.due_last_s) * 1000,
            (start_s + planned.closes_s) * 1000,
        )
        batch = Batch(step.number, planned.count, payload, due)
        if by_source and self._share.is_owed(self._control.directive.share):
            self._share.pay()
            yield OFFLOADED, batch
        else:
            yield batch

    def _until_s(self) -> float:
        """Where the schedule is cut short, in its own seconds."""
        return float(self._control.directive.job.get("until_s", math.inf))

    def _wait_for_start(self, at_most_s: float) -> float | None:
        """The start in seconds of the clock; None while it is not known."""
        give_up_s = time.monotonic() + at_most_s
        while (start_s := self._control.directive.job.get("start_at_s")) is None:
            if time.monotonic() > give_up_s:
                return None
            check_cancelled()
            time.sleep(_NAP_S)
        return float(start_s)


def _sleep_until(at_s: float) -> None:
    """Until a moment of the clock, in naps, so that cancelling comes through."""
    while (left_s := at_s - clock.now_s()) > 0:
        check_cancelled()
        time.sleep(min(left_s, _NAP_S))
