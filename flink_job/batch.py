"""The batch: the unit that crosses operators, and what is known of it when its tokens are out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

# A token holds only letters, marks and numbers, so a record that begins with this control
# character ("record separator") can only be the punctuation that closes a batch.
_PUNCTUATION = "\x1e"


class Batch(NamedTuple):
    """Sentences on their way to the tokenizer. Times are epoch ms.

    `failure` is why a batch that was to be offloaded comes to the tokenizer after all; `answer` is
    what a batch brings along that is done already.
    """

    number: int
    first: int
    due_first_ms: float
    due_last_ms: float
    sentences: list[str]
    failure: str | None = None
    answer: tuple[Passage, list[list[str]]] | None = None

    @property
    def is_end(self) -> bool:
        """Whether this is the end marker of a lane: it has no sentences, and none come after it."""
        return not self.sentences


@dataclass
class Passage:
    """How one batch went through the tokenizer. All times in ms; `*_at_ms` are epoch times.

    Attributes:
        number, first, count: the batch, its first sentence's index, and how many it has.
        way: "local", "offloaded", or "fallback" (offloaded in vain, then local).
        subtask: of the tokenizer.
        taken_at_ms: when the tokenizer took the batch up (offloaded: handed it to a call).
        shipping_ms, bring_up_ms, computing_ms: the parts of the time until the answer was there.
        returned_at_ms: when the tokens were there.
        token_counts: tokens of each sentence, so that the sink can tell sentences apart.
        billed_ms, init_ms, memory_mb: what the REPORT line says of the call, or None.
    """

    number: int
    first: int
    count: int
    due_first_ms: float
    due_last_ms: float
    way: str
    subtask: int
    taken_at_ms: float
    returned_at_ms: float = 0.0
    shipping_ms: float = 0.0
    bring_up_ms: float = 0.0
    computing_ms: float = 0.0
    billed_ms: float | None = None
    init_ms: float | None = None
    memory_mb: float | None = None
    failure: str | None = None
    token_counts: list[int] = field(default_factory=list)

    def to_record(self) -> str:
        """The punctuation that follows the batch's tokens downstream."""
        return _PUNCTUATION + json.dumps(asdict(self))


def new_passage(batch: Batch, subtask: int) -> Passage:
    """The passage of a batch that an operator has just taken up."""
    return Passage(
        number=batch.number,
        first=batch.first,
        count=len(batch.sentences),
        due_first_ms=batch.due_first_ms,
        due_last_ms=batch.due_last_ms,
        way="fallback" if batch.failure else "local",
        subtask=subtask,
        taken_at_ms=now_ms(),
        failure=batch.failure,
    )


def emit(passage: Passage, tokens: list[list[str]]) -> Iterator[str]:
    """What goes downstream of a batch: its tokens one by one, then the punctuation."""
    passage.token_counts = [len(sentence) for sentence in tokens]
    for sentence in tokens:
        yield from sentence
    yield passage.to_record()


def now_ms() -> float:
    """Epoch milliseconds."""
    return time.time() * 1000


def is_punctuation(record: str) -> bool:
    """Whether a record of the tokenizer's output closes a batch instead of being a token."""
    return record.startswith(_PUNCTUATION)


def passage(record: str) -> Passage:
    """The inverse of `Passage.to_record`."""
    return Passage(**json.loads(record[1:]))
