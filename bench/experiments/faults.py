"""Something breaks in the middle of a surge that is offloaded. What then? A job a fault, with a few
surges one after another where it may break again, and one cluster for all jobs; it is highly
available, since one of the faults is the end of its JobManager."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import orjson
import psutil

from bench.cluster import proxy
from bench.cluster.flink import ADAPTIVE, Cluster, FlinkError, Rest
from bench.cluster.proxy import NONE, Proxy, Trouble
from bench.cluster.worker import Worker
from bench.cluster.zookeeper import high_availability
from bench.experiments import calibrate, drive
from bench.experiments.drive import Method, Surge, SurgeFailed
from bench.experiments.surge import rule
from bench.facts.records import Run
from bench.lambdas.target import Target, local_service
from bench.steering.policy import Profile
from flink_job import clock
from flink_job.load.shapes import Trace
from flink_job.settings import JobSettings

# Half of what the worker can do, and twice that for so long, with so much calm in between: more
# where the job starts again, which has to catch up before it is broken once more.
_BASE, _FACTOR = 0.5, 4.0
_START_S, _SURGE_S, _CALM_S = 3.0, 9.0, 3.0
_BETWEEN_S, _RESTARTED_S = 8.0, 32.0
# Time to work off what a restart left waiting; cut when that is done.
_TAIL_S = 60.0
# Surges of one job, which takes longer to start than a surge. More, and one that is lost would take
# too much with it.
_SURGES = 4
# A fault waits for so long until batches are offloaded, and lets that go on for a little.
_OFFLOADED_S, _LET_S = 6.0, 0.5
# How long it lasts, unless it says otherwise.
HOLD_S = 4.0
_FROZEN_S, _SLOW_S = 10.0, 10.0
_TASK_MANAGERS = 2
# Flink finds out in 50 s otherwise, which a surge of seconds does not wait for.
_NOTICE_SOON = {"heartbeat.timeout": "5 s", "heartbeat.interval": "1 s"}
_DISK_BYTES = 64 << 20
# What the policy is told of the function: a guess, which it replaces by what it sees.
GUESSED = Profile(cold_start_ms=500.0, compute_ms=20.0, shipping_ms=5.0)
_LARGE_BYTES = 7_000_000

Part = Literal["—", "Flink", "Lambda", "steering"]


class NotBroken(Exception):
    """The fault did not come about; says why. Nothing is known of what it would have done."""


@dataclass
class Scene:
    """What there is to break in a surge that runs.

    Attributes:
        function, control, flink: relays before the Lambda API, the controller and Flink's REST API.
        output: folder of the sink's files.
        checkpoints: folder of Flink's checkpoints.
        over: set when the surge has ended, with or without what was waited for.
    """

    cluster: Cluster
    service: Service
    function: Proxy
    control: Proxy
    flink: Proxy
    output: Path
    checkpoints: Path
    over: threading.Event = field(default_factory=threading.Event)

    def hold(self, seconds: float = HOLD_S) -> None:
        """Leave what is broken as it is for a while."""
        self.over.wait(seconds)

    @property
    def job(self) -> str:
        """The job that runs. Raises NotBroken where there is none."""
        for job in self.cluster.rest.get("/jobs")["jobs"]:
            if job["status"] in ("RUNNING", "RESTARTING", "CREATED"):
                return str(job["id"])
        raise NotBroken("no job runs")

    def runs(self, vertex: str) -> int:
        """The TaskManager that runs a vertex. Raises NotBroken where Flink cannot say."""
        found = self.cluster.task_managers_of(self.job, vertex)
        if not found:
            raise NotBroken(f"Flink does not say who runs {vertex}")
        return min(found)


class Service:
    """The local Lambda service behind a target, which may be killed and started anew at the same
    address; what was started is ended with the context."""

    def __init__(self, target: Target) -> None:
        self._port = str(target.endpoint_url).rsplit(":", 1)[1].strip("/")
        self._lives = ExitStack()
        self.pid = self._find()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._lives.close()

    def kill(self) -> None:
        """End it as a crash would."""
        process = psutil.Process(self.pid)
        process.kill()
        with suppress(psutil.Error):
            process.wait(5)

    def start(self) -> None:
        """Start another. Raises TargetError."""
        self._lives.enter_context(local_service(f"--port={self._port}"))
        self.pid = self._find()

    def environments(self) -> list[psutil.Process]:
        """The processes of its execution environments."""
        return psutil.Process(self.pid).children(recursive=True)

    def _find(self) -> int:
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if any(str(x.laddr.port) == self._port for x in child.net_connections("tcp4")):
                    return child.pid
        raise NotBroken("the local service is not a process of ours")


Do = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """Something that breaks.

    Attributes:
        done: what is done, in words.
        do: breaks it, waits, and mends it.
        deaf: whether the subtasks hear no directive of the controller's meanwhile.
        before: what is done when the schedule starts.
        once: whether it can break but once in a job.
        between_s: how much calm there is before it breaks again.
    """

    name: str
    part: Part
    done: str
    do: Do
    deaf: bool = False
    before: Do | None = None
    once: bool = False
    between_s: float = _BETWEEN_S


def _nothing(scene: Scene) -> None:
    scene.hold()


def _killed(vertex: str) -> Do:
    def do(scene: Scene) -> None:
        os.kill(scene.runs(vertex), signal.SIGKILL)
        scene.cluster.add_task_manager(1)  # as whoever supervises it would

    return do


def _frozen(scene: Scene) -> None:
    with _stopped(scene.runs("tokenizer")):
        scene.hold(_FROZEN_S)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _job_manager_killed(scene: Scene) -> None:
    scene.cluster.restart_job_manager()


def _checkpoint_fails(scene: Scene) -> None:
    """A file stands where the folder of the job's checkpoints has to be."""
    folder = scene.checkpoints / scene.job
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.touch()
    try:
        scene.hold()
    finally:
        folder.unlink()
        aside.rename(folder)


