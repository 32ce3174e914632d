"""What the worker can do: the job, saturated until its throughput is steady.

A source far above any capacity keeps the flatmap's input full. Throughput is read from the
flatmap's own counter, in windows. It is steady when the last `_STEADY` windows, which the JVM's
warm-up is not in any more, show no trend: the medians of their halves are within `_TOLERANCE`. The
capacity is the median of those windows, and their extremes are its interval: of six, the median of
all windows like them lies between them with a probability of 97 %.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.cluster.flink import Cluster, FlinkError, wait_until
from bench.cluster.metrics import FETCH_S, vertex_metrics
from bench.cluster.worker import Worker
from bench.experiments.drive import Surge, submit
from bench.facts.records import Run
from bench.steering.controller import Controller
from flink_job import clock

# Sentences/s: more than the job can take with any operator.
_FLOOD_PER_S = 120_000.0
_WINDOW_S = 1.5
_STEADY, _TOLERANCE = 6, 0.07
_FIRST_WINDOWS, _MOST_WINDOWS = 4, 20
_MOST_S = 60.0
_CONNECT_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Capacity:
    """Sentences/s of one worker, and the interval of that."""

    per_s: float
    low_per_s: float
    high_per_s: float


def measure(run: Run, cluster: Cluster, worker: Worker, like: Surge, when: str) -> Capacity:
    """Saturate a job like `like`, without any relief, and write a `capacity` record.

    Args:
        when: "before" or "after" the surges.

    Raises:
        FlinkError: the job does not run, or nothing comes through.
    """
    began_s = time.monotonic()
    saturated = replace(
        like, method="none", language=None, shape=f"constant:base={_FLOOD_PER_S:g}", length_s=120.0
    )
    name = f"calibration-{when}-{like.operator}-{like.words_per_sentence}-{like.batch_size}"
    output = run.folder / "output" / name
    with Controller() as controller:
        cluster.wait_for_slots(saturated.slots)
        job = submit(cluster, saturated.job_settings(None, controller, str(output.resolve())))
        try:
            wait_until(lambda: cluster.running(job), _CONNECT_TIMEOUT_S, "all tasks running")
            wait_until(
                lambda: bool(controller.connected()), _CONNECT_TIMEOUT_S, "the source to connect"
            )
            wait_until(lambda: worker.hold(job), _CONNECT_TIMEOUT_S, "the worker to be known")
            controller.publish(job={"start_at_s": clock.now_s()})
            windows = _windows(cluster, job)
        finally:
            with suppress(FlinkError):
                cluster.cancel(job)
        wait_until(lambda: cluster.state(job) == "CANCELED", 60, "the calibration to end")
    steady = windows[-_STEADY:]
    capacity = Capacity(*(x / like.parallelism for x in (median(steady), min(steady), max(steady))))
    run.write(
        "capacity",
        when=when,
        operator=like.operator,
        words_per_sentence=like.words_per_sentence,
        batch_size=like.batch_size,
        worker_cpu=None if worker.limit == "none" else worker.cpus,
        worker_limit=worker.limit,
        per_s=capacity.per_s,
        low_per_s=capacity.low_per_s,
        high_per_s=capacity.high_per_s,
        windows_per_s=windows,
        steady=is_steady(windows),
        seconds=time.monotonic() - began_s,
    )
    return capacity


def is_steady(windows: list[float]) -> bool:
    """Whether the last windows show no trend."""
    last = windows[-_STEADY:]
    if len(windows) < _FIRST_WINDOWS + _STEADY:
        return False
    half = _STEADY // 2
    before, after = median(last[:half]), median(last[half:])
    return abs(after - before) <= _TOLERANCE * after


def _windows(cluster: Cluster, job: str) -> list[float]:
    """Sentences/s of one window after the other, until steady or until there are `_MOST_WINDOWS`.

    Raises:
        FlinkError: the job has failed, or does not come to so many windows in `_MOST_S`.
    """
    vertices = cluster.rest.vertices(job)
    vertex = next(id for name, id in vertices.items() if "tokenizer" in name)
    counter = _counter(cluster, job, vertex)
    windows: list[float] = []
    before: tuple[float, float] | None = None
    until_s = time.monotonic() + _MOST_S
    while not is_steady(windows) and len(windows) < _MOST_WINDOWS:
        cluster.running(job)  # raises if it has failed
        # Flink answers with what it had, and then fetches: see `bench.cluster.metrics`.
        vertex_metrics(cluster.rest, job, vertex, [counter], 8)
        time.sleep(FETCH_S)
        taken = sum(vertex_metrics(cluster.rest, job, vertex, [counter], 8).get(counter, []))
        now_s = time.monotonic()
        if before is not None and taken > 0:
            windows.append((taken - before[1]) / (now_s - before[0]))
        before = (now_s, taken) if taken > 0 else None
        if now_s > until_s:
            if len(windows) >= _STEADY:
                break
            raise FlinkError("the saturated job lets hardly anything through; see its logs")
        time.sleep(_WINDOW_S)
    return windows


def _counter(cluster: Cluster, job: str, vertex: str) -> str:
    """The full name of the flatmap's counter of records done here."""
    listed: list[dict[str, Any]] = []

    def known() -> bool:
        listed[:] = [
            x
            for x in cluster.rest.get(f"/jobs/{job}/vertices/{vertex}/metrics")
            if x["id"].endswith(".localRecords")
        ]
        return bool(listed)

    wait_until(known, _CONNECT_TIMEOUT_S, "the flatmap's metrics")
    return str(listed[0]["id"].split(".", 1)[1])
