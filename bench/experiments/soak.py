"""One job for a long time, through surges of random height, length and language: what grows?"""

from __future__ import annotations

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import cgroup
from bench.cluster import proxy
from bench.cluster.flink import ADAPTIVE, Cluster
from bench.cluster.proxy import Proxy
from bench.cluster.worker import JOBMANAGER, SOURCE_AND_SINK, WORKER, Worker
from bench.experiments import calibrate, drive, faults
from bench.experiments.drive import Surge
from bench.experiments.surge import rule
from bench.facts.records import Run
from bench.lambdas.target import Target
from flink_job import clock
from flink_job.load.shapes import Trace
from flink_job.settings import JobSettings

_CALM = 0.4
_FACTORS, _LENGTHS_S, _PAUSES_S = (2.0, 6.0), (2, 8), (6, 14)
_END_S = 15
_LOOK_S = 5.0
# Faults that leave every process the one that it was, so that it can be compared with itself.
FAULTS = tuple(x for x in faults.FAULTS if x.part == "Lambda" and "killed" not in x.name)
# A heap that is touched at the start does not look like one that grows.
_TOUCHED = {
    "env.java.opts.jobmanager": "-XX:+AlwaysPreTouch",
    "env.java.opts.taskmanager": "-XX:+AlwaysPreTouch",
}


@dataclass(frozen=True)
class Spell:
    """A surge of a soak: `start_s` and `length_s` in the job's schedule, the rate as a multiple of
    the capacity, the language that is called from its start on, and what breaks in it, if
    anything."""

    start_s: int
    length_s: int
    rate: float
    language: str
    fault: str | None


def plan(minutes: float, languages: Sequence[str], with_faults: bool, seed: int) -> list[Spell]:
    """Surges one after another, with calm between them and at the end."""
    rng = random.Random(seed)
    spells: list[Spell] = []
    at_s = rng.randint(*_PAUSES_S)
    while at_s + _LENGTHS_S[1] + _END_S <= minutes * 60:
        length_s = rng.randint(*_LENGTHS_S)
        fault = rng.choice([None, *(x.name for x in FAULTS)])
        spells.append(
            Spell(
                at_s,
                length_s,
                _CALM * rng.uniform(*_FACTORS),
                rng.choice(languages),
                fault if with_faults else None,
            )
        )
        at_s += length_s + rng.randint(*_PAUSES_S)
    return spells


def shape(spells: Sequence[Spell], minutes: float) -> Trace:
    """The load of all spells, a rate a second, in multiples of the capacity."""
    return faults.load(_CALM, [(x.start_s, x.length_s, x.rate) for x in spells], minutes * 60)


def measure(
    target: Target,
    run: Run,
    minutes: float,
    spells: Sequence[Spell],
    worker_cpu: float,
    seed: int,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Run the job through all spells, and write `soak` records of every process meanwhile.

    Raises:
        SurgeFailed, FlinkError: the job failed, or something was lost, duplicated or wrong.
    """
    on_progress("Flink starts", 0.0)
    first = spells[0].language
    surge = Surge(
        method="operator",
        language=first,
        shape=str(shape(spells, minutes)),
        length_s=minutes * 60,
        seed=seed,
        # Work that is worth a call, or nothing would be sent.
        operator="subwords",
        words_per_sentence=100,
        batch_size=25,
        base=_CALM,
    )
    settings = {**ADAPTIVE, **_TOUCHED}
    with (
        Cluster(run.folder / "flink", task_managers=2, slots=1, settings=settings) as cluster,
        Worker(cluster, worker_cpu) as worker,
        faults.Service(target) as service,
        Proxy(proxy.http, str(target.endpoint_url)) as function,
    ):
        on_progress("calibration", 0.0)
        capacity_per_s = calibrate.measure(run, cluster, worker, surge, "before").per_s
        surge = surge.at(capacity_per_s, worker_cpu)
        output = run.folder / "output" / surge.name
        scene = faults.Scene(
            *(cluster, service, function, function, function, output), checkpoints=output
        )
        spelling = _Spelling(scene, spells, target, first)
        function.changes = spelling.to_language
        watcher = _Watcher(run, surge.name, cluster, worker, service)

        def reach(settings: JobSettings) -> JobSettings:
            return settings.through(endpoint_url=f"http://{function.address}")

        def on_start(start_at_s: float) -> None:
            spelling.start(start_at_s)
            watcher.start(start_at_s)

        def progress(seconds: float) -> None:
            on_progress("soak", min(1.0, seconds / surge.length_s))

        with _ended(spelling, watcher):
            drive.drive(
                surge,
                run,
                cluster,
                worker,
                target,
                rule(surge, faults.GUESSED),
                progress,
                on_start=on_start,
                reach=reach,
            )


class _Background:
    """A thread that goes through the schedule, from its start until the job has ended."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._start_s = 0.0
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)

    def start(self, start_at_s: float) -> None:
        self._start_s = start_at_s
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def now_s(self) -> float:
        """Seconds of the schedule that have passed."""
        return clock.now_s() - self._start_s

    def _run(self) -> None:
        raise NotImplementedError