def _disk_full(scene: Scene) -> None:
    if not scene.output.is_mount():
        raise NotBroken("no disk of its own may be mounted here, and ours is not to be filled")
    filler = scene.output / ".filler"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        scene.hold()
    finally:
        filler.unlink(missing_ok=True)


def _rescaled_up(scene: Scene) -> None:
    scene.cluster.add_task_manager(1)
    scene.cluster.rescale(scene.job, ("tokenizer",), 2)


def _rescaled_down(scene: Scene) -> None:
    scene.cluster.rescale(scene.job, ("tokenizer",), 1)


def _slot_goes(scene: Scene) -> None:
    """The TaskManager of one of two tokenizers is told to end."""
    os.kill(scene.runs("tokenizer"), signal.SIGTERM)


def _service_killed(scene: Scene) -> None:
    scene.service.kill()
    try:
        scene.hold()
    finally:
        scene.service.start()


def _service_frozen(scene: Scene) -> None:
    with _stopped(scene.service.pid):
        scene.hold()


def _environments_killed(scene: Scene) -> None:
    """One after the other, each while it works: a call is under way nearly always."""
    for _ in range(4):
        busiest = max(scene.service.environments(), key=_cpu_s, default=None)
        if busiest is not None:
            with suppress(psutil.Error):
                busiest.kill()
        scene.hold(HOLD_S / 4)


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _to(relay: Literal["function", "control", "flink"], trouble: Trouble, hold_s: float) -> Do:
    """Let what passes a relay be in trouble for a while."""

    def do(scene: Scene) -> None:
        through: Proxy = getattr(scene, relay)
        through.trouble = trouble
        try:
            scene.hold(hold_s)
        finally:
            through.trouble = NONE

    return do


def _answers(alter: Callable[[bytes], bytes], hold_s: float = HOLD_S) -> Do:
    """Let the function's answers have other bodies."""
    trouble = Trouble(alters=lambda message: proxy.with_body(message, alter))
    return _to("function", trouble, hold_s)


