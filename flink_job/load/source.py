"""The source: open loop. Every sentence has a moment at which it is due, whether or not the job
gets round to it, so that back-pressure cannot hide the lateness that it causes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from flink_job.batch import Batch
from flink_job.load.shapes import PlannedBatch, batches, parse
from flink_job.load.workloads import workload
from flink_job.offload.control import Control
from flink_job.offload.operators import Output, Share
from flink_job.offload.subtask import subtask_index
from flink_job.settings import JobSettings

VERTEX = "source"

# Batches that the source sends to the caller instead of to the tokenizer.
OFFLOADED = OutputTag("offloaded", Types.PICKLED_BYTE_ARRAY())


def batch_count(settings: JobSettings) -> int:
    """How many batches the schedule has."""
    return len(_plan(settings))


def _plan(settings: JobSettings) -> list[PlannedBatch]:
    return batches(
        parse(settings.shape), settings.length_s, settings.batch_size, settings.linger_ms
    )


class PacedSource(ProcessFunction):  # type: ignore[misc]
    """Turns the n-th number of a sequence into the n-th batch, not before the batch closes.

    Numbers beyond the last batch become end markers. Running behind, it sends at once. With method
    "source" the directed share goes to the caller, as a side output.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        self._plan = _plan(self._settings)
        self._workload = workload(
            self._settings.workload, self._settings.seed, self._settings.words_per_sentence
        )
        self._sentences = runtime_context.get_metrics_group().counter("sentences")
        self._control = Control(self._settings.control, VERTEX, subtask_index(runtime_context))
        self._start_s: float | None = None
        self._share = Share()

    def close(self) -> None:
        self._control.close()

    def process_element(self, number: int, ctx: ProcessFunction.Context) -> Iterator[Output]:
        if self._start_s is None:
            self._start_s = self._control.wait_for_start()
        by_source = self._settings.method == "source"
        if number >= len(self._plan):
            end = Batch(number, 0, 0.0, 0.0, [])
            yield (OFFLOADED, end) if by_source else end
            return
        planned = self._plan[number]
        # Made before the wait: making sentences must not make them late.
        sentences = self._workload.sentences(planned.first, planned.count)
        time.sleep(max(0.0, self._start_s + planned.closes_s - time.time()))
        self._sentences.inc(planned.count)
        start_ms = self._start_s * 1000
        batch = Batch(
            number,
            planned.first,
            start_ms + planned.due_first_s * 1000,
            start_ms + planned.due_last_s * 1000,
            sentences,
        )
        if by_source and self._share.is_owed(self._control.directive.share):
            self._share.pay()
            yield OFFLOADED, batch
        else:
            yield batch
