"""What others offload with, and what we do, on the same cluster: every batch to the same function.

`python -m bench.perf.peers` runs each in turn, saturated, and prints what a sentence costs the
worker (CPU of the TaskManager that runs the flatmap, the Python processes that it starts included),
how many come out, and what is left of that while one call hangs for 10 s.

Java AsyncFunction   Flink's AsyncDataStream.unorderedWait, AWS's SDK for Java v2
PyFlink async-io     PyFlink's AsyncDataStream, boto3; process mode, which is the only one it has
ours                 method "always", one batch a call, and up to 10

Batches have 100 sentences, as many calls are in flight, and no call asks for the log. The batches
of the first two come as ready JSON from a file, ours are made by its source; that is another
TaskManager's work, as is the sink's. The flatmap, the source, the sink and the functions share this
machine's cores: figures of one run are to be held against each other, and against nothing else.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import click
import orjson
import psutil

from bench.cluster.flink import Cluster, wait_until
from bench.cluster.metrics import fresh
from bench.experiments.drive import submit
from bench.facts.records import Run
from bench.lambdas.target import Target, open_target
from bench.perf import jvm
from bench.report.gather.evidence import load
from bench.report.say import peers
from bench.steering.controller import Controller
from flink_job import clock
from flink_job.load.workloads import workload
from flink_job.offload.settings import Offloading
from flink_job.settings import JobSettings
from functions.python.tokenizer import tokenize

LANGUAGE = "node"
BATCH_SIZE = 100
CALLS = 8
WARM_UP_S, WINDOW_S, HANG_S = 30.0, 15.0, 10.0  # the JVM compiles for half a minute
_LINES = 500
_OFFERED_PER_S, _LENGTH_S = 200_000, 60.0  # more than is ever done, nor by the end


@dataclass(frozen=True)
class Standing:
    """How one of them fared.

    Attributes:
        cpu_us: of the worker, a sentence; None if none was done.
        per_s: sentences.
        left: of `per_s`, while a call hangs; above 1 means only that it was not slower.
        state: of the job after that.
    """

    peer: str
    cpu_us: float | None
    per_s: float
    left: float | None
    state: str


# A job on a cluster, submitted and started, until the context ends.
Start = Callable[[Cluster, Target, Path], AbstractContextManager[str]]


def main() -> None:
    jar = jvm.jar()
    ways: dict[str, Start] = {
        "ours": _ours(batches_per_call=1),
        "Java AsyncFunction": _java(jar),
        "PyFlink async-io": _pyflink,
        "ours, up to 10 a call": _ours(batches_per_call=10),
    }
    with (
        tempfile.TemporaryDirectory() as name,
        open_target() as target,
        Run("peers", target=target, languages=[LANGUAGE]) as run,
    ):
        folder = Path(name)
        _batches(folder).write_bytes(b"\n".join(_ready_batches()))
        for number, (peer, start) in enumerate(ways.items()):
            # Each has a cluster of its own, or the second would find the JVM of the first warm.
            with (
                Cluster(folder / f"flink-{number}", task_managers=2, slots=1) as cluster,
                start(cluster, target, folder) as job,
            ):
                run.write("peer", **asdict(_measure(peer, cluster, job)))
            click.echo(peer, err=True)
    (e,) = load([run.folder])
    if made := peers.table(e):
        print(made.section())
    print(f"\nrecords: {run.path}")


def _java(jar: Path) -> Start:
    @contextmanager
    def start(cluster: Cluster, target: Target, folder: Path) -> Iterator[str]:
        yield cluster.submit_jar(jar, "peers.Job", *_arguments(target, folder))

    return start


@contextmanager
def _pyflink(cluster: Cluster, target: Target, folder: Path) -> Iterator[str]:
    yield cluster.submit("bench.perf.async_io_job", *_arguments(target, folder))


def _arguments(target: Target, folder: Path) -> list[str]:
    assert target.endpoint_url
    where = target.endpoint_url, target.functions[LANGUAGE]
    return [*where, str(_batches(folder)), str(CALLS)]


def _ours(batches_per_call: int) -> Start:
    @contextmanager
    def start(cluster: Cluster, target: Target, folder: Path) -> Iterator[str]:
        with Controller() as controller:
            settings = JobSettings(
                method="always",
                workload="sentences",
                seed=1,
                shape=f"constant:base={_OFFERED_PER_S}",
                length_s=_LENGTH_S,
                control=controller.address,
                secret=controller.secret,
                clock=clock.anchor(),
                output=str(folder / f"output-{batches_per_call}"),
                batch_size=BATCH_SIZE,
                offloading=Offloading(
                    target.functions[LANGUAGE],
                    endpoint_url=target.endpoint_url,
                    control=controller.address,
                    secret=controller.secret,
                    tail_every=1_000_000_000,
                ),
            )
            job = submit(cluster, settings)
            wait_until(lambda: cluster.running(job), 90, "all tasks running")
            wait_until(lambda: len(controller.connected()) == 2, 90, "both to be connected")
            controller.publish(
                job={"start_at_s": clock.now_s() + 0.5},
                share=1.0,
                in_flight=CALLS,
                batches_per_call=batches_per_call,
            )
            yield job

    return start


def _measure(peer: str, cluster: Cluster, job: str) -> Standing:
    """Let a job get warm, look at it, let a call hang, look again."""
    wait_until(lambda: cluster.running(job) and _tokens(cluster, job) > 0, 120, "the first token")
    worker = _worker(cluster, job)
    time.sleep(WARM_UP_S)
    cpu_s, (per_s, sentences) = _cpu_s(worker), _throughput(cluster, job, WINDOW_S)
    cpu_s = _cpu_s(worker) - cpu_s
    with _one_call_hangs():
        hanging_per_s, _ = _throughput(cluster, job, HANG_S)
    state = cluster.state(job)
    if cluster.failure(job):
        state = f"{state} after a failure"
    cluster.cancel(job)
    return Standing(
        peer,
        cpu_us=cpu_s / sentences * 1e6 if sentences else None,
        per_s=per_s,
        left=hanging_per_s / per_s if per_s else None,
        state=state,
    )


def _throughput(cluster: Cluster, job: str, window_s: float) -> tuple[float, float]:
    """Sentences a second, and in all, whose tokens reach the sink in a window."""
    before, begin_s = _tokens(cluster, job), time.monotonic()
    time.sleep(window_s)
    sentences = (_tokens(cluster, job) - before) / _tokens_per_sentence()
    return sentences / (time.monotonic() - begin_s), sentences


def _tokens(cluster: Cluster, job: str) -> int:
    """Tokens that have reached the sink; with ours a line about each batch is among them, which is
    one in a thousand."""
    vertex = _vertex(cluster, job, "sink")
    path = f"/jobs/{job}/vertices/{vertex}/metrics?get=0.numRecordsIn"
    # Flink answers with what it had when it was last asked, which was a window ago.
    said = fresh(lambda: cluster.rest.get(path))
    return int(said[0]["value"]) if said else 0


def _vertex(cluster: Cluster, job: str, first: str) -> str:
    """The vertex whose chain begins with the operator `first`."""
    return next(x for name, x in cluster.rest.vertices(job).items() if name.startswith(first))


@cache
def _tokens_per_sentence() -> float:
    sentences = [x for batch in _ready_batches() for x in orjson.loads(batch)]
    return sum(len(tokenize(x)) for x in sentences) / len(sentences)


def _worker(cluster: Cluster, job: str) -> psutil.Process:
    """The TaskManager that runs the flatmap."""
    vertex = _vertex(cluster, job, "tokenizer")
    manager = cluster.rest.get(f"/jobs/{job}/vertices/{vertex}/taskmanagers")["taskmanagers"][0]
    port = int(manager["endpoint"].rsplit(":", 1)[1])
    for process in map(psutil.Process, cluster.task_manager_pids()):
        if any(x.laddr.port == port for x in process.net_connections("tcp")):
            return process
    raise click.ClickException(f"no TaskManager listens on port {port}")


def _cpu_s(process: psutil.Process) -> float:
    """CPU time of a process and of those that it started, so far."""
    times = [x.cpu_times() for x in (process, *process.children(recursive=True))]
    return sum(x.user + x.system for x in times)


@contextmanager
def _one_call_hangs() -> Iterator[None]:
    """Freeze the function's environment that has worked most, with the call that it has."""
    environments = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == LANGUAGE
    ]
    frozen = max(environments, key=lambda x: x.cpu_times().user)
    frozen.suspend()
    try:
        yield
    finally:
        frozen.resume()


def _batches(folder: Path) -> Path:
    return folder / "batches"


def _ready_batches() -> Iterator[bytes]:
    sentences = workload("sentences", 1)
    for number in range(_LINES):
        yield orjson.dumps(sentences.sentences(number * BATCH_SIZE, BATCH_SIZE))


if __name__ == "__main__":
    main()
