"""From which weight on is offloading worth it? The saturated job, with all work done here and with
all that helps offloaded, for works of several weights and batches of several sizes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click
import numpy as np

from bench.cluster.flink import ADAPTIVE, Cluster, FlinkError
from bench.cluster.worker import Worker
from bench.experiments import calibrate
from bench.experiments.batches import Work
from bench.experiments.calibrate import Look
from bench.experiments.drive import Surge, calls_record, warm_pool
from bench.facts.records import Run
from bench.lambdas.target import Target, TargetError

# Warm-up and as many windows as tell whether it is steady: 15 s.
_WINDOWS = calibrate.FIRST_WINDOWS + calibrate.STEADY
# How long calls may be in flight then, with the job's start and end.
MOST_S = 30.0
# A call with 1,000 texts, its environment sharing a core with others, is not given up.
_CALL_TIMEOUT_MS = 10_000.0
# Times and bills are medians and means: a sample of the calls says as much, and costs the worker
# less than asking each.
TAIL_EVERY = 10
_BYTES_OF = 200

LOCAL = ("records", "localRecords", "localCpuNs")
CALLS = (
    "calledRecords",
    "callCpuNs",
    "calls",
    "callsInFlight",
    "failedCalls",
    "throttledCalls",
    "lateCalls",
)


class NothingMeasured(click.ClickException):
    """Not one of the points came to figures."""


def plan(
    languages: Sequence[str],
    operators: Sequence[str],
    lengths: Sequence[int],
    sizes: Sequence[int],
    seed: int = 1,
    subtasks: Sequence[int] = (1,),
) -> list[Surge]:
    """For each operator, length of the texts (words), batch size (sentences) and number of the
    flatmap's subtasks a saturated job with all work done here and one for each language with all
    that helps offloaded; works in an order drawn from `seed`, and so are the jobs of a work, which
    stay together: they are compared.

    Raises:
        BatchTooLarge: a batch does not go through Lambda in one call.
    """
    rng = random.Random(seed)
    works = list(product(operators, lengths, sizes, subtasks))
    planned = []
    for operator, length, size, parallelism in rng.sample(works, len(works)):
        Work(operator, length).draw(seed, 0, size)
        alone = Surge(
            method="none",
            shape="",
            length_s=0.0,
            seed=seed,
            operator=operator,
            words_per_sentence=length,
            batch_size=size,
            parallelism=parallelism,
            call_timeout_ms=_CALL_TIMEOUT_MS,
            tail_every=TAIL_EVERY,
        )
        turn = [alone] + [
            replace(alone, method="always", language=language, warm=alone.max_in_flight)
            for language in languages
        ]
        planned += rng.sample(turn, len(turn))
    return [replace(one, ordinal=number) for number, one in enumerate(planned, 1)]


def measure(
    target: Target,
    run: Run,
    planned: Sequence[Surge],
    worker_cpu: float,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Saturate one job after the other on one cluster, and write a `worth` record of each. One that
    fails is a `failure` record, and the others go on.

    Raises:
        NothingMeasured: all failed.
        FlinkError: the cluster does not start.
    """
    on_progress("Flink starts", 0.0)
    failed = []
    slots = max(one.slots for one in planned)
    with (
        Cluster(run.folder / "flink", task_managers=slots, slots=1, settings=ADAPTIVE) as cluster,
        Worker(cluster, worker_cpu) as worker,
    ):
        for number, one in enumerate(planned):
            on_progress(said(one), number / len(planned))
            try:
                _measure_one(target, run, cluster, worker, one)
            except (FlinkError, TargetError) as error:
                failed.append(error.message)
                run.write(
                    "failure",
                    language=one.language,
                    function=target.functions[one.language] if one.language else None,
                    error=type(error).__name__,
                    message=error.message,
                    where=f"worth: {said(one)}",
                    at_ms=run.elapsed_ms,
                )
    if len(failed) == len(planned):
        raise NothingMeasured(f"no job came to figures; the last: {failed[-1]}")


def said(one: Surge) -> str:
    """A job in a few words."""
    subtasks = f", {one.parallelism} subtasks" if one.parallelism > 1 else ""
    work = f"{one.operator} {one.words_per_sentence} × {one.batch_size}"
    return f"{one.language or 'here'}, {work}{subtasks}"


