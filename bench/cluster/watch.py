"""The metrics of any running Flink job, ours or not, given its REST address.

Nothing is known of the job but what Flink tells. The JobManager renews its figures every few
seconds only, so a poll mostly meets those that it has met: then there is no row. Rates and ratios
are differences of a subtask's cumulative counters, divided by the same subtask's own clock (its
busy, idle and back-pressured ms): when the poll came plays no part.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median
from typing import Any

from bench.cluster.flink import FlinkError, Rest
from bench.cluster.metrics import FETCH_S, GAUGES, TIMES
from flink_job import clock

_COUNTERS = ("numRecordsIn", "numRecordsOut", *TIMES)
_GAUGES = tuple(name for name in GAUGES if name not in _COUNTERS)
_ENDED = ("FINISHED", "FAILED", "CANCELED", "SUSPENDED")
_UNIT_MS = {"": 1, "ms": 1, "s": 1000, "sec": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000}
# Flink's own default of metrics.fetcher.update-interval.
_DEFAULT_REFRESH_MS = 10_000
# Flink refuses a request line of more than 4,096 bytes.
_LONGEST_QUERY = 3_000
# How long answers that do not come, or cannot be used, are asked for again.
PATIENCE_S = 60.0
# A vertex that is so busy does all it can; a source that waits so much would send more.
_BUSY, _BLOCKED = 0.95, 0.1


class NotThere(FlinkError):
    """Flink answers, but has no such job or vertex. The message names those there are."""


@dataclass(frozen=True)
class Vertex:
    """A vertex of a job as it is now."""

    id: str
    name: str
    subtasks: int
    label: str
    """The name, and the beginning of the id where the job has that name twice."""


def find_job(rest: Rest, wanted: str | None) -> tuple[str, str]:
    """(id, name) of a job that runs.

    Args:
        wanted: its id, the beginning of that, or its name; None: the one that runs.

    Raises:
        NotThere: there is none, or there are several.
    """
    jobs = _asked(rest, "/jobs/overview", "jobs")
    running = [(j["jid"], j["name"]) for j in jobs if j["state"] not in _ENDED]
    found = [
        (id, name) for id, name in running if not wanted or id.startswith(wanted) or name == wanted
    ]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{id} {name!r}" for id, name in running) or "none"
    if not found:
        which = f"no job {wanted!r} runs" if wanted else "no job runs"
        raise NotThere(f"{which} at {rest.url}; running: {there}")
    raise NotThere(f"several jobs run at {rest.url}; choose one with --job ID: {there}")


def vertices(rest: Rest, job: str) -> tuple[str, list[Vertex]]:
    """(state of the job, its vertices in topological order): none while it is initialising."""
    answer = rest.get(f"/jobs/{job}")
    if not isinstance(answer, dict) or not {"vertices", "state"} <= answer.keys():
        raise _other_server(rest)
    found = answer["vertices"]
    names = [v["name"] for v in found]

    def label(vertex: Mapping[str, Any]) -> str:
        name = str(vertex["name"])
        return name if names.count(name) == 1 else f"{vertex['id'][-6:]} {name}"

    return str(answer["state"]), [
        Vertex(v["id"], v["name"], v["parallelism"], label(v)) for v in found
    ]


def choose(all_vertices: Sequence[Vertex], wanted: str | None) -> set[str]:
    """The ids of the vertices that bear part of a name, whatever its case, or of an id; None: all.

    Raises:
        NotThere: none bears it.
    """
    found = {
        v.id
        for v in all_vertices
        if not wanted or wanted.lower() in v.name.lower() or wanted in v.id
    }
    if not found:
        names = ", ".join(repr(v.label) for v in all_vertices)
        raise NotThere(f"no vertex {wanted!r}; the job has {names}")
    return found


def refresh_ms(rest: Rest) -> float:
    """How often the JobManager asks its TaskManagers for metrics, ms: a poll in between sees the
    same figures again."""
    answer = rest.get("/jobmanager/config")
    if not isinstance(answer, list):
        raise _other_server(rest)
    options = {x["key"]: str(x["value"]) for x in answer}
    text = options.get("metrics.fetcher.update-interval", "")
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in _UNIT_MS:
        return _DEFAULT_REFRESH_MS
    return float(found[1]) * _UNIT_MS[found[2]]


def has_ended(state: str) -> bool:
    """Whether a job in that state will not run again."""
    return state in _ENDED


@dataclass
class Subtask:
    """One subtask's cumulative counters: what they said last, and how they moved before that.

    Attributes:
        moved: counter → difference of its last two renewals; empty while there are no two.
        is_new: those differences are in no row yet.
    """

    attempt: object = None
    now: Mapping[str, float] = field(default_factory=dict)
    moved: Mapping[str, float] = field(default_factory=dict)
    is_new: bool = False

    def read(self, attempt: object, counters: Mapping[str, float]) -> None:
        """Take in the counters' present values.

        A subtask that has started again counts, and its clock runs, from zero. Flink takes back
        some of the time that it had counted when a subtask has been stalled: then there is no
        difference until the clock has passed where it was.
        """
        if not counters or counters == self.now:
            return
        again = self.attempt is not None and (
            attempt != self.attempt
            or any(counters.get(n, 0.0) < self.now.get(n, 0.0) for n in _COUNTERS[:2])
            or _clock_ms(counters) < _clock_ms(self.now) / 2
        )
        first = not self.now
        before: Mapping[str, float] = {} if again else self.now
        if not first and not again and 0 < _clock_ms(self.now) >= _clock_ms(counters):
            return
        self.attempt, self.now = attempt, counters
        if not first:
            self.moved = {n: v - before.get(n, 0.0) for n, v in counters.items()}
            self.is_new = True

    def per_s(self, counter: str) -> float | None:
        """How fast a counter moved by the subtask's own clock; None where Flink does not say."""
        clock_ms = sum(self.moved.get(name, math.nan) for name in TIMES)
        if counter not in self.moved or not clock_ms > 0:
            return None
        return max(0.0, self.moved[counter]) / clock_ms * 1000


