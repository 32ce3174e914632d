"""The flatmap: batches of sentences in, tokens out. What it does with a sentence is the same code
that the function in Python runs; who does it, and where, is the business of `flink_job.offload`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from flink_job import clock, home
from flink_job.clock import Anchor
from flink_job.offload.batch import Batch, Call, Passage, Results
from flink_job.offload.flatmap import Flatmap
from functions.python.tokenizer import encode, operator

# Behind this character comes a call instead of a batch: see `java/burst/Split.java`.
_CALL = "\x1d"


class Due(NamedTuple):
    """What the source notes on a batch: the index of its first sentence, when its first and last
    were due, and when it was closed, in ms of the clock."""

    first: int
    due_first_ms: float
    due_last_ms: float
    closed_ms: float


class Tokenize(Flatmap):
    """Sentences to tokens.

    Args:
        operator: "words" or "subwords".
        anchor: the clock to go by.
    """

    def __init__(self, operator: str, anchor: Anchor | None = None) -> None:
        self._operator = operator
        self._anchor = anchor

    def open(self) -> None:
        home.mend()
        clock.adopt(self._anchor)
        self._tokenize = operator(self._operator)
        self._opening = f'{{"operator":{json.dumps(self._operator)},"id":"'.encode()

    def records(self, payload: bytes) -> list[str]:
        sentences: list[str] = orjson.loads(payload)
        return sentences

    def work(self, records: list[str]) -> list[str]:
        return [encode(self._tokenize(sentence)) for sentence in records]

    def event(self, payloads: list[bytes], id: str) -> bytes:
        # The batches come as JSON arrays already: what is between their brackets is put together.
        sentences = b",".join(payload[1:-1] for payload in payloads)
        return self._opening + id.encode() + b'","sentences":[' + sentences + b"]}"

    def results(self, answer: Any, id: str) -> list[str]:
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list):
            raise ValueError("the answer has no list of tokens")
        if not set(map(type, tokens)) <= {str}:
            raise ValueError("an entry of tokens is not a string")
        if "\n" in "".join(tokens):
            raise ValueError("an entry of tokens holds a line break")
        if "id" not in answer:
            raise ValueError("the answer has no id: build or deploy the function anew")
        if answer["id"] != id:
            raise ValueError("the answer is to another event")
        return tokens

    def emit(self, batch: Batch, passage: Passage, results: Results) -> Iterable[str]:
        header = {
            "kind": "batch",
            "number": batch.number,
            "count": batch.size,
            **batch.note._asdict(),
            # Not `asdict`, which copies deeply and takes ten times as long.
            **vars(passage),
        }
        return ("\n".join((orjson.dumps(header).decode(), *results)),)

    def emit_call(self, call: Call) -> Iterable[str]:
        fields = {"kind": "call", **vars(call), **vars(call.report)}
        del fields["report"]
        return (_CALL + orjson.dumps(fields).decode(),)
