"""Python, Java and Node give the same answers: the built functions in their real runtimes, and the
module that the Flink job uses, beside each other.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.lambdas.target import LANGUAGES, Target, force_cold
from flink_job.offload.endpoint import lambda_api
from functions.python.tokenizer import OPERATORS, encode, operator
from tests.proofs import proof
from tests.test_functions import MERGES, golden

Ask = Callable[[str, bytes], Any]

CODE_POINTS = range(sys.maxunicode + 1)
# Twelve bytes of JSON an astral code point, and the letters: below 6 MB a request and an answer.
CHUNK = 0x20000


@pytest.fixture(scope="module")
def ask(target: Target) -> Ask:
    """Call a language's function with a payload as it is, which LambdaClient cannot: an event may
    name a member twice, and a sentence may come in UTF-8 or in escapes.
    """
    api = lambda_api(target.endpoint_url, target.region)

    def ask(language: str, payload: bytes) -> Any:
        answer = api.invoke(FunctionName=target.functions[language], Payload=payload)
        return json.loads(answer["Payload"].read())

    return ask


# The first holds all scripts of today but rare ideographs; the others are mostly unassigned.
FIRST, *OTHERS = CODE_POINTS[::CHUNK]
every_chunk = pytest.mark.parametrize("first", [FIRST, *proof(*OTHERS)], ids=hex)
every_operator = pytest.mark.parametrize("name", OPERATORS)


def assert_equal(ask: Ask, name: str, sentences: list[str], as_utf8: bool) -> None:
    """Every language answers as the Python module does, for the operator `name`."""
    event = json.dumps({"operator": name, "sentences": sentences}, ensure_ascii=not as_utf8)
    # What UTF-8 cannot say, lone surrogates, `backslashreplace` says as JSON's own \uXXXX.
    payload = event.encode(errors="backslashreplace")
    operate = operator(name)
    expected = [encode(operate(sentence)) for sentence in sentences]
    for language in LANGUAGES:
        got = ask(language, payload)["tokens"]
        if got != expected:  # pytest would take minutes to say how the two lists differ
            assert len(got) == len(expected), language
            k = next(k for k in range(len(expected)) if got[k] != expected[k])
            pytest.fail(f"{language}: {sentences[k]!a} → {got[k]!a}, not {expected[k]!a}")


@every_operator
@every_chunk
def test_every_code_point_alone(ask: Ask, name: str, first: int) -> None:
    assert_equal(ask, name, [chr(c) for c in CODE_POINTS[first : first + CHUNK]], as_utf8=False)


@every_operator
@every_chunk
def test_every_code_point_between_letters(ask: Ask, name: str, first: int) -> None:
    assert_equal(
        ask, name, [f"A{chr(c)}b" for c in CODE_POINTS[first : first + CHUNK]], as_utf8=True
    )


# What a fuzzed sentence is made of: each piece is a character or a range to draw one from.
PIECES: list[str | range] = [
    *(range(a, b) for a, b in [(0, 0x20), (0x20, 0x7F), (0x7F, 0xA0), (0xA0, 0x250)]),
    *(range(a, b) for a, b in [(0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x700)]),
    *(range(a, b) for a, b in [(0x900, 0x980), (0xE00, 0xE80), (0x10A0, 0x1100), (0x13A0, 0x1400)]),
    *(range(a, b) for a, b in [(0x1E00, 0x2000), (0x2000, 0x2070), (0x2100, 0x2190)]),
    *(range(a, b) for a, b in [(0x3000, 0x3100), (0x4E00, 0xA000), (0xAC00, 0xD7A4)]),
    *(range(a, b) for a, b in [(0xD800, 0xDC00), (0xDC00, 0xE000), (0xE000, 0xE010)]),
    *(range(a, b) for a, b in [(0xFE00, 0xFE10), (0xFF00, 0x10000), (0x10400, 0x10450)]),
    *(range(a, b) for a, b in [(0x1D400, 0x1D800), (0x1E900, 0x1E960), (0x1F300, 0x1FB00)]),
    *(range(a, b) for a, b in [(0x20000, 0x31350), (0xE0000, 0xE01F0), (0x10FFF0, 0x110000)]),
    *" \t\n\"\\/.,'-_aZ0İıßẞΣσςǅﬁK",
    "\u200d",
    "\ufe0f",
    "👩‍👩‍👧‍👦",
    "e\u0301",
    "\ud83d\ude00",  # a pair only in UTF-16: two lone surrogates in Python
]


def fuzzed(randomness: random.Random, longest: int) -> str:
    """A sentence of up to `longest` pieces from a few scripts, as real ones are, or from all."""
    pieces = randomness.sample(PIECES, randomness.choice([1, 2, 4, len(PIECES)]))
    drawn = randomness.choices(pieces, k=randomness.randint(0, longest))
    text = "".join(x if isinstance(x, str) else chr(randomness.choice(x)) for x in drawn)
    # As it arrives through JSON: neighbouring surrogates have become one code point.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@every_operator
@pytest.mark.parametrize("as_utf8", [False, True], ids=["escapes", "utf-8"])
def test_fuzz(ask: Ask, name: str, as_utf8: bool) -> None:
    randomness = random.Random(20261122)
    assert_equal(ask, name, [fuzzed(randomness, 60) for _ in range(10_000)], as_utf8)


@every_operator
@pytest.mark.parametrize("as_utf8", [False, True], ids=["escapes", "utf-8"])
def test_very_long_sentences(ask: Ask, name: str, as_utf8: bool) -> None:
    randomness = random.Random(7)
    assert_equal(ask, name, ["a" * 500_000, "B c" * 200_000, " " * 100_000], as_utf8)
    assert_equal(ask, name, [fuzzed(randomness, 50_000) for _ in range(5)], as_utf8)


@every_operator
@pytest.mark.parametrize("as_utf8", [False, True], ids=["escapes", "utf-8"])
def test_fuzz_of_pieces(ask: Ask, name: str, as_utf8: bool) -> None:
    """Words of what merges make and take, so that merges vie with each other, of all lengths about
    the 64 code points that are merged by themselves, with strange letters in between."""
    randomness = random.Random(20261125)
    pieces = sorted({piece for merge in MERGES for piece in merge})
    strange = ["é", "ß", "\u0301", "Σ", "İ", "京", "\U00010400", "😀", "\ud800", " "]
    sentences = []
    for _ in range(10_000):
        parts = randomness.choices(pieces, k=randomness.randint(1, 40))
        for _ in range(randomness.choice([0, 0, 1, 3])):
            parts.insert(randomness.randint(0, len(parts)), randomness.choice(strange))
        sentences.append("".join(parts))
    assert_equal(ask, name, sentences, as_utf8)


@every_operator
@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_sentences(ask: Ask, name: str, language: str) -> None:
    vectors = golden(name)
    sentences = [vector["sentence"] for vector in vectors]
    payload = json.dumps({"operator": name, "sentences": sentences}).encode()
    assert ask(language, payload)["tokens"] == [encode(vector["tokens"]) for vector in vectors]


@pytest.mark.parametrize("vector", golden("events"), ids=lambda vector: vector["event"])
def test_golden_events(ask: Ask, vector: dict[str, Any]) -> None:
    for language in LANGUAGES:
        answer = ask(language, vector["event"].encode())
        assert answer["tokens"] == [encode(tokens) for tokens in vector["tokens"]], language
        assert ("id" in answer, answer.get("id")) == ("id" in vector, vector.get("id")), language


@pytest.mark.parametrize("vector", golden("invalid"), ids=lambda vector: vector["event"])
def test_invalid_events(ask: Ask, vector: dict[str, Any]) -> None:
    for language in LANGUAGES:
        error = ask(language, vector["event"].encode())
        assert error["errorMessage"] == vector["message"], language
        assert error["errorType"].rpartition(".")[2] == "InvalidBatch", language


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answer_says_where_it_comes_from(ask: Ask, target: Target, language: str) -> None:
    answer = ask(language, b'{"sentences": ["a"]}')
    assert set(answer) == {"tokens", "compute_ns", "first_call", "language", "runtime"}
    assert answer["language"] == language
    assert answer["runtime"] == target.versions[language]
    assert answer["compute_ns"] > 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_first_call_is_the_first_of_an_environment(ask: Ask, target: Target, language: str) -> None:
    force_cold(target, target.functions[language])
    answers = [ask(language, b'{"sentences": []}') for _ in range(3)]
    assert [answer["first_call"] for answer in answers] == [True, False, False]


def test_the_job_uses_this_module() -> None:
    from flink_job import tokenizer

    assert vars(tokenizer)["operator"] is operator