def _clock_ms(counters: Mapping[str, float]) -> float:
    return sum(counters.get(name, 0.0) for name in TIMES)


class Watch:
    """Samples of the vertices of a job, each from one renewal of Flink's figures to the next.

    Args:
        refresh_s: how often Flink renews them.

    Attributes:
        vertices: of the job, in topological order, at the last sample.
    """

    def __init__(self, rest: Rest, job: str, refresh_s: float) -> None:
        self._rest = rest
        self._job = job
        self._refresh_s = refresh_s
        self.vertices: list[Vertex] = []
        self._subtasks: dict[str, list[Subtask]] = {}
        self._new_since_s: dict[str, float] = {}

    def sample(self) -> tuple[str, list[dict[str, Any]]]:
        """(state of the job, one row for every vertex whose figures have been renewed).

        A row holds at_s (epoch), vertex (its label), vertex_id, subtasks, measured (those of them
        that it is of), records_in_per_s, records_out_per_s (their sums), busy, idle, backpressured
        (0..1, their means), busy_highest, backpressured_highest, and gauges by Flink's names:
        `mean` and `highest`. What Flink does not say is None.

        Raises:
            FlinkError: no answer, or none that can be used; the next sample may well succeed.
        """
        try:
            return self._sample()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise _other_server(self._rest) from error

    def _sample(self) -> tuple[str, list[dict[str, Any]]]:
        state, found = vertices(self._rest, self._job)
        self.vertices = found
        if not found or has_ended(state):
            return state, []
        # The first question makes the JobManager fetch; the answer is in the next ones.
        self._rest.get(f"/jobs/{self._job}/vertices/{found[0].id}/metrics?get=0.idle")
        time.sleep(FETCH_S)
        return state, [row for vertex in found if (row := self._row(vertex))]

    def _row(self, vertex: Vertex) -> dict[str, Any] | None:
        attempts = {
            s["subtask"]: (s.get("attempt"), s.get("start-time"))
            for s in _asked(self._rest, f"/jobs/{self._job}/vertices/{vertex.id}", "subtasks")
        }
        known = self._subtasks.setdefault(vertex.id, [])
        known += [Subtask() for _ in range(vertex.subtasks - len(known))]
        del known[vertex.subtasks :]  # a rescale took these
        values = self._values(vertex)
        for number, subtask in enumerate(known):
            counters = {n: v for n, v in values[number].items() if n in _COUNTERS}
            subtask.read(attempts.get(number), counters)
        new = [subtask for subtask in known if subtask.is_new]
        if not new:
            return None
        # TaskManagers answer one after another: those that are late get one renewal's time.
        now_s = clock.now_s()
        since_s = self._new_since_s.setdefault(vertex.id, now_s)
        if len(new) < len(known) and now_s - since_s < self._refresh_s:
            return None
        del self._new_since_s[vertex.id]
        for subtask in new:
            subtask.is_new = False
        ratios = {
            name: [r / 1000 for s in new if (r := s.per_s(name)) is not None] for name in TIMES
        }
        busy, idle, blocked = (ratios[name] for name in TIMES)
        gauges = {
            name: [v[name] for v in values if name in v]
            for name in _GAUGES
            if any(name in v for v in values)
        }
        return {
            "at_s": now_s,
            "vertex": vertex.label,
            "vertex_id": vertex.id,
            "subtasks": vertex.subtasks,
            "measured": len(new),
            "records_in_per_s": _sum([s.per_s("numRecordsIn") for s in new]),
            "records_out_per_s": _sum([s.per_s("numRecordsOut") for s in new]),
            "busy": _mean(busy),
            "idle": _mean(idle),
            "backpressured": _mean(blocked),
            "busy_highest": min(1.0, max(busy)) if busy else None,
            "backpressured_highest": min(1.0, max(blocked)) if blocked else None,
            "gauges": {n: {"mean": _mean(v), "highest": max(v)} for n, v in gauges.items()},
        }

    def _values(self, vertex: Vertex) -> list[dict[str, float]]:
        """Metric → value, of each subtask; what is absent or no number is left out."""
        values: list[dict[str, float]] = [{} for _ in range(vertex.subtasks)]
        names = [f"{s}.{n}" for s in range(vertex.subtasks) for n in (*_COUNTERS, *_GAUGES)]
        path = f"/jobs/{self._job}/vertices/{vertex.id}/metrics?get="
        for query in _queries(names):
            answer = self._rest.get(path + query)
            if not isinstance(answer, list):
                raise _other_server(self._rest)
            for metric in answer:
                number, _, name = metric["id"].partition(".")
                try:
                    value = float(metric["value"])
                except ValueError:
                    continue
                if math.isfinite(value):  # a task that has just started has rates of NaN
                    values[int(number)][name] = value
        return values


