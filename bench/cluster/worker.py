"""The worker: the TaskManagers that run the flatmap's subtasks, each held to a share of a CPU by
the kernel, so that what it can do is a fact and no declaration; and who spent the CPU meanwhile."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.cgroup import Group, Groups
from bench.cluster.flink import Jobs
from bench.facts.machine import NOT_OURS

# Its quota is small, and it shall have all of it: against everything else here, the functions'
# environments (10 times the usual weight) included, which on AWS would be on other machines.
_TIMES_USUAL_WEIGHT = 20
_LEAST_CPU, _MOST_CPU = 0.25, 1.0
_SHARE_OF_CORES = 0.2

WORKER, SOURCE_AND_SINK, JOBMANAGER = "worker", "source and sink", "jobmanager"
FUNCTIONS, SERVICE, HARNESS = "functions", "service", "harness"


def default_cpu() -> float:
    """CPUs of a worker unless told otherwise: a fifth of the machine's cores, at least 0.25 and at
    most one, since one subtask's interpreter is one core.

    In a surge to twice the capacity the functions have as much to do as the worker, in Python in
    the same time; source, sink, JobManager, local service and harness need about two workers more.
    So five times the worker is what a machine must have for the surge to be the worker's alone.
    """
    return min(_MOST_CPU, max(_LEAST_CPU, (os.cpu_count() or 1) * _SHARE_OF_CORES))


class Worker:
    """Holds TaskManagers to a quota, as a context manager.

    Args:
        cpus: of each TaskManager that runs subtasks of the flatmap; None: as many as it gets, as on
            a cluster that is not ours.
    """

    def __init__(self, cluster: Jobs, cpus: float | None) -> None:
        self.cpus = cpus
        self._cluster = cluster
        self._groups: Groups | None = None
        self._held: dict[int, Group | None] = {}

    def __enter__(self) -> Worker:
        if self.cpus is not None:
            self._groups = Groups.open(_TIMES_USUAL_WEIGHT)
        return self

    def __exit__(self, *_: object) -> None:
        self._release(set())
        if self._groups:
            self._groups.close()

    @property
    def limit(self) -> str:
        """What holds it: "cgroup v1", "cgroup v2", or "none", where the natural limit holds: one
        subtask's interpreter is one core; NOT_OURS, where that is not known."""
        if not self._cluster.is_ours:
            return NOT_OURS
        return self._groups.name if self._groups else "none"

    def quota(self, cpus: float | None = None) -> float | None:
        """CPUs that it is held to, `cpus` or the usual; None where nothing holds it."""
        return (cpus or self.cpus) if self._groups else None

    @property
    def pids(self) -> set[int]:
        """The processes that were last seen to run the flatmap."""
        return set(self._held)

    def hold(self, job: str, cpus: float | None = None) -> bool:
        """Hold every TaskManager that runs a subtask of the flatmap now, and no other.

        To be called again whenever the job may have been restarted or rescaled.

        Args:
            cpus: of each, if not the usual.

        Returns:
            whether Flink could say who they are; else all is as it was.
        """
        if not self._cluster.is_ours:
            return True
        running = self._cluster.task_managers_of(job, "tokenizer")
        if not running:
            return False
        self._release(running)
        for pid in running:
            if pid not in self._held:
                self._hold(pid)
            if group := self._held[pid]:
                group.limit(cpus or self.cpus or 0.0)
        return True

    def throttled_s(self) -> float | None:
        """Time that all that are held now could have run and had no quota left."""
        if self._groups is None:
            return None
        return sum(group.throttled_s() for group in self._held.values() if group)

    def cpu_s(self) -> float:
        """CPU time that the processes held now have used since they began; NaN where they are not
        ours to be looked at."""
        return sum(map(_cpu_s, self._held)) if self._cluster.is_ours else math.nan

    def _hold(self, pid: int) -> None:
        if self._groups is None or self.cpus is None:
            self._held[pid] = None
            return
        group = self._groups.group(str(pid), self.cpus)
        with suppress(OSError):  # it has ended meanwhile
            group.hold(pid)
        self._held[pid] = group

    def _release(self, kept: set[int]) -> None:
        for pid in set(self._held) - kept:
            group = self._held.pop(pid)
            if group is None:
                continue
            with suppress(OSError):
                (group.folder.parent.parent / "cgroup.procs").write_text(str(pid))
            with suppress(OSError):
                group.folder.rmdir()


@dataclass
class CpuAccount:
    """CPU seconds by role since it was opened; of Flink's processes where they are ours.

    Args:
        service: what the local Lambda service says of itself (`functions_cpu_s`, `service_cpu_s`);
            None where the functions run elsewhere.
    """

    cluster: Jobs
    worker: Worker
    service: Callable[[], Mapping[str, float]] | None = None
    _spent_s: dict[str, dict[int, float]] = field(default_factory=dict)
    _last_s: dict[int, float] = field(default_factory=dict)
    _throttled_s: float = 0.0
    _service_before: Mapping[str, float] = field(default_factory=dict)
    _harness_before_s: float = 0.0

    def __post_init__(self) -> None:
        self._last_s = {pid: _cpu_s(pid) for pid in self._pids()}
        self._throttled_before_s = self.worker.throttled_s() or 0.0
        self._service_before = self.service() if self.service else {}
        self._harness_before_s = time.process_time()

    def look(self) -> None:
        """Take in what the processes have used since the last look: often enough, so that little
        is lost of one that is killed, and each process counts as what it is now."""
        held = self.worker.pids
        pids = self._pids()
        for pid in pids:
            now_s = _cpu_s(pid)
            role = WORKER if pid in held else SOURCE_AND_SINK
            if pid == pids[0]:
                role = JOBMANAGER
            used_s = max(0.0, now_s - self._last_s.get(pid, 0.0))
            self._last_s[pid] = max(now_s, self._last_s.get(pid, 0.0))
            of_role = self._spent_s.setdefault(role, {})
            of_role[pid] = of_role.get(pid, 0.0) + used_s

    def records(self, sentences: int) -> list[dict[str, Any]]:
        """The fields of `cpu` records, one a role."""
        self.look()
        rows = {role: (len(spent), sum(spent.values())) for role, spent in self._spent_s.items()}
        rows[HARNESS] = (1, time.process_time() - self._harness_before_s)
        if self.service:
            now, before = self.service(), self._service_before
            if now["service_cpu_s"] < before["service_cpu_s"]:  # another service than before
                before = dict.fromkeys(before, 0.0)
            for role, name in ((FUNCTIONS, "functions_cpu_s"), (SERVICE, "service_cpu_s")):
                rows[role] = (1, now[name] - before[name])
            started = int(now["environments_started"] - before["environments_started"])
            rows[FUNCTIONS] = (started + int(before["environments"]), rows[FUNCTIONS][1])
        throttled_s = self.worker.throttled_s()
        return [
            {
                "role": role,
                "processes": processes,
                "cpu_s": cpu_s,
                "throttled_s": None
                if role != WORKER or throttled_s is None
                else max(0.0, throttled_s - self._throttled_before_s),
                "sentences": sentences,
            }
            for role, (processes, cpu_s) in rows.items()
        ]

    def _pids(self) -> list[int]:
        return self.cluster.pids()


def _cpu_s(pid: int) -> float:
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0