@contextmanager
def _ended(*all_: _Background) -> Iterator[None]:
    try:
        yield
    finally:
        for each in all_:
            each.end()


class _Spelling(_Background):
    """Lets each spell's fault happen, and sends requests to its language's function."""

    def __init__(
        self, scene: faults.Scene, spells: Sequence[Spell], target: Target, first: str
    ) -> None:
        super().__init__()
        self.over = scene.over
        self._scene = scene
        self._spells = spells
        self._starts = [spell.start_s for spell in spells]
        self._names = {k: f"/{v}/".encode() for k, v in target.functions.items()}
        self._asked = self._names[first]

    def to_language(self, request: bytes) -> bytes:
        """The request, to the function of the spell that is, or was last."""
        number = max(0, bisect_right(self._starts, self.now_s()) - 1)
        return request.replace(self._asked, self._names[self._spells[number].language], 1)

    def _run(self) -> None:
        for spell in self._spells:
            self.over.wait(max(0.0, spell.start_s + 1 - self.now_s()))
            if self.over.is_set():
                return
            if spell.fault:
                next(x for x in FAULTS if x.name == spell.fault).do(self._scene)


class _Watcher(_Background):
    """Writes what every process and the machine hold."""

    def __init__(
        self, run: Run, surge: str, cluster: Cluster, worker: Worker, service: faults.Service
    ) -> None:
        super().__init__()
        self._to = run, surge
        self._cluster, self._worker, self._service = cluster, worker, service

    def _run(self) -> None:
        run, surge = self._to
        while not self.over.wait(_LOOK_S):
            at_ms = self.now_s() * 1000
            for role, process in self._processes():
                with suppress(psutil.Error):
                    fields = _held(process)
                    run.write("soak", surge=surge, at_ms=at_ms, role=role, **fields)
            temporary = self._cluster.folder / "tmp"
            run.write(
                "soak",
                surge=surge,
                at_ms=at_ms,
                role="machine",
                cgroups=cgroup.count(),
                temporary_files=_files(temporary),
            )

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        held = self._worker.pids
        found = [("harness", psutil.Process())]
        with suppress(psutil.Error):
            found.append((JOBMANAGER, psutil.Process(self._cluster.job_manager_pid)))
            found += [
                (WORKER if pid in held else SOURCE_AND_SINK, psutil.Process(pid))
                for pid in self._cluster.task_manager_pids()
            ]
            found.append(("service", psutil.Process(self._service.pid)))
            found += [(_function(x), x) for x in self._service.environments()]
        return found


def _function(process: psutil.Process) -> str:
    """The role of an execution environment: a Java one is not to be compared with one of Node."""
    with suppress(psutil.Error):
        return f"function, {process.name().rstrip('0123456789.')}"
    return "function"


def _held(process: psutil.Process) -> dict[str, Any]:
    with process.oneshot():
        return {
            "pid": process.pid,
            "memory_mb": process.memory_info().rss / 2**20,
            "threads": process.num_threads(),
            "files": process.num_fds(),
        }


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))
