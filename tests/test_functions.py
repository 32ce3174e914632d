"""The token rule in Python, and that its Unicode table is what it says."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from functions.python.tokenizer import decode, encode, tokenize, unicode_data
from functions.python.tokenizer.app import InvalidBatch, handler
from functions.unicode import generate

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
this_unicode = pytest.mark.skipif(
    unicodedata.unidata_version != unicode_data.VERSION,
    reason=f"this Python has Unicode {unicodedata.unidata_version}, not {unicode_data.VERSION}",
)


def golden(name: str) -> list[dict[str, Any]]:
    lines = (FUNCTIONS / "golden" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("vector", golden("sentences"), ids=lambda vector: vector["about"])
def test_sentences(vector: dict[str, Any]) -> None:
    assert tokenize(vector["sentence"]) == vector["tokens"]


@pytest.mark.parametrize("vector", golden("events"), ids=lambda vector: vector["event"])
def test_events(vector: dict[str, Any]) -> None:
    answer = handler(json.loads(vector["event"]), None)
    assert answer["tokens"] == [encode(tokens) for tokens in vector["tokens"]]


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
