"""The ledger: what came out of the sink, held against what must come out.

Everything is recomputed from the seed: the batches from the rate shape, the sentences from the
workload, the tokens from the tokenizer. So every sentence is accounted for, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

from flink_job.load.shapes import PlannedBatch, batches, parse
from flink_job.load.workloads import workload
from flink_job.settings import JobSettings
from functions.python.tokenizer import operator

# Times went through floating point on their way.
_SAME_MS = 0.01


@dataclass(frozen=True)
class Ledger:
    """Sentences that must come out, and what became of them. All are counts of sentences, but
    `out_of_order`, which counts batches that came after a later one of their lane."""

    expected: int
    delivered: int
    lost: int
    duplicated: int
    wrong: int
    out_of_order: int

    @property
    def is_exact(self) -> bool:
        """Nothing lost, nothing twice, nothing different."""
        return self.lost == self.duplicated == self.wrong == 0


def read_output(folder: Path) -> Iterator[dict[str, Any]]:
    """The sink's lines, in the order in which each of its subtasks wrote them.

    Files that no checkpoint has committed begin with a dot and do not count. A subtask's file
    names end in a counter.
    """
    files = [f for f in folder.rglob("part-*") if f.is_file() and not f.name.startswith(".")]
    for file in sorted(files, key=lambda f: (f.stat().st_mtime_ns, f.name)):
        for line in file.read_text().splitlines():
            yield json.loads(line)


def check(
    settings: JobSettings, output: list[dict[str, Any]], start_s: float, until_s: float = inf
) -> Ledger:
    """Hold the sink's output of one job against what its settings say must come out.

    Args:
        output: lines of `read_output`; those of calls are passed over.
        start_s: when the schedule started, in seconds of the clock: a batch that says that it was
            due at another time is wrong, since its latency would be.
        until_s: where the schedule was cut short, in its own seconds.
    """
    whole = batches(
        parse(settings.shape), settings.length_s, settings.batch_size, settings.linger_ms
    )
    plan = [batch for batch in whole if batch.closes_s <= until_s]
    stream = workload(settings.workload, settings.seed, settings.words_per_sentence)
    tokenize = operator(settings.operator)
    lines = [line for line in output if line["kind"] == "batch"]
    seen = [0] * len(plan)
    wrong = 0
    for line in lines:
        number = line["number"]
        if not 0 <= number < len(plan):
            wrong += max(1, line["count"])
            continue
        seen[number] += 1
        planned = plan[number]
        if not _says_what_was_planned(line, planned, start_s):
            wrong += planned.count
            continue
        expected = [
            " ".join(tokenize(sentence))
            for sentence in stream.sentences(planned.first, planned.count)
        ]
        wrong += _differences(expected, line)
    counts = [planned.count for planned in plan]
    return Ledger(
        expected=sum(counts),
        delivered=sum(count for count, times in zip(counts, seen, strict=True) if times),
        lost=sum(count for count, times in zip(counts, seen, strict=True) if not times),
        duplicated=sum(
            count * (times - 1) for count, times in zip(counts, seen, strict=True) if times > 1
        ),
        wrong=wrong,
        out_of_order=_out_of_order(lines, settings.max_parallelism),
    )


def _says_what_was_planned(line: dict[str, Any], planned: PlannedBatch, start_s: float) -> bool:
    due = (planned.due_first_s, planned.due_last_s, planned.closes_s)
    said = (line["due_first_ms"], line["due_last_ms"], line["closed_ms"])
    return (
        (line["first"], line["count"]) == (planned.first, planned.count)
        and len(line["token_counts"]) == planned.count
        and all(abs(ms - (start_s + s) * 1000) <= _SAME_MS for ms, s in zip(said, due, strict=True))
    )


def _differences(expected: list[str], line: dict[str, Any]) -> int:
    """Sentences of one batch that came out different; tokens too many or too few make at least
    one wrong."""
    tokens = line["tokens"].split()
    all_there = len(tokens) == sum(line["token_counts"])
    each = iter(tokens)
    differing = sum(
        " ".join(islice(each, count)) != sentence
        for count, sentence in zip(line["token_counts"], expected, strict=True)
    )
    return max(differing, 0 if all_there else 1)


def _out_of_order(lines: list[dict[str, Any]], lanes: int) -> int:
    """Batches that came to the sink after a later one of their lane, whichever subtask sent them:
    order is kept within a lane. Lines with one time stand as they were written."""
    latest: dict[int, int] = {}
    late = 0
    for line in sorted(lines, key=lambda line: int(line["sink_at_us"])):
        lane = line["number"] % lanes
        late += line["number"] < latest.get(lane, -1)
        latest[lane] = max(latest.get(lane, -1), line["number"])
    return late
