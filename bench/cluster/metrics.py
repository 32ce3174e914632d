"""Flink's own metrics of a job, polled over REST: cumulative counters, differenced here.

Flink's `…PerSecond` metrics are sampled every 5 s and smoothed over up to 60 s. A surge is over
before they have noticed, so rates and ratios come from the difference of two cumulative counters;
the smoothed gauges are kept beside them to show how late they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.cluster.flink import Rest
from flink_job.clock import now_s
from flink_job.offload import counters

T = TypeVar("T")

# The JobManager fetches from the TaskManagers only when somebody asks, and answers with what it
# had. So every poll asks again, this far apart, until the answer is a new one, and so long at most.
FETCH_S, _FETCH_AT_MOST_S = 0.04, 0.16

TIMES = ("accumulateBusyTimeMs", "accumulateIdleTimeMs", "accumulateBackPressuredTimeMs")
GAUGES = (
    "numRecordsIn",
    "numRecordsOut",
    "numRecordsInPerSecond",
    "numRecordsOutPerSecond",
    "busyTimeMsPerSecond",
    "idleTimeMsPerSecond",
    "backPressuredTimeMsPerSecond",
    "softBackPressuredTimeMsPerSecond",
    "hardBackPressuredTimeMsPerSecond",
    "mailboxQueueSize",
    "Shuffle.Netty.Input.Buffers.inputQueueLength",
    "Shuffle.Netty.Input.Buffers.inPoolUsage",
    "Shuffle.Netty.Output.Buffers.outPoolUsage",
)


_COUNTERS = {f"{role}.{name}" for role in ("source", "tokenizer") for name in ("records", *TIMES)}

# Less than this since the last look is no news.
_NEWS_S = 0.05


@dataclass
class Counter:
    """A cumulative counter that may start again from zero, when its task does.

    After a stall Flink takes back up to half a second of the time counters; a task that has started
    again has a fraction of what it had.
    """

    total: float = 0.0
    _last: float | None = None

    def read(self, value: float) -> None:
        """Take in the counter's present value."""
        if self._last is not None:
            restarted = value < self._last / 2
            self.total += value if restarted else value - self._last
        else:
            self.total = value
        self._last = value


def vertex_metrics(
    rest: Rest, job: str, vertex: str, names: list[str], subtasks: int
) -> dict[str, list[float]]:
    """The named metrics of one vertex, one value a subtask; absent ones are left out.

    Args:
        names: as Flink names them, without the subtask's prefix.
        subtasks: how many subtasks to ask for; those that are not there are absent.
    """
    query = ",".join(f"{subtask}.{name}" for subtask in range(subtasks) for name in names)
    found: dict[str, list[float]] = {}
    for metric in rest.get(f"/jobs/{job}/vertices/{vertex}/metrics?get={query}"):
        name = metric["id"].split(".", 1)[1]
        with suppress(ValueError):
            value = float(metric["value"])
            if math.isfinite(value):  # a task that has just started has rates of NaN
                found.setdefault(name, []).append(value)
    return found


def fresh(ask: Callable[[], T], at_most_s: float = 1.0) -> T:
    """An answer of Flink's that is not the one it had, or after `at_most_s` the one it had.

    A worker that is out of quota takes its time to tell; an answer taken for new before that makes
    one window look empty, and the next one twice as full.
    """
    old = now = ask()
    until_s = time.monotonic() + at_most_s
    while now == old and time.monotonic() < until_s:
        time.sleep(FETCH_S)
        now = ask()
    return now


