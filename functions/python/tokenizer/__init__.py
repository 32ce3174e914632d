"""The operators of functions/CONTRACT.md in Python, and the wire shape of their tokens."""

from __future__ import annotations

from collections.abc import Callable

from .subwords import subwords
from .words import tokenize

__all__ = ["OPERATORS", "decode", "encode", "operator", "subwords", "tokenize"]

OPERATORS: dict[str, Callable[[str], list[str]]] = {"words": tokenize, "subwords": subwords}


def operator(name: str) -> Callable[[str], list[str]]:
    """The operator called `name`: from a sentence to its tokens, in order.

    Raises:
        ValueError: no such operator; says which there are.
    """
    if name not in OPERATORS:
        raise ValueError(f"no such operator: {name!r}; there are {', '.join(OPERATORS)}")
    return OPERATORS[name]


def encode(tokens: list[str]) -> str:
    """Tokens → what an answer holds for one sentence."""
    return " ".join(tokens)


def decode(entry: str) -> list[str]:
    """What an answer holds for one sentence → its tokens."""
    return entry.split()
