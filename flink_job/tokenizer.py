"""The flatmap: batches of sentences in, tokens out, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyflink.datastream import ProcessFunction, RuntimeContext

from flink_job.batch import Batch, Passage, emit, new_passage, now_ms
from flink_job.offload.subtask import subtask_index
from flink_job.settings import JobSettings
from functions.python.tokenizer import tokenize

VERTEX = "tokenizer"


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
        """Tokenize now; the capacity is used up by calling `wait` until it says so."""
        started_s = time.monotonic()
        for _ in range(self._cost - 1):
            for sentence in sentences:
                tokenize(sentence)
        tokens = [tokenize(sentence) for sentence in sentences]
        self._seconds_per_sentence = (time.monotonic() - started_s) / len(sentences)
        if self._capacity_per_s is not None:
            taken_s = len(sentences) / self._capacity_per_s
            self._free_at_s = max(self._free_at_s, started_s) + taken_s
        return tokens

    def wait(self, at_most_s: float) -> bool:
        """Sleep until the work is done by the declared pace, but at most so long; say if it is."""
        left_s = self._free_at_s - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, at_most_s))
        return left_s <= at_most_s

    def work(self, sentences: list[str]) -> list[list[str]]:
        """Tokenize at the declared pace: the capacity is used up when this returns."""
        tokens = self.tokenize(sentences)
        while not self.wait(1.0):
            pass
        return tokens


def close(passage: Passage) -> Passage:
    """The passage of a batch that was tokenized here and is done now."""
    passage.returned_at_ms = now_ms()
    passage.computing_ms = passage.returned_at_ms - passage.taken_at_ms
    return passage


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
        tokens = self._worker.work(batch.sentences)
        yield from emit(close(passage), tokens)
