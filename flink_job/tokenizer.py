"""The flatmap: batches of sentences in, tokens out, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyflink.datastream import ProcessFunction, RuntimeContext

from flink_job.batch import Batch, Passage, emit, new_passage, now_ms
from flink_job.offload.subtask import subtask_index
from flink_job.settings import JobSettings
from functions.python.tokenizer import operator

VERTEX = "tokenizer"


class Worker:
    """The local tokenizer, and how long it takes.

    Args:
        name: of the operator: "words" or "subwords".
    """

    def __init__(self, name: str) -> None:
        self._operator = operator(name)
        self._seconds_per_sentence = 0.0

    def expected_s(self, sentences: list[str]) -> float:
        """How long `sentences` would take, going by the last batch, in seconds."""
        return len(sentences) * self._seconds_per_sentence

    def tokenize(self, sentences: list[str]) -> list[list[str]]:
        """The tokens of each sentence."""
        started_s = time.monotonic()
        tokens = [self._operator(sentence) for sentence in sentences]
        self._seconds_per_sentence = (time.monotonic() - started_s) / len(sentences)
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
        self._worker = Worker(self._settings.operator)
        self._subtask = subtask_index(runtime_context)
        self._sentences = runtime_context.get_metrics_group().counter("sentences")

    def process_element(self, batch: Batch, ctx: ProcessFunction.Context) -> Iterator[str]:
        if batch.is_end:
            return
        self._sentences.inc(len(batch.sentences))
        passage = new_passage(batch, self._subtask)
        tokens = self._worker.tokenize(batch.sentences)
        yield from emit(close(passage), tokens)