def _queries(names: Sequence[str]) -> Iterator[str]:
    """The names, parted by commas, in as many pieces as Flink's longest request line asks for."""
    piece = ""
    for name in names:
        if piece and len(piece) + len(name) > _LONGEST_QUERY:
            yield piece
            piece = ""
        piece = f"{piece},{name}" if piece else name
    yield piece


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


_COLUMNS = (
    ("in/s", 9, "records_in_per_s", "{:,.0f}"),
    ("out/s", 9, "records_out_per_s", "{:,.0f}"),
    ("busy", 5, "busy", "{:.0%}"),
    ("idle", 5, "idle", "{:.0%}"),
    ("back-pr.", 8, "backpressured", "{:.0%}"),
    ("queue", 5, "Shuffle.Netty.Input.Buffers.inputQueueLength", "{:,.0f}"),
)
_NAME_WIDTH = 23


def header() -> str:
    """The line above those of `line`."""
    head = " ".join(f"{name:>{width}}" for name, width, _, _ in _COLUMNS)
    return f"{'time':8} {'vertex':{_NAME_WIDTH}} {head}"


def line(row: Mapping[str, Any]) -> str:
    """A row of `Watch.sample` for the terminal, in 80 columns; of a gauge, the highest subtask.
    `—` is absent."""
    cells = []
    for _, width, name, form in _COLUMNS:
        value = row[name] if name in row else row["gauges"].get(name, {}).get("highest")
        cells.append(f"{'—' if value is None else form.format(value):>{width}}")
    return f"{_clock(row['at_s'])} {row['vertex'][:_NAME_WIDTH]:{_NAME_WIDTH}} {' '.join(cells)}"


def _clock(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))


@dataclass
class _Overload:
    """A vertex that was overloaded without a break, and what it took meanwhile."""

    label: str
    since_s: float
    until_s: float
    taken_per_s: list[float] = field(default_factory=list)

    def capacity(self) -> str:
        """The median of what it took, in words."""
        if not self.taken_per_s:
            return "what it takes Flink does not say"
        return f"it takes {median(self.taken_per_s):,.0f} records/s: that is its capacity"


