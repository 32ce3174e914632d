"""The offloading operators under whatever can happen to them, in thousands of seeded scenarios:
crashes, restores, changes of parallelism, decisions that change, calls that answer, fail, come
late, come never, or bring nonsense. Whatever happens, every batch comes out once, whole and right.

Only Flink, AWS and time are replaced; see `tests/flink_contract.py`.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from flink_job.load.source import OFFLOADED
from flink_job.offload import operators
from flink_job.offload.batch import Batch
from flink_job.offload.client import Answer, CallFailed, Report
from flink_job.offload.control import Directive
from flink_job.offload.operators import (
    TO_FLATMAP,
    Caller,
    OffloadingFlatmap,
    OrderingFlatmap,
    PlainFlatmap,
    Share,
)
from flink_job.offload.settings import Offloading
from flink_job.offload.task import Cancelled
from flink_job.tokenizer import Due, Tokenize
from tests.flink_contract import NOTHING, Clock, Later, Subtask, TaskThread, Vertex
from tests.proofs import proof

pytestmark = pytest.mark.beside

SCENARIOS = 2000
CHUNKS = 10  # of which every test run tries the first two

# One call of an operator: how long it may take beside its work, and how much work it may do before
# it lets a checkpoint through (0.2 s and a batch before its own, of 0.4 s at most here). Seconds.
LONGEST_WAIT_S = 1.0
LONGEST_WORK_S = 1.1
LONGEST_DEAF_S = 0.5
LONGEST_CALL_S = 60.0


@dataclass
class Weather:
    """What one scenario is like, drawn from its seed."""

    seed: int
    randomness: random.Random = field(init=False)

    def __post_init__(self) -> None:
        draw = self.randomness = random.Random(self.seed)
        self.method = draw.choice(["none", *["operator"] * 4, *["source"] * 4])
        self.ordered = self.method != "none" and draw.random() < 0.5
        self.lanes = draw.choice([1, 2, 2, 3, 4])
        self.batches = draw.choice([3, 10, 30, 80])
        self.record_s = draw.choice([1e-5, 1e-3, 0.02, 0.1])
        self.call_timeout_s = draw.choice([0.05, 0.3, 3.0])
        self.most_bytes = draw.choice([6_291_456, 6_291_456, 1030])
        self.tail_every = draw.choice([1, 3])
        self.crash = draw.choice([0.0, 0.003, 0.01])
        self.checkpoint = draw.choice([0.01, 0.05])
        self.change()
        self.shares = draw.choice([[1.0], [0.0, 1.0], [0.0, 0.3, 0.7, 1.0]])
        self.in_flights = draw.choice([[1], [8], [0, 1, 4, 64]])
        self.together = draw.choice([[1], [4], [1, 2, 16]])

    def change(self) -> None:
        """How the function fares from now on."""
        draw = self.randomness
        self.healthy = draw.choice([0.0, 0.5, 0.9, 1.0])
        self.never = draw.choice([0.0, 0.0, 0.1, 1.0])
        self.slowest_s = draw.choice([0.01, 0.1, 0.5, 1.0])

    def directive(self, number: int) -> Directive:
        draw = self.randomness.choice
        return Directive(
            number, draw(self.shares), draw(self.in_flights), batches_per_call=draw(self.together)
        )

    def delay_s(self) -> float | None:
        if self.randomness.random() < self.never:
            return None
        return self.randomness.uniform(0, self.slowest_s)

    def report(self) -> Report:
        def some() -> float | None:
            return self.randomness.choice([None, 0.0, self.randomness.uniform(0, 2000)])

        return Report(duration_ms=some(), init_ms=some(), bring_up_ms=some(), network_ms=some())


class Closing:
    """What is to be closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Function(Closing):
    """The client, and the function behind it, in all weathers."""

    cpu_ns = 0

    def __init__(self, weather: Weather, clock: Clock) -> None:
        self._weather = weather
        self._clock = clock
        self.later = Later(clock, weather.delay_s)
        self._flatmap = tokenize()
        self._last: dict[str, Any] = {"tokens": [], "id": "none yet"}

    def start(self, function: str, event: bytes, *, tail: bool) -> Future[Answer]:
        began_s = self._clock.now_s
        return self.later.start(lambda: self._invoke(event, began_s))

    def _invoke(self, event: bytes, began_s: float) -> Answer:
        wall_ms = (self._clock.now_s - began_s) * 1000
        weather = self._weather
        draw = weather.randomness
        asked = json.loads(event)
        assert len(event) <= weather.most_bytes, "larger than an event may be"
        right = {"tokens": self._flatmap.work(asked["sentences"]), "id": asked["id"]}
        other, self._last = self._last, right
        if draw.random() < weather.healthy:
            return Answer(right, wall_ms, weather.report())
        if draw.random() < 0.5:
            kind = draw.choice(
                [
                    *("TooManyRequestsException", "InvalidBatch", "ReadTimeoutError"),
                    *("Function.ResponseSizeTooLarge", "RequestEntityTooLargeException"),
                ]
            )
            raise CallFailed(kind, "no luck", weather.report(), wall_ms)
        return Answer(self._wrong(right, other), wall_ms, weather.report())

    def _wrong(self, right: dict[str, Any], other: dict[str, Any]) -> Any:
        tokens = right["tokens"]
        no_lists: list[Any] = [None, {}, "a", 0, tokens[1:], [*tokens, "a"]]
        no_strings: list[Any] = [None, 7, ["a"], {}, "a\nb"]
        return self._weather.randomness.choice(
            [
                *(None, [], {}, "tokens", 7, float("nan"), True, tokens),
                *({**right, "tokens": wrong} for wrong in no_lists),
                *({**right, "tokens": [wrong, *tokens[1:]]} for wrong in no_strings),
                *(other, {**other, "tokens": other["tokens"][:1] * len(tokens)}),
            ]
        )


