"""The flatmap: batches of sentences in, tokens out, one by one.

`Worker` tokenizes, as slowly as declared. `Tokenizer` is the operator that only does that;
`OffloadingTokenizer` also sends a share of its input to Lambda, in parallel with its own work.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, ProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from flink_job.batch import Batch, Passage
from flink_job.control import Control
from flink_job.lambda_client import LambdaClient
from flink_job.offload import MOST_IN_FLIGHT, Offloader
from flink_job.settings import JobSettings
from flink_job.subtask import subtask_index
from functions.python.tokenizer import tokenize

VERTEX = "tokenizer"

# How often the operator looks for answers: while it waits on its own work, and by timer when no
# input comes. What an answer waits here is part of "sending downstream".
_LOOK_S = 0.002
_TIMER_MS = 20
# What could not be offloaded in time is not made up for with a flood of calls.
_MOST_OWED = 2.0


def now_ms() -> float:
    """Epoch milliseconds."""
    return time.time() * 1000


class Worker:
    """The local tokenizer with its declared capacity: a pace in sentences/s that it cannot beat.

    The pace is kept over time and not per batch, so that sleeping too long once is made good.
    """

    def __init__(self, capacity_per_s: float | None, cost: int) -> None:
        self._capacity_per_s = capacity_per_s
        self._cost = cost
        self._free_at_s = 0.0
        self._seconds_per_sentence = 0.0

    def expected_s(self, sentences: list[str]) -> float:
        """How long `sentences` would take, going by the last batch, in seconds."""
        if self._capacity_per_s is not None:
            return len(sentences) / self._capacity_per_s
        return len(sentences) * self._seconds_per_sentence

    def tokenize(self, sentences: list[str]) -> list[list[str]]:
        """Tokenize now; the capacity is used up by waiting until `is_done`."""
        started_s = time.monotonic()
        for _ in range(self._cost - 1):
            for sentence in sentences:
                tokenize(sentence)
        tokens = [tokenize(sentence) for sentence in sentences]
        if self._capacity_per_s is not None:
            self._free_at_s = (
                max(self._free_at_s, started_s) + len(sentences) / self._capacity_per_s
            )
        return tokens

    def wait(self, at_most_s: float) -> bool:
        """Sleep until the work is done by the declared pace, but at most so long; say if it is."""
        left_s = self._free_at_s - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, at_most_s))
        return left_s <= at_most_s


def new_passage(batch: Batch, subtask: int) -> Passage:
    """The passage of a batch that the tokenizer has just taken up."""
    return Passage(
        number=batch.number,
        first=batch.first,
        count=len(batch.sentences),
        due_first_ms=batch.due_first_ms,
        due_last_ms=batch.due_last_ms,
        way="local",
        subtask=subtask,
        taken_at_ms=now_ms(),
    )


def emit(passage: Passage, tokens: list[list[str]]) -> Iterator[str]:
    """The tokens one by one, then the punctuation that closes the batch."""
    passage.token_counts = [len(sentence) for sentence in tokens]
    for sentence in tokens:
        yield from sentence
    yield passage.to_record()


class Tokenizer(ProcessFunction):  # type: ignore[misc]
    """The plain flatmap."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        self._worker = Worker(self._settings.capacity_per_s, self._settings.cost)
        self._subtask = subtask_index(runtime_context)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")

    def process_element(self, batch: Batch, ctx: ProcessFunction.Context) -> Iterator[str]:
        if batch.is_end:
            return
        self._sentences.inc(len(batch.sentences))
        passage = new_passage(batch, self._subtask)
        tokens = self._worker.tokenize(batch.sentences)
        while not self._worker.wait(1.0):
            pass
        passage.returned_at_ms = now_ms()
        passage.computing_ms = passage.returned_at_ms - passage.taken_at_ms
        yield from emit(passage, tokens)


