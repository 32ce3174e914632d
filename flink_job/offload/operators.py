"""The operators that offload: both methods, and what they share.

What is in flight is keyed state, the key being the batch's lane: a restored checkpoint does it
again. Each batch is emitted once, by whichever of Lambda and the local fall-back is first.

Nothing here waits without a bound, and whatever waits or works notices that the job is cancelled.
Work that is not done in the call that brought it waits in one queue a lane, oldest first; looking
for answers never works, so nothing calls itself.
"""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, ProcessFunction, RuntimeContext

from flink_job.clock import now_ms
from flink_job.offload.batch import Batch, Passage, Results
from flink_job.offload.calls import MOST_IN_FLIGHT, Calls, Landed
from flink_job.offload.client import LambdaClient
from flink_job.offload.control import Control, Directive
from flink_job.offload.counters import Counters
from flink_job.offload.flatmap import Flatmap
from flink_job.offload.order import AtOnce, InOrder, Outlet, Unfinished
from flink_job.offload.settings import Offloading
from flink_job.offload.task import check_cancelled, subtask_index

FLATMAP, CALLER = "tokenizer", "caller"

# What the caller hands on to the flatmap.
TO_FLATMAP = OutputTag("to the flatmap", Types.PICKLED_BYTE_ARRAY())

# How often an operator looks for answers: while it waits for something else, and by timer when no
# input comes. What an answer waits here is part of "sending downstream".
_LOOK_S = 0.002
_TIMER_MS = 20
# Work is done in slices, with a look at the answers in between: they must not wait for a batch.
_SLICE_S = 0.004
# Python hands its lock over so often: the threads that call must not wait for a slice of work.
_SWITCH_S = 0.0005
# Of batches that wait to be done here, one call of the operator does one, or more until this time
# has passed: checkpoints and cancelling come through in between.
_WORK_S = 0.2
# What could not be offloaded in time is not made up for with a flood of calls.
_MOST_OWED = 2.0
# Batches that wait for company before they are sent wait so long at most.
_COMPANY_S = 0.02
# How long the end of a lane waits for answers before it does the rest here.
_END_S = 0.8
# What an event may have besides the payloads.
_EVENT_BYTES = 1000
_TOO_LARGE = "too large for a call"

# A record downstream, or (tag, batch).
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


class Worker:
    """Does the work here, slice by slice."""

    def __init__(self, flatmap: Flatmap, counters: Counters) -> None:
        self._flatmap = flatmap
        self._counters = counters
        self._record_s = _SLICE_S / 10

    def expected_s(self, batch: Batch) -> float:
        """How long `batch` would take, going by the last one, in seconds."""
        return batch.size * self._record_s

    def work(
        self, batch: Batch, passage: Passage, between: Callable[[], Iterable[Output]] = tuple
    ) -> Generator[Output, None, Results]:
        """The results of `batch`, whose `passage` ends with it. What follows is sending them on.

        Args:
            between: what else is to be done, after each slice.

        Raises:
            Cancelled: the job is being cancelled meanwhile.
        """
        self._counters.spend("work")
        results: Results = []
        worked_s, started_s = 0.0, time.perf_counter()
        records = iter(self._flatmap.records(batch.payload))
        while some := list(islice(records, max(1, int(_SLICE_S / self._record_s)))):
            results += self._flatmap.work(some)
            slice_s = time.perf_counter() - started_s
            worked_s += slice_s
            self._record_s = max(slice_s / len(some), 1e-7)
            check_cancelled()
            yield from between()
            started_s = time.perf_counter()
        _close(passage, worked_s)
        self._counters.spend("local")
        return results


def _local(batch: Batch, subtask: int) -> Passage:
    """The passage of a batch that an operator has just taken up."""
    way = "fallback" if batch.failure else "local"
    return Passage(way, subtask, taken_at_ms=now_ms(), failure=batch.failure)


def _close(passage: Passage, worked_s: float) -> None:
    """The batch has been done here now."""
    passage.returned_at_ms = now_ms()
    passage.computing_ms = min(worked_s * 1000, passage.returned_at_ms - passage.taken_at_ms)
    passage.sent_at_ms = passage.returned_at_ms - passage.computing_ms