def _fewer(body: bytes) -> bytes:
    """An answer without its last entry."""
    answer = orjson.loads(body)
    return orjson.dumps({**answer, "tokens": answer["tokens"][:-1]})


def _swapped() -> Callable[[bytes], bytes]:
    """Answers with an earlier batch's: same shape, same number, other tokens."""
    earlier: deque[bytes] = deque(maxlen=2)

    def alter(body: bytes) -> bytes:
        earlier.append(body)
        return earlier[0]

    return alter


def _refusal(status: int, kind: str) -> Trouble:
    return Trouble(says=proxy.answer(status, b'{"message":"broken"}', f"x-amzn-ErrorType: {kind}"))


_NONSENSE = Trouble(alters=lambda line: b'{"number": 7, "share": 12.5, "in_flight": -1}\n')
_THROTTLED = _refusal(429, "TooManyRequestsException")
_BROKEN = _refusal(500, "ServiceException")
_REST_WRONG = Trouble(says=proxy.answer(200, b'["wrong"]', "Connection: close"))
_FOR = f"for {HOLD_S:.0f} s"
_EVER_S = 120.0

FAULTS = (
    Fault("nothing", "—", "nothing: what is usual", _nothing),
    Fault("tokenizer-killed", "Flink", "TaskManager of the tokenizer killed, another started",
          _killed("tokenizer"), between_s=_RESTARTED_S),
    Fault("source-killed", "Flink", "TaskManager of source and sink killed, another started",
          _killed("source"), between_s=_RESTARTED_S),
    Fault("frozen", "Flink", f"tokenizer's TaskManager frozen for {_FROZEN_S:.0f} s and let go",
          _frozen, between_s=_RESTARTED_S),
    Fault("jobmanager-killed", "Flink", "JobManager killed, another started (ZooKeeper knows)",
          _job_manager_killed, between_s=_RESTARTED_S),
    Fault("checkpoint-fails", "Flink", f"checkpoints cannot be written {_FOR}", _checkpoint_fails),
    Fault("disk-full", "Flink", f"the sink's disk full {_FOR}", _disk_full,
          between_s=_RESTARTED_S),
    Fault("rescale-up", "Flink", "one slot more, tokenizer rescaled from 1 to 2", _rescaled_up,
          once=True),
    Fault("rescale-down", "Flink", "tokenizer rescaled from 2 to 1", _rescaled_down,
          before=_rescaled_up, once=True),
    Fault("slot-goes", "Flink", "one of two tokenizers' TaskManagers ends", _slot_goes,
          before=_rescaled_up, once=True),
    Fault("service-killed", "Lambda", f"service killed, started again after {HOLD_S:.0f} s",
          _service_killed),
    Fault("service-frozen", "Lambda", f"service frozen {_FOR}", _service_frozen),
    Fault("answers-cut", "Lambda", f"connections cut in mid-answer {_FOR}",
          _to("function", Trouble(cut=True), HOLD_S)),
    Fault("answers-slow", "Lambda", f"answers byte by byte over {_SLOW_S:.0f} s, {_FOR}",
          _to("function", Trouble(over_s=_SLOW_S), HOLD_S)),
    Fault("throttled", "Lambda", f"429 {_FOR}", _to("function", _THROTTLED, HOLD_S)),
    Fault("errors", "Lambda", f"500 {_FOR}", _to("function", _BROKEN, HOLD_S)),
    Fault("not-json", "Lambda", f"answers are no JSON {_FOR}", _answers(lambda body: b"<html>")),
    Fault("wrong-shape", "Lambda", f"answers of a wrong shape {_FOR}",
          _answers(lambda body: b'{"tokens":{"a":[1]}}')),
    Fault("wrong-number", "Lambda", f"answers lack an entry {_FOR}", _answers(_fewer)),
    Fault("another-answer", "Lambda", f"answers are other batches' {_FOR}", _answers(_swapped())),
    Fault("too-large", "Lambda", f"answers of 7 MB {_FOR}",
          _answers(lambda body: b'"%b"' % (b"x" * _LARGE_BYTES))),
    Fault("environments-killed", "Lambda", "4 environments killed at work, one a second",
          _environments_killed),
    Fault("slow", "Lambda", f"calls take 100 times as long {_FOR}",
          _to("function", Trouble(times_slower=100), HOLD_S)),
    Fault("controller-frozen", "steering", f"controller silent {_FOR}",
          _to("control", Trouble(silent=True), HOLD_S), deaf=True),
    Fault("controller-restarted", "steering", f"controller gone {_FOR}",
          _to("control", Trouble(refuses=True), HOLD_S), deaf=True),
    Fault("controller-gone", "steering", "controller gone for good",
          _to("control", Trouble(refuses=True), _EVER_S), deaf=True, once=True),
    Fault("nonsense", "steering", f"directives are nonsense {_FOR}",
          _to("control", _NONSENSE, HOLD_S), deaf=True),
    Fault("rest-silent", "steering", f"Flink's REST API silent {_FOR}",
          _to("flink", Trouble(silent=True), HOLD_S)),
    Fault("rest-wrong", "steering", f"Flink's REST API answers nonsense {_FOR}",
          _to("flink", _REST_WRONG, HOLD_S)),
)  # fmt: skip
NAMES = tuple(fault.name for fault in FAULTS)


