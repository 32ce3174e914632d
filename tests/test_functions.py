"""The token rule in Python, and that its Unicode table is what it says."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flink_job.load.workloads import workload
from functions.python.tokenizer import OPERATORS, decode, encode, operator, tokenize, unicode_data
from functions.python.tokenizer.app import InvalidBatch, handler
from functions.subwords import train
from functions.unicode import generate

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
this_unicode = pytest.mark.skipif(
    unicodedata.unidata_version != unicode_data.VERSION,
    reason=f"this Python has Unicode {unicodedata.unidata_version}, not {unicode_data.VERSION}",
)


def golden(name: str) -> list[dict[str, Any]]:
    lines = (FUNCTIONS / "golden" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", OPERATORS)
def test_sentences(name: str) -> None:
    vectors = golden(name)
    got = {vector["about"]: operator(name)(vector["sentence"]) for vector in vectors}
    assert got == {vector["about"]: vector["tokens"] for vector in vectors}


def test_an_unknown_operator_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="no such operator: 'bytes'; there are words, subwords"):
        operator("bytes")


@pytest.mark.parametrize("vector", golden("events"), ids=lambda vector: vector["event"])
def test_events(vector: dict[str, Any]) -> None:
    answer = handler(json.loads(vector["event"]), None)
    assert answer["tokens"] == [encode(tokens) for tokens in vector["tokens"]]
    assert answer.get("id") == vector.get("id")


@pytest.mark.parametrize("vector", golden("invalid"), ids=lambda vector: vector["event"])
def test_invalid_events(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidBatch) as raised:
        handler(json.loads(vector["event"]), None)
    assert str(raised.value) == vector["message"]


def test_wire_shape_goes_there_and_back() -> None:
    for tokens in ([], ["a"], ["a", "βγ", "7"]):
        assert decode(encode(tokens)) == tokens


@this_unicode
def test_every_code_point_alone() -> None:
    """The table against CPython's own: unlike str.lower, code point by code point."""
    wrong = []
    for code_point in range(sys.maxunicode + 1):
        character = chr(code_point)
        is_token = unicodedata.category(character)[0] in "LMN"
        if tokenize(character) != ([character.lower()[0]] if is_token else []):
            wrong.append(hex(code_point))
    assert wrong == []


@this_unicode
def test_generated_files_are_up_to_date() -> None:
    """So the three languages have one table, and it is made by the generator."""
    for path, content in generate.sources():
        assert path.read_text() == content, f"{path}: run functions/unicode/generate.py"


# ------------------------------------------------------------------ merges

MERGES = [
    (left, right) for left, right in map(str.split, train.FILES[0].read_text("utf-8").splitlines())
]


def test_each_function_has_the_merges_that_training_gives() -> None:
    made = train.content(train.train(train.text(), train.MERGES))
    for path in train.FILES:
        assert path.read_bytes() == made, f"{path}: run python -m functions.subwords.train"


def test_training_takes_the_most_frequent_pair_each_time() -> None:
    """Against counting everything anew after every merge."""
    sentences = [*workload("sentences", 13).sentences(0, 30), "aaaa aaa baa", "3.14 159 3.14", "éé"]
    words = [list(token) for sentence in sentences for token in tokenize(sentence)]
    expected: list[train.Pair] = []
    while True:
        counts = Counter(pair for word in words for pair in pairwise(word))
        for made in map("".join, expected):
            counts = Counter({p: n for p, n in counts.items() if "".join(p) != made})
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        expected.append(best)
        words = [train.merged(word, best) for word in words]
    assert train.train(sentences, 1000) == expected
    assert train.train(sentences, 3) == expected[:3]
    assert len(expected) > 100


def test_a_piece_is_made_once_and_of_what_is_there() -> None:
    """What the functions rely on: ranks alone say what to merge, and a symbol fits into 13 bits."""
    there: set[str] = set()
    for left, right in MERGES:
        assert len(left) == 1 or left in there
        assert len(right) == 1 or right in there
        assert left + right not in there
        there.add(left + right)
    symbols = {piece for merge in MERGES for piece in merge} | there
    assert len(symbols) < 2**13
    assert max(map(len, there)) <= 64


def test_subwords_are_what_applying_every_merge_in_turn_gives() -> None:
    """The definition, slow and plain, against the way that the functions take."""
    randomness = random.Random(20261125)
    pieces = sorted({piece for merge in MERGES for piece in merge})
    sentences = [
        "".join(randomness.choices(pieces, k=randomness.randint(1, 9))) for _ in range(200)
    ]
    sentences += workload("sentences", 11).sentences(0, 20)
    for sentence in sentences:
        expected = []
        for token in tokenize(sentence):
            stretches = [token[at : at + 64] for at in range(0, len(token), 64)]
            marked = [piece for stretch in stretches for piece in apply_in_turn(stretch)]
            expected += [marked[0], *("##" + piece for piece in marked[1:])]
        assert operator("subwords")(sentence) == expected


def apply_in_turn(token: str) -> list[str]:
    parts = list(token)
    for merge in MERGES:
        parts = train.merged(parts, merge)
    return parts


def test_pieces_hold_their_token_and_show_where_it_begins() -> None:
    for sentence in workload("sentences", 12).sentences(0, 500):
        pieces = encode(operator("subwords")(sentence))
        assert pieces.replace(" ##", "") == encode(tokenize(sentence))


def test_merges_are_read_when_subwords_are_first_asked_for() -> None:
    """A cold start with `words` does not pay for them."""
    code = "from functions.python.tokenizer.app import handler; "
    code += "from functions.python.tokenizer import subwords as module; "
    code += "from functions.python.tokenizer.subwords import _merges; "
    code += "handler({'sentences': ['a b']}, None); print(_merges.cache_info().currsize); "
    code += "handler({'sentences': ['a b'], 'operator': 'subwords'}, None); "
    code += "print(_merges.cache_info().currsize)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.split() == [b"0", b"1"]
