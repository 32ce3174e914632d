"""Make tests/data/recorded, which the README's tables come from, of runs in results/:

    python -m tests.record results/20261122T115827Z-run-python-java-node

As measured, but small: packed; times to the microsecond; Flink's own gauges only without offload,
where the report asks which of them shows the overload; what a decision was made from not once more.
Of surges in which something was broken only what the table of faults looks at: batches that were
late, and the last; calls that failed, or were sent by subtasks that heard no controller.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from bisect import bisect_right, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.facts import records
from bench.report.gather.faults import LATE_MS
from bench.report.readme import RECORDED


def record(runs: list[Path]) -> None:
    """Replace what is recorded by these runs."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    for run in runs:
        facts = records.read(run)
        plain = {f["surge"] for f in facts if f["kind"] == "surge" and f["method"] == "none"}
        facts = list(told(facts))
        lines = [_line(_small(fact, with_gauges=fact.get("surge") in plain)) for fact in facts]
        (RECORDED / run.name).mkdir(parents=True)
        packed = gzip.compress("".join(lines).encode(), mtime=0)
        (RECORDED / run.name / records.PACKED_NAME).write_bytes(packed)


def told(facts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without what no table says of surges in which something was broken."""
    broken = [f for f in facts if f["kind"] == "fault"]
    deaf = {f["surge"]: f["deaf"] for f in broken}
    starts: dict[str, list[float]] = {surge: [] for surge in deaf}
    for f in broken:
        if f.get("from_ms") is not None:
            insort(starts[f["surge"]], f["from_ms"])

    def between(batch: dict[str, Any]) -> tuple[str, int]:
        """Which faults of which job a batch was due between."""
        surge = batch["surge"]
        return surge, bisect_right(starts.get(surge, []), batch["due_last_ms"])

    last: dict[tuple[str, int], float] = {}
    for fact in facts:
        if fact["kind"] == "batch":
            key = between(fact)
            last[key] = max(fact["due_last_ms"], last.get(key, 0.0))
    for fact in facts:
        surge, kind = fact.get("surge", ""), fact["kind"]
        if surge in deaf:
            if kind in ("sample", "cpu", "lambda", "rescale"):
                continue
            on_time = kind == "batch" and fact["sink_ms"] - fact["due_last_ms"] <= LATE_MS
            if on_time and fact["due_last_ms"] != last[between(fact)]:
                continue
            if kind == "invocation" and fact["outcome"] == "answered" and not deaf[surge]:
                continue
        yield fact


def _small(value: Any, with_gauges: bool = True) -> Any:
    if isinstance(value, dict):
        return {k: _small(v) for k, v in value.items() if k != "gauges" or with_gauges}
    if isinstance(value, list):
        return [_small(v) for v in value]
    return round(value, 3 if abs(value) >= 1 else 6) if isinstance(value, float) else value


def _line(fact: dict[str, Any]) -> str:
    if fact["kind"] == "decision":
        fact = {**fact, "inputs": {}}
    return json.dumps(fact, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    record([Path(run) for run in sys.argv[1:]])