@dataclass(frozen=True)
class Broken:
    """A job in which a fault breaks in each surge; they start at `starts_s` of its schedule."""

    fault: Fault
    job: Surge
    starts_s: tuple[float, ...]


def plan(
    names: Sequence[str],
    repeat: int,
    language: str,
    method: Method,
    ordered: bool,
    seed: int,
    surge_s: float = _SURGE_S,
) -> list[Broken]:
    """As many surges for each fault as it is to break, in as few jobs as may be; the faults in an
    order drawn from `seed`, anew for each turn. Shapes are in multiples of the capacity."""
    rng = random.Random(seed)
    left = {fault: repeat for fault in FAULTS if fault.name in names}
    like = Surge(
        method=method,
        language=language,
        shape="",
        length_s=0.0,
        base=_BASE,
        factor=_FACTOR,
        seed=seed,
        # Work that is worth a call, or nothing would be sent.
        operator="subwords",
        words_per_sentence=100,
        batch_size=25,
        ordered=ordered,
        warm=4,
    )
    planned: list[Broken] = []
    while chosen := [fault for fault, n in left.items() if n]:
        for fault in rng.sample(chosen, len(chosen)):
            surges = 1 if fault.once else min(_SURGES, left[fault])
            left[fault] -= surges
            starts_s = tuple(_START_S + i * (surge_s + fault.between_s) for i in range(surges))
            end_s = starts_s[-1] + surge_s
            repetition = sum(x.fault is fault for x in planned) + 1
            job = replace(
                like,
                shape=str(load(_BASE, [(x, surge_s, _BASE * _FACTOR) for x in starts_s], end_s)),
                length_s=end_s + _TAIL_S,
                calm_from_s=end_s,
                repetition=repetition,
                ordinal=len(planned) + 1,
            )
            planned.append(Broken(fault, job, starts_s))
    return planned


def load(calm: float, peaks: Sequence[tuple[float, float, float]], end_s: float) -> Trace:
    """The rate `calm`, but for each of `peaks`: from a second on, for so many, another rate. Whole
    seconds, until `end_s`; calm after that."""
    rates = [calm] * round(end_s)
    for start_s, length_s, rate in peaks:
        first, last = round(start_s), round(start_s + length_s)
        rates[first:last] = [rate] * (last - first)
    return Trace(tuple(rates), 1.0, calm)


