"""Batches whose tokens are known, and callers that check every answer against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import click

from bench.facts.records import Run
from flink_job.load.workloads import WORDS_PER_SENTENCE, workload
from flink_job.offload.client import Answer, CallFailed, LambdaClient
from functions.python.tokenizer import decode, encode, operator

Text = Literal["ascii", "mixed"]

_MAX_FAILURES = 20
# What Lambda takes, and gives back, in one call.
_MAX_BYTES = 6 * 1024 * 1024
_OTHER_LETTERS = ("café", "Αθήνα", "мир", "東京", "straße")


class WrongAnswer(click.ClickException):
    """A function's answer that is not what the Python tokenizer says of the same sentences."""


class TooManyFailures(click.ClickException):
    """Calls fail so often that a run makes no sense."""


class BatchTooLarge(click.ClickException):
    """A batch that does not go through Lambda in one call."""


@dataclass(frozen=True)
class Batch:
    """Sentences, what is to be done with them, and the tokens that must come back for each."""

    sentences: list[str]
    operator: str = "words"

    @cached_property
    def expected(self) -> list[list[str]]:
        """Tokens of each sentence, by the reference in Python."""
        operate = operator(self.operator)
        return [operate(sentence) for sentence in self.sentences]

    @property
    def event(self) -> dict[str, Any]:
        """What a function is called with."""
        return {"operator": self.operator, "sentences": self.sentences}

    @property
    def tokens(self) -> int:
        """Tokens in the whole batch."""
        return sum(map(len, self.expected))

    def cut(self, size: int) -> Batch:
        """Its first `size` sentences."""
        return Batch(self.sentences[:size], self.operator)


@dataclass(frozen=True)
class Work:
    """What is to be done, with sentences of which mean length."""

    operator: str = "words"
    words_per_sentence: int = WORDS_PER_SENTENCE

    def draw(self, seed: int, number: int, size: int, text: Text | None = None) -> Batch:
        """Batch `number` of `size` random sentences; no two numbers share a sentence.

        Args:
            text: "ascii": without words that hold other letters; "mixed": the same, but with such
                a word in one sentence of ten; None: as they come.

        Raises:
            BatchTooLarge: the event, or its answer, is more than Lambda takes.
        """
        stream = workload("sentences", seed, self.words_per_sentence)
        sentences = stream.sentences(number * size, size)
        if text is not None:
            sentences = [" ".join(filter(str.isascii, s.split())) for s in sentences]
        if text == "mixed":
            for k in range(0, size, 10):
                sentences[k] += f" {_OTHER_LETTERS[k // 10 % len(_OTHER_LETTERS)]}"
        batch = Batch(sentences, self.operator)
        self._require_to_fit(batch)
        return batch

    def _require_to_fit(self, batch: Batch) -> None:
        answer = {"tokens": [encode(tokens) for tokens in batch.expected]}
        largest = max(len(json.dumps(x)) for x in (batch.event, answer))
        if largest > _MAX_BYTES:
            raise BatchTooLarge(
                f"{len(batch.sentences):,} sentences of {self.words_per_sentence:,} words are "
                f"{largest / 2**20:.1f} MB; Lambda takes 6 MB a call: make the batch, or the "
                "sentences, smaller"
            )


PLAIN = Work()


def check(function: str, answer: Mapping[str, Any], batch: Batch) -> None:
    """Raise WrongAnswer unless `answer` holds exactly the tokens of `batch`."""
    entries = answer.get("tokens")
    if not isinstance(entries, list) or len(entries) != len(batch.sentences):
        raise WrongAnswer(f"{function} did not answer {len(batch.sentences)} sentences: {answer}")
    for sentence, entry, expected in zip(batch.sentences, entries, batch.expected, strict=True):
        if (tokens := decode(entry)) != expected:
            raise WrongAnswer(f"{function}: {sentence!r} gave {tokens}, must be {expected}")


class Caller:
    """Calls functions, checks every answer, and records every failure.

    Args:
        where: names the part of the experiment in the records of failures.
    """

    def __init__(self, client: LambdaClient, run: Run, where: str) -> None:
        self._client = client
        self._run = run
        self._where = where
        self._failures = 0

    def invoke(self, language: str, function: str, event: Any) -> Answer | None:
        """The answer of one call, or None if it failed. Raises TooManyFailures."""
        try:
            return self._client.invoke(function, event)
        except CallFailed as error:
            self._record(language, function, error.kind, error.message)
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise TooManyFailures(
                    f"{self._failures} calls failed, the last of {function}: {error}"
                ) from error
            return None

    def tokenize(self, language: str, function: str, batch: Batch) -> Answer | None:
        """The same for a batch, its answer checked. Raises WrongAnswer, TooManyFailures."""
        answer = self.invoke(language, function, batch.event)
        if answer is not None:
            try:
                check(function, answer.value, batch)
            except WrongAnswer as error:
                self._record(language, function, "WrongAnswer", error.message)
                raise
        return answer

    def note(self, language: str, function: str, error: Exception) -> None:
        """Record what kept a function from being called at all."""
        self._record(language, function, type(error).__name__, str(error))

    def _record(self, language: str, function: str, error: str, message: str) -> None:
        self._run.write(
            "failure",
            language=language,
            function=function,
            error=error,
            message=message,
            where=self._where,
            at_ms=self._run.elapsed_ms,
        )
