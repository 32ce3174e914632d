"""What offloading takes off the worker, and from which weight of work on, by the `worth` records.

A sentence costs the worker's process its work, l, and the way through Flink, f, if it is done here;
if it is called for, the call, c, and f. So what is done here costs L = l + f, what is called for
C = c + f, and offloading relieves where l is more than c = C - f: the break-even weight, which does
not hang on l. L and C are CPU times of the whole process, so that nothing is left out; l is what
the task's thread says of the work itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.report.gather.evidence import LANGUAGES, Evidence
from bench.stats import Estimate

# Of the sentences: with fewer called for, their cost is mostly that of the others.
_LEAST_CALLED = 0.2
# Of the quota: a worker that leaves more of it was not what held the job back.
_USED_UP = 0.9


@dataclass(frozen=True)
class Point:
    """One work in one batch size, done here and called for in one language.

    Attributes:
        bytes: of a sentence on the wire.
        here, called: the `worth` records, newest where there are several.
    """

    language: str
    operator: str
    words_per_sentence: int
    batch_size: int
    bytes: float
    here: dict[str, Any]
    called: dict[str, Any]

    @property
    def weight_us(self) -> float:
        """l: CPU of a sentence's work."""
        return float(self.here["local_cpu_us"])

    @property
    def through_us(self) -> float:
        """f: CPU of a sentence's way through the worker."""
        return max(0.0, float(self.here["worker_cpu_us"]) - self.weight_us)

    @property
    def called_us(self) -> Estimate | None:
        """C: CPU of a sentence that is called for, way included: over all windows, and the lowest
        and highest of them; None where too few were."""
        share = float(self.called["share_called"])
        windows = list(self.called["windows_cpu_us"])
        if share < _LEAST_CALLED or not windows:
            return None
        here_us = float(self.here["worker_cpu_us"])
        value, *each = (
            max(0.0, (us - (1 - share) * here_us) / share)
            for us in (float(self.called["worker_cpu_us"]), *windows)
        )
        return Estimate(value, n=len(each), least=min(each), most=max(each))

    @property
    def break_even_us(self) -> Estimate | None:
        """c: the weight from which on a call relieves."""
        cost = self.called_us
        if cost is None:
            return None
        value, least, most = (
            max(0.0, x - self.through_us) for x in (cost.value, cost.least or 0.0, cost.most or 0.0)
        )
        return Estimate(value, n=cost.n, least=least, most=most)

    @property
    def relief(self) -> float:
        """Throughput with all that helps offloaded ÷ without, as measured."""
        return float(self.called["per_s"]) / float(self.here["per_s"])

    @property
    def relief_by_cpu(self) -> float | None:
        """The same if calls were not limited: L ÷ C."""
        cost = self.called_us
        return float(self.here["worker_cpu_us"]) / cost.value if cost and cost.value else None

    @property
    def held_back_by(self) -> str:
        """What the job with offload could not have more of."""
        quota = self.called["worker_cpu"]
        if quota and float(self.called["worker_cpu_used"]) >= _USED_UP * float(quota):
            return "worker"
        return "calls" if quota else "not known"