def measure(
    target: Target,
    run: Run,
    planned: Sequence[Broken],
    worker_cpu: float,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    capacity_per_s: float | None = None,
) -> None:
    """Measure the capacity, then break one thing a surge, and write a `fault` record of each. A
    job that fails is recorded as such, and the others go on, on a new cluster if they must.

    Args:
        capacity_per_s: what rates are multiples of, if it is not to be measured.

    Raises:
        FlinkError: no cluster starts, or its capacity cannot be measured.
    """
    on_progress("Flink starts", 0.0)
    left = deque(planned)
    clusters = 0
    with Service(target) as service:
        while left:
            clusters += 1
            with _stage(run.folder / f"flink-{clusters}", worker_cpu) as (cluster, worker):
                if capacity_per_s is None:
                    on_progress("calibration", 0.0)
                    like = planned[0].job
                    capacity_per_s = calibrate.measure(run, cluster, worker, like, "before").per_s
                while left:
                    one = left.popleft()
                    on_progress(one.fault.name, 1 - (len(left) + 1) / len(planned))
                    one = replace(one, job=one.job.at(capacity_per_s, worker_cpu))
                    _break(one, run, cluster, worker, target, service)
                    if not _whole_again(cluster):
                        break


@contextmanager
def _stage(folder: Path, worker_cpu: float) -> Iterator[tuple[Cluster, Worker]]:
    """A cluster that keeps what it must where a JobManager that comes after finds it."""
    with high_availability(folder / "zookeeper") as available:
        checkpoints = folder / "checkpoints"
        settings = {
            **ADAPTIVE,
            **_NOTICE_SOON,
            **available,
            "execution.checkpointing.dir": checkpoints.resolve().as_uri(),
        }
        try:
            with (
                Cluster(folder, task_managers=_TASK_MANAGERS, slots=1, settings=settings) as c,
                Worker(c, worker_cpu) as worker,
            ):
                yield c, worker
        finally:
            shutil.rmtree(checkpoints, ignore_errors=True)


def _whole_again(cluster: Cluster) -> bool:
    """Bring a cluster back to its TaskManagers; whether it can be used again."""
    try:
        cluster.bury()
        cluster.stop_task_managers(keep=_TASK_MANAGERS)
        for _ in range(_TASK_MANAGERS - len(cluster.task_manager_pids())):
            cluster.add_task_manager(1)
        cluster.wait_for_slots(_TASK_MANAGERS)
    except FlinkError:
        return False
    return True


def _break(
    one: Broken,
    run: Run,
    cluster: Cluster,
    worker: Worker,
    target: Target,
    service: Service,
) -> None:
    """Run a job, break its fault in each of its surges, and record what became of all."""
    fault, surge = one.fault, one.job
    output = run.folder / "output" / surge.name
    direct = cluster.rest
    with (
        Proxy(proxy.http, str(target.endpoint_url)) as function,
        Proxy(proxy.line) as control,
        Proxy(proxy.http, direct.url) as flink,
        _disk(output, wanted=fault.name == "disk-full"),
    ):
        scene = Scene(
            *(cluster, service, function, control, flink, output.resolve()),
            checkpoints=cluster.folder / "checkpoints",
        )
        breaking = _Breaking(one, scene)

        def reach(settings: JobSettings) -> JobSettings:
            control.upstream = settings.control
            # A slot more makes two tokenizers; one lane is enough for the others.
            lanes = 2 if fault.do is _rescaled_up or fault.before else 1
            relayed = settings.through(
                endpoint_url=f"http://{function.address}", control=control.address
            )
            return replace(relayed, max_parallelism=lanes)

        error: str | None = None
        cluster.rest = Rest(flink.address)
        try:
            drive.drive(
                surge,
                run,
                cluster,
                worker,
                target,
                rule(surge, GUESSED),
                on_start=breaking.start,
                reach=reach,
                calm_s=_CALM_S,
            )
        except (SurgeFailed, FlinkError) as failed:
            error = failed.message
        finally:
            breaking.end()
            cluster.rest = direct
        # A JobManager that comes after another does not know what that one did.
        failures = None if fault.do is _job_manager_killed else _failures(cluster)
        for i, time in enumerate(breaking.times):
            later_ms = [x.from_ms for x in breaking.times[i + 1 :] if x.from_ms is not None]
            end_ms = min(later_ms, default=math.inf)
            of = None if failures is None else breaking.within(failures, time.from_ms, end_ms)
            run.write(
                "fault",
                surge=surge.name,
                fault=fault.name,
                part=fault.part,
                done=fault.done,
                deaf=fault.deaf,
                from_ms=time.from_ms,
                until_ms=time.until_ms,
                restarts=None if of is None else len(of),
                why=of[0] if of else None,
                not_broken=time.failed,
                ok=error is None,
                error=error,
            )


