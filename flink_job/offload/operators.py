"""The operators that offload: both methods, and what they share.

What is in flight is keyed state, the key being the batch's lane: a restored checkpoint sends it
again. Each answer is emitted once, by whichever of Lambda and the local fall-back is first.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator
from typing import Any

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext

from flink_job import tokenizer
from flink_job.batch import Batch, Passage, emit, new_passage, now_ms
from flink_job.offload.calls import MOST_IN_FLIGHT, Calls
from flink_job.offload.client import LambdaClient
from flink_job.offload.control import Control
from flink_job.offload.order import AtOnce, InOrder, Outlet, Tokens, unfinished
from flink_job.offload.subtask import subtask_index
from flink_job.settings import JobSettings
from flink_job.tokenizer import Worker, close

CALLER = "caller"

# What the caller hands on to the tokenizer.
TO_TOKENIZER = OutputTag("to the tokenizer", Types.PICKLED_BYTE_ARRAY())

# How often an operator looks for answers: while it waits for something else, and by timer when no
# input comes. What an answer waits here is part of "sending downstream".
_LOOK_S = 0.002
_TIMER_MS = 20
# What could not be offloaded in time is not made up for with a flood of calls.
_MOST_OWED = 2.0
# How long the caller lets a batch wait for a free call before it goes to the tokenizer.
_CALLER_PATIENCE_S = 0.1

# A record downstream, or (tag, batch) for the tokenizer.
Output = Any


class Share:
    """Spreads the directed share evenly over the batches: each adds to what is owed to Lambda."""

    def __init__(self) -> None:
        self._owed = 0.0

    def is_owed(self, share: float) -> bool:
        """Count one more batch, and say whether it is one to offload."""
        self._owed = min(self._owed + share, _MOST_OWED) if share > 0 else 0.0
        return self._owed >= 1.0

    def pay(self) -> None:
        """One batch has been offloaded."""
        self._owed -= 1.0


class _Offloading(KeyedProcessFunction):  # type: ignore[misc]
    """Sends batches, emits what comes back, and stays out of the way meanwhile."""

    def __init__(self, settings: JobSettings, vertex: str) -> None:
        self._settings = settings
        self._vertex = vertex

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        self._subtask = subtask_index(runtime_context)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")
        self._unfinished = unfinished(runtime_context)
        assert settings.function is not None
        client = LambdaClient(settings.endpoint_url, settings.region, connections=MOST_IN_FLIGHT)
        self._calls = Calls(client, settings.function, settings.operator, settings.call_timeout_ms)
        self._control = Control(settings.control, self._vertex, self._subtask)
        self._timers: set[int] = set()
        self._restored: set[int] = set()
        self._answers_come = True

    def close(self) -> None:
        self._control.close()
        self._calls.close()

    def process_element(self, batch: Batch, ctx: KeyedProcessFunction.Context) -> Iterator[Output]:
        lane = ctx.get_current_key()
        yield from self._look(lane)
        if batch.is_end:
            # Timers do not fire any more once a bounded source has ended.
            while self._calls.in_flight(lane):
                time.sleep(_LOOK_S)
                yield from self._look(lane)
            return
        yield from self._place(lane, batch)
        self._look_again_later(lane, ctx)

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterator[Output]:
        lane = ctx.get_current_key()
        self._timers.discard(lane)
        yield from self._look(lane)
        self._look_again_later(lane, ctx)

    @abstractmethod
    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        """Send `batch`, or do something else with it."""

    @abstractmethod
    def _answered(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[Output]:
        """Pass on a batch whose answer has come."""

    @abstractmethod
    def _unanswered(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        """Deal with a batch whose call brought no answer."""

    def _send(self, lane: int, batch: Batch) -> None:
        self._sentences.inc(len(batch.sentences))
        self._unfinished.put(batch.number, batch)
        self._calls.send(lane, batch, new_passage(batch, self._subtask))

    def _free_call(self, lane: int, patience_s: float) -> Generator[Output, None, bool]:
        """Wait for one of the directed calls to be free, and say whether one is.

        Pointless while environments are brought up: after a wait in vain there is no other before
        an answer has come.
        """
        give_up_s = time.monotonic() + patience_s
        while self._calls.in_flight() >= self._control.directive.in_flight:
            if not self._answers_come or time.monotonic() > give_up_s:
                self._answers_come = patience_s == math.inf
                return False
            time.sleep(_LOOK_S)
            yield from self._look(lane)
        return True

    def _look(self, lane: int) -> Iterator[Output]:
        """Emit what has come back on `lane`, and deal with what came back without an answer."""
        if lane not in self._restored:
            self._send_restored(lane)
        for landed in self._calls.landed(lane):
            if landed.tokens is None:
                yield from self._unanswered(lane, landed.batch, landed.passage)
            else:
                self._answers_come = True
                yield from self._answered(landed.batch, landed.passage, landed.tokens)

    def _send_restored(self, lane: int) -> None:
        """After a restart: put in flight again what the state says is in flight."""
        self._restored.add(lane)
        for batch in list(self._unfinished.values()):
            self._calls.send(lane, batch, new_passage(batch, self._subtask))

    def _look_again_later(self, lane: int, ctx: KeyedProcessFunction.Context) -> None:
        if self._calls.in_flight(lane) and lane not in self._timers:
            self._timers.add(lane)
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + _TIMER_MS)


class OffloadingTokenizer(_Offloading):
    """Method "operator": the flatmap sends the directed share of its input, beside its own work.

    With method "always" it sends everything, and waits for a free call as long as it takes.
    """

    def __init__(self, settings: JobSettings) -> None:
        super().__init__(settings, tokenizer.VERTEX)

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        settings = self._settings
        self._worker = Worker(self._settings.operator)
        self._share = Share()
        self._outlet: Outlet = (
            InOrder(runtime_context, self._unfinished, settings.max_parallelism)
            if settings.ordered
            else AtOnce(self._unfinished)
        )

    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        if self._share.is_owed(self._control.directive.share):
            # A free call is worth waiting for as long as the batch would take here.
            patience_s = self._worker.expected_s(batch.sentences)
            if self._settings.method == "always":
                patience_s = math.inf
            if (yield from self._free_call(lane, patience_s)):
                self._share.pay()
                self._send(lane, batch)
                return
        self._sentences.inc(len(batch.sentences))
        yield from self._locally(lane, batch, new_passage(batch, self._subtask))

    def _answered(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[Output]:
        yield from self._outlet.done(batch, passage, tokens)

    def _unanswered(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        passage.way = "fallback"
        passage.taken_at_ms = now_ms()
        yield from self._locally(lane, batch, passage)

    def _locally(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        """Do the work here."""
        tokens = self._worker.tokenize(batch.sentences)
        yield from self._outlet.done(batch, close(passage), tokens)


class Caller(_Offloading):
    """Method "source": sends all that the source gives it, before the tokenizer has seen it.

    What finds no free call, or comes back without an answer, goes on to the tokenizer. If order is
    to be kept, so do the answers: there they find their place among what was done locally.
    """

    def __init__(self, settings: JobSettings) -> None:
        super().__init__(settings, CALLER)

    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        if (yield from self._free_call(lane, _CALLER_PATIENCE_S)):
            self._send(lane, batch)
        else:
            yield TO_TOKENIZER, batch._replace(failure="no free call")

    def _answered(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[Output]:
        if self._settings.ordered:
            yield TO_TOKENIZER, batch._replace(answer=(passage, tokens))
        else:
            yield from emit(passage, tokens)
        self._unfinished.remove(batch.number)

    def _unanswered(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        yield TO_TOKENIZER, batch._replace(failure=passage.failure)
        self._unfinished.remove(batch.number)


class OrderingTokenizer(KeyedProcessFunction):  # type: ignore[misc]
    """The flatmap behind a caller when order is to be kept: does what has no answer yet, and lets
    everything go on in source order."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        self._worker = Worker(self._settings.operator)
        self._subtask = subtask_index(runtime_context)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")
        self._unfinished = unfinished(runtime_context)
        self._outlet = InOrder(runtime_context, self._unfinished, settings.max_parallelism)
        self._restored: set[int] = set()

    def process_element(self, batch: Batch, ctx: KeyedProcessFunction.Context) -> Iterator[Output]:
        lane = ctx.get_current_key()
        if lane not in self._restored:
            self._restored.add(lane)
            for one in list(self._unfinished.values()):
                yield from self._do(one)
        yield from self._do(batch)

    def _do(self, batch: Batch) -> Iterator[Output]:
        if batch.answer is not None:
            yield from self._outlet.done(batch, *batch.answer)
            return
        self._sentences.inc(len(batch.sentences))
        passage = new_passage(batch, self._subtask)
        tokens = self._worker.tokenize(batch.sentences)
        yield from self._outlet.done(batch, close(passage), tokens)