class OffloadingTokenizer(KeyedProcessFunction):  # type: ignore[misc]
    """The flatmap that offloads the directed share of its input, keyed by lane.

    What is in flight is keyed state: a restored checkpoint sends it again. Each answer is emitted
    once, by whichever of Lambda and the local fall-back is first.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        self._worker = Worker(settings.capacity_per_s, settings.cost)
        self._subtask = subtask_index(runtime_context)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")
        self._state = runtime_context.get_map_state(
            MapStateDescriptor("in flight", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
        )
        assert settings.function is not None
        client = LambdaClient(settings.endpoint_url, settings.region, connections=MOST_IN_FLIGHT)
        self._offloader = Offloader(
            client, settings.function, settings.cost, settings.call_timeout_ms
        )
        self._control = Control(settings.control, VERTEX, self._subtask)
        self._owed = 0.0
        self._answers_come = True
        self._timers: set[int] = set()
        self._restored: set[int] = set()

    def close(self) -> None:
        self._control.close()
        self._offloader.close()

    def process_element(self, batch: Batch, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        lane = ctx.get_current_key()
        if lane not in self._restored:
            self._resend_restored(lane)
        yield from self._land(lane)
        if batch.is_end:
            # Timers do not fire any more once a bounded source has ended.
            while self._offloader.in_flight(lane):
                yield from self._land(lane)
                time.sleep(_LOOK_S)
            return
        self._sentences.inc(len(batch.sentences))
        if self._is_owed() and (yield from self._free_call(lane, batch)):
            self._owed -= 1.0
            self._state.put(batch.number, batch)
            self._offloader.send(lane, batch, new_passage(batch, self._subtask))
        else:
            yield from self._locally(lane, batch, new_passage(batch, self._subtask))
        self._look_again_later(lane, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        lane = ctx.get_current_key()
        self._timers.discard(lane)
        if lane not in self._restored:
            self._resend_restored(lane)
        yield from self._land(lane)
        self._look_again_later(lane, ctx)

    def _is_owed(self) -> bool:
        """Spread the share evenly over the batches: each adds to what is owed to Lambda."""
        share = self._control.directive.share
        self._owed = min(self._owed + share, _MOST_OWED) if share > 0 else 0.0
        return self._owed >= 1.0

    def _free_call(self, lane: int, batch: Batch) -> Generator[str, None, bool]:
        """Wait for one of the directed calls to be free, and say whether one is.

        Worth it for as long as the batch would take here, and pointless while environments are
        brought up: after a wait in vain there is no other before an answer has come.
        """
        give_up_s = time.monotonic() + self._worker.expected_s(batch.sentences)
        while self._offloader.in_flight() >= self._control.directive.in_flight:
            if not self._answers_come or time.monotonic() > give_up_s:
                self._answers_come = False
                return False
            time.sleep(_LOOK_S)
            yield from self._land(lane)
        return True

    def _locally(self, lane: int, batch: Batch, passage: Passage) -> Iterator[str]:
        """Do the work here, and let answers through while it takes its time."""
        tokens = self._worker.tokenize(batch.sentences)
        while not self._worker.wait(_LOOK_S):
            yield from self._land(lane)
        passage.returned_at_ms = now_ms()
        passage.computing_ms = passage.returned_at_ms - passage.taken_at_ms
        yield from emit(passage, tokens)

    def _land(self, lane: int) -> Iterator[str]:
        """Emit what has come back on `lane`, and do here what came back without an answer."""
        for landed in self._offloader.landed(lane):
            passage = landed.passage
            if landed.tokens is None:
                passage.way = "fallback"
                passage.taken_at_ms = now_ms()
                yield from self._locally(lane, landed.batch, passage)
            else:
                self._answers_come = True
                yield from emit(passage, landed.tokens)
            self._state.remove(landed.batch.number)

    def _resend_restored(self, lane: int) -> None:
        """After a restart: put in flight again what the state says is in flight."""
        self._restored.add(lane)
        for number, batch in list(self._state.items()):
            if not self._offloader.knows(lane, number):
                self._offloader.send(lane, batch, new_passage(batch, self._subtask))

    def _look_again_later(self, lane: int, ctx: KeyedProcessFunction.Context) -> None:
        if self._offloader.in_flight(lane) and lane not in self._timers:
            self._timers.add(lane)
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + _TIMER_MS)
