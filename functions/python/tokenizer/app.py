"""The Lambda handler in Python. The event, the answer and the errors are in CONTRACT.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from . import OPERATORS, encode

_RUNTIME = ".".join(map(str, sys.version_info[:3]))

_first_call = True


class InvalidBatch(Exception):
    """The event is not a batch of sentences."""


def handler(event: object, context: object) -> dict[str, object]:
    """Answer a batch of sentences with their tokens.

    Raises:
        InvalidBatch: the event breaks the contract.
    """
    global _first_call
    first_call, _first_call = _first_call, False
    sentences, operate, id = _parse(event)
    started = time.perf_counter_ns()
    tokens = [encode(operate(sentence)) for sentence in sentences]
    answer: dict[str, object] = {
        "tokens": tokens,
        "compute_ns": time.perf_counter_ns() - started,
        "first_call": first_call,
        "language": "python",
        "runtime": _RUNTIME,
    }
    if id is not None:
        answer["id"] = id
    return answer


def _parse(event: object) -> tuple[list[str], Callable[[str], list[str]], str | None]:
    """The sentences, the operator and the id, if there is one, of a valid event."""
    if not isinstance(event, dict):
        raise InvalidBatch("the event is not an object")
    if "sentences" not in event:
        raise InvalidBatch("the event has no sentences")
    sentences = event["sentences"]
    if not isinstance(sentences, list):
        raise InvalidBatch("sentences is not a list")
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise InvalidBatch(f"sentence {index} is not a string")
    operator = event.get("operator", "words")
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise InvalidBatch("operator is neither words nor subwords")
    id = event.get("id", "")
    if not isinstance(id, str):
        raise InvalidBatch("id is not a string")
    return sentences, OPERATORS[operator], id if "id" in event else None
