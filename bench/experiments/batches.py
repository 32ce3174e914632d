"""Batches whose tokens are known, and callers that check every answer against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from bench.facts.records import Run
from flink_job.load.workloads import workload
from flink_job.offload.client import Answer, CallFailed, LambdaClient
from functions.python.tokenizer import decode, tokenize

_MAX_FAILURES = 20


class WrongAnswer(click.ClickException):
    """A function's answer that is not what the Python tokenizer says of the same sentences."""


class TooManyFailures(click.ClickException):
    """Calls fail so often that a run makes no sense."""


@dataclass(frozen=True)
class Batch:
    """Sentences, and the tokens that must come back for each."""

    sentences: list[str]

    @cached_property
    def expected(self) -> list[list[str]]:
        """Tokens of each sentence, by the reference in Python."""
        return [tokenize(sentence) for sentence in self.sentences]

    @property
    def event(self) -> dict[str, Any]:
        """What a function is called with."""
        return {"sentences": self.sentences}

    @property
    def tokens(self) -> int:
        """Tokens in the whole batch."""
        return sum(map(len, self.expected))


def draw(seed: int, number: int, size: int) -> Batch:
    """Batch `number` of `size` random sentences; no two numbers share a sentence."""
    return Batch(workload("sentences", seed).sentences(number * size, size))


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
