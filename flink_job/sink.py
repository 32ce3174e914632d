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
from pyflink.datastream import ProcessFunction
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy

from flink_job.batch import is_punctuation, passage
from flink_job.tokenizer import now_ms

VERTEX = "sink"


class Collect(ProcessFunction):  # type: ignore[misc]
    """Gathers a batch's tokens and closes it with the moment at which its last one was here."""

    def __init__(self) -> None:
        self._tokens: list[str] = []

    def process_element(self, record: str, ctx: ProcessFunction.Context) -> Iterator[str] | None:
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


def file_sink(folder: str) -> FileSink:
    """Lines of text into `folder`; a file becomes visible when its checkpoint is complete."""
    return (
        FileSink.for_row_format(folder, Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .build()
    )