class JobMonitor:
    """Samples of our own job: how its source and its tokenizer fare since the last sample.

    Args:
        due: sentences due by a number of seconds after the start, from the rate shape: what is
            offered, which back-pressure hides from every counter.
        start_at_s: epoch seconds of the schedule's start.
        subtasks: the most subtasks that the tokenizer may have.
    """

    def __init__(
        self, rest: Rest, job: str, due: Callable[[float], int], start_at_s: float, subtasks: int
    ) -> None:
        self._rest = rest
        self._job = job
        self._due = due
        self._start_at_s = start_at_s
        self._subtasks = subtasks
        vertices = rest.vertices(job)
        self._source = next(id for name, id in vertices.items() if name.startswith("Source:"))
        self._tokenizer = next(id for name, id in vertices.items() if "tokenizer" in name)
        self._caller = next((id for name, id in vertices.items() if "caller" in name), None)
        self._counters: dict[str, Counter] = {}
        self._before: dict[str, float] | None = None
        self._names: dict[str, dict[str, str]] = {}

    def sample(self) -> dict[str, Any] | None:
        """One `sample` record's fields, or None while there is nothing to difference with yet.

        Rates are sentences/s, ratios 0 to 1 (averaged over the subtasks). What the caller of method
        "source" takes counts as processed. `offered_per_s` and `backlog` (sentences) come from the
        schedule: they are for who reads the record, no policy is told them. None too while a vertex
        has told nothing new.
        """
        self._await_news()
        at_s = now_s() - self._start_at_s
        source = self._read("source", self._source, 1)
        tokenizer = self._read("tokenizer", self._tokenizer, self._subtasks)
        caller = self._read("caller", self._caller, self._subtasks) if self._caller else {}
        taken = sum(
            self._counters[name].total
            for name in ("tokenizer.records", "caller.records")
            if name in self._counters
        )
        now = {
            "at_s": at_s,
            "due": float(self._due(max(0.0, at_s))),
            "taken": taken,
            **{name: counter.total for name, counter in self._counters.items()},
        }
        before = self._before
        if before is None or not before.keys() >= _COUNTERS:
            self._before = now
            return None

        def since(name: str) -> float:
            return now.get(name, 0.0) - before.get(name, 0.0)

        # A TaskManager that is short of CPU answers late, with what it counted earlier. So rates
        # go by the clock of who counted, which is in the same answer.
        running = {
            "source": 1,
            "tokenizer": len(tokenizer.get(TIMES[0], [0.0])),
            "caller": len(caller.get(TIMES[0], [0.0])),
        }
        clocks_s = {
            vertex: sum(since(f"{vertex}.{name}") for name in TIMES) / 1000 / subtasks
            for vertex, subtasks in running.items()
            if f"{vertex}.{TIMES[0]}" in before
        }
        if min(clocks_s.values()) < _NEWS_S:
            return None
        self._before = now

        def rate(vertex: str, name: str) -> float:
            return since(f"{vertex}.{name}") / clocks_s[vertex] if vertex in clocks_s else 0.0

        def both(name: str) -> float:
            """Of tokenizer and caller, per second."""
            return rate("tokenizer", name) + rate("caller", name)

        def ratio(vertex: str, metric: str) -> float:
            return min(1.0, max(0.0, rate(vertex, metric) / 1000 / running[vertex]))

        return {
            "at_ms": at_s * 1000,
            "offered_per_s": since("due") / since("at_s"),
            "emitted_per_s": rate("source", "records"),
            "processed_per_s": both("records"),
            "backlog": max(0.0, now["due"] - taken),
            "source_busy": ratio("source", "accumulateBusyTimeMs"),
            "source_idle": ratio("source", "accumulateIdleTimeMs"),
            "source_backpressured": ratio("source", "accumulateBackPressuredTimeMs"),
            "tokenizer_busy": ratio("tokenizer", "accumulateBusyTimeMs"),
            "tokenizer_idle": ratio("tokenizer", "accumulateIdleTimeMs"),
            "tokenizer_backpressured": ratio("tokenizer", "accumulateBackPressuredTimeMs"),
            **self._of_calls(both, lambda x: since(f"tokenizer.{x}") + since(f"caller.{x}")),
            "tokenizer_waiting": rate("tokenizer", "waitedNs") / 1e9 / running["tokenizer"],
            "gauges": {
                f"{vertex}.{name}": sum(values) / len(values)
                for vertex, found in (("source", source), ("tokenizer", tokenizer))
                for name, values in found.items()
                if name in GAUGES
            },
        }

    def _await_news(self) -> None:
        """Have Flink fetch the metrics, and wait until those of the tokenizer have come: its
        TaskManager, which may be out of quota, is the last to answer."""
        times = list(TIMES)
        fresh(
            lambda: vertex_metrics(self._rest, self._job, self._tokenizer, times, self._subtasks),
            at_most_s=_FETCH_AT_MOST_S,
        )

    def _of_calls(
        self, rate: Callable[[str], float], since: Callable[[str], float]
    ) -> dict[str, Any]:
        """What the operators say of local work and of calls; absent where they do not count it."""
        found: dict[str, Any] = {}
        if "tokenizer.localRecords" in self._counters:
            local = since("localRecords")
            found["local_per_s"] = rate("localRecords")
            found["local_cpu_us"] = since("localCpuNs") / 1000 / local if local else None
            found["work_cpu_us"] = since("workCpuNs") / 1000 / local if local else None
        if "tokenizer.calls" in self._counters:
            called = since("calledRecords")
            found["called_per_s"] = rate("calledRecords")
            found["call_cpu_us"] = since("callCpuNs") / 1000 / called if called else None
            found["calls_per_s"] = rate("calls")
            levels = (self._counters.get(f"{x}.callsInFlight") for x in ("tokenizer", "caller"))
            found["in_flight"] = max(0.0, sum(level.total for level in levels if level))
            found["failed_calls"] = since("failedCalls")
            found["late_calls"] = since("lateCalls")
            found["throttled_calls"] = since("throttledCalls")
        return found

    def _read(self, role: str, vertex: str, subtasks: int) -> dict[str, list[float]]:
        own = self._own(vertex)
        names = [*own.values(), *TIMES, *GAUGES]
        found = vertex_metrics(self._rest, self._job, vertex, names, subtasks)
        for key, name in (*own.items(), *zip(TIMES, TIMES, strict=True)):
            if name not in found:
                continue
            value = sum(found[name])
            if key == "callsInFlight":  # a level: nothing is lost when it falls
                self._counters[f"{role}.{key}"] = Counter(total=value)
            else:
                self._counters.setdefault(f"{role}.{key}", Counter()).read(value)
        return found

    def _own(self, vertex: str) -> dict[str, str]:
        """What Flink calls our own counters: behind the names of all operators in their chain."""
        if vertex not in self._names:
            listed = self._rest.get(f"/jobs/{self._job}/vertices/{vertex}/metrics")
            full = [metric["id"].split(".", 1)[1] for metric in listed]
            ends = {name.rsplit(".", 1)[-1]: name for name in full if "." in name}
            own = {key: ends[key] for key in counters.NAMES if key in ends}
            if "sentences" in ends:
                own["records"] = ends["sentences"]
            if not own:
                return {}
            self._names[vertex] = own
        return self._names[vertex]
