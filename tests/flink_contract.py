"""What Flink promises its operators, in miniature and in one thread, so that a test can take
thousands of turns that a cluster takes once in a blue moon.

State and timers belong to a key, and move with it to another subtask when the job is rescaled.
Timers fire only while input has not ended. A checkpoint falls between two elements: here after all
channels are drained, which for whoever restores it is the same as an aligned one. After a failure
the job starts again from the last checkpoint, the source included. Output counts once a checkpoint
has completed, or when the job has ended.
"""

from __future__ import annotations

import heapq
import math
import pickle
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from pyflink.datastream import KeyedProcessFunction

from flink_job.offload import task


class Clock:
    """Time that passes only when somebody sleeps, works, or says so. Seconds.

    Attributes:
        end_s: time does not pass beyond it: who waits for longer waits for ever.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.end_s = math.inf
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have everybody in this process go by it."""
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.advance)

    def at(self, moment_s: float, event: Callable[[], None]) -> None:
        """Have `event` happen at `moment_s`, or at once when that has passed."""
        heapq.heappush(self._events, (moment_s, next(self._order), event))

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what happens meanwhile."""
        until_s = self.now_s + seconds
        assert until_s <= self.end_s, "waits without an end"
        while self._events and self._events[0][0] <= until_s:
            moment_s, _, event = heapq.heappop(self._events)
            self.now_s = max(self.now_s, moment_s)
            event()
        self.now_s = max(self.now_s, until_s)


class Later:
    """What is asked of it happens `delay_s()` later, in one go; never, if that is None.

    Attributes:
        most_busy: how much was on its way at once, at most.
    """

    def __init__(self, clock: Clock, delay_s: Callable[[], float | None]) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._futures: list[Future[Any]] = []
        self.most_busy = 0

    def start(self, work: Callable[[], Any]) -> Future[Any]:
        """The future of what comes of `work`."""
        future: Future[Any] = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self._futures = [other for other in self._futures if not other.done()] + [future]
        self.most_busy = max(self.most_busy, len(self._futures))
        delay_s = self._delay_s()
        if delay_s is not None:
            self._clock.at(self._clock.now_s + delay_s, do)
        return future


class TaskThread:
    """The Java thread that Flink interrupts to cancel a task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_interrupted = False
        thread = SimpleNamespace(isInterrupted=lambda: self.is_interrupted)
        monkeypatch.setattr(
            task, "_java_thread", lambda: SimpleNamespace(currentThread=lambda: thread)
        )


class _Value:
    """A value state and a map state in one, of whichever key is current. What goes in is pickled,
    as Flink serializes it: what happens to an object afterwards does not change the state."""

    def __init__(self, subtask: Subtask, name: str) -> None:
        self._subtask, self._name = subtask, name

    def _held(self) -> dict[Any, bytes]:
        return self._subtask.state[self._subtask.key].setdefault(self._name, {})

    def put(self, key: Any, value: Any) -> None:
        self._held()[key] = pickle.dumps(value)

    def remove(self, key: Any) -> None:
        self._held().pop(key, None)

    def values(self) -> list[Any]:
        return [pickle.loads(value) for value in self._held().values()]

    def value(self) -> Any:
        return next(iter(self.values()), None)

    def update(self, value: Any) -> None:
        self.put(None, value)


class Subtask:
    """One instance of an operator. It plays its own runtime context, context and timer service.

    Attributes:
        state: by key, by name of the state.
        counters: by Flink's name.
        given, out: elements processed and what came out, since it was opened.
    """

    def __init__(self, operator: bytes, index: int) -> None:
        self.index = index
        self.key: Any = None
        self.state: dict[Any, dict[str, dict[Any, bytes]]] = defaultdict(dict)
        self.timers: set[tuple[int, Any]] = set()
        self.counters: Counter[str] = Counter()
        self.given: list[Any] = []
        self.out: list[Any] = []
        self.operator = pickle.loads(operator)
        self.is_keyed = isinstance(self.operator, KeyedProcessFunction)
        task_info = SimpleNamespace(getIndexOfThisSubtask=lambda: index)
        self._runtime_context = SimpleNamespace(getTaskInfo=lambda: task_info)

    def get_metrics_group(self) -> Any:
        def counter(name: str) -> Any:
            def inc(n: int = 1) -> None:
                self.counters[name] += n

            return SimpleNamespace(inc=inc)

        return SimpleNamespace(counter=counter)

    def get_map_state(self, descriptor: Any) -> _Value:
        return _Value(self, descriptor.name)

    get_state = get_map_state

    def get_current_key(self) -> Any:
        return self.key

    def timer_service(self) -> Subtask:
        return self

    def current_processing_time(self) -> int:
        return int(time.monotonic() * 1000)

    def register_processing_time_timer(self, timestamp: int) -> None:
        self.timers.add((timestamp, self.key))

    def due(self) -> list[tuple[int, Any]]:
        """The timers that are to fire."""
        return sorted(timer for timer in self.timers if timer[0] <= self.current_processing_time())

    def process(self, key: Any, element: Any) -> Iterator[Any]:
        self.key = key
        self.given.append(element)
        return self._run(self.operator.process_element(element, self))

    def fire(self, timer: tuple[int, Any]) -> Iterator[Any]:
        self.timers.discard(timer)
        self.key = timer[1]
        return self._run(self.operator.on_timer(timer[0], self))

    def _run(self, outputs: Iterator[Any] | None) -> Iterator[Any]:
        for output in outputs or ():
            self.out.append(output)
            yield output


@dataclass
class Vertex:
    """An operator in so many subtasks, and where an element goes among them."""

    operator: bytes
    keys: int
    subtasks: list[Subtask] = field(default_factory=list)
    inbox: list[deque[Any]] = field(default_factory=list)

    def owner(self, key: int) -> int:
        """The subtask of a key: each has a range of the keys."""
        return key * len(self.subtasks) // self.keys

    def start(self, parallelism: int, snapshot: Snapshot) -> None:
        """New subtasks, with what a checkpoint held."""
        self.subtasks = [Subtask(self.operator, index) for index in range(parallelism)]
        self.inbox = [deque() for _ in range(parallelism)]
        state, timers = pickle.loads(snapshot)
        for key, held in state.items():
            self.subtasks[self.owner(key)].state[key] = held
        for timer in timers:
            self.subtasks[self.owner(timer[1])].timers.add(timer)
        for subtask in self.subtasks:
            subtask.operator.open(subtask)

    def snapshot(self) -> Snapshot:
        state = {key: held for s in self.subtasks for key, held in s.state.items()}
        return pickle.dumps((state, [timer for s in self.subtasks for timer in s.timers]))


Snapshot = bytes
NOTHING: Snapshot = pickle.dumps(({}, []))
