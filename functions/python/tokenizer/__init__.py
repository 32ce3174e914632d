"""The token rule of functions/CONTRACT.md in Python, and the wire shape of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

# Letters and digits in lower case, everything else a space.
_ASCII_LOWER = bytes(
    ord(chr(byte).lower()) if byte < 128 and chr(byte).isalnum() else 32 for byte in range(256)
)


@cache
def _unicode_lower() -> list[int]:
    """The same for every code point, indexed by code point.

    Made at the first sentence that is not ASCII: it takes milliseconds and 13 MB, which a cold
    start without such a sentence should not pay. A list, since `str.translate` looks up a list
    faster than an array, a string or a dictionary.
    """
    from . import unicode_data

    lower = [ord(" ")] * 0x110000
    end = 0
    numbers = map(int, unicode_data.TOKENS.split())
    for gap, length in zip(numbers, numbers, strict=True):
        first, end = end + gap, end + gap + length
        lower[first:end] = range(first, end)
    numbers = map(int, unicode_data.LOWER.split())
    for first, count, step, delta in zip(numbers, numbers, numbers, numbers, strict=True):
        for code_point in range(first, first + count * step, step):
            lower[code_point] += delta
    return lower


def tokenize(sentence: str) -> list[str]:
    """The tokens of a sentence, in order, in lower case."""
    if sentence.isascii():
        return sentence.encode().translate(_ASCII_LOWER).decode().split()
    return sentence.translate(_unicode_lower()).split()


def encode(tokens: list[str]) -> str:
    """Tokens → what an answer holds for one sentence."""
    return " ".join(tokens)


def decode(entry: str) -> list[str]:
    """What an answer holds for one sentence → its tokens."""
    return entry.split()


OPERATORS: dict[str, Callable[[str], list[str]]] = {"words": tokenize}


def operator(name: str) -> Callable[[str], list[str]]:
    """The operator called `name`: from a sentence to its tokens.

    Raises:
        ValueError: no such operator; says which there are.
    """
    if name not in OPERATORS:
        raise ValueError(f"no such operator: {name!r}; there are {', '.join(OPERATORS)}")
    return OPERATORS[name]
