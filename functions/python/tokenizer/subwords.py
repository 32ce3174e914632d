"""The operator `subwords` of functions/CONTRACT.md in Python: byte-pair encoding of tokens."""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise

from .words import tokenize

_LONGEST = 64
_CONTINUED = "##"


@cache
def _merges() -> tuple[dict[tuple[str, str], int], list[str]]:
    """The rank of every pair that is merged, and the piece of every rank.

    Read when subwords are first asked for: it takes milliseconds, which a cold start without them
    should not pay.
    """
    path = f"{os.path.dirname(__file__)}/merges.txt"  # noqa: PTH120 - pathlib takes ms to import
    with open(path, encoding="utf-8") as lines:  # noqa: PTH123
        pairs = [(left, right) for left, right in map(str.split, lines)]
    return {pair: rank for rank, pair in enumerate(pairs)}, ["".join(pair) for pair in pairs]


def subwords(sentence: str) -> list[str]:
    """The pieces of a sentence's tokens, in order; all but the first of a token are marked."""
    found = []
    for token in tokenize(sentence):
        first, *others = _pieces(token)
        found.append(first)
        found += [_CONTINUED + piece for piece in others]
    return found


def _pieces(token: str) -> list[str]:
    """The pieces of a token: the pair with the lowest rank, leftmost, is merged until there is
    none; every 64 code points by themselves."""
    if len(token) > _LONGEST:
        stretches = range(0, len(token), _LONGEST)
        return [piece for at in stretches for piece in _pieces(token[at : at + _LONGEST])]
    rank_of, piece_of = _merges()
    rank_of_pair, never = rank_of.get, len(piece_of)
    pieces = list(token)
    ranks = [rank_of_pair(pair, never) for pair in pairwise(token)]  # of each piece with the next
    while ranks and (rank := min(ranks)) < never:
        at = ranks.index(rank)
        piece = piece_of[rank]
        pieces[at : at + 2] = [piece]
        del ranks[at]
        if at > 0:
            ranks[at - 1] = rank_of_pair((pieces[at - 1], piece), never)
        if at < len(ranks):
            ranks[at] = rank_of_pair((piece, pieces[at + 1]), never)
    return pieces
