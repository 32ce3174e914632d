"""Calls in flight: batches on their way to Lambda and back."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from flink_job.clock import now_ms
from flink_job.offload.batch import Batch, Call, Passage, Results
from flink_job.offload.client import CallFailed, LambdaClient
from flink_job.offload.flatmap import Flatmap

# More calls than this from one process would only queue on its interpreter lock.
MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class Landed:
    """A call that is back, or was given up: its batches, and their results if it brought any."""

    call: Call
    batches: list[tuple[Batch, Passage]]
    results: list[Results] | None


@dataclass(frozen=True)
class _Return:
    """What a thread that called has to say."""

    results: Results | None
    returned_at_ms: float
    cpu_ns: int


@dataclass
class _Flight:
    lane: int
    call: Call
    batches: list[tuple[Batch, Passage]]
    returned: Future[_Return]
    left_s: float


class Calls:
    """Sends batches to one function, in parallel, never waiting for an answer itself.

    A call that fails or takes longer than `timeout_ms` lands without results. Its late answer is
    dropped when it comes, but the call counts as in flight until then: an endpoint that hangs must
    not collect calls without end.

    Args:
        flatmap: makes events of batches, and results of answers.
        tail_every: of so many calls, one asks for the log tail.
    """

    def __init__(
        self,
        client: LambdaClient,
        function: str,
        flatmap: Flatmap,
        *,
        subtask: int,
        timeout_ms: float,
        tail_every: int,
    ) -> None:
        self._client = client
        self._function = function
        self._flatmap = flatmap
        self._subtask = subtask
        self._timeout_s = timeout_ms / 1000
        self._tail_every = tail_every
        self._threads = ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="invoke")
        self._number = 0
        # Nobody else's calls, and no earlier attempt's, have the same ids.
        self._id_prefix = secrets.token_hex(4)
        self._flights: dict[int, dict[int, _Flight]] = {}
        self._overdue: dict[int, _Flight] = {}
        self._lost: list[_Flight] = []
        self.cpu_ns = 0

    def in_flight(self) -> int:
        """Calls that have not come back, overdue ones included."""
        flights = [f for lane in self._flights.values() for f in lane.values()]
        flights += (*self._overdue.values(), *self._lost)
        return sum(not flight.returned.done() for flight in flights)

    def has_flights(self, lane: int) -> bool:
        """Whether batches of `lane` are in flight, or back and not collected."""
        return bool(self._flights.get(lane))

    def send(self, lane: int, batches: list[tuple[Batch, Passage]]) -> None:
        """Put `batches` in flight, in one call."""
        self._number += 1
        call = Call(
            number=self._number,
            subtask=self._subtask,
            batches=len(batches),
            records=sum(batch.size for batch, _ in batches),
            sent_at_ms=now_ms(),
        )
        for _, passage in batches:
            passage.call, passage.sent_at_ms = call.number, call.sent_at_ms
        id = f"{self._id_prefix}-{call.number}"
        event = self._flatmap.event([batch.payload for batch, _ in batches], id)
        returned = self._threads.submit(self._invoke, call, id, event)
        flight = _Flight(lane, call, batches, returned, time.monotonic())
        self._flights.setdefault(lane, {})[call.number] = flight

    def landed(self, lane: int) -> list[Landed]:
        """Take out what came back, failed, or is overdue on `lane` since the last time."""
        flights = self._flights.get(lane, {})
        overdue_since_s = time.monotonic() - self._timeout_s
        landed = []
        for number, flight in list(flights.items()):
            if flight.returned.done():
                landed.append(self._land(flight))
            elif flight.left_s < overdue_since_s:
                landed.append(self._give_up(flight))
            else:
                continue
            del flights[number]
        return landed

    def give_up(self, lane: int) -> list[Landed]:
        """Take out all that is still in flight on `lane`."""
        return [self._give_up(flight) for flight in self._flights.pop(lane, {}).values()]

    def came_late(self) -> list[Call]:
        """Take out the calls given up that have ended by now, with what is known of them."""
        ended = [number for number, f in self._overdue.items() if f.returned.done()]
        return [self._late(self._overdue.pop(number)) for number in ended]

    def never_came(self, lane: int) -> list[Call]:
        """Take out the calls given up on `lane` that have not ended, as they are known now."""
        numbers = [number for number, f in self._overdue.items() if f.lane == lane]
        lost = [self._overdue.pop(number) for number in numbers]
        self._lost += lost
        return [_known(flight.call) for flight in lost]

    def close(self) -> None:
        """Drop what has not been sent yet and hang up; calls on their way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _invoke(self, call: Call, id: str, event: bytes) -> _Return:
        cpu_ns = time.thread_time_ns()
        results = None
        try:
            answer = self._client.invoke(
                self._function, event, tail=call.number % self._tail_every == 0
            )
            call.report = answer.report
            results = self._flatmap.results(answer.value, id)
            if len(results) != call.records:
                raise ValueError(f"{len(results)} entries for {call.records}")
        except CallFailed as failed:
            call.outcome, call.failure, call.report = "failed", failed.kind, failed.report
            results = None
        except Exception as error:
            # Any answer at all must end as a failed call with a reason, never in the operator.
            call.outcome, call.failure = "failed", f"WrongAnswer: {error}"
            results = None
        return_ms = now_ms()
        call.wall_ms = return_ms - call.sent_at_ms
        return _Return(results, return_ms, time.thread_time_ns() - cpu_ns)

    def _land(self, flight: _Flight) -> Landed:
        returned = flight.returned.result()
        self.cpu_ns += returned.cpu_ns
        call = flight.call
        if returned.results is None:
            for _, passage in flight.batches:
                passage.failure = call.failure
            return Landed(call, flight.batches, None)
        results, start = [], 0
        for batch, passage in flight.batches:
            results.append(returned.results[start : start + batch.size])
            start += batch.size
            passage.answered(returned.returned_at_ms, call.report)
        return Landed(call, flight.batches, results)

    def _give_up(self, flight: _Flight) -> Landed:
        if flight.returned.done():
            return self._land(flight)
        self._overdue[flight.call.number] = flight
        for _, passage in flight.batches:
            passage.failure = "late"
        return Landed(_known(flight.call), flight.batches, None)

    def _late(self, flight: _Flight) -> Call:
        self.cpu_ns += flight.returned.result().cpu_ns
        flight.call.outcome = "late"
        return flight.call


def _known(call: Call) -> Call:
    """What is known of a late call now: the thread that called writes into its call until it
    ends."""
    return Call(**{**vars(call), "outcome": "late"})