def points(e: Evidence) -> list[Point]:
    """All that was measured both ways in one run with one subtask, the newest run first where there
    are several."""
    found: dict[tuple[Any, ...], Point] = {}
    for here, row in _pairs(e):
        if here["local_cpu_us"] is None or here["worker_cpu_us"] is None:
            continue
        if _subtasks(row) > 1:
            continue
        point = Point(
            row["language"],
            row["operator"],
            int(row["words_per_sentence"]),
            int(row["batch_size"]),
            float(row["bytes"]),
            here,
            row,
        )
        key = (point.language, point.operator, point.words_per_sentence, point.batch_size)
        found[key] = point
    return sorted(
        found.values(),
        key=lambda p: (
            p.operator, p.words_per_sentence, LANGUAGES.index(p.language), p.batch_size,
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """One work with so many subtasks: sentences/s of the whole job, with all work done here and, by
    language, with all that helps offloaded; and of how many CPUs the workers used up what share."""

    work: str
    subtasks: int
    here_per_s: float
    called_per_s: dict[str, float]
    cpus: float | None
    used: float


def scales(e: Evidence) -> list[Scale]:
    """How throughput grows with subtasks; none unless a work was measured with several numbers of
    them. The newest run counts where there are several."""
    found: dict[tuple[str, int], Scale] = {}
    for here, row in _pairs(e):
        work = (
            f"{row['operator']}, {int(row['words_per_sentence']):,} words, "
            f"batches of {int(row['batch_size']):,}"
        )
        n = _subtasks(row)
        quota = here["worker_cpu"]
        cpus = None if quota is None else float(quota) * n
        before = found.get((work, n))
        called = {row["language"]: float(row["per_s"])}
        if before and before.here_per_s == float(here["per_s"]):
            called = before.called_per_s | called
        used = float(here["worker_cpu_used"])
        found[work, n] = Scale(work, n, float(here["per_s"]), called, cpus, used)
    several = {work for work, n in found if n > 1}
    return sorted(
        (x for x in found.values() if x.work in several), key=lambda x: (x.work, x.subtasks)
    )


def _pairs(e: Evidence) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What was measured of a work with all done here, and with a language, in the same run."""
    frame = e.frames["worth"]
    rows = [
        {str(k): _none(v) for k, v in row.items()}
        for row in frame.sort_values("run").to_dict("records")
    ]
    work = ("run", "operator", "words_per_sentence", "batch_size", "parallelism")
    alone = {tuple(r[k] for k in work): r for r in rows if r["language"] is None}
    for row in rows:
        here = alone.get(tuple(row[k] for k in work))
        if row["language"] is not None and here is not None and here["per_s"]:
            yield here, row


def _subtasks(row: dict[str, Any]) -> int:
    return int(row["parallelism"] or 1)


def _none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


@dataclass(frozen=True)
class Own:
    """An operator of somebody else.

    Attributes:
        us: CPU of a record's work.
        bytes: of a record, as JSON.
        factor: the surge, times what the worker can do.
    """

    us: float
    bytes: float
    language: str
    factor: float = 2.0


@dataclass(frozen=True)
class Expected:
    """What offloading is expected to do for an operator, with one size of calls.

    Attributes:
        break_even_us: with the lowest and highest of the points it rests on.
        relief: throughput of the worker with everything called for ÷ with nothing.
        share: of the records that has to be called for; None: it would not be enough.
        calls_per_s, in_flight: in the surge; environments are as many as calls in flight.
        call_ms, p99_ms: of a warm call; of a record in the surge that is called for.
        billed_ms, memory_mb: of a call.
        beyond: what of this is beyond what was measured.
    """

    batch_size: int
    break_even_us: Estimate
    relief: float
    share: float | None
    calls_per_s: float | None
    in_flight: float | None
    call_ms: float | None
    p99_ms: float | None
    billed_ms: float | None
    memory_mb: float | None
    beyond: Sequence[str]


# As the policy plans: the worker a little below its capacity, calls with air for those that vary.
_UTILISATION, _HEADROOM = 0.9, 1.5


def expected(found: Sequence[Point], own: Own) -> list[Expected]:
    """What to expect of an operator, a line a batch size measured with its language; none where
    nothing was."""
    mine = [p for p in found if p.language == own.language and p.break_even_us]
    return [
        _expected([p for p in mine if p.batch_size == size], own)
        for size in sorted({p.batch_size for p in mine})
    ]


def _expected(found: Sequence[Point], own: Own) -> Expected:
    size = found[0].batch_size
    quota = float(found[-1].here["worker_cpu"] or 1.0)
    costs = [(p.bytes, p.break_even_us) for p in found if p.break_even_us]
    cost_us = _at(own.bytes, [(b, e.value) for b, e in costs])
    least_us = min(cost_us, _at(own.bytes, [(b, e.least or 0.0) for b, e in costs]))
    most_us = max(cost_us, _at(own.bytes, [(b, e.most or 0.0) for b, e in costs]))
    through_us = _at(own.bytes, [(p.bytes, p.through_us) for p in found])
    here_us, called_us = own.us + through_us, cost_us + through_us
    relief = here_us / called_us
    per_s = quota * 1e6 / here_us
    share = None
    if relief > 1:
        needed = (1 - _UTILISATION / own.factor) / (1 - 1 / relief)
        share = max(0.0, needed) if needed <= 1 else None
    calls_per_s = share * own.factor * per_s / size if share is not None else None
    # On top of the work: what the calls measured took besides theirs, inside and outside.
    inside = [
        max(0.0, p.called["duration_ms"] - p.weight_us * size / 1000)
        for p in found
        if p.called["duration_ms"] is not None
    ]
    inside_ms = own.us * size / 1000 + (median(inside) if inside else 0.0)
    beside = [
        p.called["call_ms"] - p.called["duration_ms"]
        for p in found
        if p.called["call_ms"] is not None and p.called["duration_ms"] is not None
    ]
    tails = [
        p.called["call_p99_ms"] - p.called["duration_ms"]
        for p in found
        if p.called["call_p99_ms"] is not None and p.called["duration_ms"] is not None
    ]
    call_ms = inside_ms + max(0.0, median(beside)) if beside else None
    filling_ms = size / (own.factor * per_s) * 1000
    p99_ms = inside_ms + max(0.0, max(tails)) + filling_ms if tails else None
    in_flight = calls_per_s * call_ms / 1000 * _HEADROOM if calls_per_s and call_ms else None
    memories = [p.called["memory_mb"] for p in found if p.called["memory_mb"] is not None]
    return Expected(
        size,
        Estimate(cost_us, n=len(found), least=least_us, most=most_us),
        relief,
        share,
        calls_per_s,
        in_flight,
        call_ms,
        p99_ms,
        float(np.ceil(inside_ms)) if inside and memories else None,
        float(memories[0]) if memories else None,
        _beyond(found, own, in_flight),
    )


def _at(bytes_: float, measured: Sequence[tuple[float, float]]) -> float:
    """A cost at a size of records: by the line through what was measured, least squares, or the
    median where all were of one size; never below 0."""
    sizes, values = zip(*measured, strict=True)
    if max(sizes) < 1.05 * min(sizes):
        return float(median(values))
    slope, start = np.polyfit(sizes, values, 1)
    if slope < 0:  # larger records are no cheaper: that is noise
        return float(median(values))
    return float(max(0.0, start + slope * bytes_))


def _beyond(found: Sequence[Point], own: Own, in_flight: float | None) -> list[str]:
    said = []
    for what, mine, values in (
        ("bytes a record", own.bytes, [p.bytes for p in found]),
        ("µs a record", own.us, [p.weight_us for p in found]),
    ):
        low, high = min(values), max(values)
        if not 0.95 * low <= mine <= 1.05 * high:
            ends = f"{low:,.0f}" if high < 1.05 * low else f"{low:,.0f} to {high:,.0f}"
            said.append(f"{mine:,.0f} {what}, measured were {ends}")
    most = max(int(p.called["max_in_flight"]) for p in found)
    if in_flight is not None and in_flight > most:
        said.append(f"{np.ceil(in_flight):,.0f} calls in flight, measured were {most} at most")
    return said
