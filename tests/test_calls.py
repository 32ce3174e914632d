"""Calls in flight: whose answer is it?"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from flink_job.offload.batch import Batch, Passage
from flink_job.offload.calls import Calls, Landed
from flink_job.offload.client import Answer, Report
from flink_job.tokenizer import Tokenize


class Function:
    """Answers right, but for what `answer` makes of (the right answer, the one before it)."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._before: dict[str, Any] = {"tokens": ["x"], "id": "another"}
        self.events: list[dict[str, Any]] = []
        self._threads = ThreadPoolExecutor(1)
        self.cpu_ns = 0

    def start(self, function: str, event: bytes, *, tail: bool) -> Future[Answer]:
        return self._threads.submit(self._invoke, event)

    def _invoke(self, event: bytes) -> Answer:
        started_s = time.monotonic()
        asked = json.loads(event)
        self.events.append(asked)
        right = {"tokens": [x.lower() for x in asked["sentences"]], "id": asked["id"]}
        answer, self._before = self._answer(right, self._before), right
        return Answer(answer, (time.monotonic() - started_s) * 1000, Report())

    def close(self) -> None:
        """Nothing is open."""


def calls_of(client: Any, timeout_ms: float = 5000) -> Calls:
    flatmap = Tokenize("words")
    flatmap.open()
    return Calls(client, "f", flatmap, subtask=0, timeout_ms=timeout_ms, tail_every=1)


def call(client: Any, *sentences: str) -> list[Landed]:
    """What comes of a call for each of these sentences, one after the other."""
    calls = calls_of(client)
    landed: list[Landed] = []
    for number, sentence in enumerate(sentences):
        batch = Batch(number, 1, orjson.dumps([sentence]))
        calls.send(0, [(batch, Passage("local", 0, taken_at_ms=0.0))])
        while calls.has_flights(0):
            landed += calls.landed(0)
            time.sleep(0.001)
    calls.close()
    return landed


def test_each_call_has_an_id_of_its_own_whoever_makes_it() -> None:
    client = Function(lambda right, before: right)
    landed = [*call(client, "A", "B"), *call(client, "A", "B")]
    assert [x.results for x in landed] == [[["a"]], [["b"]]] * 2
    assert len({event["id"] for event in client.events}) == 4


@pytest.mark.parametrize(
    "answer",
    [
        lambda right, before: before,
        lambda right, before: {**right, "id": None},
        lambda right, before: {**right, "id": [right["id"]]},
        lambda right, before: {**right, "id": right["id"] + "0"},
    ],
    ids=["another's", "null", "a list", "a longer id"],
)
def test_an_answer_to_another_event_is_a_failed_call(answer: Any) -> None:
    for landed in call(Function(answer), "A", "B"):
        assert landed.results is None
        assert landed.call.outcome == "failed"
        assert landed.call.failure == "WrongAnswer: the answer is to another event"


def test_a_function_that_knows_no_id_is_to_be_built_anew() -> None:
    (landed,) = call(Function(lambda right, before: {"tokens": right["tokens"]}), "A")
    assert landed.results is None
    assert landed.call.failure == (
        "WrongAnswer: the answer has no id: build or deploy the function anew"
    )


def test_a_call_that_takes_too_long_lands_without_results_and_counts_until_it_ends() -> None:
    answers = threading.Event()

    def late(right: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
        answers.wait(10)
        return right

    calls = calls_of(Function(late), timeout_ms=50)
    calls.send(0, [(Batch(0, 1, orjson.dumps(["A"])), Passage("local", 0, taken_at_ms=0.0))])
    assert calls.landed(0) == []
    time.sleep(0.06)
    (landed,) = calls.landed(0)
    assert (landed.results, landed.call.outcome) == (None, "late")
    assert landed.batches[0][1].failure == "late"
    assert not calls.has_flights(0)
    assert (calls.in_flight(), calls.came_late()) == (1, [])
    answers.set()
    while not (ended := calls.came_late()):
        time.sleep(0.001)
    assert (ended[0].outcome, calls.in_flight()) == ("late", 0)
    assert ended[0].wall_ms is not None and ended[0].wall_ms >= 50
    calls.close()
