"""What all workloads share: random access to a stream that is drawn block by block.

Chance comes from SHAKE-128 over (workload, seed, purpose, number): a standard function, so that the
same seed gives the same stream in every process, on every machine and with every Python, a whole
block in one draw.
"""

from __future__ import annotations

import hashlib
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

WORDS_PER_SENTENCE = 10


@dataclass(frozen=True)
class Workload(ABC):
    """A seeded, endless stream of sentences with random access; hashable and thread-safe.

    Attributes:
        seed: of all that is drawn.
        words_per_sentence: mean length, in a workload that can be asked for one.
    """

    name: ClassVar[str]
    seed: int
    words_per_sentence: int = WORDS_PER_SENTENCE

    @property
    @abstractmethod
    def block_size(self) -> int:
        """Sentences that are drawn at once."""

    @abstractmethod
    def block(self, number: int) -> list[str]:
        """Draw the sentences [number·block_size, (number + 1)·block_size)."""

    def sentence(self, n: int) -> str:
        """Sentence `n`, from 0."""
        number, offset = divmod(n, self.block_size)
        return _block(self, number)[offset]

    def sentences(self, first: int, count: int) -> list[str]:
        """Sentences [first, first + count)."""
        number, offset = divmod(first, self.block_size)
        found = _block(self, number)[offset : offset + count]
        while len(found) < count:
            number += 1
            found += _block(self, number)[: count - len(found)]
        return found

    def draws(self, purpose: str, number: int, count: int) -> tuple[int, ...]:
        """`count` uniform 16-bit numbers that belong to this seed, `purpose` and `number`."""
        return struct.unpack(f"<{count}H", self.noise(purpose, number, 2 * count))

    def noise(self, purpose: str, number: int, size: int) -> bytes:
        """`size` uniform bytes that belong to this seed, `purpose` and `number`."""
        key = f"{self.name}/{self.seed}/{purpose}/{number}".encode()
        return hashlib.shake_128(key).digest(size)


def below(limit: int, draw: int) -> int:
    """A 16-bit draw as a uniform number in [0, limit); the bias is under limit/65536."""
    return draw * limit >> 16


# A few blocks, so that several subtasks of one process, each at its own place, do not draw twice.
@lru_cache(maxsize=64)
def _block(workload: Workload, number: int) -> list[str]:
    return workload.block(number)