@dataclass
class _Time:
    """When a fault broke and was mended, in ms since the schedule's start, or why it did not."""

    from_ms: float | None = None
    until_ms: float | None = None
    failed: str | None = None


class _Breaking:
    """Breaks a fault in each surge of a job, in a thread of its own, once batches are offloaded."""

    def __init__(self, one: Broken, scene: Scene) -> None:
        self._one = one
        self._scene = scene
        self._start_s = 0.0
        self._thread = threading.Thread(target=self._run, name="fault")
        self.times = [_Time(failed="the job did not start") for _ in one.starts_s]

    def start(self, start_at_s: float) -> None:
        self._start_s = start_at_s
        self._thread.start()

    def end(self) -> None:
        """The job is over, so the fault is."""
        self._scene.over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def within(
        self, failures: Sequence[tuple[float, str]], from_ms: float | None, end_ms: float
    ) -> list[str]:
        """What of `failures` (epoch s, first line) came from one fault until the next."""
        if from_ms is None:
            return []
        low_s, high_s = (self._start_s + x / 1000 for x in (from_ms, end_ms))
        return [why for at_s, why in failures if low_s <= at_s < high_s]

    def _run(self) -> None:
        scene, fault = self._scene, self._one.fault
        before: str | None = None
        try:
            self._sleep_until(0.0)
            if fault.before:
                fault.before(scene)
        except Exception as error:
            before = f"{type(error).__name__}: {error}"
        for time, start_s in zip(self.times, self._one.starts_s, strict=True):
            time.failed = before
            if before is not None:
                continue
            try:
                self._once(time, start_s)
            except Exception as error:  # the surge goes on, and its record says so
                time.failed = f"{type(error).__name__}: {error}"

    def _once(self, time: _Time, start_s: float) -> None:
        scene = self._scene
        self._sleep_until(start_s)
        asked = scene.function.asked
        give_up_s = clock.now_s() + _OFFLOADED_S
        while scene.function.asked == asked and clock.now_s() < give_up_s:
            scene.hold(0.02)
        scene.hold(_LET_S)
        if scene.over.is_set():
            raise NotBroken("the job was over before")
        time.from_ms = self._now_ms()
        self._one.fault.do(scene)
        time.until_ms = self._now_ms()

    def _now_ms(self) -> float:
        return (clock.now_s() - self._start_s) * 1000

    def _sleep_until(self, at_s: float) -> None:
        self._scene.hold(max(0.0, self._start_s + at_s - clock.now_s()))


def _failures(cluster: Cluster) -> list[tuple[float, str]] | None:
    """When the last job failed and was restarted, in epoch s, and the first line of why, oldest
    first; None where Flink cannot say."""
    with suppress(FlinkError, LookupError, TypeError, ValueError):
        jobs = cluster.rest.get("/jobs/overview")["jobs"]
        last = max(jobs, key=lambda job: job["start-time"])["jid"]
        entries = cluster.rest.get(f"/jobs/{last}/exceptions")["exceptionHistory"]["entries"]
        return sorted(
            (float(x["timestamp"]) / 1000, str(x["stacktrace"]).partition("\n")[0]) for x in entries
        )
    return None


@contextmanager
def _disk(folder: Path, wanted: bool) -> Iterator[None]:
    """A small disk of its own for a folder, in memory; where that is not permitted, the folder is
    on the disk that it is on, and filling that one is refused."""
    if not wanted:
        yield
        return
    folder.mkdir(parents=True)
    size = f"size={_DISK_BYTES}"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        yield
        return
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