class PlainFlatmap(ProcessFunction):  # type: ignore[misc]
    """The flatmap of a job that offloads nothing."""

    def __init__(self, flatmap: Flatmap) -> None:
        self._flatmap = flatmap

    def open(self, runtime_context: RuntimeContext) -> None:
        self._flatmap.open()
        self._subtask = subtask_index(runtime_context)
        self._counters = Counters(runtime_context)
        self._worker = Worker(self._flatmap, self._counters)

    def process_element(self, batch: Batch, ctx: ProcessFunction.Context) -> Iterator[Output]:
        if batch.is_end:
            return
        self._counters.records.inc(batch.size)
        passage = _local(batch, self._subtask)
        results = yield from self._worker.work(batch, passage)
        yield from self._flatmap.emit(batch, passage, results)
        self._counters.local_records.inc(batch.size)
        self._counters.settle(0, 0)


class _Offloading(KeyedProcessFunction):  # type: ignore[misc]
    """Sends batches, emits what comes back, and stays out of the way meanwhile."""

    def __init__(self, flatmap: Flatmap, settings: Offloading, vertex: str) -> None:
        self._flatmap = flatmap
        self._settings = settings
        self._vertex = vertex

    def open(self, runtime_context: RuntimeContext) -> None:
        sys.setswitchinterval(_SWITCH_S)
        settings = self._settings
        self._flatmap.open()
        self._subtask = subtask_index(runtime_context)
        self._counters = Counters(runtime_context)
        self._unfinished = Unfinished(runtime_context)
        client = LambdaClient(
            settings.endpoint_url,
            settings.region,
            # Longer than a call may take, so that what a late one cost is still told.
            timeout_s=4 * settings.call_timeout_ms / 1000,
            connections=MOST_IN_FLIGHT,
        )
        self._calls = Calls(
            client,
            settings.function,
            self._flatmap,
            subtask=self._subtask,
            timeout_ms=settings.call_timeout_ms,
            tail_every=settings.tail_every,
        )
        self._control = Control(
            settings.control,
            settings.secret,
            self._vertex,
            self._subtask,
            Directive(share=settings.share, in_flight=settings.in_flight)
            if settings.control is None
            else None,
        )
        self._most_bytes = settings.most_bytes
        self._timers: set[int] = set()
        # By lane: what is to be placed, what is to be sent together and since when, and what is to
        # be done here.
        self._to_place: dict[int, deque[Batch]] = {}
        self._together: dict[int, list[tuple[Batch, Passage]]] = {}
        self._together_since_s: dict[int, float] = {}
        self._waiting: dict[int, deque[tuple[Batch, Passage]]] = {}
        self._answers_come = True

    def close(self) -> None:
        self._control.close()
        self._calls.close()

    def process_element(self, batch: Batch, ctx: KeyedProcessFunction.Context) -> Iterator[Output]:
        lane = ctx.get_current_key()
        self._counters.spend("calls")
        yield from self._look(lane)
        if batch.is_end:
            yield from self._finish(lane, batch)
        else:
            self._take(batch)
            yield from self._place_some(lane, batch)
            yield from self._work(lane, _WORK_S)
            self._look_again_later(lane, ctx)
        self._settle()

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterator[Output]:
        lane = ctx.get_current_key()
        self._timers.discard(lane)
        self._counters.spend("calls")
        yield from self._look(lane)
        yield from self._place_some(lane)
        yield from self._work(lane, _WORK_S)
        self._look_again_later(lane, ctx)
        self._settle()

    def _take(self, batch: Batch) -> None:
        """Count a batch that comes for the first time."""

    @abstractmethod
    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        """Send `batch`, or do something else with it. Works on nothing, and waits briefly."""

    @abstractmethod
    def _answered(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Output]:
        """Pass on a batch whose answer has come."""

    @abstractmethod
    def _do(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        """Deal with a batch that is to be done here."""

    def _backlog(self, lane: int) -> deque[Batch]:
        """What is to be placed: at first what a restored checkpoint held."""
        if lane not in self._to_place:
            self._to_place[lane] = deque(self._unfinished.restored())
        return self._to_place[lane]

    def _place_some(self, lane: int, *new: Batch) -> Iterator[Output]:
        """Place what is to be placed, oldest first, for a while: what was once sent over minutes
        is not sent again at once, nor waited for in one go."""
        backlog = self._backlog(lane)
        backlog.extend(new)
        enough_s = time.monotonic() + _WORK_S
        while backlog:
            yield from self._place(lane, backlog.popleft())
            if time.monotonic() > enough_s:
                break
        for batch in backlog:
            self._unfinished.put(batch)

    def _look(self, lane: int) -> Iterator[Output]:
        """Emit what has come back on `lane`, queue what came back without an answer, and send what
        has waited long enough."""
        for landed in self._calls.landed(lane):
            yield from self._land(lane, landed)
        for call in self._calls.came_late():
            yield from self._flatmap.emit_call(call)
        since_s = self._together_since_s.get(lane)
        if since_s is None or (waited_s := time.monotonic() - since_s) < _COMPANY_S:
            return
        if self._is_free():
            self._send(lane)
        elif waited_s > self._settings.patience_ms / 1000:
            for batch, passage in self._part(lane):
                self._wait(lane, batch, passage)

    def _land(self, lane: int, landed: Landed) -> Iterator[Output]:
        call = landed.call
        self._counters.ended(call)
        if call.outcome != "late":
            yield from self._flatmap.emit_call(call)
        if call.failure in ("Function.ResponseSizeTooLarge", "RequestEntityTooLargeException"):
            sent = sum(len(batch.payload) for batch, _ in landed.batches)
            self._most_bytes = min(self._most_bytes, int(sent * 0.9))
        if landed.results is None:
            for batch, passage in landed.batches:
                passage.way = "fallback"
                self._wait(lane, batch, passage)
            return
        self._answers_come = True
        self._counters.called_records.inc(call.records)
        for (batch, passage), results in zip(landed.batches, landed.results, strict=True):
            yield from self._answered(batch, passage, results)

    def _wait(self, lane: int, batch: Batch, passage: Passage) -> None:
        """Have `batch`, which the state knows, done here when its turn comes."""
        self._waiting.setdefault(lane, deque()).append((batch, passage))

    def _work(self, lane: int, seconds: float) -> Iterator[Output]:
        """Do what waits to be done here: one batch, and more until `seconds` have passed."""
        waiting = self._waiting.get(lane)
        enough_s = time.monotonic() + seconds
        while waiting:
            yield from self._do(lane, *waiting.popleft())
            if time.monotonic() > enough_s:
                break
        for batch, _ in waiting or ():
            self._unfinished.put(batch)

    def _is_free(self) -> bool:
        return self._calls.in_flight() < self._control.directive.in_flight

    def _is_full(self, lane: int) -> bool:
        """Whether as many batches as one call may take are to be sent together."""
        return len(self._together.get(lane, ())) >= self._control.directive.batches_per_call

    def _may_join(self, lane: int, batch: Batch) -> bool:
        """Whether `batch` fits in with those that are to be sent together."""
        size = sum(len(one.payload) for one, _ in self._together.get(lane, ()))
        return not self._is_full(lane) and self._fits(size + len(batch.payload))

    def _room(self, lane: int, batch: Batch, patience_s: float) -> Generator[Output, None, bool]:
        """Wait for a free call, or for room in the next one, and say whether there is any.

        Pointless while environments are brought up: after a wait in vain there is no other before
        an answer has come.
        """
        began_s = time.monotonic()
        slept_s = 0.0
        found = True
        while not self._is_free():
            if self._together.get(lane) and self._may_join(lane, batch):
                break
            if not self._answers_come or time.monotonic() > began_s + patience_s:
                found = self._answers_come = False
                break
            check_cancelled()
            before_s = time.monotonic()
            time.sleep(_LOOK_S)
            slept_s += time.monotonic() - before_s
            yield from self._look(lane)
        if slept_s:
            self._counters.waited(slept_s)
        return found

    def _offload(self, lane: int, batch: Batch) -> None:
        """Send `batch`, or let it wait for company."""
        if not self._may_join(lane, batch):
            self._send(lane)
        self._unfinished.put(batch)
        self._together.setdefault(lane, []).append((batch, _local(batch, self._subtask)))
        self._together_since_s.setdefault(lane, time.monotonic())
        if self._is_full(lane) and self._is_free():
            self._send(lane)

    def _send(self, lane: int) -> None:
        together = self._part(lane)
        if together:
            self._calls.send(lane, together)
            self._counters.sent()

    def _part(self, lane: int) -> list[tuple[Batch, Passage]]:
        """Take out what waits for company."""
        self._together_since_s.pop(lane, None)
        return self._together.pop(lane, [])

    def _fits(self, size: int) -> bool:
        """Whether payloads of `size` bytes fit into a call, with what the event has besides."""
        return size + _EVENT_BYTES < self._most_bytes

    def _finish(self, lane: int, end: Batch) -> Iterator[Output]:
        """The lane has ended, and timers do not fire any more: wait a little for what is in
        flight, and do the rest here."""
        backlog = self._backlog(lane)
        while backlog:
            batch = backlog.popleft()
            self._wait(lane, batch, _local(batch, self._subtask))
        if self._is_free():
            self._send(lane)
        for batch, passage in self._part(lane):
            self._wait(lane, batch, passage)
        give_up_s = time.monotonic() + _END_S
        while self._calls.has_flights(lane) and time.monotonic() < give_up_s:
            check_cancelled()
            time.sleep(_LOOK_S)
            yield from self._look(lane)
        for landed in self._calls.give_up(lane):
            yield from self._land(lane, landed)
        yield from self._work(lane, float("inf"))
        for call in (*self._calls.came_late(), *self._calls.never_came(lane)):
            yield from self._flatmap.emit_call(call)

    def _look_again_later(self, lane: int, ctx: KeyedProcessFunction.Context) -> None:
        busy = self._calls.has_flights(lane) or any(
            batches.get(lane) for batches in (self._to_place, self._together, self._waiting)
        )
        if busy and lane not in self._timers:
            self._timers.add(lane)
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + _TIMER_MS)

    def _settle(self) -> None:
        self._counters.settle(self._calls.in_flight(), self._calls.spent_ns())


