"""Calls in flight: batches on their way to Lambda and back."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from flink_job.batch import Batch, Passage, now_ms
from flink_job.offload.client import Answer, CallFailed, LambdaClient
from functions.python.tokenizer import decode

# More calls than this from one process would only queue on its interpreter lock.
MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class Landed:
    """A batch that is back: its tokens, or None when it has to be tokenized locally."""

    batch: Batch
    passage: Passage
    tokens: list[list[str]] | None


@dataclass
class _Flight:
    batch: Batch
    passage: Passage
    answer: Future[tuple[Answer, float]]
    left_s: float


class Calls:
    """Sends batches to one function, in parallel, never waiting for an answer itself.

    A batch whose call fails or takes longer than `timeout_ms` lands without tokens. Its late
    answer is dropped when it comes, but the call counts as in flight until then: an endpoint that
    hangs must not collect calls without end.
    """

    def __init__(
        self, client: LambdaClient, function: str, operator: str, timeout_ms: float
    ) -> None:
        self._client = client
        self._function = function
        self._operator = operator
        self._timeout_s = timeout_ms / 1000
        self._calls = ThreadPoolExecutor(MOST_IN_FLIGHT, thread_name_prefix="invoke")
        self._lanes: dict[int, dict[int, _Flight]] = {}
        self._overdue: set[Future[tuple[Answer, float]]] = set()

    def in_flight(self, lane: int | None = None) -> int:
        """Batches of `lane` in flight; without a lane, all calls, overdue ones included."""
        if lane is not None:
            return len(self._lanes.get(lane, ()))
        self._overdue = {call for call in self._overdue if not call.done()}
        return sum(map(len, self._lanes.values())) + len(self._overdue)

    def send(self, lane: int, batch: Batch, passage: Passage) -> None:
        """Put `batch` in flight."""
        event: dict[str, object] = {"operator": self._operator, "sentences": batch.sentences}
        call = self._calls.submit(self._invoke, event)
        self._lanes.setdefault(lane, {})[batch.number] = _Flight(
            batch, passage, call, time.monotonic()
        )

    def _invoke(self, event: dict[str, object]) -> tuple[Answer, float]:
        return self._client.invoke(self._function, event), now_ms()

    def landed(self, lane: int) -> list[Landed]:
        """Take out what came back, failed, or is overdue on `lane` since the last time."""
        flights = self._lanes.get(lane, {})
        overdue_since = time.monotonic() - self._timeout_s
        landed = []
        for number, flight in list(flights.items()):
            if flight.answer.done():
                landed.append(_land(flight))
            elif flight.left_s < overdue_since:
                self._overdue.add(flight.answer)
                flight.passage.failure = "late"
                landed.append(Landed(flight.batch, flight.passage, None))
            else:
                continue
            del flights[number]
        return landed

    def close(self) -> None:
        """Drop what has not been sent yet; calls on their way end by their own time-out."""
        self._calls.shutdown(wait=False, cancel_futures=True)


def _land(flight: _Flight) -> Landed:
    batch, passage = flight.batch, flight.passage
    try:
        answer, returned_at_ms = flight.answer.result()
        tokens = [decode(entry) for entry in answer.value["tokens"]]
        compute_ms = answer.value["compute_ns"] / 1e6
        if len(tokens) != len(batch.sentences):
            raise CallFailed("WrongAnswer", f"{len(tokens)} entries for {len(batch.sentences)}")
    except CallFailed as failed:
        passage.failure = failed.kind
        return Landed(batch, passage, None)
    except (KeyError, TypeError) as error:
        passage.failure = f"WrongAnswer: {error!r}"
        return Landed(batch, passage, None)
    report = answer.report
    passage.way = "offloaded"
    passage.returned_at_ms = returned_at_ms
    # AWS tells the init duration; the local service also what came before it.
    passage.bring_up_ms = report.bring_up_ms or report.init_ms or 0.0
    passage.computing_ms = compute_ms if report.duration_ms is None else report.duration_ms
    passage.shipping_ms = answer.wall_ms - passage.bring_up_ms - passage.computing_ms
    passage.billed_ms = report.billed_ms
    passage.init_ms = report.init_ms
    passage.memory_mb = report.memory_mb
    return Landed(batch, passage, tokens)
