"""The metrics of any running Flink job, ours or not, given its REST address.

Nothing is known of the job but what Flink tells: rates and ratios are differences of cumulative
counters, over all subtasks of a vertex; gauges are the mean over subtasks, and the highest.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.cluster.flink import FlinkError, Rest
from bench.cluster.metrics import FETCH_S, GAUGES, TIMES, Counter

_COUNTERS = ("numRecordsIn", "numRecordsOut", *TIMES)
_GAUGES = tuple(name for name in GAUGES if name not in _COUNTERS)
_ENDED = ("FINISHED", "FAILED", "CANCELED", "SUSPENDED")
_UNIT_MS = {"": 1, "ms": 1, "s": 1000, "sec": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000}
# Flink's own default of metrics.fetcher.update-interval.
_DEFAULT_REFRESH_MS = 10_000


class NotThere(FlinkError):
    """Flink answers, but has no such job or vertex. The message names those there are."""


@dataclass
class Vertex:
    """A vertex of a job, and what its counters have been."""

    id: str
    name: str
    subtasks: int
    counters: dict[str, Counter] = field(default_factory=dict)


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


def find_vertices(rest: Rest, job: str, wanted: str | None) -> list[Vertex]:
    """The vertices of a job, in topological order.

    Args:
        wanted: part of a name, whatever its case; None: all.

    Raises:
        NotThere: none bears it.
    """
    vertices = [
        Vertex(v["id"], v["name"], v["parallelism"])
        for v in _asked(rest, f"/jobs/{job}", "vertices")
    ]
    found = [v for v in vertices if not wanted or wanted.lower() in v.name.lower()]
    if not found:
        names = ", ".join(repr(v.name) for v in vertices)
        raise NotThere(f"no vertex {wanted!r}; the job has {names}")
    return found


def refresh_ms(rest: Rest) -> float:
    """How often the JobManager asks its TaskManagers for metrics, ms: a poll in between sees the
    same figures again."""
    options = {x["key"]: str(x["value"]) for x in rest.get("/jobmanager/config")}
    text = options.get("metrics.fetcher.update-interval", "")
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in _UNIT_MS:
        return _DEFAULT_REFRESH_MS
    return float(found[1]) * _UNIT_MS[found[2]]


def state(rest: Rest, job: str) -> str:
    """The job's state as Flink names it."""
    return str(rest.get(f"/jobs/{job}")["state"])


def has_ended(state: str) -> bool:
    """Whether a job in that state will not run again."""
    return state in _ENDED


class Watch:
    """Samples of some vertices of a job, each since the one before."""

    def __init__(self, rest: Rest, job: str, vertices: Sequence[Vertex]) -> None:
        self._rest = rest
        self._job = job
        self._vertices = vertices
        self._at_s: dict[str, float] = {}

    def sample(self) -> list[dict[str, Any]]:
        """One row a vertex; none of those that have nothing to be differenced with yet.

        A row holds at_s (epoch), vertex, subtasks, records_in_per_s, records_out_per_s, busy, idle,
        backpressured (0..1, mean of the subtasks), and gauges by Flink's names: `mean` and
        `highest` over the subtasks. What Flink does not say is None.
        """
        # The first question makes the JobManager fetch; the answer is in the next ones.
        self._rest.get(f"/jobs/{self._job}/vertices/{self._vertices[0].id}/metrics?get=0.idle")
        time.sleep(FETCH_S)
        return [row for row in map(self._row, self._vertices) if row]

    def _row(self, vertex: Vertex) -> dict[str, Any] | None:
        names = ",".join([*_COUNTERS, *_GAUGES])
        path = f"/jobs/{self._job}/vertices/{vertex.id}/subtasks/metrics"
        now_s = time.time()
        found = {
            m["id"]: {k: float(v) for k, v in m.items() if k != "id" and math.isfinite(float(v))}
            for m in self._rest.get(f"{path}?get={names}&agg=sum,avg,max")
        }
        before = {name: counter.total for name, counter in vertex.counters.items()}
        for name in _COUNTERS:
            if "sum" in found.get(name, {}):
                vertex.counters.setdefault(name, Counter()).read(found[name]["sum"])
        earlier_s = self._at_s.get(vertex.id)
        if found:
            self._at_s[vertex.id] = now_s
        if earlier_s is None or not before:
            return None
        gap_s = now_s - earlier_s

        def rate(name: str) -> float | None:
            if name not in before:
                return None
            return (vertex.counters[name].total - before[name]) / gap_s

        def ratio(name: str) -> float | None:
            ms_per_s = rate(name)
            return None if ms_per_s is None else min(1.0, ms_per_s / 1000 / vertex.subtasks)

        busy, idle, backpressured = map(ratio, TIMES)
        return {
            "at_s": now_s,
            "vertex": vertex.name,
            "subtasks": vertex.subtasks,
            "records_in_per_s": rate("numRecordsIn"),
            "records_out_per_s": rate("numRecordsOut"),
            "busy": busy,
            "idle": idle,
            "backpressured": backpressured,
            "gauges": {
                name: {"mean": found[name].get("avg"), "highest": found[name].get("max")}
                for name in _GAUGES
                if name in found
            },
        }


_COLUMNS = (
    ("in/s", "records_in_per_s", "{:,.0f}"),
    ("out/s", "records_out_per_s", "{:,.0f}"),
    ("busy", "busy", "{:.0%}"),
    ("idle", "idle", "{:.0%}"),
    ("back-pr.", "backpressured", "{:.0%}"),
    ("queue", "Shuffle.Netty.Input.Buffers.inputQueueLength", "{:,.0f}"),
    ("in-pool", "Shuffle.Netty.Input.Buffers.inPoolUsage", "{:.0%}"),
    ("out-pool", "Shuffle.Netty.Output.Buffers.outPoolUsage", "{:.0%}"),
)


def header() -> str:
    """The line above those of `line`."""
    return f"{'time':12} {'vertex':28} " + " ".join(f"{name:>9}" for name, _, _ in _COLUMNS)


def line(row: dict[str, Any]) -> str:
    """A row of `Watch.sample` for the terminal; of a gauge, the highest subtask. `—` is absent."""
    cells = []
    for _, name, form in _COLUMNS:
        value = row[name] if name in row else row["gauges"].get(name, {}).get("highest")
        cells.append("—" if value is None else form.format(value))
    at = (
        time.strftime("%H:%M:%S", time.localtime(row["at_s"]))
        + f".{int(row['at_s'] % 1 * 1000):03}"
    )
    return f"{at:12} {row['vertex'][:28]:28} " + " ".join(f"{cell:>9}" for cell in cells)


def _asked(rest: Rest, path: str, key: str) -> Any:
    answer = rest.get(path)
    if not isinstance(answer, dict) or key not in answer:
        raise FlinkError(f"{rest.url} answers, but not as Flink's REST API does")
    return answer[key]