class OffloadingFlatmap(_Offloading):
    """Method "operator": the flatmap sends the directed share of its input, beside its own work.

    Args:
        lanes: the most subtasks that it may ever have.
        ordered: batches of a lane go downstream in source order.
    """

    def __init__(
        self, flatmap: Flatmap, settings: Offloading, *, lanes: int = 1, ordered: bool = False
    ) -> None:
        super().__init__(flatmap, settings, FLATMAP)
        self._lanes = lanes
        self._ordered = ordered

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._worker = Worker(self._flatmap, self._counters)
        self._share = Share()
        self._outlet: Outlet = (
            InOrder(self._flatmap, self._unfinished, runtime_context, self._lanes)
            if self._ordered
            else AtOnce(self._flatmap, self._unfinished)
        )

    def _take(self, batch: Batch) -> None:
        self._counters.records.inc(batch.size)

    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        share = self._control.directive.share
        failure = None
        if self._share.is_owed(share):
            if not self._fits(len(batch.payload)):
                failure = _TOO_LARGE
            elif (yield from self._room(lane, batch, self._patience_s(batch, share))):
                self._share.pay()
                self._offload(lane, batch)
                return
        passage = Passage("local", self._subtask, taken_at_ms=now_ms(), failure=failure)
        self._wait(lane, batch, passage)

    def _patience_s(self, batch: Batch, share: float) -> float:
        """A free call is worth waiting for as long as the batch would take here."""
        most_s = self._settings.patience_ms / 1000
        return most_s if share == 1.0 else min(most_s, self._worker.expected_s(batch))

    def _answered(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Output]:
        yield from self._outlet.done(batch, passage, results)

    def _do(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        """Do the work here, and let answers through while it takes its time."""

        def answers() -> Iterator[Output]:
            if self._calls.has_flights(lane):
                self._counters.spend("calls")
                yield from self._look(lane)
                self._counters.spend("work")

        results = yield from self._worker.work(batch, passage, answers)
        yield from self._outlet.done(batch, passage, results)
        self._counters.local_records.inc(batch.size)
        self._counters.spend("calls")


class Caller(_Offloading):
    """Method "source": sends all that the source gives it, before the flatmap has seen it.

    What finds no free call, or comes back without an answer, goes on to the flatmap. If order is to
    be kept, so do the answers: there they find their place among what was done locally.
    """

    def __init__(self, flatmap: Flatmap, settings: Offloading, *, ordered: bool = False) -> None:
        super().__init__(flatmap, settings, CALLER)
        self._ordered = ordered

    def _place(self, lane: int, batch: Batch) -> Iterator[Output]:
        patience_s = min(0.1, self._settings.patience_ms / 1000)
        if not self._fits(len(batch.payload)):
            batch = batch._replace(failure=_TOO_LARGE)
        elif (yield from self._room(lane, batch, patience_s)):
            self._offload(lane, batch)
            return
        yield TO_FLATMAP, batch
        self._unfinished.remove(batch)  # where a restored checkpoint brought it

    def _finish(self, lane: int, end: Batch) -> Iterator[Output]:
        yield from super()._finish(lane, end)
        if self._ordered:
            yield TO_FLATMAP, end

    def _answered(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Output]:
        self._counters.records.inc(batch.size)
        if self._ordered:
            yield TO_FLATMAP, batch._replace(answer=(passage, results))
        else:
            yield from self._flatmap.emit(batch, passage, results)
        self._unfinished.remove(batch)

    def _do(self, lane: int, batch: Batch, passage: Passage) -> Iterator[Output]:
        yield TO_FLATMAP, batch._replace(failure=passage.failure)
        self._unfinished.remove(batch)


class OrderingFlatmap(KeyedProcessFunction):  # type: ignore[misc]
    """The flatmap behind a caller when order is to be kept: does what has no answer yet, and lets
    everything go on in source order."""

    def __init__(self, flatmap: Flatmap, *, lanes: int) -> None:
        self._flatmap = flatmap
        self._lanes = lanes

    def open(self, runtime_context: RuntimeContext) -> None:
        self._flatmap.open()
        self._subtask = subtask_index(runtime_context)
        self._counters = Counters(runtime_context)
        self._worker = Worker(self._flatmap, self._counters)
        self._unfinished = Unfinished(runtime_context)
        self._outlet = InOrder(self._flatmap, self._unfinished, runtime_context, self._lanes)
        self._restored: dict[int, deque[Batch]] = {}

    def process_element(self, batch: Batch, ctx: KeyedProcessFunction.Context) -> Iterator[Output]:
        lane = ctx.get_current_key()
        yield from self._catch_up(lane, ctx)
        if batch.is_end:
            while self._restored[lane]:
                yield from self._do(self._restored[lane].popleft())
            return
        if batch.answer is None:
            self._counters.records.inc(batch.size)
        yield from self._do(batch)

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterator[Output]:
        yield from self._catch_up(ctx.get_current_key(), ctx)

    def _catch_up(self, lane: int, ctx: KeyedProcessFunction.Context) -> Iterator[Output]:
        """After a restart: do what the state says was held, a while at a time."""
        if lane not in self._restored:
            self._restored[lane] = deque(self._unfinished.restored())
        restored = self._restored[lane]
        enough_s = time.monotonic() + _WORK_S
        while restored and time.monotonic() < enough_s:
            yield from self._do(restored.popleft())
        if restored:
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + _TIMER_MS)

    def _do(self, batch: Batch) -> Iterator[Output]:
        if batch.answer is not None:
            yield from self._outlet.done(batch, *batch.answer)
            return
        passage = _local(batch, self._subtask)
        results = yield from self._worker.work(batch, passage)
        yield from self._outlet.done(batch, passage, results)
        self._counters.local_records.inc(batch.size)
        self._counters.settle(0, 0)
