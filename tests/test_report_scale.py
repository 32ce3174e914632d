"""A million records become a report in seconds, and in less than a gigabyte."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.facts import machine, records
from tests import synthetic
from tests.proofs import proof

MILLION = 1_000_000
MACHINES_DIFFER = 1.3
IDLE_LOOP_MS = 20.0
# A process that is begun takes over the peak memory of who began it, here that of all the tests
# before; one that is small itself stands between. It prints what the command used.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def _run(results: Path, size: int) -> Path:
    """Four surges of a quarter of `size` batches each: one made up, said over and over."""
    rng = np.random.default_rng(0)
    folder = results / "20261122T100000Z-run"
    synthetic.write(folder, iter([*synthetic.cold(rng), *synthetic.compute(rng)]))
    with (folder / records.FILE_NAME).open("a", encoding="utf-8") as file:
        for name, language in (("none", None), *((x, x) for x in synthetic.LANGUAGES)):
            method = "operator" if language else "none"
            facts = list(synthetic.surge(rng, name, method, language))
            lines = {
                kind: "".join(
                    json.dumps({"v": 1, "kind": kind, **fields}, separators=(",", ":")) + "\n"
                    for k, fields in facts
                    if k == kind
                )
                for kind in dict.fromkeys(kind for kind, _ in facts)
            }
            repeats = size // 4 // lines["batch"].count("\n") + 1
            for kind, text in lines.items():
                file.write(text * (repeats if kind == "batch" else 1))
    return folder


@pytest.mark.parametrize(
    ("size", "at_most_s", "at_most_mb"), [(MILLION // 10, 10.0, 400), *proof((MILLION, 10.0, 1000))]
)
def test_a_report_of_many_records(
    size: int, at_most_s: float, at_most_mb: int, tmp_path: Path
) -> None:
    run = _run(tmp_path / "results", size)
    with (run / records.FILE_NAME).open("rb") as file:
        assert sum(1 for _ in file) > size
    before = machine.calibrate()
    started = time.monotonic()
    report = ["-m", "bench.cli", "report", str(run), "--out", str(tmp_path / "report")]
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, *report],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    seconds = time.monotonic() - started
    # What else the machine does makes everything slower; the calibration loop says how much.
    slowness = max(
        1.0, *(float(np.median(x)) / IDLE_LOOP_MS for x in (before, machine.calibrate()))
    )
    cpu_s, megabytes = map(float, said.split())
    busy = cpu_s / slowness
    print(f"{seconds:.1f} s, {busy:.1f} s of CPU at full speed, {megabytes:.0f} MB")
    assert megabytes < at_most_mb
    # Waiting for others who hold the cores is not ours.
    assert min(seconds, busy) < at_most_s * MACHINES_DIFFER
