"""Asynchronous invocations: once accepted they are run, whatever synchronous callers do.

Source: the AWS Lambda developer guide, "How Lambda handles errors and retries with asynchronous
invocation": an event whose function fails is tried twice more, after one minute and after two; one
that finds no room goes back to the queue.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lambdas.local.environment import Invocation

if TYPE_CHECKING:
    from bench.lambdas.local.service import Pool, Result

RETRY_DELAYS_S = (60.0, 120.0)
_THROTTLED_DELAY_S = 1.0


class TooManyRequests(Exception):
    """There is no room for an invocation now."""


@dataclass(slots=True)
class _Event:
    pool: Pool
    invocation: Invocation
    failures: int = 0


class Events:
    """The queue of accepted events. What fails for the last time is told, not kept.

    Args:
        begin: takes room for an invocation at once, or raises TooManyRequests, and returns what is
            to be awaited.
        retry_delays_s: seconds before each further attempt.
        tell: is given a line for each event that is given up.
    """

    def __init__(
        self,
        begin: Callable[[Pool, Invocation], Coroutine[Any, Any, Result]],
        retry_delays_s: Sequence[float],
        tell: Callable[[str], object],
    ) -> None:
        self._begin = begin
        self._retry_delays_s = retry_delays_s
        self._tell = tell
        self._queue: deque[_Event] = deque()
        self._pending = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Events accepted that are neither done nor given up."""
        return self._pending

    def accept(self, pool: Pool, invocation: Invocation) -> None:
        self._pending += 1
        self._queue.append(_Event(pool, invocation))
        self.run()

    def run(self) -> None:
        """Begin as many as there is room for; to be called whenever there is more."""
        while self._queue:
            event = self._queue[0]
            try:
                running = self._begin(event.pool, event.invocation)
            except TooManyRequests:
                return
            self._queue.popleft()
            task = asyncio.create_task(self._follow(event, running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Drop what has not begun, and say how much that is."""
        if self._pending:
            self._tell(f"{self._pending} accepted events have not come to their end")
        self._queue.clear()

    async def _follow(self, event: _Event, running: Coroutine[Any, Any, Result]) -> None:
        try:
            result = await running
        except TooManyRequests:
            self._again(event, _THROTTLED_DELAY_S)
            return
        except Exception as error:  # whatever it is, the event is accounted for
            failure = repr(error)
        else:
            if result.outcome.status is None:
                self._pending -= 1
                return
            failure = _words(result.outcome.body)
        event.failures += 1
        if event.failures <= len(self._retry_delays_s):
            self._again(event, self._retry_delays_s[event.failures - 1])
            return
        self._pending -= 1
        self._tell(
            f"event {event.invocation.request_id} for {event.pool.function.name} given up after "
            f"{event.failures} attempts: {failure}"
        )

    def _again(self, event: _Event, delay_s: float) -> None:
        event.invocation = dataclasses.replace(event.invocation, began=None)
        asyncio.get_running_loop().call_later(delay_s, self._requeue, event)

    def _requeue(self, event: _Event) -> None:
        self._queue.append(event)
        self.run()


def _words(body: bytes) -> str:
    try:
        error = json.loads(body)
        return f"{error['errorType']}: {error['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
