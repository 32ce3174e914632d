"""The worker's quota on real processes: held, let go, and nothing left behind."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest

from bench import cgroup
from bench.cgroup import Groups
from bench.cluster.flink import Cluster
from bench.cluster.session import Elsewhere, Session
from bench.cluster.worker import HARNESS, CpuAccount, Worker
from bench.facts.machine import NOT_OURS

SPIN = "import threading\ndef f():\n while True: pass\nthreading.Thread(target=f).start()\nf()"


class Running:
    """Takes the place of a cluster: says which of real processes run the flatmap."""

    is_ours = True

    def __init__(self, *pids: int) -> None:
        self.pids = list(pids)

    def task_managers_of(self, job: str, vertex_name: str) -> set[int]:
        assert (job, vertex_name) == ("j", "tokenizer")
        return set(self.pids)


@pytest.fixture
def spinning() -> Iterator[list[int]]:
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(2)]
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.wait()


def cpu_share(pid: int, seconds: float = 1.0) -> float:
    """CPUs that a process uses now."""

    def spent_s() -> float:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system

    before_s, began_s = spent_s(), time.monotonic()
    time.sleep(seconds)
    return (spent_s() - before_s) / (time.monotonic() - began_s)


def ours() -> list[Path]:
    bases = [base for base, _ in cgroup._hierarchies()]
    return [path for base in bases for path in base.glob(f"lambda-burst-{os.getpid()}")]


def needs_groups() -> None:
    if (groups := Groups.open(1)) is None:
        pytest.skip("no cgroup here that we may write")
    groups.close()


def test_who_runs_the_flatmap_is_held_with_all_its_threads_and_nobody_else(
    spinning: list[int],
) -> None:
    needs_groups()
    held, free = spinning
    cluster = Running(held)
    with Worker(cast(Cluster, cluster), 0.2) as worker:
        assert worker.hold("j")
        time.sleep(0.2)
        assert cpu_share(held) == pytest.approx(0.2, abs=0.06)
        assert (worker.throttled_s() or 0.0) > 0.3
        (group,) = [path for folder in ours() for path in folder.iterdir() if path.is_dir()]
        assert (group / "cgroup.procs").read_text().split() == [str(held)]

        cluster.pids = [free]  # the job was restarted, elsewhere
        assert worker.hold("j")
        assert worker.pids == {free}
        assert str(held) not in "".join(
            path.read_text() for folder in ours() for path in folder.glob("*/cgroup.procs")
        )
    assert not ours()
    assert psutil.pid_exists(held) and psutil.pid_exists(free), "they are let go, not ended"


def test_a_bigger_quota_is_given_and_taken_back(spinning: list[int]) -> None:
    needs_groups()
    with Worker(cast(Cluster, Running(spinning[0])), 0.1) as worker:
        shares = []
        for cpus in (None, 0.4, None):
            worker.hold("j", cpus)
            time.sleep(0.1)
            shares.append(cpu_share(spinning[0], 0.8))
    assert shares[0] < 0.2 and shares[2] < 0.2 < shares[1] < 0.5


def test_while_flink_cannot_say_who_runs_all_stays_as_it_was(spinning: list[int]) -> None:
    cluster = Running(spinning[0])
    with Worker(cast(Cluster, cluster), 0.2) as worker:
        assert worker.hold("j")
        cluster.pids = []
        assert not worker.hold("j")
        assert worker.pids == {spinning[0]}


def test_where_the_machine_does_not_let_us_there_is_no_limit_and_it_says_so(
    spinning: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_hierarchies", list)
    with Worker(cast(Cluster, Running(spinning[0])), 0.2) as worker:
        assert worker.hold("j")
        assert worker.limit == "none"
        assert worker.throttled_s() is None


def test_groups_of_a_run_that_was_killed_are_cleared_away_with_what_runs_in_them() -> None:
    needs_groups()
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = subprocess.Popen(["sleep", "60"])
    (base, _), *_ = [x for x in cgroup._hierarchies() if os.access(x[0], os.W_OK)]
    stale = base / f"lambda-burst-{dead.pid}"
    stale.mkdir()
    (stale / "worker").mkdir()
    (stale / "worker" / "cgroup.procs").write_text(str(left.pid))
    groups = Groups.open(1)
    assert groups is not None
    groups.close()
    assert not stale.exists()
    assert left.wait(5) != 0


def test_of_processes_that_are_not_ours_nothing_is_held_and_nothing_counted(
    tmp_path: Path,
) -> None:
    theirs = Session(Elsewhere("127.0.0.1:1"), tmp_path)
    with Worker(theirs, None) as worker:
        assert worker.hold("j", 0.5), "the job may begin"
        assert (worker.limit, worker.quota(0.5)) == (NOT_OURS, None)
        assert math.isnan(worker.cpu_s())
        roles = [fields["role"] for fields in CpuAccount(theirs, worker).records(1)]
    assert roles == [HARNESS]
