"""The ledger: what came out of the sink, held against what must come out.

Everything is recomputed from the seed: the batches from the rate shape, the sentences from the
workload, the tokens from the tokenizer. So every sentence is accounted for, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flink_job.load.shapes import batches, parse
from flink_job.load.workloads import workload
from flink_job.settings import JobSettings
from functions.python.tokenizer import operator


@dataclass(frozen=True)
class Ledger:
    """Sentences that must come out, and what became of them. All are counts of sentences, but
    `out_of_order`, which counts batches that came after a later one of the same sink subtask."""

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


def check(settings: JobSettings, output: list[dict[str, Any]]) -> Ledger:
    """Hold the sink's output of one job against what its settings say must come out."""
    plan = batches(
        parse(settings.shape), settings.length_s, settings.batch_size, settings.linger_ms
    )
    stream = workload(settings.workload, settings.seed, settings.words_per_sentence)
    tokenize = operator(settings.operator)
    seen = [0] * len(plan)
    wrong = 0
    for line in output:
        number = line["number"]
        if not 0 <= number < len(plan):
            wrong += line["count"]
            continue
        seen[number] += 1
        planned = plan[number]
        expected = [
            " ".join(tokenize(sentence))
            for sentence in stream.sentences(planned.first, planned.count)
        ]
        wrong += _differences(expected, line["tokens"], line["stray_tokens"])
    counts = [planned.count for planned in plan]
    return Ledger(
        expected=sum(counts),
        delivered=sum(count for count, times in zip(counts, seen, strict=True) if times),
        lost=sum(count for count, times in zip(counts, seen, strict=True) if not times),
        duplicated=sum(
            count * (times - 1) for count, times in zip(counts, seen, strict=True) if times > 1
        ),
        wrong=wrong,
        out_of_order=_out_of_order(output),
    )


def _differences(expected: list[str], tokens: list[str], stray_tokens: int) -> int:
    """Sentences of one batch that came out different; stray tokens make at least one wrong."""
    differing = sum(a != b for a, b in zip(expected, tokens, strict=False))
    missing = abs(len(expected) - len(tokens))
    return max(differing + missing, 1 if stray_tokens else 0)


def _out_of_order(output: list[dict[str, Any]]) -> int:
    latest: dict[int, int] = {}
    late = 0
    for line in sorted(output, key=lambda line: float(line["sink_at_ms"])):
        lane = line["subtask"]
        late += line["number"] < latest.get(lane, -1)
        latest[lane] = max(latest.get(lane, -1), line["number"])
    return late
