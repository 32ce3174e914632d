"""What the worker can do: the job, saturated until its throughput is steady.

A source far above any capacity keeps the flatmap's input full. Throughput is read from the
flatmap's own counter, in windows. It is steady when the last `STEADY` windows, which the JVM's
warm-up is not in any more, show no trend: the medians of their halves are within `_TOLERANCE`. The
capacity is what those windows let through together (a window alone ends in the midst of a batch),
and their extremes are its interval: of six, the median of all windows like them lies between them
with a probability of 97 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench.cluster.flink import FlinkError, Jobs, wait_until
from bench.cluster.metrics import TIMES, fresh, vertex_metrics
from bench.cluster.worker import Worker
from bench.experiments.drive import Surge, start, submit
from bench.facts.records import Run
from bench.lambdas.target import Target
from bench.steering.controller import Controller

# Words/s: more than a core can take. Not more than needed, since the source plans its batches
# ahead, in the time in which the worker is to get warm.
_FLOOD_WORDS_PER_S = {"words": 2_000_000.0, "subwords": 500_000.0}
_WINDOW_S = 1.5
STEADY, _TOLERANCE = 6, 0.07
FIRST_WINDOWS, _MOST_WINDOWS = 4, 20
_NEWS_S = 0.5
# A cold JVM spends part of a small quota on compiling and loading for minutes, without a trend that
# shows from window to window. So it first runs for a while with a core of its own.
_WARM_UP_S, _WARM_UP_CPU = 10.0, 1.0
_MOST_S = 60.0
_METRICS_TIMEOUT_S = 90.0
_DONE_HERE = "localRecords"


@dataclass(frozen=True)
class Capacity:
    """Sentences/s of one worker, and the interval of that."""

    per_s: float
    low_per_s: float
    high_per_s: float


@dataclass(frozen=True)
class Look:
    """The flatmap's counters, summed over its subtasks, and the CPU time of the worker, at a
    moment. Of two looks the differences say what happened between them."""

    at_s: float
    counted: Mapping[str, float]
    cpu_s: float


def measure(run: Run, cluster: Jobs, worker: Worker, like: Surge, when: str) -> Capacity:
    """Saturate a job like `like`, without any relief, and write a `capacity` record.

    Args:
        when: "before" or "after" the surges.

    Raises:
        FlinkError: the job does not run, or nothing comes through.
    """
    began_s = time.monotonic()
    alone = replace(like, method="none", language=None)
    name = f"calibration-{when}-{like.operator}-{like.words_per_sentence}-{like.batch_size}"
    with saturated(cluster, worker, alone, run.folder / "output" / name) as job:
        if when == "before" and worker.limit != "none":
            worker.hold(job, _WARM_UP_CPU)
            time.sleep(_WARM_UP_S)
            worker.hold(job, like.worker_cpu)
        looks = watch(cluster, worker, job, [_DONE_HERE])
    windows = per_s(looks, [_DONE_HERE])
    steady = windows[-STEADY:]
    [together] = per_s([looks[-STEADY - 1], looks[-1]], [_DONE_HERE])
    capacity = Capacity(*(x / like.parallelism for x in (together, min(steady), max(steady))))
    run.write(
        "capacity",
        when=when,
        operator=like.operator,
        words_per_sentence=like.words_per_sentence,
        batch_size=like.batch_size,
        worker_cpu=worker.quota(),
        worker_limit=worker.limit,
        per_s=capacity.per_s,
        low_per_s=capacity.low_per_s,
        high_per_s=capacity.high_per_s,
        windows_per_s=windows,
        steady=is_steady(windows),
        seconds=time.monotonic() - began_s,
    )
    return capacity


def is_steady(windows: Sequence[float]) -> bool:
    """Whether the last windows show no trend."""
    last = windows[-STEADY:]
    if len(windows) < FIRST_WINDOWS + STEADY:
        return False
    half = STEADY // 2
    before, after = median(last[:half]), median(last[half:])
    return abs(after - before) <= _TOLERANCE * after


@contextmanager
def saturated(
    cluster: Jobs, worker: Worker, like: Surge, output: Path, target: Target | None = None
) -> Iterator[str]:
    """The id of a job like `like` that is offered more than it can take, its worker held. It is
    cancelled at the end.

    Args:
        output: where its sink writes.
        target: where its function is, if it calls one.

    Raises:
        FlinkError: it does not come to run, or to its end.
    """
    flood_per_s = _FLOOD_WORDS_PER_S[like.operator] / like.words_per_sentence
    flooded = replace(like, shape=f"constant:base={flood_per_s:g}", length_s=90.0)
    with Controller(cluster.listen) as controller:
        cluster.wait_for_slots(flooded.slots)
        job = submit(cluster, flooded.job_settings(target, controller, str(output.resolve())))
        try:
            start(flooded, cluster, worker, controller, job)
            yield job
        finally:
            with suppress(FlinkError):
                cluster.cancel(job)
        wait_until(lambda: cluster.state(job) == "CANCELED", 60, "the saturated job to end")
    if not cluster.is_ours and not any(output.rglob("*part-*")):
        raise FlinkError(
            f"nothing of what the job wrote is in {output}: run where the cluster's TaskManagers "
            "see the same folder at the same path"
        )


def watch(
    cluster: Jobs,
    worker: Worker,
    job: str,
    names: Sequence[str],
    most: int = _MOST_WINDOWS,
) -> list[Look]:
    """Looks at a saturated job, one window after the other, until what it lets through is steady or
    there are `most` windows between them.

    Args:
        names: of the flatmap's counters; those that count sentences that are done, see `done`.

    Raises:
        FlinkError: the job has failed, or does not come to enough windows in `_MOST_S`.
    """
    counted = _counters(cluster, job, names)
    counting = done(names)
    looks: list[Look] = []
    until_s = time.monotonic() + _MOST_S
    while True:
        cluster.running(job)  # raises if it has failed
        at_s, now = counted()
        look = Look(at_s, now, worker.cpu_s())
        is_news = not looks or at_s > looks[-1].at_s + _NEWS_S
        if is_news and sum(now.get(name, 0.0) for name in counting) > 0:
            looks.append(look)
        windows = per_s(looks, counting)
        if is_steady(windows) or len(windows) >= most:
            return looks
        if time.monotonic() > until_s:
            if len(windows) >= STEADY:
                return looks
            raise FlinkError("the saturated job lets hardly anything through; see its logs")
        time.sleep(_WINDOW_S)


def done(names: Sequence[str]) -> list[str]:
    """Of the names of counters those that count sentences that are done, wherever."""
    return [name for name in names if name in (_DONE_HERE, "calledRecords")]


def per_s(looks: Sequence[Look], names: Sequence[str]) -> list[float]:
    """Of each window, how much the counters have grown a second, together."""
    return [
        sum(b.counted.get(name, 0.0) - a.counted.get(name, 0.0) for name in names)
        / (b.at_s - a.at_s)
        for a, b in pairwise(looks)
    ]


def _counters(
    cluster: Jobs, job: str, names: Sequence[str]
) -> Callable[[], tuple[float, dict[str, float]]]:
    """Reads the named counters of the flatmap, summed over its subtasks, and before them the mean
    time of the subtasks' own clock, in s: a worker that is out of quota may tell late."""
    vertices = cluster.rest.vertices(job)
    vertex = next(id for name, id in vertices.items() if "tokenizer" in name)
    full: dict[str, str] = {}

    def known() -> bool:
        listed: list[dict[str, Any]] = cluster.rest.get(f"/jobs/{job}/vertices/{vertex}/metrics")
        for metric in listed:
            name = str(metric["id"]).split(".", 1)[1]
            if "." in name and (own := name.rsplit(".", 1)[1]) in names:
                full[own] = name
        return full.keys() >= set(names)

    wait_until(known, _METRICS_TIMEOUT_S, "the flatmap's metrics")

    ask = partial(vertex_metrics, cluster.rest, job, vertex, [*full.values(), *TIMES], 8)

    def read() -> tuple[float, dict[str, float]]:
        found = fresh(ask)
        clocks_ms = [sum(found.get(name, [0.0])) / len(found.get(name, [0.0])) for name in TIMES]
        counted = {own: sum(found[name]) for own, name in full.items() if name in found}
        return sum(clocks_ms) / 1000, counted

    return read