def _measure_one(target: Target, run: Run, cluster: Cluster, worker: Worker, one: Surge) -> None:
    output = run.folder / "output" / f"worth-{one.ordinal}"
    names = (*LOCAL, *CALLS) if one.language else LOCAL
    if one.language:
        target.expects(one.language, one.max_in_flight, MOST_S, one.memory_mb)
    with (
        warm_pool(one, target) as pool,
        calibrate.saturated(cluster, worker, one, output, target) as job,
    ):
        looks = calibrate.watch(cluster, worker, job, names, most=_WINDOWS)
    sentences = Work(one.operator, one.words_per_sentence).draw(one.seed, 0, _BYTES_OF).sentences
    run.write(
        "worth",
        language=one.language,
        operator=one.operator,
        words_per_sentence=one.words_per_sentence,
        bytes=fmean(len(json.dumps(s, ensure_ascii=False).encode()) for s in sentences),
        batch_size=one.batch_size,
        parallelism=one.parallelism,
        max_in_flight=one.max_in_flight if one.language else None,
        worker_cpu=worker.quota(),
        worker_limit=worker.limit,
        **figures(looks),
        **(call_figures(_calls(output), looks) if one.language else {}),
    )
    if one.language:
        warm_up_calls, warm_up_billed_ms = pool.spent() if pool else (0, 0.0)
        warm_up = {"warm_up_calls": warm_up_calls, "warm_up_billed_ms": warm_up_billed_ms}
        target.wrote("lambda", {**calls_record(_calls(output)), **warm_up})


def figures(looks: Sequence[Look]) -> dict[str, Any]:
    """The fields of a `worth` record that come from looks at the job: of the steady windows."""
    windows = calibrate.per_s(looks, calibrate.done((*LOCAL, *CALLS)))
    steady = looks[-calibrate.STEADY - 1 :]
    first, last = steady[0], steady[-1]
    seconds = last.at_s - first.at_s

    def grew(name: str, a: Look = first, b: Look = last) -> float:
        return b.counted.get(name, 0.0) - a.counted.get(name, 0.0)

    def cpu_us(ns: str, of: str) -> float | None:
        return grew(ns) / 1000 / grew(of) if grew(of) > 0 else None

    cpu = [
        (b.cpu_s - a.cpu_s) * 1e6 / both
        for a, b in pairwise(steady)
        if (both := grew("localRecords", a, b) + grew("calledRecords", a, b)) > 0
    ]
    done = grew("localRecords") + grew("calledRecords")
    return {
        "per_s": median(windows[-calibrate.STEADY :]),
        "windows_per_s": windows,
        "steady": calibrate.is_steady(windows),
        "share_called": grew("calledRecords") / done if done > 0 else 0.0,
        "local_cpu_us": cpu_us("localCpuNs", "localRecords"),
        "call_cpu_us": cpu_us("callCpuNs", "calledRecords"),
        "worker_cpu_us": (last.cpu_s - first.cpu_s) * 1e6 / done if done > 0 else None,
        "windows_cpu_us": cpu,
        "worker_cpu_used": (last.cpu_s - first.cpu_s) / seconds,
    }


def call_figures(calls: Sequence[Mapping[str, Any]], looks: Sequence[Look]) -> dict[str, Any]:
    """The fields of a `worth` record that are about calls.

    Args:
        calls: the sink's lines of them, oldest first; the first half was warming up, and does not
            count.
    """
    steady = looks[-calibrate.STEADY - 1 :]
    first, last = steady[0].counted, steady[-1].counted
    seconds = steady[-1].at_s - steady[0].at_s
    answered = [c for c in calls if c["outcome"] == "answered" and c["wall_ms"] is not None]
    late = answered[len(answered) // 2 :]
    wall_ms = [float(c["wall_ms"]) for c in late]
    inside_ms = [float(c["duration_ms"]) for c in late if c["duration_ms"] is not None]
    billed_ms = [float(c["billed_ms"]) for c in late if c["billed_ms"] is not None]
    memory_mb = [float(c["memory_mb"]) for c in late if c["memory_mb"] is not None]
    return {
        "calls_per_s": (last.get("calls", 0.0) - first.get("calls", 0.0)) / seconds,
        "in_flight": fmean(look.counted.get("callsInFlight", 0.0) for look in steady),
        "unanswered_calls": int(
            sum(
                last.get(name, 0.0) - first.get(name, 0.0)
                for name in ("failedCalls", "throttledCalls", "lateCalls")
            )
        ),
        "call_ms": median(wall_ms) if wall_ms else None,
        "call_p99_ms": float(np.quantile(wall_ms, 0.99)) if len(wall_ms) >= 100 else None,
        "duration_ms": median(inside_ms) if inside_ms else None,
        "billed_ms": fmean(billed_ms) if billed_ms else None,
        "memory_mb": memory_mb[0] if memory_mb else None,
    }


def _calls(output: Path) -> list[dict[str, Any]]:
    """The calls in the sink's output, oldest first. The job was cancelled, so what no checkpoint
    has committed counts too, and a last line may be torn."""
    return sorted(_lines(output), key=lambda call: float(call["sent_at_ms"]))


def _lines(output: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(f for f in output.rglob("*part-*") if f.is_file()):
        for line in file.read_text(errors="replace").splitlines():
            if '"call"' in line:
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue
                if fields.get("kind") == "call":
                    yield fields
