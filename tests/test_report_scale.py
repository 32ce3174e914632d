"""A million records become a report in seconds, and in less than a gigabyte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.facts import machine, records
from tests import synthetic

MILLION = 1_000_000
SECONDS = 10.0 * 1.3  # the aim, and what one machine differs from another
MEGABYTES = 1000
IDLE_LOOP_MS = 20.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four surges of a quarter of a million batches each: one made up, said over and over."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("results") / "20261122T100000Z-run"
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
            repeats = MILLION // 4 // lines["batch"].count("\n") + 1
            for kind, text in lines.items():
                file.write(text * (repeats if kind == "batch" else 1))
    return folder


@pytest.mark.slow
def test_a_million_records(run: Path, tmp_path: Path) -> None:
    with (run / records.FILE_NAME).open("rb") as file:
        assert sum(1 for _ in file) > MILLION
    # What else the machine does makes everything slower; the calibration loop says how much.
    slowness = max(1.0, float(np.median(machine.calibrate())) / IDLE_LOOP_MS)
    started = time.monotonic()
    command = [sys.executable, "-m", "bench.cli", "report", str(run), "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    assert os.waitstatus_to_exitcode(status) == 0
    busy = (used.ru_utime + used.ru_stime) / slowness
    print(f"{seconds:.1f} s, {busy:.1f} s of CPU at full speed, {used.ru_maxrss / 1024:.0f} MB")
    assert used.ru_maxrss / 1024 < MEGABYTES
    assert min(seconds, busy) < SECONDS  # waiting for others who hold the cores is not ours
