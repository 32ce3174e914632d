"""Train the merges of the operator `subwords` and write them into each function, from one source.

    python -m functions.subwords.train

Byte-pair encoding, on code points: every token of the text begins as a list of its code points, and
again and again the pair of neighbours that is most frequent in the text becomes one piece. The
pairs in that order are the merges. Of equally frequent ones the first in code point order is taken,
so that the same text gives the same bytes everywhere.

A piece is made in one way only: a pair that would give a piece that is there already is passed
over. So what a merge makes can take part in later merges alone, and "the first merge of the list
that applies, leftmost" is the same as "every merge in turn, wherever it applies": no room for three
languages to differ.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from flink_job.load.workloads import workload
from functions.python.tokenizer import tokenize

MERGES = 4000
SEED = 0
# Mostly prose; enough of the benchmarks to know random letters and the digits of ids.
TEXTS = {"sentences": 20_000, "nexmark": 2_000, "ysb": 200}

FUNCTIONS = Path(__file__).resolve().parents[1]
FILES = [
    FUNCTIONS / "python/tokenizer/merges.txt",
    FUNCTIONS / "node/merges.txt",
    FUNCTIONS / "java/src/main/resources/tokenizer/merges.txt",
]

Pair = tuple[str, str]


def text() -> Iterable[str]:
    """The sentences to train from."""
    for name, count in TEXTS.items():
        yield from workload(name, SEED).sentences(0, count)


def train(sentences: Iterable[str], most: int) -> list[Pair]:
    """The first `most` merges, fewer if no pair comes twice any more."""
    tokens = Counter(token for sentence in sentences for token in tokenize(sentence))
    parts = {token: list(token) for token in tokens}
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[str]] = defaultdict(set)
    for token, count in tokens.items():
        for pair in pairwise(token):
            counts[pair] += count
            places[pair].add(token)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)
    merges: list[Pair] = []
    pieces: set[str] = set()
    while queue and len(merges) < most:
        negative, pair = heapq.heappop(queue)
        piece = "".join(pair)
        if -negative != counts[pair] or piece in pieces:
            continue  # counted anew since, or made in another way
        if counts[pair] < 2:
            break
        merges.append(pair)
        pieces.add(piece)
        changed: set[Pair] = set()
        for token in places.pop(pair):
            before = parts[token]
            after = parts[token] = merged(before, pair)
            difference = Counter(pairwise(after))
            difference.subtract(pairwise(before))
            for other, more in difference.items():
                if more:
                    counts[other] += more * tokens[token]
                    changed.add(other)
                if more > 0:
                    places[other].add(token)
        for other in changed:
            heapq.heappush(queue, (-counts[other], other))
    return merges


def merged(parts: list[str], pair: Pair) -> list[str]:
    """`parts` with every occurrence of `pair`, from the left, made one."""
    after: list[str] = []
    for part in parts:
        if after and (after[-1], part) == pair:
            after[-1] += part
        else:
            after.append(part)
    return after


def content(merges: Iterable[Pair]) -> bytes:
    """The file of merges: one a line, its two pieces with a space between."""
    return "".join(f"{left} {right}\n" for left, right in merges).encode()


if __name__ == "__main__":
    made = content(train(text(), MERGES))
    for path in FILES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)
        print(f"{path.relative_to(FUNCTIONS)}: {len(made)} bytes")
