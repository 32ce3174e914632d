"""The ledger notices everything that can go wrong with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.facts import ledger
from flink_job.load.shapes import batches, parse
from flink_job.load.workloads import workload
from flink_job.settings import JobSettings
from functions.python.tokenizer import tokenize

pytestmark = pytest.mark.beside

SETTINGS = JobSettings(
    method="none",
    workload="sentences",
    seed=7,
    shape="constant:base=100",
    length_s=1.0,
    control="127.0.0.1:1",
    output="nowhere",
    batch_size=10,
    linger_ms=200.0,
)


START_S = 1_700_000_000.25


@pytest.fixture
def output() -> list[dict[str, Any]]:
    """What the sink writes when all is well: ten batches of ten sentences."""
    stream = workload(SETTINGS.workload, SETTINGS.seed)
    plan = batches(
        parse(SETTINGS.shape), SETTINGS.length_s, SETTINGS.batch_size, SETTINGS.linger_ms
    )
    lines = []
    for number, planned in enumerate(plan):
        tokens = [tokenize(s) for s in stream.sentences(planned.first, planned.count)]
        lines.append(
            {
                "kind": "batch",
                "number": number,
                "first": planned.first,
                "count": planned.count,
                "due_first_ms": (START_S + planned.due_first_s) * 1000,
                "due_last_ms": (START_S + planned.due_last_s) * 1000,
                "closed_ms": (START_S + planned.closes_s) * 1000,
                "subtask": 0,
                "sink_at_us": 1000 + number,
                "tokens": " ".join(" ".join(sentence) for sentence in tokens),
                "token_counts": [len(sentence) for sentence in tokens],
            }
        )
    return [*lines, {"kind": "call", "number": 1}]


def test_all_is_well(output: list[dict[str, Any]]) -> None:
    assert ledger.check(SETTINGS, output, START_S) == ledger.Ledger(100, 100, 0, 0, 0, 0)


def test_a_batch_that_is_not_there_is_lost(output: list[dict[str, Any]]) -> None:
    found = ledger.check(SETTINGS, output[:3] + output[4:], START_S)
    assert (found.lost, found.delivered, found.is_exact) == (10, 90, False)


def test_a_batch_that_is_there_twice_is_duplicated(output: list[dict[str, Any]]) -> None:
    found = ledger.check(SETTINGS, [*output, output[3]], START_S)
    assert (found.duplicated, found.delivered, found.is_exact) == (10, 100, False)


def test_each_sentence_with_other_tokens_is_wrong(output: list[dict[str, Any]]) -> None:
    tokens = output[2]["tokens"].split()
    first, second = output[2]["token_counts"][:2]
    tokens[0] += "x"
    tokens[first + second - 1] = "other"
    output[2]["tokens"] = " ".join(tokens)
    assert ledger.check(SETTINGS, output, START_S).wrong == 2


def test_a_token_that_moves_to_the_next_sentence_makes_both_wrong(
    output: list[dict[str, Any]],
) -> None:
    output[2]["token_counts"][3] -= 1
    output[2]["token_counts"][4] += 1
    assert ledger.check(SETTINGS, output, START_S).wrong == 2


def test_tokens_of_no_sentence_are_wrong(output: list[dict[str, Any]]) -> None:
    output[2]["tokens"] += " more"
    assert ledger.check(SETTINGS, output, START_S).wrong == 1


@pytest.mark.parametrize(
    ("field", "by"),
    [
        ("first", 1),
        ("count", -1),
        ("due_first_ms", 5000.0),
        ("due_last_ms", -1.0),
        ("closed_ms", 1.0),
    ],
)
def test_a_batch_that_says_of_itself_what_was_not_planned_is_wrong(
    field: str, by: float, output: list[dict[str, Any]]
) -> None:
    output[4][field] += by
    assert ledger.check(SETTINGS, output, START_S).wrong == 10


def test_sentences_too_few_or_too_many_are_wrong(output: list[dict[str, Any]]) -> None:
    output[2]["token_counts"].pop()
    output[5]["token_counts"].append(0)
    assert ledger.check(SETTINGS, output, START_S).wrong == 20


@pytest.mark.parametrize("count", [10, 0])
def test_batches_that_nobody_sent_are_wrong(count: int, output: list[dict[str, Any]]) -> None:
    output.append({**output[9], "number": 77, "count": count})
    found = ledger.check(SETTINGS, output, START_S)
    assert (found.wrong, found.lost) == (max(1, count), 0)


def test_a_batch_after_a_later_one_of_its_lane_is_out_of_order_whichever_subtask_sent_it(
    output: list[dict[str, Any]],
) -> None:
    output[3]["sink_at_us"] = 1008
    output[3]["subtask"] = 1
    assert ledger.check(SETTINGS, output, START_S).out_of_order == 1
    two_lanes = replace(SETTINGS, max_parallelism=2)
    assert ledger.check(two_lanes, output, START_S).out_of_order == 1
    output[3]["sink_at_us"] = 1004
    assert ledger.check(two_lanes, output, START_S).out_of_order == 0
