"""Calls in flight: batches on their way to Lambda and back."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace

from flink_job.clock import now_ms
from flink_job.offload.batch import Batch, Call, Passage, Results
from flink_job.offload.client import Answer, CallFailed, LambdaClient
from flink_job.offload.flatmap import Flatmap

# More calls than this at once bring one process no more throughput.
MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class Landed:
    """A call that is back, or was given up: its batches, and their results if it brought any."""

    call: Call
    batches: list[tuple[Batch, Passage]]
    results: list[Results] | None


@dataclass(frozen=True)
class _Flight:
    lane: int
    call: Call
    id: str
    batches: list[tuple[Batch, Passage]]
    answer: Future[Answer]
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
        self._number = 0
        # Nobody else's calls, and no earlier attempt's, have the same ids.
        self._id_prefix = secrets.token_hex(4)
        self._flights: dict[int, dict[int, _Flight]] = {}
        self._overdue: dict[int, _Flight] = {}
        self._lost: list[_Flight] = []
        self._told_ns = 0

    def spent_ns(self) -> int:
        """CPU time that other threads have spent on calls since this was last asked."""
        spent_ns = self._client.cpu_ns
        since_ns, self._told_ns = spent_ns - self._told_ns, spent_ns
        return since_ns

    def in_flight(self) -> int:
        """Calls that have not come back, overdue ones included."""
        flights = [f for lane in self._flights.values() for f in lane.values()]
        flights += (*self._overdue.values(), *self._lost)
        return sum(not flight.answer.done() for flight in flights)

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
        tail = call.number % self._tail_every == 0
        answer = self._client.start(self._function, event, tail=tail)
        flight = _Flight(lane, call, id, batches, answer, time.monotonic())
        self._flights.setdefault(lane, {})[call.number] = flight

    def landed(self, lane: int) -> list[Landed]:
        """Take out what came back, failed, or is overdue on `lane` since the last time."""
        flights = self._flights.get(lane, {})
        overdue_since_s = time.monotonic() - self._timeout_s
        landed = []
        for number, flight in list(flights.items()):
            if flight.answer.done():
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
        ended = [number for number, f in self._overdue.items() if f.answer.done()]
        return [self._late(self._overdue.pop(number)) for number in ended]

    def never_came(self, lane: int) -> list[Call]:
        """Take out the calls given up on `lane` that have not ended, as they are known now."""
        numbers = [number for number, f in self._overdue.items() if f.lane == lane]
        lost = [self._overdue.pop(number) for number in numbers]
        self._lost += lost
        return [replace(flight.call, outcome="late") for flight in lost]

    def close(self) -> None:
        """Hang up; calls on their way end by themselves."""
        self._client.close()

    def _end(self, flight: _Flight) -> Results | None:
        """Complete the call of a flight that has ended; its results if it brought any."""
        call = flight.call
        try:
            answer = flight.answer.result()
            call.wall_ms, call.report = answer.wall_ms, answer.report
            results = self._flatmap.results(answer.value, flight.id)
            if len(results) != call.records:
                raise ValueError(f"{len(results)} entries for {call.records}")
        except CallFailed as failed:
            call.outcome, call.failure, call.report = "failed", failed.kind, failed.report
            call.wall_ms = failed.wall_ms
        except Exception as error:
            # Any answer at all must end as a failed call with a reason, never in the operator.
            call.outcome, call.failure = "failed", f"WrongAnswer: {error}"
        else:
            return results
        return None

    def _land(self, flight: _Flight) -> Landed:
        call, all_ = flight.call, self._end(flight)
        if all_ is None:
            for _, passage in flight.batches:
                passage.failure = call.failure
            return Landed(call, flight.batches, None)
        results, start = [], 0
        for batch, passage in flight.batches:
            results.append(all_[start : start + batch.size])
            start += batch.size
            passage.answered(call.sent_at_ms + (call.wall_ms or 0.0), call.report)
        return Landed(call, flight.batches, results)

    def _give_up(self, flight: _Flight) -> Landed:
        if flight.answer.done():
            return self._land(flight)
        self._overdue[flight.call.number] = flight
        for _, passage in flight.batches:
            passage.failure = "late"
        return Landed(replace(flight.call, outcome="late"), flight.batches, None)

    def _late(self, flight: _Flight) -> Call:
        self._end(flight)
        return replace(flight.call, outcome="late")
