"""The sink: tokens in, one line of JSON a batch out, into files that a checkpoint commits.

A tokenizer subtask emits a batch's tokens and then its punctuation without a barrier in between,
and each has a sink subtask of its own. So a batch is whole in every checkpoint, and this operator
needs no state to deliver it exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from pyflink.common import Encoder
from pyflink.datastream import CoProcessFunction, ProcessFunction
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy

from flink_job.batch import is_punctuation, now_ms, passage

VERTEX = "sink"


class _Gathering:
    """The tokens of the batch that one input is in the midst of."""

    def __init__(self) -> None:
        self._tokens: list[str] = []

    def add(self, record: str) -> Iterator[str] | None:
        """Take one record; give the batch's line, with the moment, once it is closed."""
        if not is_punctuation(record):
            self._tokens.append(record)
            return None
        sink_at_ms = now_ms()
        closed = passage(record)
        tokens = iter(self._tokens)
        sentences = [" ".join(islice(tokens, count)) for count in closed.token_counts]
        line = {
            **asdict(closed),
            "sink_at_ms": sink_at_ms,
            "tokens": sentences,
            "stray_tokens": len(list(tokens)),
        }
        del line["token_counts"]
        self._tokens = []
        return iter([json.dumps(line, ensure_ascii=False)])


class Collect(ProcessFunction):  # type: ignore[misc]
    """Gathers the batches of the tokenizer."""

    def __init__(self) -> None:
        self._tokenizer = _Gathering()

    def process_element(self, record: str, ctx: ProcessFunction.Context) -> Iterator[str] | None:
        return self._tokenizer.add(record)


class CollectBoth(CoProcessFunction):  # type: ignore[misc]
    """Gathers the batches of the tokenizer and those of the caller, each on its own input."""

    def __init__(self) -> None:
        self._tokenizer = _Gathering()
        self._caller = _Gathering()

    def process_element1(self, record: str, ctx: CoProcessFunction.Context) -> Iterator[str] | None:
        return self._tokenizer.add(record)

    def process_element2(self, record: str, ctx: CoProcessFunction.Context) -> Iterator[str] | None:
        return self._caller.add(record)


def file_sink(folder: str) -> FileSink:
    """Lines of text into `folder`; a file becomes visible when its checkpoint is complete."""
    return (
        FileSink.for_row_format(folder, Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .build()
    )
