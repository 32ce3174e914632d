"""The ledger notices everything that can go wrong with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from bench.facts import ledger
from flink_job.load.shapes import batches, parse
from flink_job.load.workloads import workload
from flink_job.settings import JobSettings
from functions.python.tokenizer import tokenize

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


@pytest.fixture
def output() -> list[dict[str, Any]]:
    """What the sink writes when all is well: ten batches of ten sentences."""
    stream = workload(SETTINGS.workload, SETTINGS.seed)
    plan = batches(
        parse(SETTINGS.shape), SETTINGS.length_s, SETTINGS.batch_size, SETTINGS.linger_ms
    )
    return [
        {
            "number": number,
            "count": planned.count,
            "subtask": 0,
            "sink_at_ms": 1000.0 + number,
            "stray_tokens": 0,
            "tokens": [
                " ".join(tokenize(s)) for s in stream.sentences(planned.first, planned.count)
            ],
        }
        for number, planned in enumerate(plan)
    ]


def test_all_is_well(output: list[dict[str, Any]]) -> None:
    assert ledger.check(SETTINGS, output) == ledger.Ledger(100, 100, 0, 0, 0, 0)


def test_a_batch_that_is_not_there_is_lost(output: list[dict[str, Any]]) -> None:
    found = ledger.check(SETTINGS, output[:3] + output[4:])
    assert (found.lost, found.delivered, found.is_exact) == (10, 90, False)


def test_a_batch_that_is_there_twice_is_duplicated(output: list[dict[str, Any]]) -> None:
    found = ledger.check(SETTINGS, [*output, output[3]])
    assert (found.duplicated, found.delivered, found.is_exact) == (10, 100, False)


def test_each_sentence_with_other_tokens_is_wrong(output: list[dict[str, Any]]) -> None:
    output[2]["tokens"][4] += "x"
    output[2]["tokens"][5] = ""
    assert ledger.check(SETTINGS, output).wrong == 2


def test_a_sentence_too_few_or_too_many_is_wrong(output: list[dict[str, Any]]) -> None:
    output[2]["tokens"].pop()
    output[5]["tokens"].append("more")
    assert ledger.check(SETTINGS, output).wrong == 2


def test_tokens_of_no_sentence_are_wrong(output: list[dict[str, Any]]) -> None:
    output[2]["stray_tokens"] = 3
    assert ledger.check(SETTINGS, output).wrong == 1


def test_batches_that_nobody_sent_are_wrong(output: list[dict[str, Any]]) -> None:
    output[9]["number"] = 77
    found = ledger.check(SETTINGS, output)
    assert (found.wrong, found.lost) == (10, 10)


def test_a_batch_after_a_later_one_is_out_of_order(output: list[dict[str, Any]]) -> None:
    output[3]["sink_at_ms"] = 1006.5
    assert ledger.check(SETTINGS, output).out_of_order == 1
    output[3]["subtask"] = 1
    assert ledger.check(SETTINGS, output).out_of_order == 0
