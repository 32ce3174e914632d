"""The batch: the unit that crosses operators and is sent to Lambda, and how one fared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flink_job.offload.client import Report

Results = list[Any]


class Batch(NamedTuple):
    """Records on their way to the flatmap.

    Attributes:
        number: counts up from 0 at the source; its remainder by the number of lanes is its lane.
        size: records in it; 0 marks the end of a lane, after which none come.
        payload: the records as the job encodes them, and as they are sent.
        note: whatever the job wants to know again when the batch is done.
        failure: why a batch that was to be offloaded comes to the flatmap after all.
        answer: what a batch brings along that is done already.
    """

    number: int
    size: int
    payload: bytes
    note: Any = None
    failure: str | None = None
    answer: tuple[Passage, Results] | None = None

    @property
    def is_end(self) -> bool:
        """Whether this is the end marker of a lane."""
        return self.size == 0


@dataclass
class Passage:
    """How one batch went through the flatmap. All times in ms; `*_at_ms` are those of the clock.

    From `sent_at_ms` to `returned_at_ms` is exactly the sum of the parts.

    Attributes:
        way: "local", "offloaded", or "fallback": offloaded in vain, then local.
        subtask: that took it up.
        taken_at_ms: when the operator took it up.
        sent_at_ms: offloaded: when it was handed to a call; else, that long before
            `returned_at_ms` as was worked on it.
        returned_at_ms: when its results were there.
        network_ms, placement_ms: of the call, where its report tells them; None else.
        call: number of the call that it went with.
        failure: why a call was in vain, or why none could be made.
    """

    way: str
    subtask: int
    taken_at_ms: float
    sent_at_ms: float = 0.0
    returned_at_ms: float = 0.0
    shipping_ms: float = 0.0
    network_ms: float | None = None
    placement_ms: float | None = None
    bring_up_ms: float = 0.0
    computing_ms: float = 0.0
    call: int | None = None
    failure: str | None = None

    def answered(self, returned_at_ms: float, report: Report) -> None:
        """Part the time of the call: what its report says, each part no longer than what the
        others leave (an environment that was started in advance was not waited for), the rest
        being shipping."""
        self.way = "offloaded"
        self.returned_at_ms = returned_at_ms
        left_ms = returned_at_ms - self.sent_at_ms
        for part, said_ms in (
            ("computing_ms", report.duration_ms),
            ("network_ms", report.network_ms),
            ("placement_ms", report.placement_ms),
            # AWS tells the init duration; the local service also what came before it.
            ("bring_up_ms", report.init_ms if report.bring_up_ms is None else report.bring_up_ms),
        ):
            if said_ms is not None:
                setattr(self, part, min(said_ms, left_ms))
                left_ms -= getattr(self, part)
        self.shipping_ms = left_ms


@dataclass
class Call:
    """One call, whatever came of it.

    Attributes:
        number: counts up in each subtask.
        batches, records: that went with it.
        outcome: "answered", "failed", or "late": its batches had been done here by then.
        failure: short name of what went wrong.
        wall_ms: until its answer; None if none had come when the job ended.
    """

    number: int
    subtask: int
    batches: int
    records: int
    sent_at_ms: float
    outcome: str = "answered"
    failure: str | None = None
    wall_ms: float | None = None
    report: Report = field(default_factory=Report)