class Work(Tokenize):
    """Tokenizing that takes the time that the scenario says."""

    clock = Clock()
    record_s = 0.0
    worked_s = 0.0

    def work(self, records: list[str]) -> list[str]:
        seconds = Work.record_s * len(records)
        Work.worked_s += seconds
        Work.clock.advance(seconds)
        return super().work(records)


def tokenize() -> Tokenize:
    flatmap = Tokenize("words")
    flatmap.open()
    return flatmap


class Scenario:
    """One job from its beginning to its end, however often it starts again meanwhile."""

    def __init__(self, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weather = weather
        self.draw = weather.randomness
        self.clock = Work.clock = Clock()
        self.clock.install(monkeypatch)
        Work.record_s, Work.worked_s = weather.record_s, 0.0
        self.thread = TaskThread(monkeypatch)
        self.directive = weather.directive(0)
        scenario = self

        class Control(Closing):
            directive = property(lambda self: scenario.directive)

        def opened(one: Closing) -> Closing:
            self.opened.append(one)
            return one

        monkeypatch.setattr(operators, "Control", lambda *a, **k: opened(Control()))
        monkeypatch.setattr(operators, "LambdaClient", lambda *a, **k: opened(self._function()))
        self.functions: list[Function] = []
        self.batches = [self._batch(number) for number in range(weather.batches)]
        self.ends = [Batch(weather.batches + lane, 0, b"") for lane in range(weather.lanes)]
        self.share = Share()
        self._build()

    def _batch(self, number: int) -> Batch:
        count = 1 + number % 4
        sentences = [f"B{number} s{k} " + "x" * (number % 7) for k in range(count)]
        return Batch(number, count, orjson.dumps(sentences), Due(number, 0.0, 0.0, 0.0))

    def _function(self) -> Function:
        self.functions.append(Function(self.weather, self.clock))
        return self.functions[-1]

    def _build(self) -> None:
        """As `flink_job.job.build` wires them."""
        weather, flatmap = self.weather, Work("words")
        offloading = Offloading(
            "function",
            call_timeout_ms=weather.call_timeout_s * 1000,
            most_bytes=weather.most_bytes,
            tail_every=weather.tail_every,
        )
        lanes, ordered = weather.lanes, weather.ordered
        operators_ = {}
        if weather.method == "none":
            operators_["flatmap"] = PlainFlatmap(flatmap)
        elif weather.method == "operator":
            operators_["flatmap"] = OffloadingFlatmap(
                flatmap, offloading, lanes=lanes, ordered=ordered
            )
        else:
            operators_["caller"] = Caller(flatmap, offloading, ordered=ordered)
            operators_["flatmap"] = (
                OrderingFlatmap(flatmap, lanes=lanes) if ordered else PlainFlatmap(flatmap)
            )
        self.vertices = {
            name: Vertex(pickle.dumps(operator), lanes) for name, operator in operators_.items()
        }

    # ---------------------------------------------------------------- running

    def run(self) -> None:
        self.committed: list[str] = []
        self.checkpoint: Any = (0, dict.fromkeys(self.vertices, NOTHING))
        self.restarts = 0
        while not self._attempt():
            self.restarts += 1

    def _attempt(self) -> bool:
        """From the last checkpoint to the end, or to a failure."""
        self.thread.is_interrupted = False
        self.pending: list[str] = []
        self.opened: list[Closing] = []
        self.position, snapshots = self.checkpoint
        for name, vertex in self.vertices.items():
            vertex.start(self.draw.randint(1, self.weather.lanes), snapshots[name])
        weather = self.weather
        crash = weather.crash if self.restarts < 20 else 0.0
        try:
            while self.position < len(self.batches) + len(self.ends) or self._has_elements():
                if self.draw.random() < crash:
                    raise _Crash
                if self.draw.random() < crash:
                    self._cancel_soon()
                if self.draw.random() < weather.checkpoint:
                    self._drain()
                    self._complete()
                if self.draw.random() < 0.1:
                    self.directive = weather.directive(self.directive.number + 1)
                if self.draw.random() < 0.02:
                    weather.change()
                self._step()
            if self.draw.random() < crash:
                raise _Crash
        except (_Crash, Cancelled):
            for subtask in self._subtasks():
                if hasattr(subtask.operator, "close") and self.draw.random() < 0.5:
                    subtask.operator.close()
            return False
        self._complete()
        for subtask in self._subtasks():
            subtask.operator.close()
        assert all(one.is_closed for one in self.opened), "somebody has not hung up"
        return True

    def _cancel_soon(self) -> None:
        """A task that is cancelled in mid-element hears of it soon."""
        restarts = self.restarts

        def interrupt() -> None:
            if self.restarts == restarts:
                self.thread.is_interrupted = True
                self.interrupted_s = self.clock.now_s

        self.clock.at(self.clock.now_s + self.draw.uniform(0, 0.2), interrupt)

    def _step(self) -> None:
        """Whatever may happen next."""
        kind = self.draw.random()
        if kind < 0.3:
            self.clock.advance(self.draw.choice([0.0005, 0.005, 0.05]))
        elif kind < 0.6:
            self._fire()
        elif kind < 0.8 and self.position < len(self.batches) + len(self.ends):
            self._emit_source()
        else:
            self._deliver()

    def _emit_source(self) -> None:
        by_source = self.weather.method == "source"
        index = self.position
        self.position += 1
        if index >= len(self.batches):
            end = self.ends[index - len(self.batches)]
            self._send("caller" if by_source else "flatmap", end)
            return
        batch = self.batches[index]
        if by_source and self.share.is_owed(self.directive.share):
            self.share.pay()
            self._send("caller", batch)
        else:
            self._send("flatmap", batch)

    def _send(self, vertex: str, batch: Batch) -> None:
        to = self.vertices[vertex]
        if to.subtasks[0].is_keyed:
            index = to.owner(batch.number % self.weather.lanes)
        else:
            index = self.draw.randrange(len(to.subtasks))
        to.inbox[index].append(batch)

    def _deliver(self) -> bool:
        """Let one subtask have its next element."""
        waiting = [
            (vertex, index)
            for vertex in self.vertices.values()
            for index, inbox in enumerate(vertex.inbox)
            if inbox
        ]
        if not waiting:
            return False
        vertex, index = self.draw.choice(waiting)
        subtask = vertex.subtasks[index]
        batch = vertex.inbox[index].popleft()
        self._bounded(subtask.process(batch.number % self.weather.lanes, batch), batch)
        return True

    def _fire(self) -> None:
        """Let a timer fire. (None does once input has ended.)"""
        due = [(subtask, timer) for subtask in self._subtasks() for timer in subtask.due()]
        if due:
            subtask, timer = self.draw.choice(due)
            self._bounded(subtask.fire(timer), None)

    def _has_elements(self) -> bool:
        return any(inbox for vertex in self.vertices.values() for inbox in vertex.inbox)

    def _bounded(self, outputs: Iterator[Any], batch: Batch | None) -> None:
        """Take an operator's outputs, or crash amidst them; the call is as short as it must be."""
        started_s, worked_s = self.clock.now_s, Work.worked_s
        crash = self.weather.crash if self.restarts < 20 else 0.0
        self.clock.end_s = started_s + LONGEST_CALL_S
        try:
            for output in outputs:
                if isinstance(output, tuple) and output[0] is not OFFLOADED:
                    assert output[0] == TO_FLATMAP
                    self._send("flatmap", pickle.loads(pickle.dumps(output[1])))
                else:
                    assert isinstance(output, str)
                    self.pending.append(output)
                if self.draw.random() < crash / 4:
                    raise _Crash
        finally:
            self.clock.end_s = math.inf
            now_s, work_s = self.clock.now_s, Work.worked_s - worked_s
            assert now_s - started_s - work_s <= LONGEST_WAIT_S, "waited too long"
            if batch is None or not batch.is_end:
                assert work_s <= LONGEST_WORK_S, "worked too long"
            if self.thread.is_interrupted:
                since_s = max(self.interrupted_s, started_s)
                assert now_s - since_s <= LONGEST_DEAF_S, "did not notice that it is cancelled"
        if self.thread.is_interrupted:
            raise _Crash

    def _drain(self) -> None:
        while self._deliver():
            pass

    def _complete(self) -> None:
        """A checkpoint, and with it all output until here."""
        self.checkpoint = pickle.loads(
            pickle.dumps((self.position, {name: v.snapshot() for name, v in self.vertices.items()}))
        )
        self.committed += self.pending
        self.pending = []

    def _subtasks(self) -> list[Subtask]:
        return [subtask for vertex in self.vertices.values() for subtask in vertex.subtasks]

    # ---------------------------------------------------------------- what must hold

    def check(self) -> None:
        came = [read(line) for line in self.committed]
        self._check_batches([line for line in came if line["kind"] == "batch"])
        for subtask in self._subtasks():
            self._check_subtask(subtask)
        for function in self.functions:
            assert function.later.most_busy <= max(self.weather.in_flights), (
                "too many calls at once"
            )

    def _check_batches(self, came: list[dict[str, Any]]) -> None:
        numbers = Counter(line["number"] for line in came)
        assert numbers == Counter(batch.number for batch in self.batches)
        flatmap = tokenize()
        for line in came:
            batch = self.batches[line["number"]]
            assert line["results"] == flatmap.work(flatmap.records(batch.payload))
            check_passage(line)
        if self.weather.ordered:
            for lane in range(self.weather.lanes):
                mine = [x["number"] for x in came if x["number"] % self.weather.lanes == lane]
                assert mine == sorted(mine), "out of order"

    def _check_subtask(self, subtask: Subtask) -> None:
        """At the end nothing is left, and everything has been counted."""
        for held in subtask.state.values():
            assert not held.get("unfinished"), "still unfinished"
        counters = subtask.counters
        assert all(value >= 0 for value in counters.values()), counters
        lines = [read(output) for output in subtask.out if isinstance(output, str)]
        given = [batch for batch in subtask.given if not batch.is_end]
        told = [line for line in lines if line["kind"] == "call"]
        assert counters["calls"] == len({line["number"] for line in told}) == len(told)
        outcomes = Counter(line["outcome"] for line in told)
        throttled = sum(line["failure"] == "TooManyRequestsException" for line in told)
        assert counters["lateCalls"] == outcomes["late"]
        assert counters["failedCalls"] + counters["throttledCalls"] == outcomes["failed"]
        assert counters["throttledCalls"] <= throttled
        lost = sum(line["wall_ms"] is None for line in told)
        assert counters["callsInFlight"] <= lost
        answered = sum(line["records"] for line in told if line["outcome"] == "answered")
        assert counters["calledRecords"] == answered
        if isinstance(subtask.operator, Caller):
            assert counters["records"] == answered
        else:
            taken = sum(batch.size for batch in given if batch.answer is None)
            assert counters["records"] == taken
        if not isinstance(subtask.operator, Caller | OrderingFlatmap):
            out = sum(line["count"] for line in lines if line["kind"] == "batch")
            assert counters["localRecords"] + counters["calledRecords"] == out


def read(line: str) -> dict[str, Any]:
    """A line of output, as the sink reads it."""
    if line.startswith("\x1d"):
        return dict(json.loads(line[1:]))
    header, *results = line.split("\n")
    return {**json.loads(header), "results": results}


PARTS = ("shipping_ms", "network_ms", "placement_ms", "bring_up_ms", "computing_ms")


def check_passage(line: dict[str, Any]) -> None:
    parts = [line[part] for part in PARTS if line[part] is not None]
    assert min(parts) >= 0, line
    assert line["taken_at_ms"] - 1e-3 <= line["sent_at_ms"] <= line["returned_at_ms"], line
    assert line["returned_at_ms"] - line["sent_at_ms"] == pytest.approx(sum(parts), abs=1e-3)
    assert line["way"] in ("local", "offloaded", "fallback")
    assert (line["way"] == "fallback") <= (line["failure"] is not None)
    assert line["way"] != "offloaded" or (line["failure"] is None and line["call"])


class _Crash(Exception):
    """The job fails here."""


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.parametrize("chunk", [0, 1, *proof(*range(2, CHUNKS))])
def test_whatever_happens_every_batch_comes_out_once_and_right(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(chunk, SCENARIOS, CHUNKS):
        with monkeypatch.context() as patch:
            scenario = Scenario(Weather(seed), patch)
            try:
                scenario.run()
                scenario.check()
            except BaseException as error:
                error.add_note(f"scenario {seed}: {vars(scenario.weather)}")
                raise


def test_the_end_reaches_what_a_restored_flatmap_has_not_caught_up_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is done a while at a time, by timer, and no timer fires once input has ended: the caller
    must hand the end on."""
    weather = Weather(0)
    weather.method, weather.ordered, weather.lanes, weather.batches = "source", True, 1, 10
    weather.record_s, weather.crash = 0.1, 0.0
    scenario = Scenario(weather, monkeypatch)
    scenario.restarts, scenario.pending, scenario.opened = 0, [], []
    caller, flatmap = scenario.vertices["caller"], scenario.vertices["flatmap"]
    caller.start(1, NOTHING)
    flatmap.start(1, NOTHING)
    first, *later = scenario.batches
    for batch in later:
        assert not list(flatmap.subtasks[0].process(0, batch)), "out before the first"

    flatmap.start(1, flatmap.snapshot())
    scenario._send("flatmap", first)
    scenario._send("caller", scenario.ends[0])
    scenario._drain()

    numbers = [read(line)["number"] for line in scenario.pending]
    assert numbers == [batch.number for batch in scenario.batches]