class Verdict:
    """Is the job overloaded, since when, and at which capacity? Told the rows as they come.

    Overloaded is a vertex with a subtask that is busy all the time while one before it waits for it
    (is back-pressured). What it takes then is its capacity. Whether a source that waits for nothing
    could send more, no metric says.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Mapping[str, Any]] = {}
        self._now: dict[str, _Overload] = {}
        self._last: _Overload | None = None

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in the rows of one sample, in topological order of their vertices."""
        for row in rows:
            self._latest[row["vertex_id"]] = row
        for row in rows:
            id = row["vertex_id"]
            if not self._is_overloaded(row):
                self._last = self._now.pop(id, self._last)
                continue
            overload = self._now.setdefault(id, _Overload(row["vertex"], row["at_s"], row["at_s"]))
            overload.until_s = row["at_s"]
            if row["records_in_per_s"] is not None:
                overload.taken_per_s.append(row["records_in_per_s"])

    def _is_overloaded(self, row: Mapping[str, Any]) -> bool:
        before = takewhile(lambda id: id != row["vertex_id"], self._latest)
        waits = any((self._latest[id]["backpressured_highest"] or 0) >= _BLOCKED for id in before)
        return waits and (row["busy_highest"] or 0) >= _BUSY

    def __str__(self) -> str:
        """One sentence or two."""
        if self._now:
            overload = list(self._now.values())[-1]
            return (
                f"Overloaded, seen since {_clock(overload.since_s)}: {overload.label} is busy all "
                f"the time and what is before it waits; {overload.capacity()}."
            )
        known = [row for row in self._latest.values() if row["busy"] is not None]
        if not known:
            return "No verdict: no vertex said twice how busy it is while this watched."
        busiest = max(known, key=lambda row: row["busy_highest"])
        calm = f"the busiest vertex, {busiest['vertex']}, is {busiest['busy_highest']:.0%} busy"
        taken = busiest["records_in_per_s"] or busiest["records_out_per_s"]
        if busiest["busy_highest"] >= _BUSY:
            calm += ", and nothing is seen to wait for it"
        elif taken and busiest["busy_highest"] > 0:
            most = taken / busiest["busy_highest"]
            calm += f" with {taken:,.0f} records/s, so that it could take about {most:,.0f}"
        if (was := self._last) is None:
            return f"Not overloaded while this watched: {calm}."
        return (
            f"Overloaded from {_clock(was.since_s)} to {_clock(was.until_s)} ({was.label}; "
            f"{was.capacity()}), not any more: {calm}."
        )


def follow(
    watch: Watch, every_s: float, for_s: float, say: Callable[[str], None]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Samples of `watch` until the job has ended or the time is over.

    An answer that does not come, or cannot be used, is asked for again, for `PATIENCE_S`.

    Args:
        for_s: seconds until it stops; may be infinite.
        say: told, in words, when answers stop and come again.

    Raises:
        FlinkError: nothing for that long.
    """
    end_s = time.monotonic() + for_s
    silent_since_s: float | None = None
    while True:
        began_s = time.monotonic()
        try:
            state, rows = watch.sample()
        except FlinkError as error:
            if silent_since_s is None:
                silent_since_s = began_s
                say(f"{error.message}; asking again for up to {PATIENCE_S:g} s")
            elif time.monotonic() - silent_since_s > PATIENCE_S:
                raise FlinkError(f"given up after {PATIENCE_S:g} s: {error.message}") from error
        else:
            if silent_since_s is not None:
                say(f"Flink answers again, after {began_s - silent_since_s:.1f} s")
                silent_since_s = None
            yield state, rows
            if has_ended(state):
                return
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(max(0.0, min(left_s, began_s + every_s - time.monotonic())))


def _asked(rest: Rest, path: str, key: str) -> Any:
    answer = rest.get(path)
    if not isinstance(answer, dict) or key not in answer:
        raise _other_server(rest)
    return answer[key]


def _other_server(rest: Rest) -> FlinkError:
    return FlinkError(f"{rest.url} answers, but not as Flink's REST API does")
