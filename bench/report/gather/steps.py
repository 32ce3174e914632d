"""What became of each step of a ladder of offered rates: did the job keep up with it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from bench.report.gather import latency
from flink_job.load.shapes import Steps, from_dict

# A job that keeps up leaves behind no more of what is due in a step than this share.
TOLERANCE = 0.05

State = Literal["kept up", "broke", "catching up"]


@dataclass(frozen=True)
class Step:
    """One offered rate while it lasted.

    Attributes:
        served_per_s: sentences that reached the sink meanwhile, by second.
        backlog: sentences due and not at the sink when it began.
        growth: by how many sentences that had grown when it ended.
        p50_ms, p99_ms: latency of the sentences due in it; None without sentences.
    """

    start_s: float
    end_s: float
    offered_per_s: float
    served_per_s: float
    backlog: float
    growth: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def due(self) -> float:
        """Sentences due in the step."""
        return self.offered_per_s * (self.end_s - self.start_s)

    @property
    def state(self) -> State:
        """Whether the job kept up; with a backlog from before, that cannot be said."""
        if self.growth > TOLERANCE * self.due:
            return "broke"
        return "catching up" if self.backlog > 2 * TOLERANCE * self.due else "kept up"


def steps(record: Any, batches: pd.DataFrame) -> list[Step]:
    """The steps of a surge whose shape is piecewise constant.

    Args:
        record: the `surge` record.
        batches: its `batch` records.
    """
    shape = from_dict(record["shape"])
    assert isinstance(shape, Steps)
    sentences = latency.sentences(batches)
    sink_s, count = batches["sink_ms"] / 1000, batches["count"]

    def served(until_s: float) -> float:
        return float(count[sink_s < until_s].sum())

    found = []
    for start_s, end_s, rate in shape.steps_until(float(record["length_s"])):
        backlog, left = (shape.count(t) - served(t) for t in (start_s, end_s))
        p50_ms, p99_ms = latency.due_within(sentences, (start_s * 1000, end_s * 1000)).quantiles(
            0.5, 0.99
        )
        served_per_s = (served(end_s) - served(start_s)) / (end_s - start_s)
        found.append(
            Step(start_s, end_s, rate, served_per_s, backlog, left - backlog, p50_ms, p99_ms)
        )
    return found


def ascent(found: Sequence[Step]) -> list[Step]:
    """The steps up to the highest rate: those after it have what it left behind to do."""
    peak = max(range(len(found)), key=lambda i: found[i].offered_per_s)
    return list(found[: peak + 1])


def edge(tried: Iterable[Step]) -> tuple[float | None, float | None]:
    """The highest rate that was kept up with, and the lowest above it that was not; each None if
    there is none.

    A hiccup of the machine can break a job at any rate, but nothing makes it serve more than it
    can: so a rate that was kept up with once speaks for itself and for all below.
    """
    tried = list(tried)
    kept = max((s.offered_per_s for s in tried if s.state == "kept up"), default=None)
    broke = [s.offered_per_s for s in tried if s.state == "broke"]
    return kept, min((rate for rate in broke if kept is None or rate > kept), default=None)
