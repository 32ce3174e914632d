"""Make tests/data/recorded, which the README's tables come from, of runs in results/:

    python -m tests.record results/20261122T115827Z-run-python-java-node

As measured, but small: packed; times to the microsecond; Flink's own gauges only without offload,
where the report asks which of them shows the overload; what a decision was made from not once more.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.facts import records
from bench.report.readme import RECORDED


def record(runs: list[Path]) -> None:
    """Replace what is recorded by these runs."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    for run in runs:
        facts = records.read(run)
        plain = {f["surge"] for f in facts if f["kind"] == "surge" and f["method"] == "none"}
        lines = [_line(_small(fact, with_gauges=fact.get("surge") in plain)) for fact in facts]
        (RECORDED / run.name).mkdir(parents=True)
        packed = gzip.compress("".join(lines).encode(), mtime=0)
        (RECORDED / run.name / records.PACKED_NAME).write_bytes(packed)


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
