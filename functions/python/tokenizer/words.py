"""The operator `words` of functions/CONTRACT.md in Python: the token rule."""

from __future__ import annotations

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
