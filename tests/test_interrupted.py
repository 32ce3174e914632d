"""A run that is interrupted, at whatever stage: what was measured is there, and nothing keeps
running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import cgroup
from bench.facts import records
from tests.proofs import proof

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MARK = "INTERRUPTED_RUN"
# Flink ends gently in eight seconds at most, and environments are given time for their calls.
GONE_S = 30.0


class Interrupted:
    """A run of `bench faults`, which starts all that any command does, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self._id = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.cli", "faults", "--fault=nothing", "--repeat=1"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: self._id},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def running(self) -> list[psutil.Process]:
        """All processes that it has started, whoever their parent is by now, and itself."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self._id:
                    found.append(process)
        return found

    def kinds(self) -> list[str]:
        """The kinds of all that it has recorded; every line is whole."""
        return [x["kind"] for run in records.find_runs(self.results) for x in records.read(run)]

    def wait_for(self, what: Callable[[], Any], seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until_s, "it does not come so far"
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            time.sleep(0.2)


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[Interrupted]:
    run = Interrupted(tmp_path)
    yield run
    for process in run.running():
        with suppress(psutil.Error):
            process.kill()
    run.process.wait()


STAGES: dict[str, Callable[[Interrupted], Any]] = {
    "Flink starts": lambda run: list(run.results.glob("*/flink-1/log/taskmanager-*")),
    "calibration": lambda run: list(run.results.glob("*/output/calibration-*")),
    "surge": lambda run: run.kinds().count("decision") > 20,
}
KEPT = {"Flink starts": {"run"}, "calibration": {"run"}, "surge": {"capacity", "sample"}}


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("Flink starts", signal.SIGKILL),
        *proof(
            ("calibration", signal.SIGINT), ("surge", signal.SIGTERM), ("surge", signal.SIGKILL)
        ),
    ],
)
def test_what_was_measured_stays_and_nothing_keeps_running(
    stage: str, number: signal.Signals, interrupted: Interrupted
) -> None:
    interrupted.wait_for(lambda: STAGES[stage](interrupted), 240)
    assert len(interrupted.running()) > 3

    interrupted.process.send_signal(number)

    until_s = time.monotonic() + GONE_S
    while (left := interrupted.running()) and time.monotonic() < until_s:
        interrupted.process.poll()
        time.sleep(0.2)
    assert [process.cmdline() for process in left] == []
    assert KEPT[stage] <= set(interrupted.kinds())
    if number != signal.SIGKILL:
        assert interrupted.kinds()[-1] == "end"
        assert not cgroup.of(interrupted.process.pid)
