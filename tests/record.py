"""Make tests/data/recorded, which the README's tables come from, of runs in results/:

    python -m tests.record results/20261122T115827Z-run-python-java-node

As measured, but small: times to the microsecond, and without Flink's own gauges.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench import records
from bench.report.readme import RECORDED


def record(runs: list[Path]) -> None:
    """Replace what is recorded by these runs."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    for run in runs:
        lines = [_line(_small(fact)) for fact in records.read(run)]
        (RECORDED / run.name).mkdir(parents=True)
        (RECORDED / run.name / records.FILE_NAME).write_text("".join(lines), encoding="utf-8")


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _small(v) for k, v in value.items() if k != "gauges"}
    if isinstance(value, list):
        return [_small(v) for v in value]
    return round(value, 3 if abs(value) >= 1 else 6) if isinstance(value, float) else value


def _line(fact: dict[str, Any]) -> str:
    return json.dumps(fact, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    record([Path(run) for run in sys.argv[1:]])
